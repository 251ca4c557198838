package ca

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"io"
	"time"
)

// Candidate is a unit that asks for a certificate, as the station found it. Its proof of possession has been checked by
// the caller, who alone knows the challenge.
type Candidate struct {
	Key           [64]byte // X then Y
	Firmware      [32]byte // SHA-256 of the image
	Anchor        [32]byte // the anchor hash that the image holds
	Product       uint32
	Configuration [128]byte // the chip's configuration zone as read back
	Attested      Attested  // the zero value where the profile asks for none
}

// Draft is a certificate that policy allows: only Check makes one, and only a Draft can be signed.
type Draft struct {
	order *Order
	unit  UnitCertificate // without serial number and time, which the ledger gives
}

// Check holds a unit against its order: the order's time, the authority's test mark (test says that the operator asked for
// a test authority), the image's root, which is the bundle's first, and product, the chip's configuration, the key and its origin. A refusal wraps ErrPolicy (ErrTest
// for the mark), ErrOtherRoot where the image is of another root or product, or ErrMalformed for a key that is no point.
func Check(o *Order, b *Bundle, c Candidate, test bool, now time.Time) (*Draft, error) {
	if err := o.Usable(test, now); err != nil {
		return nil, err
	}
	if err := o.Fits(b, c.Anchor, c.Product, c.Firmware); err != nil {
		return nil, err
	}
	if err := o.Profile.CheckConfiguration(c.Configuration); err != nil {
		return nil, err
	}
	if err := o.Profile.checkOrigin(c.Key, c.Attested); err != nil {
		return nil, err
	}
	key, err := publicKey(c.Key)
	if err != nil {
		return nil, fmt.Errorf("unit's key: %w", err)
	}
	return &Draft{order: o, unit: UnitCertificate{Order: o.Certificate.Name, Key: key}}, nil
}

// Usable says whether the station may work under the order now: neither expired nor from the future, and a test authority's
// only where test was asked for, so that no test unit leaves a production line. Errors wrap ErrPolicy, ErrTest for the mark.
func (o *Order) Usable(test bool, now time.Time) error {
	switch {
	case o.Test() && !test:
		return fmt.Errorf("order %d is of a test authority: %w", o.Number(), ErrTest)
	case !o.Test() && test:
		return fmt.Errorf("order %d is of a production authority, and test units were asked for: %w", o.Number(), ErrTest)
	case !now.Before(o.Expires):
		return fmt.Errorf("order %d expired on %s: %w", o.Number(), o.Expires.Format(time.DateTime), ErrPolicy)
	case now.Before(o.Issued):
		return fmt.Errorf("order %d was issued on %s, which this station's clock has not reached: %w", o.Number(), o.Issued.Format(time.DateTime), ErrPolicy)
	}
	return nil
}

// Fits says whether an image is of the order: it trusts the bundle's first root, from which links lead to the order's, and has its
// product, or the error wraps ErrOtherRoot; its hash is one of the profile's where that lists any, or it wraps ErrPolicy.
func (o *Order) Fits(b *Bundle, anchor [32]byte, product uint32, firmware [32]byte) error {
	if want := b.Anchor.Hash(); anchor != want {
		return fmt.Errorf("unit's firmware trusts root %x, order %d is of %x: %w", anchor[:4], o.Number(), want[:4], ErrOtherRoot)
	}
	if product != o.Certificate.Product {
		return fmt.Errorf("unit's firmware is product %d, order %d is for %d (%s): %w", product, o.Number(), o.Certificate.Product, o.Profile.Name, ErrOtherRoot)
	}
	return o.Profile.checkFirmware(firmware)
}

// Issued is a signed unit certificate and, where it was asked for, its X.509 twin.
type Issued struct {
	Certificate *UnitCertificate
	X509        []byte // DER; nil without a twin
}

// Sign makes the certificate with the serial number and time that the ledger reserved, using the order key. What it
// returns has been parsed back and its signatures verified. random feeds the signature and may be nil for a token. Another
// key than the order's, a serial number outside its range and a time before it wrap ErrPolicy; what the signer says is
// wrapped as it is.
func (d *Draft) Sign(random io.Reader, order crypto.Signer, serial EUI64, at time.Time, twin bool) (*Issued, error) {
	if !d.order.Certificate.Key.Equal(order.Public()) {
		return nil, fmt.Errorf("the station's key is not that of order %d: %w", d.order.Number(), ErrPolicy)
	}
	if !d.order.Certificate.Range.Contains(serial) {
		return nil, fmt.Errorf("serial number %v is outside order %d (%v): %w", serial, d.order.Number(), d.order.Certificate.Range, ErrPolicy)
	}
	if at.Before(d.order.Issued) {
		return nil, fmt.Errorf("time of issue %s is before that of order %d: %w", at.Format(time.DateTime), d.order.Number(), ErrPolicy)
	}
	unit := d.unit
	unit.Serial, unit.IssuedAt = serial, at
	signed, err := signUnitCertificate(random, order, &unit)
	if err != nil {
		return nil, err
	}
	if err := signed.Verify(d.order.Certificate); err != nil {
		return nil, fmt.Errorf("read back certificate of %v: %w", serial, err)
	}
	issued := &Issued{Certificate: signed}
	if twin {
		if issued.X509, err = unitX509(random, d.order.x509, order, signed); err != nil {
			return nil, err
		}
	}
	return issued, nil
}

// CheckRecorded holds a certificate and its twin, which may be nil, against the row of the book that has them: what the
// row says is what was signed, twice if there is a twin. Errors wrap ErrVerify, or ErrMalformed for a twin that is none.
func CheckRecorded(u *UnitCertificate, o *Order, serial uint64, key [64]byte, at time.Time, twin []byte) error {
	if uint64(u.Serial) != serial || point(u.Key) != key || !u.IssuedAt.Equal(at) {
		return fmt.Errorf("certificate of %v is not what its row says: %w", u.Serial, ErrVerify)
	}
	if twin == nil {
		return nil
	}
	c, err := x509.ParseCertificate(twin)
	if err != nil {
		return fmt.Errorf("X.509 twin of %v: %w: %w", u.Serial, err, ErrMalformed)
	}
	return u.checkX509(c, o.x509)
}
