package ceremony

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/internal/durable"
)

// Names of what a rehearsal or a run leaves, beside the transcript and the authority's folder.
const (
	canonicalFile = "plan.json"
	bundleFile    = "bundle.cbor"
	textFile      = "transcript.txt"
	pageFile      = "transcript.html"
	manifestFile  = "SHA256SUMS" // as sha256sum writes it; the last file, so that a folder without one is not finished
)

// done says whether a folder has come to its end.
func done(folder string) bool {
	_, err := os.Lstat(filepath.Join(folder, manifestFile))
	return err == nil
}

// Begun says whether a run was begun that has come to no end.
func (c *Ceremony) Begun() bool {
	folder := filepath.Join(c.Folder, runFolder)
	_, err := os.Lstat(filepath.Join(folder, transcriptFile))
	return err == nil && !done(folder)
}

// sums are files with their SHA-256 in hexadecimal, by their paths from a folder.
type sums map[string]string

// hashFiles finds every file below a folder. What is not a regular file wraps ca.ErrVerify.
func hashFiles(folder string) (sums, error) {
	found := sums{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%s is not a regular file: %w", path, ca.ErrVerify)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found[filepath.ToSlash(name)] = hashed(data)
		return nil
	})
	return found, err
}

// String is the form of sha256sum, by name.
func (s sums) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s  %s\n", s[name], name)
	}
	return b.String()
}

func parseSums(text []byte) (sums, error) {
	s := sums{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		if !ok {
			return nil, fmt.Errorf("%s: %q: %w", manifestFile, lines.Text(), ca.ErrVerify)
		}
		s[name] = sum
	}
	if err := lines.Err(); err != nil || s.String() != string(text) {
		return nil, fmt.Errorf("%s is not in the form in which it was written: %w", manifestFile, errors.Join(ca.ErrVerify, err))
	}
	return s, nil
}

// compare names the first file that is missing, changed or added.
func (s sums) compare(have sums) error {
	for _, name := range slices.Sorted(maps.Keys(s)) {
		switch sum, there := have[name]; {
		case !there:
			return fmt.Errorf("%s is missing: %w", name, ca.ErrVerify)
		case sum != s[name]:
			return fmt.Errorf("%s was changed: %w", name, ca.ErrVerify)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if _, listed := s[name]; !listed {
			return fmt.Errorf("%s was added: %w", name, ca.ErrVerify)
		}
	}
	return nil
}

// finish leaves what people take home, and seals the transcript over all of it.
func (p *performance) finish() error {
	left := map[string][]byte{canonicalFile: p.plan.Canonical()}
	if _, err := os.Stat(p.staged()); err == nil {
		a, err := ca.Load(p.staged())
		if err != nil {
			return err
		}
		bundle, err := a.Publish()
		if err != nil {
			return err
		}
		left[bundleFile] = bundle.Encode()
	}
	text, page, err := p.render()
	if err != nil {
		return err
	}
	left[textFile], left[pageFile] = text, page
	for _, name := range slices.Sorted(maps.Keys(left)) {
		if err := durable.Replace(filepath.Join(p.folder, name), left[name]); err != nil {
			return err
		}
	}
	if err := p.tidy(); err != nil {
		return err
	}
	have, err := hashFiles(p.folder)
	if err != nil {
		return err
	}
	delete(have, transcriptFile)
	var fields []string
	for _, name := range slices.Sorted(maps.Keys(have)) {
		fields = append(fields, "file "+name, have[name])
	}
	if err := p.journal.write(files, "", fmt.Sprintf("%d files are left, with these hashes.", len(have)), fields...); err != nil {
		return err
	}
	if err := p.journal.seal(); err != nil {
		return err
	}
	return p.writeManifest()
}

// tidy removes what an attempt that was killed was writing.
func (p *performance) tidy() error {
	return filepath.WalkDir(p.folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(entry.Name(), durable.Unfinished) {
			return os.Remove(path)
		}
		return err
	})
}

// writeManifest is the last thing of all. A folder that has it is finished, so it is there whole or not at all.
func (p *performance) writeManifest() error {
	if err := p.tidy(); err != nil {
		return err
	}
	have, err := hashFiles(p.folder)
	if err != nil {
		return err
	}
	delete(have, manifestFile)
	return durable.Replace(filepath.Join(p.folder, manifestFile), []byte(have.String()))
}

// recorded are the files that the transcript's last but one entry names.
func (t Transcript) recorded() sums {
	s := sums{}
	e, _ := t.last(files, "")
	for name, sum := range e.Fields {
		if name, is := strings.CutPrefix(name, "file "); is {
			s[name] = sum
		}
	}
	return s
}

// Outcome is what a rehearsal or a run came to.
type Outcome struct {
	Folder    string
	Title     string
	Digest    [32]byte
	Build     string
	Rehearsal bool
	Aborted   bool
	By        string   // the key that vouches for the transcript; "": none was there to do so at the end
	Result    []string // what was made, signed and destroyed, as the transcript has it
	Files     int
}

// outcome tells of what this process has just finished.
func (p *performance) outcome() (*Outcome, error) { return p.journal.Transcript.outcome(p.folder) }

func (t Transcript) outcome(folder string) (*Outcome, error) {
	by, vouches, err := t.check()
	if err != nil {
		return nil, err
	}
	o := &Outcome{Folder: folder, Title: t[0].Text, Build: t[0].Fields["build"], Rehearsal: t[0].Fields["rehearsal"] == "true", Files: len(t.recorded())}
	digest, err := hex.DecodeString(t[0].Fields["plan"])
	if err != nil || len(digest) != len(o.Digest) {
		return nil, fmt.Errorf("transcript: the plan's digest is none: %w", ca.ErrVerify)
	}
	o.Digest = [32]byte(digest)
	if vouches {
		o.By = encodeKey(by)
	}
	if e, is := t.last(undone, stepAbort); is {
		o.Aborted, o.Result = true, []string{e.Text}
		return o, nil
	}
	for _, e := range t {
		if e.What == did && !strings.HasPrefix(e.Fields["step"], "open ") {
			o.Result = append(o.Result, e.Text)
		}
	}
	return o, nil
}
