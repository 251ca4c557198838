package ca

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
	"go.yaml.in/yaml/v3"
)

// maxObject bounds what is decoded: an order file with its profile and two X.509 certificates.
const maxObject = 16384 // bytes

// mustEncode writes v as deterministic CBOR (RFC 8949, 4.2). Only this package's own structs are passed, which all encode.
func mustEncode(v any) []byte {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // the options are constant
	}
	b, err := mode.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// decodeStrict reads one deterministic CBOR item and nothing after it: what is read must re-encode to the same bytes. That
// also refuses null for a number or text, and byte strings of another length than the arrays they go to.
func decodeStrict(b []byte, v any) error {
	if len(b) > maxObject {
		return fmt.Errorf("%d bytes, at most %d: %w", len(b), maxObject, ErrMalformed)
	}
	if err := cbor.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", err, ErrMalformed)
	}
	if !bytes.Equal(mustEncode(v), b) {
		return fmt.Errorf("not deterministic CBOR: %w", ErrMalformed)
	}
	return nil
}

// DecodeYAML reads one YAML document into v, as people's files are read: unknown and repeated fields are errors, as is a second
// document. Whoever calls it says that its errors are ErrMalformed, and of what.
func DecodeYAML(text []byte, v any) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(v); err != nil {
		return err
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return errors.New("a second document follows the first")
	}
	return nil
}

// signObject makes an object as the root signs them, and goods-in: COSE_Sign1 with ES256 (RFC 9052, section 4.2), the title as
// external_aad, low s.
func signObject(random io.Reader, by crypto.Signer, title string, payload []byte) ([]byte, error) {
	signer, err := cose.NewSigner(cose.AlgorithmES256, hashNamed{by})
	if err != nil {
		return nil, fmt.Errorf("sign %q: %w", title, err)
	}
	m := cose.NewSign1Message()
	m.Headers.Protected.SetAlgorithm(cose.AlgorithmES256)
	m.Payload = payload
	if err := m.Sign(random, []byte(title), signer); err != nil {
		return nil, fmt.Errorf("sign %q: %w", title, err)
	}
	lowS(m.Signature)
	return m.MarshalCBOR()
}

// hashNamed says which hash a digest is of: go-cose passes nil, which a careful signer refuses.
type hashNamed struct{ crypto.Signer }

func (s hashNamed) Sign(random io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return s.Signer.Sign(random, digest, crypto.SHA256)
}

// parseObject reads a signed object before its signer is known; nothing of it may be believed yet. One encoding is
// accepted, what signObject writes, so that the hash of an object names it: the unprotected header is not signed, and
// go-cose keeps headers as they came.
func parseObject(title string, object []byte) (*cose.Sign1Message, error) {
	// Tag 18, array of 4, protected header {1: -7} in a byte string, empty unprotected header.
	head := []byte{0xD2, 0x84, 0x43, 0xA1, 0x01, 0x26, 0xA0}
	if len(object) > maxObject {
		return nil, fmt.Errorf("%q: %d bytes, at most %d: %w", title, len(object), maxObject, ErrMalformed)
	}
	m := new(cose.Sign1Message)
	if err := m.UnmarshalCBOR(object); err != nil {
		return nil, fmt.Errorf("%q: %w: %w", title, err, ErrMalformed)
	}
	again, err := m.MarshalCBOR()
	if err != nil || !bytes.Equal(again, object) || !bytes.HasPrefix(object, head) || !isSignature(m.Signature) {
		return nil, fmt.Errorf("%q: not the one encoding of a COSE_Sign1 with ES256: %w", title, ErrMalformed)
	}
	return m, nil
}

// signForUnits is signObject in the form that units read: without the tag.
func signForUnits(random io.Reader, root crypto.Signer, title string, payload []byte) ([]byte, error) {
	object, err := signObject(random, root, title, payload)
	if err != nil {
		return nil, err
	}
	return object[1:], nil
}

// objectSize is how many bytes signForUnits makes of a payload: array and headers, the payload and the signature with the heads
// of their byte strings (RFC 8949, section 3).
func objectSize(payload int) int {
	head := 1
	if payload > 23 {
		head++
	}
	if payload > 255 {
		head++
	}
	return 6 + head + payload + 66
}

// parseForUnits is parseObject of what signForUnits wrote.
func parseForUnits(title string, object []byte) (*cose.Sign1Message, error) {
	return parseObject(title, append([]byte{0xD2}, object...))
}

// verifyObject checks an object's signature (RFC 9052, section 4.4) by the root, or whose else it is. The error wraps ErrVerify.
func verifyObject(m *cose.Sign1Message, title string, by crypto.PublicKey) error {
	verifier, err := cose.NewVerifier(cose.AlgorithmES256, by)
	if err == nil {
		err = m.Verify([]byte(title), verifier)
	}
	if err != nil {
		return fmt.Errorf("%q: the signature does not hold: %w: %w", title, err, ErrVerify)
	}
	return nil
}

// lowS replaces s by n - s where that is smaller, in a signature r || s of 64 bytes: (r, s) and (r, n - s) both verify, and
// only one of them may exist, or an object's hash would not name it.
func lowS(signature []byte) {
	n := elliptic.P256().Params().N
	s := new(big.Int).SetBytes(signature[32:])
	if negative := new(big.Int).Sub(n, s); negative.Cmp(s) < 0 {
		negative.FillBytes(signature[32:])
	}
}

// isSignature says whether b has the one form of an ECDSA signature: r and s in 32 bytes each, 0 < r < n, 0 < s < n / 2.
func isSignature(b []byte) bool {
	if len(b) != 64 {
		return false
	}
	n := elliptic.P256().Params().N
	r, s := new(big.Int).SetBytes(b[:32]), new(big.Int).SetBytes(b[32:])
	return r.Sign() > 0 && r.Cmp(n) < 0 && s.Sign() > 0 && s.Lsh(s, 1).Cmp(n) < 0
}
