//go:build cgo

package provision

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

func TestInspect(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	u := f.unit(sim.Options{})
	if i := f.inspect(u); i.State != link.Blank || i.Order != nil || i.Unit != nil || i.Product != f.profile.Product {
		t.Errorf("a new unit: %+v", i)
	}
	if err := f.inspect(u).Compare(t.Context(), f.book); err != nil {
		t.Error(err)
	}
	f.pass(s, u)
	good := f.inspect(u)
	if good.State != link.Sealed || good.Order.Name != f.order.Certificate.Name || good.Unit.Serial != f.order.Certificate.Range.First {
		t.Errorf("a finished unit: %+v", good)
	}
	if err := good.Compare(t.Context(), f.newBook("empty.db")); err != nil {
		t.Errorf("with a book that does not know it: %v", err)
	}

	if _, err := Inspect(t.Context(), filepath.Join(f.dir, "nothing"), 115200); !errors.Is(err, link.ErrNoPort) {
		t.Error(err)
	}
	port, leave := onReply(verbHello, func(_, r message) message { return r.refused(link.StatusChip, 0) }).tap(t, u)
	if _, err := Inspect(t.Context(), port, 115200); !errors.Is(err, ErrRetry) {
		t.Error(err)
	}
	leave()
	for _, at := range []int{8, 9} {
		port, leave := onReply(verbHello, func(_, r message) message { return r.with(atResults+at, []byte{1}) }).tap(t, u)
		if _, err := Inspect(t.Context(), port, 115200); !errors.Is(err, ErrSetAside) || !errors.Is(err, ca.ErrMalformed) {
			t.Error(err)
		}
		leave()
	}

	stranger := newFactory(t, 10)
	second, _ := f.newOrder(ca.OrderRequest{Count: 1})
	for _, test := range []struct {
		name   string
		change func(*Inspection)
		want   error
	}{
		{"good", func(*Inspection) {}, nil},
		{"another root", func(i *Inspection) { i.AnchorHash = stranger.authority.Anchor.Hash() }, ca.ErrOtherRoot},
		{"another authority's order", func(i *Inspection) { i.Order = stranger.order.Certificate }, ca.ErrVerify},
		{"another order", func(i *Inspection) { i.Order = second.Certificate }, ca.ErrVerify},
		{"another product", func(i *Inspection) { i.Product++ }, ca.ErrVerify},
	} {
		i := *good
		test.change(&i)
		if err := i.Verify(&f.authority.Bundle); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
