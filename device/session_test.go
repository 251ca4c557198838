//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
)

// Of a record, and of a generation's counters (docs/peerlink.md, "Records").
const (
	recordHeader   = 4
	recordOverhead = 12
	recordTextMax  = 0xffff
	counterEnd     = 1<<24 - 1<<16
)

// recordModel is one end of a session as the documents have it.
type recordModel struct {
	prkOut     []byte
	generation byte
}

func kdf(t testing.TB, prk []byte, label int, context []byte, size int) []byte {
	t.Helper()
	info := append(append(encode(t, label), encode(t, context)...), encode(t, size)...)
	out, err := hkdf.Expand(sha256.New, prk, string(info), size)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (m *recordModel) update(t testing.TB) {
	m.generation++
	m.prkOut = kdf(t, m.prkOut, 11, []byte{m.generation}, 32)
}

func (m *recordModel) seal(t testing.TB, from Role, counter uint32, text []byte) []byte {
	t.Helper()
	exporter := kdf(t, m.prkOut, 10, []byte{}, 32)
	key := kdf(t, exporter, 32768+int(from), []byte{m.generation}, 29)
	header := binary.BigEndian.AppendUint32(nil, uint32(m.generation)<<24|counter)
	nonce := key[16:]
	for i := range 3 {
		nonce[10+i] ^= header[1+i]
	}
	return append(header, sealAsGo(key[:16], nonce, header, text, 8)...)
}

// newHandshakes are two ends that know each other's key, before the first message.
func newHandshakes(t testing.TB) (ends [2]*Handshake) {
	t.Helper()
	var keys [2]*ecdsa.PrivateKey
	var public [2][64]byte
	for i := range keys {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		b, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		keys[i], public[i] = key, [64]byte(b[1:])
	}
	for i := range ends {
		h, err := NewHandshake(Role(i), HandshakeConfig{
			Identity: keys[i], ID: []byte{0x41, byte(i) + 0x80}, Credential: []byte{byte(i)},
			Resolve: func(int, []byte) ([]byte, [64]byte, error) { return []byte{byte(1 - i)}, public[1-i], nil },
			Methods: 1, Suites: []byte{2}, Connection: []byte{byte(i)},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		ends[i] = h
	}
	return ends
}

func exchangeMessages(t testing.TB, ends [2]*Handshake) {
	t.Helper()
	for n := range 4 {
		message, err := ends[n%2].Write()
		if err == nil {
			err = ends[1-n%2].Read(message)
		}
		if err != nil {
			t.Fatalf("message %d: %v", n+1, err)
		}
	}
}

// newSessions are the ends of one session, by their role, and a model of both.
func newSessions(t testing.TB) (ends [2]*Session, model *recordModel) {
	t.Helper()
	handshakes := newHandshakes(t)
	exchangeMessages(t, handshakes)
	model = &recordModel{prkOut: handshakes[0].prkOut()}
	for i, h := range handshakes {
		s, err := h.Session()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		ends[i] = s
	}
	return ends, model
}

func (s *Session) mustSeal(t testing.TB, text string) []byte {
	t.Helper()
	record, err := s.Seal([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// wantOpen wants this text, or if it is empty this error and a session that stands where it stood, but for the bad tags' count.
func (s *Session) wantOpen(t testing.TB, name string, record []byte, text string, want error) {
	t.Helper()
	before := s.memory()
	got, err := s.Open(record)
	if !errors.Is(err, want) || string(got) != text {
		t.Fatalf("%s: %q, %v, not %q, %v", name, got, err, text, want)
	}
	after := s.memory()
	if want == nil {
		return
	}
	for i := range before {
		if before[i] != after[i] && i/2 != badOffset/2 {
			t.Fatalf("%s: byte %d of the session has changed", name, i)
		}
	}
}

// Every byte of the records of four generations, both ways.
func TestRecords(t *testing.T) {
	ends, model := newSessions(t)
	for generation := range 4 {
		for counter, size := range []int{0, 1, 15, 16, 17, 300, recordTextMax} {
			for n := range ends {
				from := (n + generation + 1) % 2 // who has updated sends first
				s := ends[from]
				text := bytes.Repeat([]byte{byte(size)}, size)
				record, err := s.Seal(text)
				if want := model.seal(t, Role(from), uint32(counter), text); err != nil || !bytes.Equal(record, want) {
					t.Fatalf("generation %d, from %d, %d bytes: %.60x, %v, not %.60x", generation, from, size, record, err, want)
				}
				got, err := ends[1-from].Open(record)
				if err != nil || !bytes.Equal(got, text) {
					t.Fatalf("generation %d, from %d, %d bytes: opened %.60x, %v", generation, from, size, got, err)
				}
			}
		}
		// One end updates, and the other learns it from the next record.
		from := generation % 2
		if err := ends[from].Update(); err != nil {
			t.Fatal(err)
		}
		model.update(t)
	}
}

// Counters rise: gaps are allowed, repeating and going back are not.
func TestRecordOrder(t *testing.T) {
	ends, _ := newSessions(t)
	i, r := ends[0], ends[1]
	var records [][]byte
	for n := range 6 {
		records = append(records, i.mustSeal(t, fmt.Sprint("text ", n)))
	}
	r.wantOpen(t, "first", records[0], "text 0", nil)
	r.wantOpen(t, "first again", records[0], "", ErrAuth)
	r.wantOpen(t, "after a gap", records[3], "text 3", nil)
	for n := range 4 {
		r.wantOpen(t, fmt.Sprint("old ", n), records[n], "", ErrAuth)
	}
	i.wantOpen(t, "its own", records[4], "", ErrAuth)
	r.wantOpen(t, "next", records[4], "text 4", nil)
	r.wantOpen(t, "next", records[5], "text 5", nil)

	other, _ := newSessions(t)
	r.wantOpen(t, "another session's", other[0].mustSeal(t, "text"), "", ErrAuth)
}

// A record that was cut or changed is dropped, and the true one still opens.
func TestRecordChanged(t *testing.T) {
	for _, updated := range []bool{false, true} {
		ends, _ := newSessions(t)
		i, r := ends[0], ends[1]
		if updated {
			if err := i.Update(); err != nil {
				t.Fatal(err)
			}
		}
		record := i.mustSeal(t, "some text")
		for size := range len(record) {
			want := error(ErrAuth)
			if size < recordOverhead {
				want = ErrMalformed
			}
			r.wantOpen(t, fmt.Sprint("cut at ", size), record[:size], "", want)
		}
		r.wantOpen(t, "with a byte more", append(bytes.Clone(record), 0), "", ErrAuth)
		for bit := range 8 * len(record) {
			changed := bytes.Clone(record)
			changed[bit/8] ^= 1 << (bit % 8)
			r.wantOpen(t, fmt.Sprintf("bit %d changed", bit), changed, "", ErrAuth)
		}
		r.wantOpen(t, "itself", record, "some text", nil)
	}
}

func TestRecordSizes(t *testing.T) {
	ends, _ := newSessions(t)
	i, r := ends[0], ends[1]
	text := []byte("some text")
	before := i.memory()
	for room := len(text) + recordHeader; room < len(text)+recordOverhead; room++ {
		if _, err := i.sealInto(text, room); !errors.Is(err, ErrSpace) {
			t.Errorf("room of %d: %v", room, err)
		}
	}
	if _, err := i.Seal(make([]byte, recordTextMax+1)); !errors.Is(err, ErrSpace) {
		t.Errorf("a text too long: %v", err)
	}
	if !bytes.Equal(i.memory(), before) {
		t.Error("what was not sealed changed the session")
	}
	r.wantOpen(t, "a record too long", make([]byte, recordTextMax+recordOverhead+1), "", ErrMalformed)
}

// A block cipher that fails at any of its calls costs a record, never a nonce's second use.
func TestRecordCipherFails(t *testing.T) {
	ends, model := newSessions(t)
	i, r := ends[0], ends[1]
	const calls = 2 + 2 + 2 + 1 // B_0 and AAD, text, key stream, S_0
	text := []byte("text of two blocks")
	counter := uint32(0)
	for answers := range calls {
		restore := i.cipherAnswers(answers)
		if _, err := i.Seal(text); !errors.Is(err, ErrPort) {
			t.Fatalf("sealed after %d calls: %v", answers, err)
		}
		restore()
		counter++
		record, err := i.Seal(text)
		if err != nil || !bytes.Equal(record, model.seal(t, Initiator, counter, text)) {
			t.Fatalf("after a failure at call %d: %x, %v", answers, record, err)
		}
		counter++
		restore = r.cipherAnswers(answers)
		r.wantOpen(t, fmt.Sprintf("after %d calls", answers), record, "", ErrPort)
		restore()
		r.wantOpen(t, "then", record, string(text), nil)
	}
	restore := r.cipherAnswers(calls)
	defer restore()
	r.wantOpen(t, "after all calls", i.mustSeal(t, string(text)), string(text), nil)
}

// Only a record of the next generation whose tag holds moves the receiver, and then in both directions.
func TestGenerations(t *testing.T) {
	ends, model := newSessions(t)
	i, r := ends[0], ends[1]
	old, late := i.mustSeal(t, "old"), r.mustSeal(t, "late")
	if err := i.Update(); err != nil {
		t.Fatal(err)
	}
	record := i.mustSeal(t, "first")
	if err := i.Update(); err != nil {
		t.Fatal(err)
	}
	r.wantOpen(t, "two generations on", i.mustSeal(t, "second"), "", ErrAuth)
	r.wantOpen(t, "this generation", old, "old", nil)
	r.wantOpen(t, "the next", record, "first", nil)
	r.wantOpen(t, "the one before", old, "", ErrAuth)
	i.wantOpen(t, "two before", late, "", ErrAuth)

	model.update(t)
	back := r.mustSeal(t, "")
	if !bytes.Equal(back, model.seal(t, Responder, 0, nil)) {
		t.Errorf("the receiver answers in another generation: %x", back)
	}
	i.wantOpen(t, "the generation before", back, "", ErrAuth)
	r.wantOpen(t, "the next", i.mustSeal(t, "third"), "third", nil)
	i.wantOpen(t, "both again", r.mustSeal(t, "fourth"), "fourth", nil)
}

// Both ends update at once: what was on its way is lost, and all that follows arrives.
func TestGenerationsCross(t *testing.T) {
	ends, _ := newSessions(t)
	var crossing [2][]byte
	for from, s := range ends {
		crossing[from] = s.mustSeal(t, "crossing")
		if err := s.Update(); err != nil {
			t.Fatal(err)
		}
	}
	for from := range ends {
		ends[1-from].wantOpen(t, "crossing", crossing[from], "", ErrAuth)
		ends[1-from].wantOpen(t, "after", ends[from].mustSeal(t, "after"), "after", nil)
	}
}

// The session moves on before its counters run out, and after the last generation stops.
func TestSessionUsedUp(t *testing.T) {
	ends, model := newSessions(t)
	i, r := ends[0], ends[1]
	i.setSent(counterEnd - 1)
	record := i.mustSeal(t, "last")
	if !bytes.Equal(record, model.seal(t, Initiator, counterEnd-1, []byte("last"))) {
		t.Errorf("last of a generation: %x", record)
	}
	r.wantOpen(t, "last of a generation", record, "last", nil)
	model.update(t)
	record = i.mustSeal(t, "first")
	if !bytes.Equal(record, model.seal(t, Initiator, 0, []byte("first"))) {
		t.Errorf("first of the next: %x", record)
	}
	r.wantOpen(t, "first of the next", record, "first", nil)

	for generation := 2; generation <= 255; generation++ {
		from := generation % 2
		if err := ends[from].Update(); err != nil {
			t.Fatal(err)
		}
		model.update(t)
		ends[1-from].wantOpen(t, fmt.Sprint("generation ", generation), ends[from].mustSeal(t, "on"), "on", nil)
	}
	if model.generation != 255 {
		t.Fatal(model.generation)
	}
	before := i.memory()
	if err := i.Update(); !errors.Is(err, ErrState) || !bytes.Equal(i.memory(), before) {
		t.Errorf("a generation after the last: %v", err)
	}
	for _, g := range []byte{0, 1} {
		over := recordModel{prkOut: model.prkOut, generation: g}
		r.wantOpen(t, "a generation counted over", over.seal(t, Initiator, 0, []byte("text")), "", ErrAuth)
	}
	i.setSent(counterEnd - 1)
	r.wantOpen(t, "the very last", i.mustSeal(t, "end"), "end", nil)
	for range 2 {
		before = i.memory()
		if _, err := i.Seal(nil); !errors.Is(err, ErrState) || !bytes.Equal(i.memory(), before) {
			t.Errorf("after the very last: %v", err)
		}
	}
	i.wantOpen(t, "the other direction", r.mustSeal(t, "still"), "still", nil)

	// A sender of other make may count to the end. Nothing comes after.
	r.wantOpen(t, "the highest counter", model.seal(t, Initiator, 1<<24-1, []byte("text")), "text", nil)
	for _, counter := range []uint32{0, counterEnd, 1<<24 - 1} {
		r.wantOpen(t, "after it", model.seal(t, Initiator, counter, []byte("text")), "", ErrAuth)
	}
}

// The 2^16th tag that does not hold closes the session. What was not checked does not count, and a new generation counts anew.
func TestBadTags(t *testing.T) {
	ends, _ := newSessions(t)
	i, r := ends[0], ends[1]
	good := i.mustSeal(t, "good")
	bad := i.mustSeal(t, "bad")
	bad[len(bad)-1] ^= 1
	r.wantOpen(t, "good", good, "good", nil)
	r.setBad(0xffff)
	r.wantOpen(t, "a replay", good, "", ErrAuth)
	restore := r.cipherAnswers(3)
	r.wantOpen(t, "a cipher that fails", bad, "", ErrPort)
	restore()
	if err := i.Update(); err != nil {
		t.Fatal(err)
	}
	r.wantOpen(t, "the next generation", i.mustSeal(t, "good"), "good", nil)
	r.setBad(0xffff)
	r.wantOpen(t, "the generation before", bad, "", ErrAuth)
	r.setBad(0)
	bad = i.mustSeal(t, "bad")
	bad[len(bad)-1] ^= 1
	r.wantOpen(t, "one bad tag", bad, "", ErrAuth)
	r.setBad(0xfffe)
	r.wantOpen(t, "the last but one", bad, "", ErrAuth)
	if _, err := r.Open(bad); !errors.Is(err, ErrAuth) {
		t.Error(err)
	}
	wantClosed(t, r, i.mustSeal(t, "good"))
}

func wantClosed(t *testing.T, s *Session, record []byte) {
	t.Helper()
	_, sealed := s.Seal(nil)
	_, opened := s.Open(record)
	for name, err := range map[string]error{"seal": sealed, "open": opened, "update": s.Update()} {
		if !errors.Is(err, ErrState) {
			t.Errorf("%s when closed: %v", name, err)
		}
	}
	if memory := s.memory(); !bytes.Equal(memory, make([]byte, len(memory))) {
		t.Errorf("left when closed: %x", memory)
	}
}

// A session takes over a complete handshake alone, and nothing of it is left behind.
func TestSessionStart(t *testing.T) {
	handshakes := newHandshakes(t)
	for _, h := range handshakes {
		before := h.memory()
		if _, err := h.Session(); !errors.Is(err, ErrState) || !bytes.Equal(h.memory(), before) {
			t.Errorf("before the handshake: %v", err)
		}
	}
	exchangeMessages(t, handshakes)
	for _, h := range handshakes {
		s, err := h.Session()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if memory := h.memory(); !bytes.Equal(memory, make([]byte, len(memory))) {
			t.Errorf("left of the handshake: %x", memory)
		}
		if _, err := h.Session(); !errors.Is(err, ErrState) {
			t.Errorf("a second session: %v", err)
		}
	}
}

// What opens is, byte for byte, what the peer seals.
func FuzzRecord(f *testing.F) {
	ends, model := newSessions(f)
	r := ends[1]
	f.Add([]byte{})
	f.Add(ends[0].mustSeal(f, "text"))
	f.Add(ends[0].mustSeal(f, ""))
	f.Fuzz(func(t *testing.T, record []byte) {
		r.setBad(0)
		text, err := r.Open(record)
		if err != nil {
			return
		}
		for model.generation < record[0] {
			model.update(t)
		}
		if want := model.seal(t, Initiator, binary.BigEndian.Uint32(record)&0xffffff, text); !bytes.Equal(record, want) {
			t.Fatalf("%x opens as %x, which is sealed as %x", record, text, want)
		}
	})
}
