package fleet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/birthmark/birthmark/ca"
)

const (
	headSchema = "fleet/1"
	// MaxMade bounds a made fleet: what one order's range may hold without an EUI-48 in disguise, and more than CI asks for.
	MaxMade = 10_000_000
	batch   = 256 // units that one goroutine makes on end
)

// born is when all made fleets were: the same seed gives the same bytes today and next year.
var born = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Errors that Make and Open wrap.
var (
	ErrNotMade = errors.New("not a made fleet")
	ErrOther   = errors.New("another fleet")
)

// MakeRequest says which fleet to make.
type MakeRequest struct {
	Out     string // .cbor, .jsonl, .tar, .db; any other name is a folder's
	Units   int
	Orders  int    // which share the units, consecutive blocks of serial numbers
	Seed    string // gives all keys
	X509    bool   // each unit gets its X.509 twin as well
	Profile *ca.Profile
}

// Head is what a made fleet begins with: its authority, whose root and order keys are in it, since it is a test authority.
type Head struct {
	Birthmark string      `json:"birthmark"` // fleet/1
	Seed      string      `json:"seed"`
	Units     int         `json:"units"`
	X509      bool        `json:"x509"`
	Bundle    hexBytes    `json:"bundle"`
	Roots     [2]hexBytes `json:"roots"` // keys of the root and of the next one, 32 bytes each
	Orders    []HeadOrder `json:"orders"`

	orders []*ca.Order // what is made has them parsed
}

// HeadOrder is an order with its key, 32 bytes.
type HeadOrder struct {
	File hexBytes `json:"file"`
	Key  hexBytes `json:"key"`
}

// Unit is one unit of a made fleet.
type Unit struct {
	_           struct{} `cbor:",toarray"`
	Serial      ca.EUI64
	Order       uint16   // number
	Key         [32]byte // the private key: a made unit has no chip
	Certificate []byte   // C509
	X509        []byte   // DER; nil without a twin
}

// Make makes a fleet: the same request gives the same bytes on every machine, with keys by HMAC-SHA256 from the seed and signatures by
// RFC 6979. What Out has of the very fleet already is kept, so that a run that was broken off is gone on with. done is told, now and
// then, how many units are there. When the context ends, what is there stays whole, and the error wraps the context's.
//
// Errors wrap ErrRange, ErrNotMade or ErrOther for what is at Out, or what the system says about it.
func Make(ctx context.Context, r MakeRequest, done func(units int)) (err error) {
	m, err := newFoundry(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	f, have, err := openForm(r.Out, m.head, m.authority)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	done(have)
	return m.run(ctx, f, have, done)
}

// foundry has what making a unit takes, and the authority's folder for as long as it lives.
type foundry struct {
	request   MakeRequest
	secret    []byte
	folder    string
	authority string // in folder
	head      *Head
	mints     []*ca.Mint
}

func newFoundry(r MakeRequest) (_ *foundry, err error) {
	switch {
	case r.Units < 1 || r.Units > MaxMade:
		return nil, fmt.Errorf("%d units, want 1 to %d: %w", r.Units, MaxMade, ErrRange)
	case r.Orders < 1 || r.Orders > ca.MaxOrdersPerRoot || r.Orders > r.Units:
		return nil, fmt.Errorf("%d orders for %d units, want 1 to %d, each for a unit at least: %w", r.Orders, r.Units, ca.MaxOrdersPerRoot, ErrRange)
	case r.Seed == "":
		return nil, fmt.Errorf("an empty seed: %w", ErrRange)
	}
	extract := hmac.New(sha256.New, []byte("birthmark fleet 1"))
	extract.Write([]byte(r.Seed))
	m := &foundry{request: r, secret: extract.Sum(nil)}
	if m.folder, err = os.MkdirTemp("", "birthmark-fleet-"); err != nil {
		return nil, err
	}
	if err := m.found(); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

func (m *foundry) close() error { return os.RemoveAll(m.folder) }

// found makes the authority and its orders. No randomness goes in, so the signatures are RFC 6979's.
func (m *foundry) found() error {
	r := m.request
	root, next := m.key("root", 1), m.key("root", 2)
	prefix := ca.Prefix(m.derive("prefix", 0, 0)[:3])
	prefix[0] = prefix[0]&0x70 | 0x02 // locally administered, and no negative number in a database
	m.authority = filepath.Join(m.folder, "authority")
	a, err := ca.Init(nil, root, next, ca.InitRequest{
		Folder: m.authority, Name: "Fleet", Test: true, Prefix: prefix, RootURI: "../keys/root-1.pem", NextURI: "../keys/root-2.pem", Now: born,
	})
	if err != nil {
		return err
	}
	m.head = &Head{Birthmark: headSchema, Seed: r.Seed, Units: r.Units, X509: r.X509, Roots: [2]hexBytes{scalar(root), scalar(next)}}
	for i := range r.Orders {
		key := m.key("order", i+1)
		first, last := m.share(i)
		o, err := a.Order(nil, root, ca.OrderRequest{
			Request: &ca.Request{Station: "fleet", Key: &key.PublicKey}, Profile: r.Profile, Count: uint64(last - first), Validity: ca.MaxValidity, Now: born,
		})
		if err != nil {
			return err
		}
		mint, err := ca.NewMint(o, key)
		if err != nil {
			return err
		}
		m.head.orders, m.mints = append(m.head.orders, o), append(m.mints, mint)
		m.head.Orders = append(m.head.Orders, HeadOrder{File: o.File, Key: scalar(key)})
	}
	bundle, err := a.Publish()
	if err != nil {
		return err
	}
	m.head.Bundle = bundle.Encode()
	return nil
}

// share gives the units of an order, from the first to before the last.
func (m *foundry) share(order int) (first, last int) {
	return order * m.request.Units / m.request.Orders, (order + 1) * m.request.Units / m.request.Orders
}

// unit makes the unit of an index from 0.
func (m *foundry) unit(i int) (Unit, error) {
	order := ((i+1)*m.request.Orders - 1) / m.request.Units
	first, _ := m.share(order)
	key := m.key("unit", i)
	o := m.head.orders[order]
	u := Unit{Serial: o.Certificate.Range.First + ca.EUI64(i-first), Order: o.Number(), Key: [32]byte(scalar(key))}
	var err error
	u.Certificate, u.X509, err = m.mints[order].Unit(u.Serial, &key.PublicKey, m.request.X509)
	return u, err
}

// derive gives 32 bytes that only this seed has.
func (m *foundry) derive(label string, n, try int) []byte {
	h := hmac.New(sha256.New, m.secret)
	h.Write([]byte(label))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	h.Write([]byte{byte(try)})
	return h.Sum(nil)
}

// key gives a key by rejection sampling (FIPS 186-5, A.2.2): of 2^32 tries one is refused.
func (m *foundry) key(label string, n int) *ecdsa.PrivateKey {
	for try := 0; ; try++ {
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), m.derive(label, n, try)); err == nil {
			return key
		}
	}
}

func scalar(key *ecdsa.PrivateKey) []byte {
	b, err := key.Bytes()
	if err != nil {
		panic(err) // the key is one of P-256
	}
	return b
}

// run makes the units from have on, batches side by side, and writes them in their order.
func (m *foundry) run(ctx context.Context, f form, have int, done func(units int)) error {
	work := alike(func(s span) func() error { return m.batch(f, s.first, s.last) })
	return inOrder(ctx, spans(have, m.request.Units, batch), work, func(s span, write func() error) error {
		if err := write(); err != nil {
			return err
		}
		done(s.last)
		return nil
	})
}

// batch makes some units and gives what writes them.
func (m *foundry) batch(f form, first, last int) func() error {
	units := make([]Unit, 0, last-first)
	for i := first; i < last; i++ {
		u, err := m.unit(i)
		if err != nil {
			return func() error { return err }
		}
		units = append(units, u)
	}
	return f.encode(first, units)
}
