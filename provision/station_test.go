//go:build cgo

package provision

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/chip"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

// A shift with everything that can be wrong with a lane, and three good units: each lane ends by itself.
func TestLanesApart(t *testing.T) {
	t.Parallel()
	f := newFactory(t, 10)
	spoilt := func(fault sim.Fault) string {
		u := f.unit(sim.Options{})
		u.Spoil(fault)
		return u.Port()
	}
	built := func(change func(*device.Image)) string {
		o := sim.Options{Image: f.image()}
		change(&o.Image)
		return f.unit(o).Port()
	}
	lanes := []struct {
		name, port string
		want       []error // nil: a good unit
	}{
		{"good", f.unit(sim.Options{}).Port(), nil},
		{"nothing there", filepath.Join(f.dir, "nothing"), []error{link.ErrNoPort}},
		{"a file", f.authority.OrderPath(f.order), []error{link.ErrNoPort}},
		{"taken by another program", f.takenPort(), []error{link.ErrPortBusy}},
		{"nobody at the other end", emptyPort(t), []error{link.ErrSilent, ErrRetry}},
		{"good", f.unit(sim.Options{}).Port(), nil},
		{"silent", spoilt(sim.Fault{Silent: true}), []error{link.ErrSilent, ErrRetry}},
		{"garbage", spoilt(sim.Fault{Seed: 1, Garbage: 2000}), []error{link.ErrGarbage, ErrRetry}},
		{"bits turned over", spoilt(sim.Fault{Seed: 1, Flip: 0.05}), []error{link.ErrGarbage, ErrRetry}},
		{"a byte now and then", spoilt(sim.Fault{Dribble: 100 * time.Millisecond}), []error{link.ErrGarbage, ErrRetry}},
		{"unplugged on the way", spoilt(sim.Fault{CutAfter: 300}), []error{link.ErrGone}},
		{"another root's image", built(func(i *device.Image) { i.AnchorHash[0]++ }), []error{ca.ErrOtherRoot, ErrSetAside}},
		{"another product's image", built(func(i *device.Image) { i.Product++ }), []error{ca.ErrOtherRoot, ErrSetAside}},
		{"an image for other peers", built(func(i *device.Image) { i.Peers = append([]uint32{1}, i.Peers...) }), []error{ca.ErrOtherRoot, ErrSetAside}},
		{"a chip locked by somebody else", f.foreignChip(), []error{ErrSetAside}},
		{"good", f.unit(sim.Options{}).Port(), nil},
	}
	var ports []string
	for _, l := range lanes {
		ports = append(ports, l.port)
	}
	good := 0
	for i, r := range run(t.Context(), f.station(), ports...) {
		l := lanes[i]
		if l.want == nil && r.Err == nil {
			good++
			continue
		}
		for _, want := range l.want {
			if !errors.Is(r.Err, want) {
				t.Errorf("%s: %v, want %q in it", l.name, r.Err, want)
			}
		}
		if l.want == nil || r.Receipt != nil {
			t.Errorf("%s: receipt %v, error %v", l.name, r.Receipt, r.Err)
		}
	}
	f.auditBook(good)
	if n := f.key.signatures.Load(); good != 3 || n != 3 {
		t.Errorf("%d good units, %d signatures", good, n)
	}
}

// takenPort is the port of a good unit that another program talks to.
func (f *factory) takenPort() string {
	f.t.Helper()
	u := f.unit(sim.Options{})
	p, err := link.Open(u.Port(), 115200)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { p.Close() })
	return u.Port()
}

// emptyPort is a serial line with nobody at its other end.
func emptyPort(t testing.TB) string {
	t.Helper()
	end, port, err := pty.Open()
	if err == nil {
		_, err = term.MakeRaw(int(port.Fd()))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close(); end.Close() })
	return port.Name()
}

// foreignChip is the port of a unit whose chip came with its configuration locked as the manufacturer left it.
func (f *factory) foreignChip() string {
	f.t.Helper()
	const lockConfig = 87
	o := sim.Options{Dir: f.t.TempDir(), Index: 1}
	path := filepath.Join(o.Dir, "unit-01.eeprom")
	c, err := chip.Open(path, chip.Options{})
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	image, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	defer image.Close()
	if _, err := image.WriteAt([]byte{0}, lockConfig); err != nil {
		f.t.Fatal(err)
	}
	return f.unit(o).Port()
}

// A unit that falls silent in the middle takes a bounded time, and goes on where it was when it speaks again.
func TestSilentInTheMiddle(t *testing.T) {
	t.Parallel()
	f := newFactory(t, 10)
	u := f.unit(sim.Options{})
	s := f.station()
	s.Watch = func(e Event) {
		if e.Stage == Prove {
			u.Spoil(sim.Fault{Silent: true})
		}
	}
	r := f.fail(s, u.Port(), Prove, ErrRetry, link.ErrSilent)
	if r.Took > 30*time.Second || r.Waited > r.Took { // three tries of three seconds
		t.Errorf("took %v, waited %v", r.Took, r.Waited)
	}
	u.Spoil(sim.Fault{})
	f.finish(u, f.entry(u))
	f.audit(u)
}

// The replies to hello and seal are lost once each: that costs time and nothing else.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	f := newFactory(t, 10)
	u := f.unit(sim.Options{})
	lost := map[int]bool{}
	port, leave := intruder{reply: func(_, r message) []message {
		if v := r.verb(); (v == verbHello || v == verbSeal) && !lost[v] {
			lost[v] = true
			return nil
		}
		return []message{r}
	}}.tap(t, u)
	r := run(t.Context(), f.station(), port)[0]
	leave()
	if r.Err != nil || len(lost) != 2 || r.Waited < 6*time.Second {
		t.Fatalf("lost %v, waited %v: %v", lost, r.Waited, r.Err)
	}
	f.audit(u)
}

// What CheckReady refuses, no unit is touched for either.
func TestCheckReady(t *testing.T) {
	f := newFactory(t, 10)
	production := newFactoryWith(t, 10, ca.InitRequest{RootURI: "pkcs11:object=root", NextURI: "pkcs11:object=next"}, f.profile)
	elsewhere, elsewhereKey := f.newOrder(ca.OrderRequest{Count: 1, Request: &ca.Request{Station: "line-2"}})
	contradicting := f.newBook("contradicting.db")
	first := row(f.order)
	first.Count++
	first.Last++
	if err := contradicting.AddOrder(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	at := func(d time.Duration) func() time.Time { return func() time.Time { return f.order.Issued.Add(d) } }
	for _, test := range []struct {
		name   string
		change func(*Station)
		want   error
	}{
		{"ready", func(*Station) {}, nil},
		{"ready a second time", func(*Station) {}, nil},
		{"test order without --test", func(s *Station) { s.Test = false }, ca.ErrTest},
		{"production order with --test", func(s *Station) { s.Order = production.order }, ca.ErrTest},
		{"order not yet issued by this clock", func(s *Station) { s.Now = at(-time.Second) }, ca.ErrPolicy},
		{"order's last second", func(s *Station) { s.Now = at(365*24*time.Hour - time.Second) }, nil},
		{"order expired", func(s *Station) { s.Now = at(365 * 24 * time.Hour) }, ca.ErrPolicy},
		{"another order's key", func(s *Station) { s.Key = elsewhereKey }, ca.ErrPolicy},
		{"another station's order", func(s *Station) { s.Order, s.Key = elsewhere, elsewhereKey }, ca.ErrPolicy},
		{"another authority's ledger", func(s *Station) { s.Book = production.book }, ledger.ErrOtherAuthority},
		{"a ledger with another order of this number", func(s *Station) { s.Book = contradicting }, ledger.ErrConflict},
	} {
		s := &Station{Order: f.order, Bundle: &f.authority.Bundle, Key: f.key, Book: f.book, Test: true, Now: time.Now, Baud: 115200}
		test.change(s)
		if err := s.CheckReady(t.Context()); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	if f.key.signatures.Load() != 0 {
		t.Error("something was signed")
	}
	production.stationFor(production.order, production.key, production.book)
	production.pass(production.station(), production.unit(sim.Options{}))
}

// An order that runs out in mid-shift, or that nobody asked CheckReady about, stops before a chip is locked.
func TestOrderRunsOut(t *testing.T) {
	f := newFactory(t, 10)
	listed := newFactoryWith(t, 10, ca.InitRequest{Test: true, RootURI: "root.key", NextURI: "next.key"},
		demoProfile(t, "firmware: []", "firmware: ["+hash("other firmware")+"]"))
	for _, test := range []struct {
		name   string
		f      *factory
		change func(*Station)
		want   []error
	}{
		{"expired", f, func(s *Station) { s.Now = func() time.Time { return f.order.Expires } }, []error{ca.ErrPolicy}},
		{"test order without --test", f, func(s *Station) { s.Test = false }, []error{ca.ErrTest}},
		{"firmware that the profile does not list", listed, func(*Station) {}, []error{ca.ErrPolicy, ErrSetAside}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := test.f
			f.in(t)
			u := f.unit(sim.Options{})
			s := f.station()
			test.change(s)
			f.fail(s, u.Port(), Hello, test.want...)
			if i := f.inspect(u); i.State != link.Blank || i.Locks.Configuration() {
				t.Errorf("the unit is %v", i.State)
			}
		})
	}
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
