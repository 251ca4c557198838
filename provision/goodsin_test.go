//go:build cgo

package provision

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/chip"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

// newCaptureFactory is a factory whose profile takes only chips that goods-in captured with this key.
func newCaptureFactory(t testing.TB, count uint64) (*factory, *ecdsa.PrivateKey) {
	t.Helper()
	key := newKey(t)
	text, err := ca.FormatKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	profile := demoProfile(t, "attestation: none", "attestation: captured\n  goods_in: ["+text+"]")
	return newFactoryWith(t, count, ca.InitRequest{Test: true, RootURI: "root.key", NextURI: "next.key"}, profile), key
}

// goodsIn opens the factory's goods-in, as a run of its own.
func (f *factory) goodsIn() *GoodsIn {
	f.t.Helper()
	return &GoodsIn{Profile: f.profile, Begun: f.begun("begun.txt"), Baud: 115200}
}

// at captures the unit on each port, results in their order.
func (g *GoodsIn) at(t testing.TB, ports ...string) []Result {
	results := make([]Result, len(ports))
	g.Run(t.Context(), ports, func(r Result) { results[slices.Index(ports, r.Port)] = r })
	return results
}

// captured captures units, which must succeed.
func (f *factory) captured(units ...*sim.Unit) (all []ca.Captured) {
	f.t.Helper()
	var ports []string
	for _, u := range units {
		ports = append(ports, u.Port())
	}
	for _, r := range f.goodsIn().at(f.t, ports...) {
		if r.Err != nil {
			f.t.Fatal(r.Err)
		}
		all = append(all, *r.Captured)
	}
	return all
}

// listing is the first order's station, with a list of these chips.
func (f *factory) listing(key *ecdsa.PrivateKey, chips ...ca.Captured) (*Station, *ca.Capture) {
	f.t.Helper()
	list, err := ca.SignCapture(rand.Reader, key, "goods-in", time.Now(), chips)
	if err != nil {
		f.t.Fatal(err)
	}
	s := &Station{Order: f.order, Bundle: &f.authority.Bundle, Key: f.key, Book: f.book, Test: true, Now: time.Now, Baud: 115200}
	s.Captures = f.order.Profile.NewCaptures()
	if err := s.Captures.Add(list); err != nil {
		f.t.Fatal(err)
	}
	if err := s.CheckReady(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	return s, list
}

// Goods-in captures three units, and the line provisions them; the receipt names the list.
func TestCaptured(t *testing.T) {
	f, key := newCaptureFactory(t, 10)
	units := []*sim.Unit{f.unit(sim.Options{}), f.unit(sim.Options{}), f.unit(sim.Options{})}
	all := f.captured(units...)
	for i, again := range f.captured(units...) { // a run whose list was lost
		if again.Chip != all[i].Chip || !again.Key.Equal(all[i].Key) {
			t.Errorf("chip %x has another key the second time", again.Chip)
		}
	}
	s, list := f.listing(key, all...)
	want := list.Fingerprint()
	for _, u := range units[:2] {
		if r := f.pass(s, u); r.Attestation != "captured" || r.GoodsIn != "goods-in" || r.Capture != hex.EncodeToString(want[:]) {
			t.Errorf("the receipt says %q, %q, %q", r.Attestation, r.GoodsIn, r.Capture)
		}
	}
	// One that is sealed when its receipt is written has it too.
	f.failBehind(onReply(verbSeal, func(_, r message) message { return r.refused(link.StatusChip, 0) }), s, units[2], Seal, ErrRetry)
	if r := f.pass(s, units[2]); r.Attestation != "captured" || r.Handshake != handshakeSealed || r.Capture != hex.EncodeToString(want[:]) {
		t.Errorf("the receipt says %+v", r)
	}
	f.audit(units...)
}

// A chip on no list stays as it is, and without a list there is no shift.
func TestNotCaptured(t *testing.T) {
	f, key := newCaptureFactory(t, 10)
	one, other := f.unit(sim.Options{}), f.unit(sim.Options{})
	none := &Station{Order: f.order, Bundle: &f.authority.Bundle, Key: f.key, Book: f.book, Test: true, Now: time.Now, Baud: 115200}
	if err := none.CheckReady(t.Context()); !errors.Is(err, ca.ErrNotCaptured) {
		t.Errorf("ready without a list: %v", err)
	}
	s, _ := f.listing(key, f.captured(one)...)
	f.fail(s, other.Port(), Hello, ca.ErrNotCaptured)
	if i := f.inspect(other); i.State != link.Blank || i.Locks.Configuration() || f.entry(other).State != 0 {
		t.Errorf("the unit is %v", i.State)
	}
	f.pass(s, one)
}

// rawChip is a chip on a counterfeiter's bench.
type rawChip struct {
	t testing.TB
	*chip.Device
	serial [9]byte
}

// do gives a command and gets its payload.
func (c rawChip) do(opcode, mode byte, param2 uint16, data ...byte) []byte {
	c.t.Helper()
	group := binary.LittleEndian.AppendUint16([]byte{byte(len(data) + 7), opcode, mode}, param2)
	group = append(group, data...)
	answer := c.Exchange(binary.LittleEndian.AppendUint16(group, chip.CRC(group)))
	if len(answer) < 4 || len(answer) == 4 && answer[1] != 0 {
		c.t.Fatalf("command %02x %02x: % x", opcode, mode, answer)
	}
	return answer[1 : len(answer)-2]
}

// newRawChip locks a chip with these SlotConfig and KeyConfig of slot 0, and a key that is known in it.
func newRawChip(t testing.TB, serial [9]byte, slot0, key0 uint16, identity *ecdsa.PrivateKey) rawChip {
	t.Helper()
	c := rawChip{t, chip.New(chip.Options{SerialNumber: serial}), serial}
	c.Wake()
	for at, words := range map[uint16][2]uint16{20: {slot0, 0x0082}, 96: {key0, 0x0013}} {
		c.do(0x12, 0x00, at/4, byte(words[0]), byte(words[0]>>8), byte(words[1]), byte(words[1]>>8))
	}
	c.do(0x17, 0x80, 0)
	c.do(0x40, 0x04, 1)
	private, err := identity.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	c.PutPrivateKey(0, private) // as PrivWrite would
	c.Idle()
	c.Wake()
	c.do(0x17, 0x81, 0)
	return c
}

// shown is the public half of slot 1.
func (c rawChip) shown() [64]byte {
	c.Idle()
	c.Wake()
	return [64]byte(c.do(0x40, 0x00, 1))
}

// captured is the chip as goods-in would list it.
func (c rawChip) captured() ca.Captured {
	c.t.Helper()
	shown := c.shown()
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, shown[:]...))
	if err != nil {
		c.t.Fatal(err)
	}
	return ca.Captured{Chip: c.serial, Key: key}
}

// attest is what the chip says of slot 0.
func (c rawChip) attest(nonce [32]byte) [64]byte {
	c.Idle()
	c.Wake()
	c.do(0x16, 0x03, 0, nonce[:]...)
	c.do(0x40, 0x08, 0)
	return [64]byte(c.do(0x41, 0x40, 1))
}

// counterfeit is a program that speaks the unit's side with a key outside any chip: by its own word a chip of the list, with the
// configuration that the profile wants. A real unit lends it the replies.
type counterfeit struct {
	serial   [9]byte
	state    link.State
	slot1    [64]byte // shown as attestation key
	identity *ecdsa.PrivateKey
	attest   func(nonce [32]byte) [64]byte
}

func (c counterfeit) intruder(firmware [32]byte) intruder {
	return intruder{reply: func(q, r message) []message {
		r = r.with(atChip, c.serial)
		switch r.verb() {
		case verbHello:
			r = r.with(atResults+6, c.state)
		case verbPrepare:
			zone := r.bytes(atResults)
			copy(zone[:4], c.serial[:4])
			copy(zone[8:13], c.serial[4:])
			r = r.with(atResults, zone).with(atResults+1, c.slot1)
		case verbProve:
			statement := link.PossessionStatement([32]byte(q.bytes(3)), q.bytes(4), c.serial, firmware, point(c.identity))
			r = r.with(atResults, point(c.identity)).with(atResults+1, c.attest(sha256.Sum256(statement))).
				with(atResults+2, statementBy(c.identity, statement))
		}
		return []message{r}
	}}
}

// attestedBy signs what a good chip of this serial number would (docs/formats.md, "Attestation").
func attestedBy(key *ecdsa.PrivateKey, sn [9]byte, identity *ecdsa.PrivateKey, nonce [32]byte) [64]byte {
	public := point(identity)
	first := append(nonce[:], 0x40, 0x08, 0, 0, sn[8], sn[0], sn[1])
	first = append(append(first, make([]byte, 25)...), public[:]...)
	digest := sha256.Sum256(first)
	second := append(digest[:], 0x41, 0x40, 1, 0, 0x81, 0x00, 0x13, 0x00, 0x50, 0, 0, sn[8])
	second = append(append(append(second, sn[4:8]...), sn[:4]...), 1, 0, 0)
	return statementBy(key, second)
}

// Whoever is on goods-in's list by name alone is found out by the chip's statement. The last two rows show what that rests on: that
// the captured chip's own key stays in it, and that goods-in took no chip that already had keys.
func TestCounterfeit(t *testing.T) {
	f, key := newCaptureFactory(t, 100)
	slot1, otherSlot1, thief, known := newKey(t), newKey(t), newKey(t), newKey(t)
	sn, otherSN := [9]byte{0x01, 0x23, 1, 1, 1, 1, 1, 1, 0xEE}, [9]byte{0x01, 0x23, 2, 2, 2, 2, 2, 2, 0xEE}
	open := newRawChip(t, [9]byte{0x01, 0x23, 3, 3, 3, 3, 3, 3, 0xEE}, 0x4081, 0x0013, thief) // PrivWrite allowed
	twin := newRawChip(t, [9]byte{0x01, 0x23, 4, 4, 4, 4, 4, 4, 0xEE}, 0x0081, 0x0013, known)
	s, _ := f.listing(key, ca.Captured{Chip: sn, Key: &slot1.PublicKey}, ca.Captured{Chip: otherSN, Key: &otherSlot1.PublicKey},
		open.captured(), twin.captured())
	good := func(by *ecdsa.PrivateKey, sn [9]byte, identity *ecdsa.PrivateKey) func([32]byte) [64]byte {
		return func(nonce [32]byte) [64]byte { return attestedBy(by, sn, identity, nonce) }
	}
	recorded := good(slot1, sn, thief)([32]byte{1}) // the chip was asked something else then
	for _, test := range []struct {
		name  string
		c     counterfeit
		stage Stage
	}{
		{"no attestation", counterfeit{sn, link.Prepared, point(slot1), thief, func([32]byte) (none [64]byte) { return none }}, Prove},
		{"its own attestation key", counterfeit{sn, link.Prepared, point(thief), thief, good(thief, sn, thief)}, Prepare},
		{"its own attestation key, not shown", counterfeit{sn, link.Prepared, point(slot1), thief, good(thief, sn, thief)}, Prove},
		{"a recorded attestation", counterfeit{sn, link.Prepared, point(slot1), thief, func([32]byte) [64]byte { return recorded }}, Prove},
		{"another chip's attestation", counterfeit{sn, link.Prepared, point(slot1), thief, good(otherSlot1, otherSN, thief)}, Prove},
		{"the attestation of another key", counterfeit{sn, link.Prepared, point(slot1), thief, good(slot1, sn, newKey(t))}, Prove},
		{"a key put into a chip that allows it", counterfeit{open.serial, link.Prepared, open.shown(), thief, open.attest}, Prove},
		{"a blank chip under a captured name", counterfeit{sn, link.Blank, point(slot1), thief, good(slot1, sn, thief)}, Hello},

		{"the captured chip's own key", counterfeit{sn, link.Prepared, point(slot1), thief, good(slot1, sn, thief)}, Install},
		{"a captured chip whose key is known", counterfeit{twin.serial, link.Prepared, twin.shown(), known, twin.attest}, Install},
	} {
		t.Run(test.name, func(t *testing.T) {
			f.in(t)
			signatures := f.key.signatures.Load()
			f.failBehind(test.c.intruder(f.image().FirmwareHash), s, f.unit(sim.Options{}), test.stage, ErrSetAside)
			_, err := f.book.Unit(t.Context(), test.c.serial)
			signed := f.key.signatures.Load() > signatures
			if certified := test.stage == Install; signed != certified || errors.Is(err, ledger.ErrNotFound) == certified {
				t.Errorf("signed: %v, the book says %v", signed, err)
			}
		})
	}
}

// What goods-in does not take, and why.
func TestGoodsInRefuses(t *testing.T) {
	f, key := newCaptureFactory(t, 10)
	sealed := f.unit(sim.Options{})
	s, _ := f.listing(key, f.captured(sealed)...)
	f.pass(s, sealed)
	before := f.unit(sim.Options{}) // somebody else had it prepared
	stranger := &GoodsIn{Profile: f.profile, Begun: f.begun("elsewhere.txt"), Baud: 115200}
	if r := stranger.at(t, before.Port())[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	built := f.image()
	built.Product++
	listed := f.unit(sim.Options{})
	name := f.inspect(listed).Chip
	behind := func(i intruder, u *sim.Unit) string {
		port, leave := i.tap(t, u)
		t.Cleanup(leave)
		return port
	}
	flip := func(verb, result int) intruder {
		return onReply(verb, func(_, r message) message {
			return r.with(atResults+result, flipped(r.bytes(atResults+result), 20))
		})
	}
	for _, test := range []struct {
		name, port string
		stage      Stage
		want       error
	}{
		{"sealed", sealed.Port(), Hello, ErrProvisioned},
		{"locked before", before.Port(), Hello, ErrSetAside},
		{"locked otherwise", f.foreignChip(), Hello, ErrSetAside},
		{"another product's firmware", f.unit(sim.Options{Image: built}).Port(), Hello, ca.ErrOtherRoot},
		{"another slot configuration", behind(flip(verbPrepare, 0), f.unit(sim.Options{})), Prepare, ErrSetAside},
		{"another attestation key", behind(onReply(verbPrepare, func(_, r message) message {
			return r.with(atResults+1, point(newKey(t)))
		}), f.unit(sim.Options{})), Prove, ErrSetAside},
		{"an attestation key that is no point", behind(flip(verbPrepare, 1), f.unit(sim.Options{})), Prove, ErrSetAside},
		{"an attestation with a bit turned over", behind(flip(verbProve, 1), f.unit(sim.Options{})), Prove, ErrSetAside},
		{"a key without a proof", behind(flip(verbProve, 2), f.unit(sim.Options{})), Prove, ErrSetAside},
		{"nothing there", filepath.Join(f.dir, "nothing"), Hello, link.ErrNoPort},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := f.goodsIn().at(t, test.port)[0]
			if r.Captured != nil {
				t.Error("it is captured")
			}
			wantFailure(t, r, test.stage, test.want)
		})
	}

	// Two units of one run under one name: the second is refused, whichever that is.
	twin := behind(intruder{reply: func(_, r message) []message { return []message{r.with(atChip, name)} }}, f.unit(sim.Options{}))
	results := f.goodsIn().at(t, listed.Port(), twin)
	if a, b := results[0].Err, results[1].Err; !errors.Is(a, ErrSetAside) && !errors.Is(b, ErrSetAside) {
		t.Errorf("%v, %v", a, b)
	}
}

// A chip whose supply fails while goods-in works on it is taken up again, and the keys are those that it has by then.
func TestGoodsInInterrupted(t *testing.T) {
	f, key := newCaptureFactory(t, 100)
	written := 0
	counted := f.unit(sim.Options{Cut: func() bool { written++; return false }})
	f.captured(counted)
	var all []ca.Captured
	var units []*sim.Unit
	for n := 0; n < written; n += 1 + written/12 {
		left := n
		u := f.unit(sim.Options{Cut: func() bool { left--; return left == -1 }})
		if r := f.goodsIn().at(t, u.Port())[0]; r.Err == nil {
			t.Fatalf("byte %d: not cut", n)
		}
		f.plug(u)
		units, all = append(units, u), append(all, f.captured(u)...)
	}
	s, _ := f.listing(key, all...)
	f.pass(s, units[0])
	f.pass(s, units[len(units)-1])
}

// begun opens a file of begun chips, until the test ends.
func (f *factory) begun(name string) *Begun {
	f.t.Helper()
	b, err := OpenBegun(f.bookPath(name))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { b.Close() })
	return b
}

// The file of begun chips: what is in it, what a cut of power leaves of it, and what is none.
func TestBegun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "begun.txt")
	one, two := [9]byte{0x01, 0x23, 0xAB}, [9]byte{0x01, 0x23, 0xCD}
	reopen := func() *Begun {
		b, err := OpenBegun(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}
	b := reopen()
	if err := b.admit(one, false); err != nil {
		t.Fatal(err)
	}
	if err := b.admit(one, false); !errors.Is(err, ErrSetAside) {
		t.Errorf("twice in a run: %v", err)
	}
	if err := b.admit(two, true); !errors.Is(err, ErrSetAside) {
		t.Errorf("locked: %v", err)
	}
	b = reopen()
	if err := b.admit(one, true); err != nil {
		t.Errorf("begun: %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != "0123ab000000000000\n" {
		t.Fatalf("%q, %v", text, err)
	}
	for size := len(text); size < 2*len(text)-1; size++ { // cut within the second line
		if err := os.WriteFile(path, append(text, text...)[:size], 0o644); err != nil {
			t.Fatal(err)
		}
		b := reopen()
		if err := b.admit(two, true); !errors.Is(err, ErrSetAside) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if err := b.admit(two, false); err != nil {
			t.Error(err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != string(text)+"0123cd000000000000\n" {
			t.Fatalf("%q, %v", now, err)
		}
	}
	for _, bad := range []string{"\n", "0123\n", "0123ab00000000000000\n", "0123ab00000000000x\n", "0123ab000000000000 \n"} {
		if err := os.WriteFile(path, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenBegun(path); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := OpenBegun(filepath.Join(path, "x")); err == nil || errors.Is(err, fs.ErrExist) {
		t.Errorf("a file for a folder: %v", err)
	}
	b = &Begun{file: b.file, ever: map[[9]byte]bool{}, now: map[[9]byte]bool{}}
	if err := b.file.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.admit(one, false); err == nil {
			t.Error("admitted a chip that is not recorded")
		}
	}
}
