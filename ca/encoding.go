package ca

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"fmt"
	"io"
	"math/big"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
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

// decodeStrict reads one deterministic CBOR item and nothing after it: what is read must re-encode to the same bytes.
func decodeStrict(b []byte, v any) error {
	if len(b) > maxObject {
		return fmt.Errorf("%d bytes, at most %d: %w", len(b), maxObject, ErrMalformed)
	}
	mode, err := cbor.DecOptions{
		DupMapKey:   cbor.DupMapKeyEnforcedAPF,
		IndefLength: cbor.IndefLengthForbidden,
		TagsMd:      cbor.TagsForbidden,
		UTF8:        cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constant
	}
	if err := mode.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", err, ErrMalformed)
	}
	if !bytes.Equal(mustEncode(v), b) {
		return fmt.Errorf("not deterministic CBOR: %w", ErrMalformed)
	}
	return nil
}

// signObject makes a root-signed object: COSE_Sign1 with ES256 (RFC 9052, 4.2), the title as external_aad, low s.
func signObject(random io.Reader, root crypto.Signer, title string, payload []byte) ([]byte, error) {
	signer, err := cose.NewSigner(cose.AlgorithmES256, hashNamed{root})
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

// openObject verifies a root-signed object and gives its payload. One encoding is accepted: what this package writes.
func openObject(root crypto.PublicKey, title string, object []byte) ([]byte, error) {
	m, err := parseObject(title, object)
	if err != nil {
		return nil, err
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmES256, root)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", title, err)
	}
	if err := m.Verify([]byte(title), verifier); err != nil {
		return nil, fmt.Errorf("%q: the root's signature does not hold: %w", title, ErrVerify)
	}
	return m.Payload, nil
}

// parseObject reads a root-signed object before its signer is known; nothing of it may be believed yet.
func parseObject(title string, object []byte) (*cose.Sign1Message, error) {
	if len(object) > maxObject {
		return nil, fmt.Errorf("%q: %d bytes, at most %d: %w", title, len(object), maxObject, ErrMalformed)
	}
	m := new(cose.Sign1Message)
	if err := m.UnmarshalCBOR(object); err != nil {
		return nil, fmt.Errorf("%q: %w: %w", title, err, ErrMalformed)
	}
	again, err := m.MarshalCBOR()
	alg, algErr := m.Headers.Protected.Algorithm()
	if err != nil || algErr != nil || alg != cose.AlgorithmES256 || !bytes.Equal(again, object) ||
		len(m.Headers.Protected) != 1 || len(m.Headers.Unprotected) != 0 || len(m.Signature) != 64 || isHighS(m.Signature) {
		return nil, fmt.Errorf("%q: not the one encoding of a COSE_Sign1 with ES256: %w", title, ErrMalformed)
	}
	return m, nil
}

// lowS replaces s by n - s where that is smaller, in a signature r || s of 64 bytes: (r, s) and (r, n - s) both verify, and
// only one of them may exist, or an object's hash would not name it.
func lowS(signature []byte) {
	if isHighS(signature) {
		n := elliptic.P256().Params().N
		s := new(big.Int).SetBytes(signature[32:])
		s.Sub(n, s).FillBytes(signature[32:])
	}
}

func isHighS(signature []byte) bool {
	half := new(big.Int).Rsh(elliptic.P256().Params().N, 1)
	return new(big.Int).SetBytes(signature[32:]).Cmp(half) > 0
}
