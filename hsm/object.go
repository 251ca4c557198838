//go:build cgo

package hsm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const findBatch = 64 // handles that one C_FindObjects asks for

// keyPair is a private key of a token and its public half.
type keyPair struct {
	private pkcs11.ObjectHandle
	label   string
	id      []byte
	public  *ecdsa.PublicKey
}

func (p keyPair) String() string { return fmt.Sprintf("%q (id %x)", p.label, p.id) }

// selector names the key by all that is known of it.
func (p keyPair) selector() Selector { return Selector{Label: p.label, ID: p.id, Public: p.public} }

// template asks for EC keys of one class by label and id.
func (want Selector) template(class uint) []*pkcs11.Attribute {
	template := []*pkcs11.Attribute{attr(pkcs11.CKA_CLASS, class), attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC)}
	if want.Label != "" {
		template = append(template, attr(pkcs11.CKA_LABEL, want.Label))
	}
	if want.ID != nil {
		template = append(template, attr(pkcs11.CKA_ID, want.ID))
	}
	return template
}

func attr(kind uint, value any) *pkcs11.Attribute { return pkcs11.NewAttribute(kind, value) }

// key returns the one P-256 private key that want names. Wraps ErrNoKey, or ErrAmbiguous with a list: a
// public key tells two keys of one label apart, but not two of one label and id.
func (s session) key(want Selector) (keyPair, error) {
	pairs, err := s.keys(want)
	if err != nil {
		return keyPair{}, err
	}
	switch len(pairs) {
	case 0:
		return keyPair{}, fmt.Errorf("%w: %s", ErrNoKey, want)
	case 1:
		return pairs[0], nil
	}
	text := ""
	for _, p := range pairs {
		text += ", " + p.String()
	}
	return keyPair{}, fmt.Errorf("%w: key %s is %s", ErrAmbiguous, want, text[2:])
}

// keys lists the P-256 private keys that match. A key whose public half cannot be read is an error,
// but no match if the search is by public key alone.
func (s session) keys(want Selector) ([]keyPair, error) {
	handles, err := s.find(want.template(pkcs11.CKO_PRIVATE_KEY))
	if err != nil {
		return nil, err
	}
	var pairs []keyPair
	for _, h := range handles {
		pair, err := s.describe(h)
		if err != nil {
			return nil, err
		}
		pair.public, err = s.publicKey(pair)
		switch {
		case err == nil && want.Public != nil && !want.Public.Equal(pair.public):
		case err == nil:
			pairs = append(pairs, pair)
		case code(err) != pkcs11.CKR_OK || want.Public == nil || want.Label != "" || want.ID != nil:
			return nil, fmt.Errorf("key %s: %w", pair, err)
		}
	}
	return pairs, nil
}

func (s session) describe(h pkcs11.ObjectHandle) (keyPair, error) {
	label, err := s.attribute(h, pkcs11.CKA_LABEL)
	if err != nil {
		return keyPair{}, err
	}
	id, err := s.attribute(h, pkcs11.CKA_ID)
	return keyPair{private: h, label: string(label), id: id}, err
}

// publicKey reads the point from the private object, where some modules have it, or else from the one
// public object with the same label and id.
func (s session) publicKey(pair keyPair) (*ecdsa.PublicKey, error) {
	public, err := s.point(pair.private)
	if err == nil || lost(err) {
		return public, err
	}
	objects, err := s.find([]*pkcs11.Attribute{attr(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
		attr(pkcs11.CKA_LABEL, pair.label), attr(pkcs11.CKA_ID, pair.id)})
	switch {
	case err != nil:
		return nil, err
	case len(objects) == 0:
		return nil, errors.New("the token has no public key for it")
	case len(objects) > 1:
		return nil, fmt.Errorf("%w: %d public keys of one label and id", ErrAmbiguous, len(objects))
	}
	return s.point(objects[0])
}

// point reads CKA_EC_POINT of an object.
func (s session) point(h pkcs11.ObjectHandle) (*ecdsa.PublicKey, error) {
	value, err := s.attribute(h, pkcs11.CKA_EC_POINT)
	if err != nil {
		return nil, err
	}
	return parsePoint(value)
}

// parsePoint reads CKA_EC_POINT: an uncompressed point of P-256, in a DER OCTET STRING (PKCS#11 v2.40
// mechanisms, section 2.3.3) or raw, as some modules have it.
func parsePoint(value []byte) (*ecdsa.PublicKey, error) {
	input, point := cryptobyte.String(value), cryptobyte.String(nil)
	if !input.ReadASN1(&point, asn1.OCTET_STRING) || !input.Empty() {
		point = value
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fmt.Errorf("public key is not a point of P-256: %w", err)
	}
	return public, nil
}

// find returns the handles of all objects that match.
func (s session) find(template []*pkcs11.Attribute) (found []pkcs11.ObjectHandle, err error) {
	if err := s.FindObjectsInit(s.handle, template); err != nil {
		return nil, fmt.Errorf("C_FindObjectsInit: %w", err)
	}
	defer func() {
		if e := s.FindObjectsFinal(s.handle); e != nil {
			err = errors.Join(err, fmt.Errorf("C_FindObjectsFinal: %w", e))
		}
	}()
	for {
		batch, _, err := s.FindObjects(s.handle, findBatch)
		if err != nil {
			return nil, fmt.Errorf("C_FindObjects: %w", err)
		}
		if len(batch) == 0 {
			return found, nil
		}
		found = append(found, batch...)
	}
}

// attribute reads one attribute. They are asked for one by one, since one that a module lacks fails the
// whole call.
func (s session) attribute(h pkcs11.ObjectHandle, kind uint) ([]byte, error) {
	values, err := s.GetAttributeValue(s.handle, h, []*pkcs11.Attribute{attr(kind, nil)})
	if err != nil {
		return nil, fmt.Errorf("C_GetAttributeValue: %w", err)
	}
	return values[0].Value, nil
}
