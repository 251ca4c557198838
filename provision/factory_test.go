//go:build cgo

package provision

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
	"github.com/birthmark/birthmark/templates"
)

const stationName = "line-1"

// factory is an authority with keys in memory, one order of it, and the station that has the order: everything that is
// around a unit.
type factory struct {
	t         testing.TB
	dir       string
	root      *ecdsa.PrivateKey
	next      *ecdsa.PrivateKey
	authority *ca.Authority
	profile   *ca.Profile
	order     *ca.Order
	key       *signer
	book      *ledger.Book
	units     []*sim.Unit
}

// newFactory makes a test authority and a first order of count units, both of yesterday.
func newFactory(t testing.TB, count uint64) *factory {
	t.Helper()
	return newFactoryWith(t, count, ca.InitRequest{Test: true, RootURI: "root.key", NextURI: "next.key"}, demoProfile(t))
}

func newFactoryWith(t testing.TB, count uint64, r ca.InitRequest, profile *ca.Profile) *factory {
	t.Helper()
	f := &factory{t: t, dir: t.TempDir(), root: newKey(t), next: newKey(t), profile: profile}
	r.Folder, r.Name, r.Now = filepath.Join(f.dir, "authority"), "Acme", yesterday()
	var err error
	if f.authority, err = ca.Init(rand.Reader, f.root, f.next, r); err != nil {
		t.Fatal(err)
	}
	f.order, f.key = f.newOrder(ca.OrderRequest{Count: count})
	f.book = f.newBook("ledger.db")
	return f
}

func yesterday() time.Time { return time.Now().Add(-24 * time.Hour) }

func demoProfile(t testing.TB, replace ...string) *ca.Profile {
	t.Helper()
	text, err := templates.Product("demo-sensor")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.ParseProfile([]byte(strings.NewReplacer(replace...).Replace(string(text))))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// rotate lets the next root take the place of the newest, which signs the status list again.
func (f *factory) rotate() {
	f.t.Helper()
	after := newKey(f.t)
	r := ca.RotateRequest{AfterURI: fmt.Sprintf("root-%d.key", f.authority.Epoch()+2), Now: yesterday()}
	err := f.authority.Rotate(rand.Reader, f.next, &after.PublicKey, r)
	if err == nil {
		err = f.authority.RenewList(rand.Reader, f.next)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	f.root, f.next = f.next, after
}

// revoke signs the next status list.
func (f *factory) revoke(r ca.RevokeRequest) {
	f.t.Helper()
	if err := f.authority.Revoke(rand.Reader, f.root, r); err != nil {
		f.t.Fatal(err)
	}
}

// newOrder signs the authority's next order, for a fresh order key. What r leaves out is this station, the factory's
// profile, yesterday and a year.
func (f *factory) newOrder(r ca.OrderRequest) (*ca.Order, *signer) {
	f.t.Helper()
	key := newKey(f.t)
	if r.Request == nil {
		r.Request = &ca.Request{Station: stationName}
	}
	r.Request.Key = &key.PublicKey
	if r.Profile == nil {
		r.Profile = f.profile
	}
	if r.Validity == 0 {
		r.Validity = 365 * 24 * time.Hour
	}
	r.Now = yesterday()
	order, err := f.authority.Order(rand.Reader, f.root, r)
	if err != nil {
		f.t.Fatal(err)
	}
	return order, &signer{Signer: key}
}

// in reports to a subtest until that ends.
func (f *factory) in(t *testing.T) {
	outer := f.t
	f.t = t
	t.Cleanup(func() { f.t = outer })
}

func (f *factory) bookPath(name string) string { return filepath.Join(f.dir, name) }

// newBook makes a book of this authority, which is closed when the test ends.
func (f *factory) newBook(name string) *ledger.Book {
	f.t.Helper()
	b, err := ledger.Create(f.bookPath(name), ledger.Identity{
		Anchor: f.authority.Anchor.Hash(), Authority: "Acme", Station: stationName, Test: f.authority.Test,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { b.Close() })
	return b
}

// openBook opens the factory's book again, which was closed for another process.
func (f *factory) openBook() {
	f.t.Helper()
	b, err := ledger.Open(f.bookPath("ledger.db"), f.authority.Anchor.Hash())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { b.Close() })
	f.book = b
}

func (f *factory) closeBook() {
	f.t.Helper()
	if err := f.book.Close(); err != nil {
		f.t.Fatal(err)
	}
}

// station is the one that has the first order, ready for a shift.
func (f *factory) station() *Station {
	f.t.Helper()
	return f.stationFor(f.order, f.key, f.book)
}

// stationFor has its badge already, so that the key counts the signatures of units.
func (f *factory) stationFor(o *ca.Order, key *signer, b *ledger.Book) *Station {
	f.t.Helper()
	s := &Station{Order: o, Bundle: &f.authority.Bundle, Key: key, Book: b, Test: o.Test(), Now: time.Now, Baud: 115200}
	if err := s.CheckReady(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	if _, err := (&unit{station: s, key: timed{Signer: key.Signer}}).badge(); err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *factory) image() device.Image {
	return device.Image{
		AnchorHash:   f.authority.Anchor.Hash(),
		FirmwareHash: sha256.Sum256([]byte("firmware")),
		Product:      f.profile.Product,
		Peers:        f.profile.Peers,
		IOKey:        f.profile.IOKey(),
	}
}

// unit plugs in a new unit; options without an image are of this factory's.
func (f *factory) unit(o sim.Options) *sim.Unit {
	f.t.Helper()
	if o.Dir == "" {
		o.Dir, o.Index = f.dir, len(f.units)+1
	}
	if o.Image.Product == 0 {
		o.Image = f.image()
	}
	u, err := sim.Start(o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := u.Close(); err != nil {
			f.t.Error(err)
		}
	})
	f.units = append(f.units, u)
	return u
}

// plug gives a unit its power again.
func (f *factory) plug(u *sim.Unit) {
	f.t.Helper()
	if err := u.Plug(); err != nil {
		f.t.Fatal(err)
	}
}

// run provisions the units on these ports at once, results in their order.
func run(ctx context.Context, s *Station, ports ...string) []Result {
	results := make([]Result, len(ports))
	s.Run(ctx, ports, func(r Result) { results[slices.Index(ports, r.Port)] = r })
	return results
}

// pass provisions one unit, which must succeed.
func (f *factory) pass(s *Station, u *sim.Unit) *Receipt {
	f.t.Helper()
	r := run(f.t.Context(), s, u.Port())[0]
	if r.Err != nil || r.Receipt == nil {
		f.t.Fatalf("%s, stage %v: %v", r.Port, r.Stage, r.Err)
	}
	return r.Receipt
}

// fail provisions the unit on a port, which must end in this stage with an error that is all of these.
func (f *factory) fail(s *Station, port string, stage Stage, want ...error) Result {
	f.t.Helper()
	r := run(f.t.Context(), s, port)[0]
	wantFailure(f.t, r, stage, want...)
	return r
}

func wantFailure(t testing.TB, r Result, stage Stage, want ...error) {
	t.Helper()
	if r.Err == nil || r.Receipt != nil || r.Stage != stage {
		t.Fatalf("ended in stage %v with receipt %v, error %v", r.Stage, r.Receipt, r.Err)
	}
	for _, err := range want {
		if !errors.Is(r.Err, err) {
			t.Fatalf("got error %q, want %q in it", r.Err, err)
		}
	}
	if text := r.Err.Error(); strings.ContainsAny(text, "\n") || strings.Contains(text, "%!") {
		t.Errorf("error is not one clear sentence: %q", text)
	}
}

// inspect asks a unit what it is and verifies what it carries. It waits for a port that a killed process had: a
// pseudo-terminal is given back a little later.
func (f *factory) inspect(u *sim.Unit) *Inspection {
	f.t.Helper()
	i, err := Inspect(f.t.Context(), u.Port(), 115200)
	for deadline := time.Now().Add(5 * time.Second); errors.Is(err, link.ErrPortBusy) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		i, err = Inspect(f.t.Context(), u.Port(), 115200)
	}
	if err == nil {
		err = i.Verify(&f.authority.Bundle)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return i
}

// entry is what the book has of a unit; the zero entry if it has none.
func (f *factory) entry(u *sim.Unit) ledger.Entry {
	f.t.Helper()
	e, err := f.book.Unit(f.t.Context(), f.inspect(u).Chip)
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		f.t.Fatal(err)
	}
	return e
}

// audit proves the book, and that it has these units and no others, all finished.
func (f *factory) audit(units ...*sim.Unit) {
	f.t.Helper()
	f.auditBook(len(units))
	for _, u := range units {
		f.auditUnit(u)
	}
}

// auditBook proves the book and that it has n units, all finished under the order's serial numbers from the first without
// a gap, each in the log once.
func (f *factory) auditBook(n int) {
	f.t.Helper()
	report, err := VerifyBook(f.t.Context(), f.book, &f.authority.Bundle)
	if err != nil {
		f.t.Fatal(err)
	}
	if o := report.Orders[0]; report.Size != int64(n) || o.Closed != uint64(n) || o.Issued != uint64(n) || o.Reserved != 0 {
		f.t.Fatalf("%d units: %d leaves, %+v", n, report.Size, o)
	}
	serial := uint64(f.order.Certificate.Range.First)
	for e, err := range f.book.Units(f.t.Context()) {
		if err != nil {
			f.t.Fatal(err)
		}
		if e.Serial != serial {
			f.t.Errorf("serial number %x, want %x", e.Serial, serial)
		}
		serial++
	}
}

// auditUnit compares a finished unit with the book.
func (f *factory) auditUnit(u *sim.Unit) {
	f.t.Helper()
	i, e := f.inspect(u), f.entry(u)
	if i.State != link.Sealed || e.State != ledger.Closed || !bytes.Equal(i.UnitCertificate, e.Certificate) {
		f.t.Errorf("%s: unit is %v with %x, the book has it %v with %x", u.Port(), i.State, i.UnitCertificate, e.State, e.Certificate)
	}
}

// signer is a key that counts its signatures and can be made to fail.
type signer struct {
	crypto.Signer
	signatures atomic.Int64
	spoil      func(signature []byte) ([]byte, error) // nil = a good key
}

func (s *signer) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.signatures.Add(1)
	signature, err := s.Signer.Sign(random, digest, opts)
	if s.spoil != nil && err == nil {
		return s.spoil(signature)
	}
	return signature, err
}
