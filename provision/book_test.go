//go:build cgo

package provision

import (
	"crypto/rand"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link/sim"
)

// A book that holds in itself and has in it what the order key never signed.
func TestVerifyBook(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	f.pass(s, f.unit(sim.Options{}))
	if _, err := VerifyBook(t.Context(), f.book, &newFactory(t, 1).authority.Bundle); !errors.Is(err, ledger.ErrTampered) {
		t.Errorf("under another authority: %v", err)
	}
	unit := ledger.UnitKey{Chip: [9]byte{1}, Key: point(newKey(t))}
	for _, test := range []struct {
		name        string
		certificate func(r ledger.Reservation) ([]byte, []byte)
	}{
		{"no certificate", func(ledger.Reservation) ([]byte, []byte) { return []byte("certificate"), nil }},
		{"another unit's certificate", func(ledger.Reservation) ([]byte, []byte) { return f.entry(f.units[0]).Certificate, nil }},
		{"a certificate over another key", func(r ledger.Reservation) ([]byte, []byte) { return f.sign(point(newKey(t)), r.Serial, r.IssuedAt) }},
		{"a certificate of another time", func(r ledger.Reservation) ([]byte, []byte) {
			return f.sign(r.Key, r.Serial, r.IssuedAt.Add(time.Second))
		}},
		{"a twin that is none", func(r ledger.Reservation) ([]byte, []byte) {
			c, _ := f.sign(r.Key, r.Serial, r.IssuedAt)
			return c, []byte("twin")
		}},
		{"another unit's twin", func(r ledger.Reservation) ([]byte, []byte) {
			c, _ := f.sign(r.Key, r.Serial, r.IssuedAt)
			_, twin := f.sign(point(newKey(t)), r.Serial, r.IssuedAt)
			return c, twin
		}},
	} {
		b := f.newBook(test.name)
		if err := b.AddOrder(t.Context(), row(f.order)); err != nil {
			t.Fatal(err)
		}
		r, err := b.Reserve(t.Context(), 1, unit, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		certificate, twin := test.certificate(r)
		if _, err := b.Commit(t.Context(), r.Serial, certificate, twin); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Verify(t.Context(), nil); err != nil {
			t.Fatalf("%s: the book in itself: %v", test.name, err)
		}
		if _, err := VerifyBook(t.Context(), b, &f.authority.Bundle); !errors.Is(err, ledger.ErrTampered) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// sign makes a certificate and its twin for any key, with a finished unit's chip in the place of its own.
func (f *factory) sign(key [64]byte, serial uint64, at time.Time) (certificate, twin []byte) {
	f.t.Helper()
	eeprom, err := os.ReadFile(f.units[0].Port() + ".eeprom") // begins with the configuration
	if err != nil {
		f.t.Fatal(err)
	}
	draft, err := ca.Check(f.order, &f.authority.Bundle, ca.Candidate{
		Key: key, Anchor: f.image().AnchorHash, Product: f.profile.Product, Configuration: [128]byte(eeprom[:128]),
	}, true, time.Now())
	if err != nil {
		f.t.Fatal(err)
	}
	issued, err := draft.Sign(rand.Reader, f.key, ca.EUI64(serial), at, true)
	if err != nil {
		f.t.Fatal(err)
	}
	return issued.Certificate.Raw, issued.X509
}

// An order's row that is not what its file says, which the book in itself cannot know.
func TestVerifyBookOrders(t *testing.T) {
	f := newFactory(t, 10)
	for name, change := range map[string]func(*ledger.Order){
		"no order file": func(o *ledger.Order) { o.File = []byte("order") },
		"count":         func(o *ledger.Order) { o.Count-- },
		"product":       func(o *ledger.Order) { o.Product++ },
		"range":         func(o *ledger.Order) { o.Last++ },
		"number":        func(o *ledger.Order) { o.Number++ },
		"fingerprint":   func(o *ledger.Order) { o.Fingerprint[0]++ },
	} {
		b := f.newBook(name)
		o := row(f.order)
		change(&o)
		if err := b.AddOrder(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyBook(t.Context(), b, &f.authority.Bundle); !errors.Is(err, ledger.ErrTampered) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
