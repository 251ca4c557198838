package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/birthmark/birthmark/internal/durable"
)

const orderTitle = "birthmark order 1"

// MaxValidity bounds how long a station may use one order; a longer job takes several.
const MaxValidity = 5 * 366 * 24 * time.Hour

// Order is an officer's permission to build: a product, a serial range, a station, a count and a time, signed by the root.
// Only ParseOrder and Authority.Order make one, so it always holds: signatures verified, profile read, range inside.
type Order struct {
	Certificate *OrderCertificate
	Previous    [32]byte // SHA-256 of the order file before it
	Anchor      Anchor   // the root's that signed it
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

// Epoch is that of the root that signed the order.
func (o *Order) Epoch() int { return o.Certificate.Name.Root().Epoch() }

// Test says whether the authority is marked as a test authority.
func (o *Order) Test() bool { return o.Certificate.Name.Root().Test() }

// X509 gives the order and root certificates as X.509, DER, for tools that check a unit's twin.
func (o *Order) X509() (order, root []byte) { return o.x509.Raw, o.rootX509.Raw }

// hash is what the next order file names as the one before it.
func (o *Order) hash() [32]byte { return sha256.Sum256(o.File) }

// orderPayload is what the root signs (docs/formats.md, "Order file").
type orderPayload struct {
	_           struct{} `cbor:",toarray"`
	Title       string
	Previous    [32]byte
	Certificate []byte
	X509        []byte
	RootX509    []byte
	Anchor      Anchor
	Station     string
	Count       uint64
	Issued      uint64
	Expires     uint64
	Profile     []byte
}

// ParseOrder reads an order file and verifies it as far as it carries its own proof: the root in its anchor signed the
// file and both certificates, and what the file says twice agrees. Whether that root is the right one is the caller's to
// say: the station's book is bound to an anchor, and a unit to the hash in its image. Errors wrap ErrMalformed or ErrVerify.
func ParseOrder(file []byte) (*Order, error) {
	o, err := parseOrder(file)
	if err != nil {
		return nil, fmt.Errorf("order file: %w", err)
	}
	return o, nil
}

func parseOrder(file []byte) (*Order, error) {
	m, err := parseObject(orderTitle, file)
	if err != nil {
		return nil, err
	}
	var v orderPayload
	if err := decodeStrict(m.Payload, &v); err != nil {
		return nil, err
	}
	anchor, err := ParseAnchor(v.Anchor[:])
	if err != nil {
		return nil, err
	}
	if err := verifyObject(m, orderTitle, anchor.Key()); err != nil {
		return nil, err
	}
	o := &Order{
		Previous: v.Previous,
		Anchor:   anchor,
		Station:  v.Station,
		Count:    v.Count,
		Issued:   time.Unix(int64(v.Issued), 0).UTC(),
		Expires:  time.Unix(int64(v.Expires), 0).UTC(),
		File:     bytes.Clone(file),
	}
	if o.Certificate, err = ParseOrderCertificate(v.Certificate); err != nil {
		return nil, err
	}
	if o.Profile, err = ParseProfile(v.Profile); err != nil {
		return nil, err
	}
	if o.x509, err = x509.ParseCertificate(v.X509); err != nil {
		return nil, fmt.Errorf("X.509 form of the order: %w: %w", err, ErrMalformed)
	}
	if o.rootX509, err = x509.ParseCertificate(v.RootX509); err != nil {
		return nil, fmt.Errorf("X.509 root: %w: %w", err, ErrMalformed)
	}
	return o, o.check(&v)
}

// check verifies the certificates in the file, and compares what the file says twice.
func (o *Order) check(v *orderPayload) error {
	if err := o.Certificate.Verify(o.Anchor); err != nil {
		return err
	}
	switch {
	case v.Title != orderTitle:
		return fmt.Errorf("title %q: %w", v.Title, ErrMalformed)
	case o.Count < 1 || o.Count > o.Certificate.Range.Size():
		return fmt.Errorf("count %d does not fit the range %v: %w", o.Count, o.Certificate.Range, ErrMalformed)
	case !o.Issued.Equal(o.Certificate.IssuedAt):
		return fmt.Errorf("issued at %d, and its certificate at %d: %w", v.Issued, o.Certificate.IssuedAt.Unix(), ErrMalformed)
	case v.Expires <= v.Issued || v.Expires > uint64(noExpiry.Unix()):
		return fmt.Errorf("expires at %d, issued at %d: %w", v.Expires, v.Issued, ErrMalformed)
	case o.Profile.Product != o.Certificate.Product:
		return fmt.Errorf("profile %q is product %d, the certificate says %d: %w", o.Profile.Name, o.Profile.Product, o.Certificate.Product, ErrMalformed)
	}
	if err := CheckStation(o.Station); err != nil {
		return err
	}
	return o.Certificate.checkX509(o.x509, o.rootX509, o.Anchor)
}

// OrderRequest is what an officer decides on.
type OrderRequest struct {
	Request  *Request // the station's, with its order key
	Profile  *Profile
	Count    uint64
	First    EUI64 // 0 = the one after all that were ever ordered
	Validity time.Duration
	Now      time.Time
}

// CanOrder says whether Order would sign, so that a refusal comes before a PIN is asked for.
func (a *Authority) CanOrder(r OrderRequest) error {
	_, err := a.next(r)
	return err
}

// Order signs the next order of the authority and writes its file into the authority's folder before it returns. A request
// that policy refuses wraps ErrPolicy, one that no order can hold ErrMalformed, another key than the root's ErrVerify; then,
// and when signing fails, nothing is written. After an error from the folder the file is there whole or not at all, and
// Load tells which. random feeds the signatures and may be nil for a token.
func (a *Authority) Order(random io.Reader, root crypto.Signer, r OrderRequest) (*Order, error) {
	if err := a.isRoot(root); err != nil {
		return nil, err
	}
	draft, err := a.next(r)
	if err != nil {
		return nil, err
	}
	certificate, err := signOrderCertificate(random, root, draft)
	if err != nil {
		return nil, err
	}
	form, err := orderX509(random, a.Name, a.roots[a.Epoch()-1], root, certificate, r.Request.Station)
	if err != nil {
		return nil, err
	}
	file, err := signObject(random, root, orderTitle, mustEncode(orderPayload{
		Title:       orderTitle,
		Previous:    a.lastHash(),
		Certificate: certificate.Raw,
		X509:        form,
		RootX509:    a.roots[a.Epoch()-1].Raw,
		Anchor:      a.Newest(),
		Station:     r.Request.Station,
		Count:       r.Count,
		Issued:      uint64(certificate.IssuedAt.Unix()),
		Expires:     uint64(certificate.IssuedAt.Add(r.Validity).Unix()),
		Profile:     r.Profile.Bytes(),
	}))
	if err != nil {
		return nil, err
	}
	o, err := ParseOrder(file)
	if err != nil {
		return nil, fmt.Errorf("read back the new order: %w", err)
	}
	if a.rotated() {
		return nil, fmt.Errorf("root %d was replaced meanwhile: run this again: %w", a.Epoch(), ErrPolicy)
	}
	if err := durable.Place(a.OrderPath(o), o.File); err != nil { // of two officers' commands at once, one fails here
		return nil, fmt.Errorf("record order %d: %w", o.Number(), err)
	}
	a.Orders = append(a.Orders, o)
	return o, nil
}

// next drafts the certificate that the request asks for. A gap or a fork cannot arise, since the number is the next one
// and the file will name the last one's hash.
func (a *Authority) next(r OrderRequest) (*OrderCertificate, error) {
	switch {
	case r.Count == 0:
		return nil, fmt.Errorf("order of 0 units: %w", ErrMalformed)
	case r.Validity < time.Second || r.Validity > MaxValidity:
		return nil, fmt.Errorf("validity %v: want 1s to %v: %w", r.Validity, MaxValidity, ErrMalformed)
	}
	if err := r.Profile.producible(); err != nil {
		return nil, err
	}
	first := r.First
	if first == 0 {
		first = a.free(r.Count)
	}
	o := &OrderCertificate{
		Name:     newOrderName(a.Newest().Name(), uint16(len(a.Orders)+1)),
		Product:  r.Profile.Product,
		Range:    Range{First: first, Last: first + EUI64(r.Count-1)},
		Key:      r.Request.Key,
		IssuedAt: r.Now.UTC(),
	}
	return o, a.admit(o)
}

// admit refuses what the authority's next order may not be. Load asks it of the orders that it finds, one after the other,
// so that a folder never holds what Order would have refused.
func (a *Authority) admit(o *OrderCertificate) error {
	epoch := o.Name.Root().Epoch()
	signed := len(a.ordersOf(epoch))
	switch {
	case signed >= a.room(epoch):
		return fmt.Errorf("root %d has signed %d orders, as many as a unit has room to close: rotate the root: %w", epoch, signed, ErrPolicy)
	case a.isRootKey(o.Key):
		return fmt.Errorf("the order key is a root's: the station must make its own: %w", ErrPolicy)
	case o.IssuedAt.Before(a.lastIssued(epoch)):
		return fmt.Errorf("the time is %s, before the root or its last order was made, %s: set the clock: %w", o.IssuedAt.Format(time.DateTime), a.lastIssued(epoch).Format(time.DateTime), ErrPolicy)
	case o.Range.First > o.Range.Last || o.Range.First < a.Prefix.first() || o.Range.Last > a.Prefix.last():
		return fmt.Errorf("%d units from %v do not fit under the prefix %v, %v: %w", o.Range.Size(), o.Range.First, a.Prefix, Range{a.Prefix.first(), a.Prefix.last()}, ErrPolicy)
	}
	for _, before := range a.Orders {
		if before.Certificate.Key.Equal(o.Key) {
			return fmt.Errorf("order %d was already signed for this order key, it is in %s; for another the station must make a new key: %w", before.Number(), a.OrderPath(before), ErrPolicy)
		}
		if before.Certificate.Range.overlaps(o.Range) {
			return fmt.Errorf("range %v overlaps order %d (%v): %w", o.Range, before.Number(), before.Certificate.Range, ErrPolicy)
		}
	}
	return o.Range.check()
}

// isRoot says whether this is the newest root's key. The error wraps ErrVerify.
func (a *Authority) isRoot(root crypto.Signer) error {
	if !a.Newest().Key().Equal(root.Public()) {
		return fmt.Errorf("the key at %s is not that of root %d: %w", a.RootURI(), a.Epoch(), ErrVerify)
	}
	return nil
}

// Needs says whether this is the key of the newest root or of the next one, without which the authority ends.
func (a *Authority) Needs(key *ecdsa.PublicKey) bool {
	return key.Equal(a.Newest().Key()) || keyHash(key) == a.Newest().Next()
}

// isRootKey says whether it is the key of any root, or of the next.
func (a *Authority) isRootKey(key *ecdsa.PublicKey) bool {
	hash := keyHash(key)
	return key.Equal(a.Anchor.Key()) || hash == a.Anchor.Next() ||
		slices.ContainsFunc(a.Links, func(l *Link) bool { return hash == l.Anchor.Next() })
}

// free finds room for count serial numbers after the last one ordered, past any EUI-48s in disguise. What lies between
// orders that were given their first serial number is not found again.
func (a *Authority) free(count uint64) EUI64 {
	first := a.Prefix.first()
	for _, o := range a.Orders {
		first = max(first, o.Certificate.Range.Last+1)
	}
	if block, ok := (Range{first, first + EUI64(count-1)}).encapsulated(); ok {
		first = block + blockSize // no order ends in a block and no prefix begins in one, so first was before it
	}
	return first
}
