package ceremony

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/birthmark/birthmark/ca"
)

const transcriptFile = "transcript.jsonl"

// What an entry of a transcript is of.
const (
	begin   = "begin"
	resumed = "resumed"
	present = "present" // a person said so
	agreed  = "agreed"  // the officer typed Yes
	intends = "intends" // a step begins
	did     = "did"     // and is done
	call    = "call"    // of a module
	stopped = "stopped" // by an error or a person
	vouched = "vouched" // a signature by the ceremony's key over all before
	undone  = "undone"  // by an abort
	files   = "files"   // SHA-256 of every file that the ceremony leaves
	sealed  = "sealed"  // a signature by the transcript's own key over all before; the last entry
)

// Entry is one line of a transcript: what happened, for people and for programs.
type Entry struct {
	Number   int               `json:"n"`        // from 1
	At       string            `json:"at"`       // UTC
	Previous string            `json:"previous"` // SHA-256 of the line before, zeros for the first
	What     string            `json:"what"`
	Text     string            `json:"text"`
	Fields   map[string]string `json:"fields,omitempty"`
}

// line is the only encoding of an entry.
func (e Entry) line() []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		panic(err) // strings and a number
	}
	return b.Bytes()
}

// Transcript is what happened, each entry with the hash of the one before.
type Transcript []Entry

// head is the hash of the last line, which the next one names.
func (t Transcript) head() [32]byte {
	if len(t) == 0 {
		return [32]byte{}
	}
	return sha256.Sum256(t[len(t)-1].line())
}

// parseTranscript reads a transcript and follows its chain. whole says how many bytes of it are whole lines: the last one may be torn
// where a process died, which is for the caller to judge. Errors wrap ca.ErrVerify and name the first bad line.
func parseTranscript(data []byte) (t Transcript, whole int, err error) {
	for whole < len(data) {
		line, _, complete := bytes.Cut(data[whole:], []byte("\n"))
		if !complete {
			return t, whole, nil
		}
		var e Entry
		head := t.head()
		switch err := json.Unmarshal(line, &e); {
		case err != nil || !bytes.Equal(e.line(), data[whole:whole+len(line)+1]):
			return nil, 0, fmt.Errorf("transcript: line %d is not an entry: %w", len(t)+1, ca.ErrVerify)
		case e.Number != len(t)+1 || e.Previous != hex.EncodeToString(head[:]):
			return nil, 0, fmt.Errorf("transcript: line %d does not follow the one before: %w", len(t)+1, ca.ErrVerify)
		}
		t = append(t, e)
		whole += len(line) + 1
	}
	return t, whole, nil
}

// last finds the newest entry of this kind about a step ("": any).
func (t Transcript) last(what, step string) (Entry, bool) {
	for i := len(t) - 1; i >= 0; i-- {
		if t[i].What == what && (step == "" || t[i].Fields["step"] == step) {
			return t[i], true
		}
	}
	return Entry{}, false
}

// journal is a transcript that is being written. Entries are appended, and never changed. The key that seals it is drawn when the
// process begins and is nowhere but in its memory, so that nobody can add an entry later.
type journal struct {
	mu   sync.Mutex // module calls come from several goroutines
	file *os.File
	Transcript
	key *ecdsa.PrivateKey
	now func() time.Time
	cut func() error // tests only: the process dies here

	failed error // of a write: nothing is done that cannot be recorded
}

// openJournal opens the transcript in a folder for writing, or begins it. Another process that has it is unix.EAGAIN.
func openJournal(path string, now func() time.Time) (j *journal, torn bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, false, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, false, err
	}
	t, whole, err := parseTranscript(data)
	if err != nil {
		return nil, false, err
	}
	if torn = whole < len(data); torn {
		if err := f.Truncate(int64(whole)); err != nil {
			return nil, false, err
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &journal{file: f, Transcript: t, key: key, now: now}, torn, err
}

func (j *journal) Close() error { return j.file.Close() }

// write appends an entry. It is on the disk when write returns, but for calls of a module, which are as soon as another entry is.
func (j *journal) write(what, step, text string, more ...string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil {
		return j.failed
	}
	j.failed = j.append(what, step, text, more)
	return j.failed
}

func (j *journal) append(what, step, text string, more []string) error {
	if j.cut != nil {
		if err := j.cut(); err != nil {
			return err
		}
	}
	head := j.head()
	e := Entry{Number: len(j.Transcript) + 1, At: j.now().UTC().Format(time.RFC3339), Previous: hex.EncodeToString(head[:]), What: what, Text: text}
	if step != "" || len(more) > 0 {
		e.Fields = map[string]string{}
	}
	if step != "" {
		e.Fields["step"] = step
	}
	for i := 0; i < len(more); i += 2 {
		e.Fields[more[i]] = more[i+1]
	}
	if _, err := j.file.Write(e.line()); err != nil {
		return fmt.Errorf("transcript: %w", err)
	}
	j.Transcript = append(j.Transcript, e)
	if what == call {
		return nil
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("transcript: %w", err)
	}
	if j.cut != nil {
		return j.cut()
	}
	return nil
}

// public is the key that seals, for the entry that begins or resumes.
func (j *journal) public() string { return encodeKey(&j.key.PublicKey) }

// sealText is what the last entry says, which nothing after it could cover.
const sealText = "The transcript ends here. Its key is forgotten."

// seal ends the transcript.
func (j *journal) seal() error {
	head := j.head()
	signature, err := ecdsa.SignASN1(rand.Reader, j.key, head[:])
	if err != nil {
		return err
	}
	return j.write(sealed, "", sealText, "signature", hex.EncodeToString(signature))
}

// vouching is what the ceremony's key signs: never a bare hash, so that no transcript is mistaken for anything else that it signs.
func vouching(head [32]byte) []byte {
	digest := sha256.Sum256(append([]byte("birthmark ceremony 1\x00"), head[:]...))
	return digest[:]
}

// check verifies a finished transcript: that its last entry seals it, and that the key of a person's token, which it returns, vouches for
// it. vouches is false where the process had to begin anew after that key was destroyed.
func (t Transcript) check() (by *ecdsa.PublicKey, vouches bool, err error) {
	if len(t) < 3 || t[0].What != begin || t[len(t)-1].What != sealed || t[len(t)-2].What != files {
		return nil, false, fmt.Errorf("transcript: it has not come to its end: %w", ca.ErrVerify)
	}
	var key *ecdsa.PublicKey
	drawn := 0 // lines up to the one that names key
	for i, e := range t {
		switch e.What {
		case begin, resumed:
			if key, err = decodeKey(e.Fields["key"]); err != nil {
				return nil, false, err
			}
			vouches, drawn = false, i+1
		case vouched:
			if by, err = decodeKey(e.Fields["key"]); err != nil {
				return nil, false, err
			}
			lines, err := strconv.Atoi(e.Fields["lines"])
			if err != nil || lines < drawn || lines > i || !verifies(by, vouching(t[:lines].head()), e.Fields["signature"]) {
				return nil, false, fmt.Errorf("transcript: the signature in line %d does not hold: %w", i+1, ca.ErrVerify)
			}
			vouches = true
		}
	}
	head, last := t[:len(t)-1].head(), t[len(t)-1]
	if last.Text != sealText || len(last.Fields) != 1 || !verifies(key, head[:], last.Fields["signature"]) {
		return nil, false, fmt.Errorf("transcript: its seal does not hold: %w", ca.ErrVerify)
	}
	return by, vouches, nil
}

func verifies(key *ecdsa.PublicKey, digest []byte, signature string) bool {
	raw, err := hex.DecodeString(signature)
	return err == nil && ecdsa.VerifyASN1(key, digest, raw)
}

// encodeKey writes a P-256 key, compressed, in hexadecimal.
func encodeKey(key *ecdsa.PublicKey) string {
	text, err := ca.FormatKey(key)
	if err != nil {
		panic(err) // every key is on P-256
	}
	return text
}

func decodeKey(text string) (*ecdsa.PublicKey, error) {
	key, err := ca.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("transcript: %w: %w", err, ca.ErrVerify)
	}
	return key, nil
}

// sentence is an error on one line, without Go's name for being interrupted.
func sentence(err error) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(err.Error()), " "), context.Canceled.Error(), "interrupted")
}
