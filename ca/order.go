package ca

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"time"
)

const orderTitle = "birthmark order 1"

// Order is an officer's permission to build: a product, a serial range, a station, a count and a time, signed by the root.
// Only ParseOrder and Authority.Order make one, so it always holds: signatures verified, profile read, range inside.
type Order struct {
	Certificate *OrderCertificate
	Previous    [32]byte // SHA-256 of the order file before it
	Anchor      Anchor   // what its units are given
	Station     string
	Count       uint64
	Issued      time.Time
	Expires     time.Time // binds the station only: units have no clock
	Profile     *Profile
	File        []byte // the signed file as it came

	x509, rootX509 *x509.Certificate
}

// Number is the order's number and its place in the authority's chain of order files.
func (o *Order) Number() uint16 { return o.Certificate.Name.Number() }

// Test says whether the authority is marked as a test authority.
func (o *Order) Test() bool { return o.Certificate.Name.Root().Test() }

// X509 gives the order and root certificates as X.509, DER, for tools that check a unit's twin.
func (o *Order) X509() (order, root []byte) { return o.x509.Raw, o.rootX509.Raw }

// orderPayload is what the root signs (docs/formats.md, "Order file").
type orderPayload struct {
	_           struct{} `cbor:",toarray"`
	Title       string
	Previous    []byte
	Certificate []byte
	X509        []byte
	RootX509    []byte
	Anchor      []byte
	Station     string
	Count       uint64
	Issued      uint64
	Expires     uint64
	Profile     []byte
}

// ParseOrder reads an order file and verifies it as far as it carries its own proof: the root in its anchor signed the
// file and both certificates. Whether that root is the right one is the caller's to say: the station's book is bound to
// an anchor, and a unit to the hash in its image.
func ParseOrder(file []byte) (*Order, error) {
	m, err := parseObject(orderTitle, file)
	if err != nil {
		return nil, fmt.Errorf("order file: %w", err)
	}
	var v orderPayload
	if err := decodeStrict(m.Payload, &v); err != nil {
		return nil, fmt.Errorf("order file: %w", err)
	}
	anchor, err := ParseAnchor(v.Anchor)
	if err != nil {
		return nil, fmt.Errorf("order file: %w", err)
	}
	if _, err := openObject(anchor.Key(), orderTitle, file); err != nil {
		return nil, fmt.Errorf("order file: %w", err)
	}
	o, err := v.order(anchor)
	if err != nil {
		return nil, fmt.Errorf("order file: %w", err)
	}
	o.File = bytes.Clone(file)
	return o, nil
}

func (v *orderPayload) order(anchor Anchor) (*Order, error) {
	certificate, err := ParseOrderCertificate(v.Certificate)
	if err != nil {
		return nil, err
	}
	if err := certificate.Verify(anchor); err != nil {
		return nil, err
	}
	profile, err := ParseProfile(v.Profile)
	if err != nil {
		return nil, err
	}
	o := &Order{
		Certificate: certificate,
		Anchor:      anchor,
		Station:     v.Station,
		Count:       v.Count,
		Issued:      time.Unix(int64(v.Issued), 0).UTC(),
		Expires:     time.Unix(int64(v.Expires), 0).UTC(),
		Profile:     profile,
	}
	if copy(o.Previous[:], v.Previous) != len(o.Previous) || len(v.Previous) != len(o.Previous) {
		return nil, fmt.Errorf("hash of the order before is %d bytes: %w", len(v.Previous), ErrMalformed)
	}
	if o.x509, err = x509.ParseCertificate(v.X509); err != nil {
		return nil, fmt.Errorf("X.509 order certificate: %w: %w", err, ErrMalformed)
	}
	if o.rootX509, err = x509.ParseCertificate(v.RootX509); err != nil {
		return nil, fmt.Errorf("X.509 root certificate: %w: %w", err, ErrMalformed)
	}
	return o, o.check(v)
}

// check compares what the file says twice, and the file with its certificate.
func (o *Order) check(v *orderPayload) error {
	switch {
	case v.Title != orderTitle:
		return fmt.Errorf("title %q: %w", v.Title, ErrMalformed)
	case checkStationName(o.Station) != nil:
		return checkStationName(o.Station)
	case o.Count < 1 || o.Count > o.Certificate.Range.Size():
		return fmt.Errorf("count %d does not fit the range %v: %w", o.Count, o.Certificate.Range, ErrMalformed)
	case v.Issued > uint64(noExpiry.Unix()) || v.Expires > uint64(noExpiry.Unix()) || v.Expires <= v.Issued:
		return fmt.Errorf("expires at %d, issued at %d: %w", v.Expires, v.Issued, ErrMalformed)
	case o.Profile.Product != o.Certificate.Product:
		return fmt.Errorf("profile %q is product %d, the certificate says %d: %w", o.Profile.Name, o.Profile.Product, o.Certificate.Product, ErrMalformed)
	case !o.rootX509.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(o.Anchor.Key()):
		return fmt.Errorf("X.509 root has another key than the anchor: %w", ErrVerify)
	case !o.x509.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(o.Certificate.Key):
		return fmt.Errorf("X.509 order certificate has another key than the C509 one: %w", ErrVerify)
	}
	if err := o.x509.CheckSignatureFrom(o.rootX509); err != nil {
		return fmt.Errorf("X.509 order certificate: %w: %w", err, ErrVerify)
	}
	return nil
}

// hash is what the next order file names as the one before it.
func (o *Order) hash() [32]byte { return sha256.Sum256(o.File) }

// OrderRequest is what an officer decides on.
type OrderRequest struct {
	Request  *Request // the station's, with its order key
	Profile  *Profile
	Count    uint64
	First    EUI64 // 0 = the next free serial number under the authority's prefix
	Validity time.Duration
	Now      time.Time
}

// MaxValidity bounds how long a station may use one order; a longer job takes several.
const MaxValidity = 5 * 366 * 24 * time.Hour

// Order signs the next order of the authority and writes its file into the authority's folder before it returns. Nothing
// is written when it refuses (ErrPolicy) or when signing fails. random feeds the signatures and may be nil for a token.
func (a *Authority) Order(random io.Reader, root crypto.Signer, r OrderRequest) (*Order, error) {
	if err := a.isRoot(root); err != nil {
		return nil, err
	}
	limits, err := a.next(r)
	if err != nil {
		return nil, err
	}
	issued := r.Now.UTC().Truncate(time.Second)
	certificate, err := signOrderCertificate(random, root, &OrderCertificate{
		Name:     newOrderName(a.Anchor.Name(), uint16(len(a.Orders)+1)),
		Product:  r.Profile.Product,
		Range:    limits,
		Key:      r.Request.Key,
		IssuedAt: issued,
	})
	if err != nil {
		return nil, err
	}
	twin, err := orderX509(random, a.Name, a.rootX509, root, certificate, r.Request.Station)
	if err != nil {
		return nil, err
	}
	previous := [32]byte{}
	if len(a.Orders) > 0 {
		previous = a.Orders[len(a.Orders)-1].hash()
	}
	file, err := signObject(random, root, orderTitle, mustEncode(orderPayload{
		Title:       orderTitle,
		Previous:    previous[:],
		Certificate: certificate.Raw,
		X509:        twin,
		RootX509:    a.rootX509.Raw,
		Anchor:      a.Anchor[:],
		Station:     r.Request.Station,
		Count:       r.Count,
		Issued:      uint64(issued.Unix()),
		Expires:     uint64(issued.Add(r.Validity).Unix()),
		Profile:     r.Profile.Bytes(),
	}))
	if err != nil {
		return nil, err
	}
	o, err := ParseOrder(file)
	if err != nil {
		return nil, fmt.Errorf("read back the new order: %w", err)
	}
	return o, a.append(o)
}

// CanOrder says whether Order would sign, so that a refusal comes before a PIN is asked for.
func (a *Authority) CanOrder(r OrderRequest) error {
	_, err := a.next(r)
	return err
}

// next chooses the range and refuses what no order may be: a gap, a fork and an overlap cannot arise, since the number is
// the next one, the hash is the last file's, and the range is held against every order before.
func (a *Authority) next(r OrderRequest) (Range, error) {
	switch {
	case r.Count == 0:
		return Range{}, fmt.Errorf("order of 0 units: %w", ErrMalformed)
	case r.Validity <= 0 || r.Validity > MaxValidity:
		return Range{}, fmt.Errorf("validity %v: want more than 0 and at most %v: %w", r.Validity, MaxValidity, ErrMalformed)
	case a.Remaining() == 0:
		return Range{}, fmt.Errorf("root %d has signed %d orders, as many as a unit has room to close: %w", a.Anchor.Name().Epoch(), MaxOrdersPerRoot, ErrPolicy)
	}
	for _, o := range a.Orders {
		if o.Certificate.Key.Equal(r.Request.Key) {
			return Range{}, fmt.Errorf("order %d was already signed for this order key; the station must make a new one: %w", o.Number(), ErrPolicy)
		}
	}
	first := r.First
	if first == 0 {
		first = a.free(r.Count)
	}
	limits := Range{First: first, Last: first + EUI64(r.Count-1)}
	if limits.Last < limits.First || first < a.Prefix.first() || limits.Last > a.Prefix.last() {
		return Range{}, fmt.Errorf("%d units from %v do not fit under the prefix %v: %w", r.Count, first, a.Prefix, ErrPolicy)
	}
	for _, o := range a.Orders {
		if o.Certificate.Range.overlaps(limits) {
			return Range{}, fmt.Errorf("range %v overlaps order %d (%v): %w", limits, o.Number(), o.Certificate.Range, ErrPolicy)
		}
	}
	return limits, limits.check()
}

// free finds room for count serial numbers after the last order, past any EUI-48s in disguise.
func (a *Authority) free(count uint64) EUI64 {
	first := a.Prefix.first()
	for _, o := range a.Orders {
		first = max(first, o.Certificate.Range.Last+1)
	}
	if e, ok := (Range{first, first + EUI64(count-1)}).encapsulated(); ok {
		const span = 1 << 24 // EUI-64s that share their first five octets
		first = (e/span + 1) * span
	}
	return first
}
