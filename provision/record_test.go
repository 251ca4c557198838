//go:build cgo

package provision

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

var errToken = errors.New("token removed")

// A key that does not sign, or signs something else: nothing is recorded, and the unit goes on when the key is well again.
func TestKeyFails(t *testing.T) {
	t.Parallel()
	f := newFactory(t, 100)
	other := newKey(t)
	s := f.station()
	last := func(spoil func([]byte) ([]byte, error)) func([]byte) ([]byte, error) {
		n := 0
		return func(signature []byte) ([]byte, error) {
			if n++; n < 2 {
				return signature, nil
			}
			return spoil(signature)
		}
	}
	refuse := func([]byte) ([]byte, error) { return nil, errToken }
	flip := func(signature []byte) ([]byte, error) { return flipped(signature, 20), nil }
	for _, test := range []struct {
		name  string
		spoil func([]byte) ([]byte, error)
		twin  bool
		want  []error
	}{
		{"an error", refuse, false, []error{ErrKey, errToken}},
		{"a bit turned over", flip, false, []error{ErrKey}},
		{"no signature at all", func([]byte) ([]byte, error) { return nil, nil }, false, []error{ErrKey}},
		{"bytes after the signature", func(b []byte) ([]byte, error) { return append(b, 0), nil }, false, []error{ErrKey}},
		{"another key's signature", func([]byte) ([]byte, error) {
			digest := sha256.Sum256(nil)
			return other.Sign(nil, digest[:], nil)
		}, false, []error{ErrKey}},
		{"an error at the twin", last(refuse), true, []error{ErrKey, errToken}},
		{"a bit turned over in the twin", last(flip), true, []error{ErrKey}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f.in(t)
			u := f.unit(sim.Options{})
			s.Twin, f.key.spoil = test.twin, test.spoil
			f.fail(s, u.Port(), Sign, test.want...)
			s.Twin, f.key.spoil = false, nil
			had := f.entry(u)
			if had.State != ledger.Reserved {
				t.Fatalf("the book has it %v", had.State)
			}
			f.finish(u, had)
			f.auditUnit(u)
		})
	}
	f.auditBook(7)

	u := f.unit(sim.Options{})
	s.Key = other // nobody asked CheckReady
	f.fail(s, u.Port(), Sign, ca.ErrPolicy)
	f.finish(u, f.entry(u))
}

// An order of three units makes three, also when the third is interrupted, and no fourth.
func TestOrderUsedUp(t *testing.T) {
	f := newFactory(t, 3)
	s := f.station()
	f.pass(s, f.unit(sim.Options{}))
	f.pass(s, f.unit(sim.Options{}))
	third := f.unit(sim.Options{})
	s.Watch = func(e Event) {
		if e.Stage == Install && e.Port == third.Port() {
			third.Unplug()
		}
	}
	f.fail(s, third.Port(), Install, link.ErrGone)
	s.Watch = nil
	fourth := f.unit(sim.Options{})
	f.fail(s, fourth.Port(), Reserve, ledger.ErrExhausted)
	if e := f.entry(fourth); e.State != 0 {
		t.Errorf("the fourth unit is %v", e.State)
	}
	f.plug(third)
	s = f.station() // ready, though there is nothing left to begin
	f.pass(s, third)
	f.fail(s, fourth.Port(), Reserve, ledger.ErrExhausted)
	f.audit(f.units[:3]...)
	if n := f.key.signatures.Load(); n != 3 {
		t.Errorf("%d signatures", n)
	}
}

// A station whose clock is behind the newest entry of its book neither begins a unit nor ends one.
func TestClockBehind(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	f.pass(s, f.unit(sim.Options{}))
	late := func() time.Time { return time.Now().Add(-time.Hour) }
	s.Now = late
	u := f.unit(sim.Options{})
	f.fail(s, u.Port(), Reserve, ledger.ErrClock)
	if e := f.entry(u); e.State != 0 {
		t.Errorf("it is %v", e.State)
	}
	s.Now = time.Now
	s.Watch = func(e Event) {
		if e.Stage == Close {
			s.Now = late
		}
	}
	f.fail(s, u.Port(), Close, ledger.ErrClock)
	f.finish(u, f.entry(u))
	f.audit(f.units...)
}

// begin takes a unit as far as the stage before this one.
func (f *factory) begin(s *Station, u *sim.Unit, stop Stage) {
	f.t.Helper()
	s.Watch = func(e Event) {
		if e.Stage == stop {
			u.Unplug()
		}
	}
	r := run(f.t.Context(), s, u.Port())[0]
	s.Watch = nil
	if r.Err == nil {
		f.t.Fatalf("not stopped at %v", stop)
	}
	f.plug(u)
}

// A unit that was begun under one order is finished under that order and no other.
func TestOtherOrder(t *testing.T) {
	f := newFactory(t, 10)
	first := f.station()
	order, key := f.newOrder(ca.OrderRequest{Count: 10})
	second := f.stationFor(order, key, f.book)
	for _, stop := range []Stage{Install, Seal} {
		u := f.unit(sim.Options{})
		f.begin(first, u, stop)
		had := f.entry(u)
		f.fail(second, u.Port(), Reserve, ca.ErrPolicy)
		f.finish(u, had)
	}
	sealed := f.unit(sim.Options{})
	f.failBehind(onReply(verbSeal, func(_, r message) message { return r.refused(link.StatusChip, 0) }), first, sealed, Seal, ErrRetry)
	f.fail(second, sealed.Port(), Hello, ca.ErrPolicy)
	f.finish(sealed, f.entry(sealed))
	if n := key.signatures.Load(); n != 0 {
		t.Errorf("%d signatures by the second order's key", n)
	}
	f.audit(f.units...)
	f.pass(second, f.unit(sim.Options{}))
}

// A unit that a person has set aside stays so.
func TestVoid(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	begun, sealed := f.unit(sim.Options{}), f.unit(sim.Options{})
	f.begin(s, begun, Install)
	f.failBehind(onReply(verbSeal, func(_, r message) message { return r.refused(link.StatusChip, 0) }), s, sealed, Seal, ErrRetry)
	for _, u := range []*sim.Unit{begun, sealed} {
		if err := f.book.Void(t.Context(), f.entry(u).Serial, "dropped"); err != nil {
			t.Fatal(err)
		}
	}
	f.fail(s, begun.Port(), Reserve, ledger.ErrVoid, ErrSetAside)
	f.fail(s, sealed.Port(), Hello, ledger.ErrVoid, ErrSetAside)
	order, key := f.newOrder(ca.OrderRequest{Count: 10})
	f.fail(f.stationFor(order, key, f.book), begun.Port(), Reserve, ErrSetAside)
	f.pass(s, f.unit(sim.Options{}))
}

// A unit whose certificate is in another station's book: nothing is signed or reserved for it here.
func TestOtherLedger(t *testing.T) {
	f := newFactory(t, 10)
	here, elsewhere := f.station(), f.newBook("elsewhere.db")
	order, key := f.newOrder(ca.OrderRequest{Count: 10})
	there := f.stationFor(order, key, elsewhere)

	begun, finished := f.unit(sim.Options{}), f.unit(sim.Options{})
	f.begin(there, begun, Seal)
	f.pass(there, finished)
	f.fail(here, begun.Port(), Hello, ca.ErrPolicy)
	f.fail(here, finished.Port(), Hello, ErrProvisioned)

	stranger := newFactory(t, 10)
	foreign := f.unit(sim.Options{Image: stranger.image()})
	stranger.pass(stranger.station(), foreign)
	f.fail(here, foreign.Port(), Hello, ErrSetAside)

	f.auditBook(0)
	if n := f.key.signatures.Load(); n != 0 {
		t.Errorf("%d signatures", n)
	}
	f.pass(there, begun)

	twice := f.unit(sim.Options{}) // begun here, then taken there before it had its certificate
	f.begin(here, twice, Install)
	f.begin(there, twice, Seal)
	f.fail(here, twice.Port(), Hello, ErrSetAside)
	if findings, err := f.book.Import(t.Context(), elsewhere); !errors.Is(err, ledger.ErrDouble) || len(findings.Doubles) != 1 {
		t.Errorf("%+v, %v", findings, err)
	}
}

// A certificate in the book that the order key did not sign is given to no unit.
func TestAlteredBook(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	u := f.unit(sim.Options{})
	f.key.spoil = func([]byte) ([]byte, error) { return nil, errToken }
	f.fail(s, u.Port(), Sign, ErrKey)
	if _, err := f.book.Commit(t.Context(), f.entry(u).Serial, []byte("certificate"), nil); err != nil {
		t.Fatal(err)
	}
	f.fail(s, u.Port(), Reserve, ledger.ErrTampered)
	if i := f.inspect(u); i.Unit != nil {
		t.Errorf("the unit carries %x", i.UnitCertificate)
	}
}

// Yesterday's ledger is put back, and the order's numbers are given out a second time. Wherever the two worlds meet, both
// are named.
func TestOneSerialTwice(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	f.closeBook()
	yesterday, err := os.ReadFile(f.bookPath("ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	f.openBook()
	s.Book = f.book
	finished, begun := f.unit(sim.Options{}), f.unit(sim.Options{})
	f.pass(s, finished)
	f.begin(s, begun, Seal)

	if err := os.WriteFile(f.bookPath("restored.db"), yesterday, 0o600); err != nil {
		t.Fatal(err)
	}
	restored, err := ledger.Open(f.bookPath("restored.db"), f.authority.Anchor.Hash())
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	again := f.stationFor(f.order, f.key, restored)
	f.fail(again, finished.Port(), Hello, ErrProvisioned) // not in that book, and left alone
	f.fail(again, begun.Port(), Hello, ca.ErrPolicy)
	f.pass(again, f.unit(sim.Options{}))
	f.pass(again, f.unit(sim.Options{}))
	signatures := f.key.signatures.Load()

	for _, u := range []*sim.Unit{finished, begun} { // a unit and a book
		f.fail(again, u.Port(), Hello, ledger.ErrDouble)
		if err := f.inspect(u).Compare(t.Context(), restored); !errors.Is(err, ledger.ErrDouble) {
			t.Error(err)
		}
		if err := f.inspect(u).Compare(t.Context(), f.book); err != nil {
			t.Error(err)
		}
	}
	findings, err := f.book.Import(t.Context(), restored) // two books
	if !errors.Is(err, ledger.ErrDouble) || len(findings.Doubles) != 2 {
		t.Fatalf("%+v, %v", findings, err)
	}
	for _, d := range findings.Doubles {
		if !d.Serial || d.Key || d.Chip || d.Here.Certificate == nil || d.There.Certificate == nil {
			t.Errorf("double %+v", d)
		}
	}
	if n := f.key.signatures.Load() - signatures; n != 0 {
		t.Errorf("%d more signatures", n)
	}
	f.pass(s, begun)
}

// Two stations with one order and one order key make the same numbers; the import finds each.
func TestTwoStationsOneOrder(t *testing.T) {
	f := newFactory(t, 2)
	other := f.newBook("other.db")
	for _, b := range []*ledger.Book{f.book, other} {
		s := f.stationFor(f.order, f.key, b)
		f.pass(s, f.unit(sim.Options{}))
		f.pass(s, f.unit(sim.Options{}))
		f.fail(s, f.unit(sim.Options{}).Port(), Reserve, ledger.ErrExhausted)
	}
	if findings, err := f.book.Import(t.Context(), other); !errors.Is(err, ledger.ErrDouble) || len(findings.Doubles) != 2 {
		t.Errorf("%+v, %v", findings, err)
	}
}

// Two units with one chip's contents, side by side: there is one certificate, whoever wins, and one finished unit.
func TestCloned(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	var seconds atomic.Int64 // each look at the clock is a second later, so that two lanes' receipts differ
	s.Now = func() time.Time { return time.Now().Add(time.Duration(seconds.Add(1)) * time.Second) }
	one := f.unit(sim.Options{})
	f.begin(s, one, Check)
	two := f.clone(one)
	for _, r := range run(t.Context(), s, one.Port(), two.Port()) {
		if r.Err != nil && !errors.Is(r.Err, ErrSetAside) {
			t.Errorf("%v: %v", r.Stage, r.Err)
		}
	}
	f.auditBook(1)
	if i := f.inspect(f.clone(one)); f.entry(one).State != ledger.Closed || i.Chip != f.inspect(one).Chip {
		t.Error("not a clone")
	}
}

// clone plugs in a second unit with what the first keeps without power.
func (f *factory) clone(u *sim.Unit) *sim.Unit {
	f.t.Helper()
	if err := u.Unplug(); err != nil {
		f.t.Fatal(err)
	}
	dir := f.t.TempDir()
	for _, suffix := range []string{".eeprom", ".flash"} {
		image, err := os.ReadFile(u.Port() + suffix)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "unit-01"+suffix), image, 0o600)
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
	f.plug(u)
	return f.unit(sim.Options{Dir: dir, Index: 1})
}

// A clone of a unit as it was before the seal comes back when the unit is finished.
func TestOlderSelf(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	u := f.unit(sim.Options{})
	f.begin(s, u, Seal)
	older := f.clone(u)
	f.pass(s, u)
	f.fail(s, older.Port(), Reserve, ErrSetAside)
	f.auditUnit(u)
	f.auditBook(1)
}

// A unit that shows the certificate of another is neither.
func TestBorrowedCertificate(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	owner, borrower := f.unit(sim.Options{}), f.unit(sim.Options{})
	f.pass(s, owner)
	i := f.inspect(owner)
	for _, state := range []link.State{link.Installed, link.Sealed} {
		f.failBehind(onReply(verbHello, func(_, r message) message {
			return r.with(atResults+6, state).with(atResults+8, i.OrderCertificate).with(atResults+9, i.UnitCertificate)
		}), s, borrower, Hello, ErrSetAside)
	}
	f.audit(owner)
}

// The disk is full when a stage begins: nothing leaves the station that is not recorded, and the unit goes on when there is
// room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	f := newFactory(t, 10)
	f.station() // the book has the order
	for stage, has := range map[Stage]ledger.State{Reserve: 0, Sign: ledger.Reserved, Commit: ledger.Reserved, Close: ledger.Committed} {
		u := f.unit(sim.Options{})
		f.closeBook()
		if out, err := f.child(job{Port: u.Port(), Full: stage}).Output(); err != nil {
			t.Fatalf("full at %v: %v %s", stage, err, out)
		}
		f.openBook()
		had := f.entry(u)
		if had.State != has {
			t.Errorf("full at %v: the book has it %v, want %v", stage, had.State, has)
		}
		if i := f.inspect(u); (len(i.UnitCertificate) > 0) != (had.Certificate != nil) {
			t.Errorf("full at %v: the unit has %x, the book %x", stage, i.UnitCertificate, had.Certificate)
		}
		f.finish(u, had)
	}
	f.audit(f.units...)
}
