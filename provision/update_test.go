//go:build cgo

package provision

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

// known is how far the unit on a port says that its trust goes, once it was told a link that it has.
func (f *factory) known(u *sim.Unit) link.Trust {
	f.t.Helper()
	port, err := link.Open(u.Port(), 115200)
	if err != nil {
		f.t.Fatal(err)
	}
	c := link.Dial(port)
	defer c.Close()
	if _, err := c.Hello(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	t, err := c.Link(f.t.Context(), f.authority.Links[0].Object)
	if err != nil {
		f.t.Fatal(err)
	}
	return t
}

// An image of the first root under an order of the third: the unit is led there before it is given its certificates, and is born
// with the status list. Power that fails in between costs nothing.
func TestLaterRoot(t *testing.T) {
	f := newFactory(t, 10)
	old := f.unit(sim.Options{})
	f.pass(f.station(), old)
	f.rotate()
	f.revoke(ca.RevokeRequest{Serials: []ca.EUI64{f.order.Certificate.Range.First + 3}})
	f.rotate()
	order, key := f.newOrder(ca.OrderRequest{Count: 10})
	s := f.stationFor(order, key, f.book)
	for _, stop := range []Stage{Prove, Install, Handshake, Seal} {
		u := f.unit(sim.Options{})
		f.begin(s, u, stop)
		r := f.pass(s, u)
		if want := (link.Trust{Epoch: 3, ListEpoch: 3, ListNumber: 2}); f.known(u) != want || r.Order != 2 {
			t.Errorf("stopped at %v: %+v, %+v", stop, f.known(u), r)
		}
		f.auditUnit(u)
		if _, err := Relay(t.Context(), old.Port(), u.Port(), 115200, nil); !errors.Is(err, ErrRefused) {
			t.Errorf("an old unit that nobody told: %v", err)
		}
	}
	// The closed root's order goes on, and its units are born knowing as much.
	last := f.unit(sim.Options{})
	f.pass(f.station(), last)
	if f.known(last).Epoch != 3 {
		t.Errorf("%+v", f.known(last))
	}
	told, err := Tell(t.Context(), old.Port(), 115200, &f.authority.Bundle, nil)
	if err != nil || told.Trust != (link.Trust{Epoch: 3, ListEpoch: 3, ListNumber: 2}) || told.Unit.Serial != f.order.Certificate.Range.First {
		t.Fatalf("%+v, %v", told, err)
	}
	for _, u := range f.units[1:] {
		if _, err := Relay(t.Context(), old.Port(), u.Port(), 115200, &f.authority.Bundle); err != nil {
			t.Errorf("%s: %v", u.Port(), err)
		}
	}
	if _, err := VerifyBook(t.Context(), f.book, &f.authority.Bundle); err != nil {
		t.Error(err)
	}
	first := ca.Bundle{Anchor: f.authority.Anchor}
	if _, err := VerifyBook(t.Context(), f.book, &first); !errors.Is(err, ca.ErrUnknownRoot) || errors.Is(err, ledger.ErrTampered) {
		t.Errorf("a bundle that is too old: %v", err)
	}
}

// A station refuses orders that its bundle does not admit, before its key is used.
func TestBundleRefusesOrder(t *testing.T) {
	f := newFactory(t, 10)
	before := f.authority.Bundle
	f.rotate()
	order, key := f.newOrder(ca.OrderRequest{Count: 10})
	f.revoke(ca.RevokeRequest{Orders: []uint16{1}})
	after := f.authority.Bundle
	closed := after
	closed.Links = []*ca.Link{f.link(nil)}
	for _, test := range []struct {
		name   string
		order  *ca.Order
		key    *signer
		bundle *ca.Bundle
		want   error
	}{
		{"a root that it does not know", order, key, &before, ca.ErrUnknownRoot},
		{"on the status list", f.order, f.key, &after, ca.ErrRevoked},
		{"closed out", f.order, f.key, &closed, ca.ErrClosedRoot},
		{"another authority's", newFactory(t, 1).order, key, &after, ca.ErrVerify},
		{"good", order, key, &after, nil},
		{"good, before it was listed", f.order, f.key, &before, nil},
	} {
		s := &Station{Order: test.order, Bundle: test.bundle, Key: test.key, Book: f.book, Test: true, Now: time.Now, Baud: 115200}
		if err := s.CheckReady(t.Context()); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	if f.key.signatures.Load()+key.signatures.Load() != 0 {
		t.Error("something was signed")
	}
}

// link is another link to the second root than the authority's: it closes the first one with these orders.
func (f *factory) link(orders []*ca.OrderCertificate) *ca.Link {
	f.t.Helper()
	l, err := ca.SignLink(rand.Reader, f.root, f.authority.Anchor, &f.next.PublicKey, orders)
	if err != nil {
		f.t.Fatal(err)
	}
	return l
}

// No unit is made, and none finished, that the status list has.
func TestRevokedUnitIsNotMade(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	first := f.order.Certificate.Range.First
	begun, sealed := f.unit(sim.Options{}), f.unit(sim.Options{})
	f.begin(s, begun, Install)
	s.Watch = func(e Event) {
		if e.Stage == Close {
			s.Now = func() time.Time { return time.Now().Add(-time.Hour) } // the book takes no receipt
		}
	}
	f.fail(s, sealed.Port(), Close, ledger.ErrClock)
	s.Watch, s.Now = nil, time.Now
	f.revoke(ca.RevokeRequest{Serials: []ca.EUI64{first, first + 1}, Ranges: []ca.Range{{First: first + 2, Last: first + 4}}})
	for _, u := range []*sim.Unit{begun, sealed, f.unit(sim.Options{})} {
		r := run(t.Context(), s, u.Port())[0]
		if !errors.Is(r.Err, ca.ErrRevoked) || r.Receipt != nil {
			t.Errorf("%s: %v", u.Port(), r.Err)
		}
	}
	f.revoke(ca.RevokeRequest{Serials: []ca.EUI64{first, first + 1}, Lift: true})
	f.pass(s, begun)
	f.pass(s, sealed)
}

func TestTell(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	first := f.order.Certificate.Range.First
	one, two, blank := f.unit(sim.Options{}), f.unit(sim.Options{}), f.unit(sim.Options{})
	f.pass(s, one)
	f.begin(s, two, Seal) // installed
	tell := func(u *sim.Unit, b *ca.Bundle, r *ca.Release) (*Update, error) {
		return Tell(t.Context(), u.Port(), 115200, b, r)
	}
	if told, err := tell(one, &f.authority.Bundle, nil); err != nil || told.Trust != (link.Trust{Epoch: 1}) || told.Released || *told.Generation != 0 {
		t.Errorf("nothing to say: %+v, %v", told, err)
	}
	f.revoke(ca.RevokeRequest{Serials: []ca.EUI64{first + 9}})
	early := f.authority.Bundle
	for range 2 { // the second time it has the list
		told, err := tell(one, &early, nil)
		if err != nil || told.Trust != (link.Trust{Epoch: 1, ListEpoch: 1, ListNumber: 1}) {
			t.Errorf("a list: %+v, %v", told, err)
		}
	}
	f.rotate()
	middle := f.authority.Bundle
	f.rotate()
	for range 2 {
		for _, u := range []*sim.Unit{one, two} {
			told, err := tell(u, &f.authority.Bundle, nil)
			if err != nil || told.Trust != (link.Trust{Epoch: 3, ListEpoch: 3, ListNumber: 3}) {
				t.Errorf("links and list: %+v, %v", told, err)
			}
		}
	}
	if _, err := tell(one, &middle, nil); !errors.Is(err, ca.ErrUnknownRoot) {
		t.Errorf("a bundle that knows less: %v", err)
	}
	if _, err := tell(blank, &f.authority.Bundle, nil); !errors.Is(err, ErrNotProvisioned) {
		t.Errorf("a blank unit: %v", err)
	}
	if _, err := tell(one, &newFactory(t, 1).authority.Bundle, nil); !errors.Is(err, ca.ErrOtherRoot) {
		t.Errorf("another authority: %v", err)
	}
	forged := f.authority.Bundle
	forged.Links = []*ca.Link{f.authority.Links[0], {Anchor: f.authority.Links[1].Anchor, Object: flipped(bytes.Clone(f.authority.Links[1].Object), 100)}}
	u := f.unit(sim.Options{})
	s.Bundle = &early
	f.pass(s, u)
	if _, err := tell(u, &forged, nil); !errors.Is(err, ErrSetAside) {
		t.Errorf("a link that is forged: %v", err)
	}
	if trust := f.known(u); trust != (link.Trust{Epoch: 2, ListEpoch: 1, ListNumber: 1}) {
		t.Errorf("after a forged link: %+v", trust) // what came before it was good
	}
	release := func(serial ca.EUI64, generation uint32) *ca.Release {
		r, err := ca.SignRelease(rand.Reader, f.root, f.authority.Newest(), serial, generation)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, r := range []*ca.Release{release(first+1, 0), release(first, 1), release(first, 0)} { // the last: it is not paired
		if told, err := tell(one, &f.authority.Bundle, r); !errors.Is(err, ErrRelease) {
			t.Errorf("%v, generation %d: %+v, %v", r.Serial, r.Generation, told, err)
		}
	}
}
