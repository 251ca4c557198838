package c509

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"math/big"
)

// PublicKey is a subjectPublicKey (section 3.2.1).
type PublicKey struct {
	// Bytes is the point of an elliptic curve, the first octet telling its form; the modulus of an RSA key,
	// big-endian without leading zero; else what the X.509 BIT STRING has.
	Bytes []byte
	// Exponent is that of an RSA key, big-endian without leading zero; nil means 65537.
	Exponent []byte
}

// First octets of a point. The last two exist in type 3 only: compressed here, uncompressed in the X.509 form.
const (
	pointEven         = 0x02
	pointOdd          = 0x03
	pointUncompressed = 0x04
	pointOddWasFull   = 0xfd
	pointEvenWasFull  = 0xfe
)

const defaultExponent = "\x01\x00\x01" // 65537

func (r *reader) publicKey() PublicKey {
	if r.peek() != majorArray {
		return PublicKey{Bytes: r.bytes()}
	}
	if n := r.array(); n != 2 {
		r.malformed("array of %d items, want modulus and exponent", n)
	}
	return PublicKey{Bytes: r.bytes(), Exponent: r.bytes()}
}

func (w *writer) publicKey(k PublicKey) {
	if k.Exponent == nil {
		w.bytes(k.Bytes)
		return
	}
	w.array(2)
	w.bytes(k.Bytes)
	w.bytes(k.Exponent)
}

func (a PublicKeyAlgorithm) checkKey(k PublicKey, native bool) error {
	e, err := a.entry()
	if err != nil {
		return err
	}
	ok := k.Exponent == nil
	switch e.form {
	case formEC:
		ok = ok && validPoint(k.Bytes, e.size, native)
	case formRSA:
		ok = positiveInteger(k.Bytes) &&
			(ok || positiveInteger(k.Exponent) && string(k.Exponent) != defaultExponent)
	default:
		ok = ok && len(k.Bytes) == e.size
	}
	if !ok {
		return fmt.Errorf("%w: no %s key: %x", ErrMalformed, e.name, k.Bytes)
	}
	return nil
}

func validPoint(p []byte, size int, native bool) bool {
	if len(p) == 0 {
		return false
	}
	switch p[0] {
	case pointEven, pointOdd:
		return len(p) == 1+size
	case pointUncompressed:
		return len(p) == 1+2*size
	case pointOddWasFull, pointEvenWasFull:
		return len(p) == 1+size && !native
	}
	return false
}

// CompressedKey returns the 33-byte point of a P-256 key, as a type 2 certificate holds it best.
func CompressedKey(pub *ecdsa.PublicKey) (PublicKey, error) {
	if pub.Curve != elliptic.P256() {
		return PublicKey{}, fmt.Errorf("compress public key: %w: curve %s", ErrUnsupported, pub.Params().Name)
	}
	point, err := pub.Bytes()
	if err != nil {
		return PublicKey{}, fmt.Errorf("compress public key: %w: %w", ErrMalformed, err)
	}
	return PublicKey{Bytes: compressPoint(point, pointEven, pointOdd)}, nil
}

// compressPoint turns an uncompressed point into its x coordinate behind one of two octets that tell whether y
// is even or odd.
func compressPoint(point []byte, even, odd byte) []byte {
	short := bytes.Clone(point[:1+len(point)/2])
	short[0] = even
	if point[len(point)-1]&1 == 1 {
		short[0] = odd
	}
	return short
}

// Key returns the subject's public key: *ecdsa.PublicKey on P-256, P-384 or P-521 whatever the form of its
// point, *rsa.PublicKey, ed25519.PublicKey, or *ecdh.PublicKey for X25519. The error wraps ErrMalformed for a
// point that is not on its curve, and ErrUnsupported for other algorithms.
func (c *Certificate) Key() (crypto.PublicKey, error) {
	key, err := c.key()
	if err != nil {
		return nil, fmt.Errorf("subject public key: %w", err)
	}
	return key, nil
}

func (c *Certificate) key() (crypto.PublicKey, error) {
	if err := c.PublicKeyAlgorithm.checkKey(c.PublicKey, c.Type == Native); err != nil {
		return nil, err
	}
	switch c.PublicKeyAlgorithm {
	case P256Key, P384Key, P521Key:
		curve := curveOf(c.PublicKeyAlgorithm)
		point, err := uncompressPoint(curve, c.PublicKey.Bytes)
		if err != nil {
			return nil, err
		}
		key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return key, nil
	case RSAKey:
		return rsaKey(c.PublicKey)
	case Ed25519Key:
		return ed25519.PublicKey(c.PublicKey.Bytes), nil
	case X25519Key:
		return ecdh.X25519().NewPublicKey(c.PublicKey.Bytes)
	}
	return nil, fmt.Errorf("%w: %s", ErrUnsupported, c.PublicKeyAlgorithm)
}

// curveOf returns nil for the curves that the standard library does not have.
func curveOf(a PublicKeyAlgorithm) elliptic.Curve {
	switch a {
	case P256Key:
		return elliptic.P256()
	case P384Key:
		return elliptic.P384()
	case P521Key:
		return elliptic.P521()
	}
	return nil
}

// uncompressPoint brings a point of any form to the uncompressed one. Only a point that was compressed is
// known to be on the curve afterwards.
func uncompressPoint(curve elliptic.Curve, point []byte) ([]byte, error) {
	sec1 := bytes.Clone(point)
	switch point[0] {
	case pointUncompressed:
		return sec1, nil
	case pointEvenWasFull:
		sec1[0] = pointEven
	case pointOddWasFull:
		sec1[0] = pointOdd
	}
	x, y := elliptic.UnmarshalCompressed(curve, sec1)
	if x == nil {
		return nil, fmt.Errorf("%w: %x is no point of %s", ErrMalformed, point, curve.Params().Name)
	}
	size := len(point) - 1
	full := make([]byte, 1+2*size)
	full[0] = pointUncompressed
	x.FillBytes(full[1 : 1+size])
	y.FillBytes(full[1+size:])
	return full, nil
}

func rsaKey(k PublicKey) (*rsa.PublicKey, error) {
	e := big.NewInt(65537)
	if k.Exponent != nil {
		e.SetBytes(k.Exponent)
	}
	if e.BitLen() > 31 { // what rsa.PublicKey.E holds on every platform
		return nil, fmt.Errorf("%w: RSA exponent of %d bits", ErrUnsupported, e.BitLen())
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(k.Bytes), E: int(e.Int64())}, nil
}
