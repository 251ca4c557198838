package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"io"
	"time"
)

// c5c is the COSE header of an ordered chain of C509 certificates (draft-ietf-cose-cbor-encoded-cert-21, section 5).
const c5c = 25

// IDCred is ID_CRED_x by value, {25: [unit, order]}: what a unit keeps and shows in a first handshake, and what a station
// shows of itself (docs/formats.md, "In the unit").
func IDCred(u *UnitCertificate, o *OrderCertificate) []byte {
	return mustEncode(map[int][][]byte{c5c: {u.Raw, o.Raw}})
}

// idCred is the map of IDCred.
type idCred struct {
	Chain [][]byte `cbor:"25,keyasint"`
}

// ParseIDCred reads what IDCred wrote. No signature is checked: Bundle.VerifyUnit does that. Errors wrap ErrMalformed.
func ParseIDCred(id []byte) (*UnitCertificate, *OrderCertificate, error) {
	var v idCred
	if err := decodeStrict(id, &v); err != nil || len(v.Chain) != 2 {
		return nil, nil, fmt.Errorf("not {25: [unit, order]}, as a unit shows itself: %w", ErrMalformed)
	}
	u, err := ParseUnitCertificate(v.Chain[0])
	if err != nil {
		return nil, nil, err
	}
	o, err := ParseOrderCertificate(v.Chain[1])
	return u, o, err
}

// SignStation makes the certificate that a station shows in the handshake with a unit that is not sealed yet: a unit
// certificate by the order key over a key that lives as long as the run, with the serial number that no range may contain.
// So a unit needs no second form to read it, and one that is sealed refuses it by its range. test and now are judged as
// by Usable. What it returns has been parsed back and its signature verified. Errors wrap ErrPolicy, ErrTest, or what the
// signer says.
func (o *Order) SignStation(random io.Reader, order crypto.Signer, key *ecdsa.PublicKey, test bool, now time.Time) (*UnitCertificate, error) {
	if err := o.Usable(test, now); err != nil {
		return nil, err
	}
	if !o.Certificate.Key.Equal(order.Public()) {
		return nil, fmt.Errorf("the station's key is not that of order %d: %w", o.Number(), ErrPolicy)
	}
	signed, err := signUnitCertificate(random, order, o.Certificate.station(key, now))
	if err != nil {
		return nil, err
	}
	if err := signed.signed.VerifySignature(o.Certificate.Key); err != nil {
		return nil, fmt.Errorf("read back station's certificate: %w: %w", err, ErrVerify)
	}
	return signed, nil
}

// ForgeStation makes what an impostor would show in SignStation's place: the same names, times, product and range, signed
// by a root and an order key that are made up on the spot and forgotten. A unit must refuse it.
func (o *Order) ForgeStation(random io.Reader, key *ecdsa.PublicKey, now time.Time) (*UnitCertificate, *OrderCertificate, error) {
	return o.Certificate.forge(random, o.Certificate.station(key, now))
}

// Forge makes what an impostor would show in a unit's place, as ForgeStation does: the certificate's names and time over the
// impostor's key.
func (u *UnitCertificate) Forge(random io.Reader, order *OrderCertificate, key *ecdsa.PublicKey) (*UnitCertificate, *OrderCertificate, error) {
	return order.forge(random, &UnitCertificate{Serial: u.Serial, Order: u.Order, Key: key, IssuedAt: u.IssuedAt})
}

func (o *OrderCertificate) forge(random io.Reader, u *UnitCertificate) (*UnitCertificate, *OrderCertificate, error) {
	root, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, nil, err
	}
	made, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, nil, err
	}
	forged := *o
	forged.Key = &made.PublicKey
	order, err := signOrderCertificate(random, root, &forged)
	if err != nil {
		return nil, nil, err
	}
	unit, err := signUnitCertificate(random, made, u)
	return unit, order, err
}

func (o *OrderCertificate) station(key *ecdsa.PublicKey, now time.Time) *UnitCertificate {
	return &UnitCertificate{Serial: stationIdent, Order: o.Name, Key: key, IssuedAt: now}
}
