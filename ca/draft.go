package ca

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"time"
)

// Candidate is a unit that asks for a certificate, as the station found it. Its proof of possession has been checked by
// the caller, who alone knows the challenge.
type Candidate struct {
	Chip          [9]byte // the chip's serial number
	Key           [64]byte
	Firmware      [32]byte // SHA-256 of the image
	Anchor        [32]byte // the anchor hash that the image holds
	Product       uint32
	Configuration [128]byte // the chip's configuration zone as read back
}

// Draft is a certificate that policy allows: only Check makes one, and only a Draft can be signed.
type Draft struct {
	order *Order
	unit  UnitCertificate // without serial number and time, which the ledger gives
}

// Check holds a unit against its order: the order's time, the authority's test mark (test says that the operator asked for
// a test authority), the image's root and product, the chip's configuration, the key. A refusal wraps ErrPolicy, or
// ErrOtherRoot where the unit itself is the wrong one.
func Check(o *Order, c Candidate, test bool, now time.Time) (*Draft, error) {
	if err := o.Usable(test, now); err != nil {
		return nil, err
	}
	if err := o.Fits(c.Anchor, c.Product, c.Firmware); err != nil {
		return nil, err
	}
	if err := o.Profile.CheckConfiguration(c.Configuration); err != nil {
		return nil, err
	}
	key, err := publicKey(c.Key[:])
	if err != nil {
		return nil, fmt.Errorf("unit's key: %w", err)
	}
	return &Draft{order: o, unit: UnitCertificate{Order: o.Certificate.Name, Key: key}}, nil
}

// Usable says whether the station may work under the order now: neither expired nor from the future, and a test authority's
// only where test was asked for, so that no test unit leaves a production line.
func (o *Order) Usable(test bool, now time.Time) error {
	switch {
	case o.Test() && !test:
		return fmt.Errorf("order %d is of a test authority: %w", o.Number(), ErrTest)
	case !o.Test() && test:
		return fmt.Errorf("order %d is of a production authority, and test units were asked for: %w", o.Number(), ErrTest)
	case !now.Before(o.Expires):
		return fmt.Errorf("order %d expired on %s: %w", o.Number(), o.Expires.Format(time.DateOnly), ErrPolicy)
	case now.Before(o.Issued):
		return fmt.Errorf("order %d was issued on %s, which this station's clock has not reached: %w", o.Number(), o.Issued.Format(time.DateTime), ErrPolicy)
	}
	return nil
}

// Fits says whether an image is of the order: the root that it trusts, its product, its hash where the profile lists any.
func (o *Order) Fits(anchor [32]byte, product uint32, firmware [32]byte) error {
	if anchor != o.Anchor.Hash() {
		return fmt.Errorf("unit's firmware trusts root %x, order %d is of %x: %w", anchor[:4], o.Number(), first4(o.Anchor.Hash()), ErrOtherRoot)
	}
	if product != o.Certificate.Product {
		return fmt.Errorf("unit's firmware is product %d, order %d is for %d (%s): %w", product, o.Number(), o.Certificate.Product, o.Profile.Name, ErrOtherRoot)
	}
	return o.Profile.checkFirmware(firmware)
}

func first4(h [32]byte) []byte { return h[:4] }

// Issued is a signed unit certificate and, where it was asked for, its X.509 twin.
type Issued struct {
	Certificate *UnitCertificate
	X509        []byte // DER; nil without a twin
}

// Sign makes the certificate with the serial number and time that the ledger reserved, using the order key. What it
// returns has been parsed back and its signatures verified. random feeds the signature and may be nil for a token.
func (d *Draft) Sign(random io.Reader, order crypto.Signer, serial EUI64, at time.Time, twin bool) (*Issued, error) {
	key, err := p256Key(order.Public())
	if err != nil {
		return nil, err
	}
	if !d.order.Certificate.Key.Equal(key) {
		return nil, fmt.Errorf("the station's key is not that of order %d: %w", d.order.Number(), ErrPolicy)
	}
	if !d.order.Certificate.Range.Contains(serial) {
		return nil, fmt.Errorf("serial number %v is outside order %d (%v): %w", serial, d.order.Number(), d.order.Certificate.Range, ErrPolicy)
	}
	unit := d.unit
	unit.Serial, unit.IssuedAt = serial, at.UTC().Truncate(time.Second)
	signed, err := signUnitCertificate(random, order, &unit)
	if err != nil {
		return nil, err
	}
	if err := signed.Verify(d.order.Certificate); err != nil {
		return nil, fmt.Errorf("read back certificate of %v: %w", serial, err)
	}
	issued := &Issued{Certificate: signed}
	if twin {
		issued.X509, err = unitX509(random, d.order.x509, order, signed)
	}
	return issued, err
}

// CheckRecorded holds a certificate and its twin, which may be nil, against the row of the book that has them: what the
// row says is what was signed, twice if there is a twin.
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
	name := u.Serial.Bytes()
	if c.SerialNumber.Cmp(new(big.Int).SetBytes(name[:])) != 0 || !u.Key.Equal(c.PublicKey) || !c.NotBefore.Equal(at) {
		return fmt.Errorf("X.509 twin of %v is another certificate: %w", u.Serial, ErrVerify)
	}
	if err := c.CheckSignatureFrom(o.x509); err != nil {
		return fmt.Errorf("X.509 twin of %v: %w: %w", u.Serial, err, ErrVerify)
	}
	return nil
}
