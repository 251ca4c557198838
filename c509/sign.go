package c509

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.SHA384 and SHA512
	"fmt"
	"io"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Sign signs a natively signed certificate with a P-256 key: ECDSA with SHA-256 over TBS, s brought to its lower
// half so that the bytes are the only signature of their r, r and s padded to 32 bytes (section 3.2.2). It sets
// Signature, Raw and RawTBS. The result is parsed and verified before Sign returns; after any error c is as it
// was. random is handed to the signer.
func (c *Certificate) Sign(random io.Reader, signer crypto.Signer) error {
	if err := c.sign(random, signer); err != nil {
		return fmt.Errorf("sign certificate: %w", err)
	}
	return nil
}

func (c *Certificate) sign(random io.Reader, signer crypto.Signer) error {
	pub, ok := signer.Public().(*ecdsa.PublicKey)
	if c.Type != Native || c.SignatureAlgorithm != ECDSAWithSHA256 || !ok || pub.Curve != elliptic.P256() {
		return fmt.Errorf("%w: other than type 2 with ECDSA, SHA-256 and P-256", ErrUnsupported)
	}
	tbs, err := c.TBS()
	if err != nil {
		return err
	}
	digest := sha256.Sum256(tbs)
	der, err := signer.Sign(random, digest[:], crypto.SHA256)
	if err != nil {
		return err
	}
	r, s, ok := parseECDSA(der)
	if !ok {
		return fmt.Errorf("%w: signer returned no ECDSA signature: %x", ErrMalformed, der)
	}
	order := pub.Params().N
	if s.Cmp(new(big.Int).Rsh(order, 1)) > 0 {
		s.Sub(order, s)
	}
	// A hostile or broken signer may return any integers; FillBytes panics on what does not fit.
	if r.Cmp(order) >= 0 || s.Sign() < 0 {
		return fmt.Errorf("%w: signer returned integers beyond the curve's order", ErrMalformed)
	}
	signed := *c
	signed.Signature = joinECDSA(r, s, 32)
	raw, err := signed.Encode()
	if err != nil {
		return err
	}
	parsed, err := Parse(raw)
	if err != nil {
		return err
	}
	if err := parsed.VerifySignature(pub); err != nil {
		return err
	}
	c.Signature, c.Raw, c.RawTBS = parsed.Signature, parsed.Raw, parsed.RawTBS
	return nil
}

// VerifySignature checks the signature with the issuer's public key: *ecdsa.PublicKey on P-256, P-384 or P-521,
// *rsa.PublicKey or ed25519.PublicKey. It covers TBS in type 2 and the DER TBSCertificate in type 3. High s is
// accepted: the draft permits it, and a profile may not. The error wraps ErrSignature if the signature is wrong
// or the key is not of the algorithm's kind, and ErrUnsupported for algorithms and curves that Go's standard
// library does not verify, among them SHA-1.
func (c *Certificate) VerifySignature(issuer crypto.PublicKey) error {
	if err := c.verify(issuer); err != nil {
		return fmt.Errorf("verify certificate %x: %w", c.SerialNumber, err)
	}
	return nil
}

func (c *Certificate) verify(issuer crypto.PublicKey) error {
	signed, err := c.signedBytes()
	if err != nil {
		return err
	}
	hash, ok := c.SignatureAlgorithm.hash()
	if !ok {
		return fmt.Errorf("%w: %s", ErrUnsupported, c.SignatureAlgorithm)
	}
	digest := signed
	if hash != 0 {
		h := hash.New()
		h.Write(signed)
		digest = h.Sum(nil)
	}
	switch key := issuer.(type) {
	case *ecdsa.PublicKey:
		ok = c.verifyECDSA(key, digest)
	case *rsa.PublicKey:
		ok = c.verifyRSA(key, hash, digest)
	case ed25519.PublicKey:
		ok = c.SignatureAlgorithm == Ed25519 && len(key) == ed25519.PublicKeySize &&
			ed25519.Verify(key, signed, c.Signature)
	default:
		return fmt.Errorf("%w: issuer key %T", ErrUnsupported, issuer)
	}
	if !ok {
		return fmt.Errorf("%w: %s, %T", ErrSignature, c.SignatureAlgorithm, issuer)
	}
	return nil
}

// hash returns the function that a message goes through before the signature, 0 for Ed25519 which takes the
// message itself, and false for algorithms that cannot be verified here.
func (a SignatureAlgorithm) hash() (crypto.Hash, bool) {
	switch a {
	case ECDSAWithSHA256, SHA256WithRSA, SHA256WithPSS:
		return crypto.SHA256, true
	case ECDSAWithSHA384, SHA384WithRSA, SHA384WithPSS:
		return crypto.SHA384, true
	case ECDSAWithSHA512, SHA512WithRSA, SHA512WithPSS:
		return crypto.SHA512, true
	case Ed25519:
		return 0, true
	}
	return 0, false
}

func (c *Certificate) verifyRSA(key *rsa.PublicKey, hash crypto.Hash, digest []byte) bool {
	switch c.SignatureAlgorithm {
	case SHA256WithRSA, SHA384WithRSA, SHA512WithRSA:
		return rsa.VerifyPKCS1v15(key, hash, digest, c.Signature) == nil
	case SHA256WithPSS, SHA384WithPSS, SHA512WithPSS:
		options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		return rsa.VerifyPSS(key, hash, digest, c.Signature, options) == nil
	}
	return false
}

// verifyECDSA wants r and s as long as the key's field. The length is not checked in type 3, where it is
// not signed: FromX509 does not know the issuer's curve.
func (c *Certificate) verifyECDSA(key *ecdsa.PublicKey, digest []byte) bool {
	switch c.SignatureAlgorithm {
	case ECDSAWithSHA256, ECDSAWithSHA384, ECDSAWithSHA512:
	default:
		return false
	}
	if size := (key.Params().BitSize + 7) / 8; c.Type == Native && len(c.Signature) != 2*size {
		return false
	}
	r, s := splitECDSA(c.Signature)
	der, err := encodeECDSA(r, s)
	return err == nil && ecdsa.VerifyASN1(key, digest, der)
}

// signedBytes returns what the signature covers.
func (c *Certificate) signedBytes() ([]byte, error) {
	if c.Type != X509 {
		return c.TBS()
	}
	if err := c.checkTBS(); err != nil {
		return nil, err
	}
	return c.tbsCertificate()
}

func splitECDSA(sig []byte) (r, s *big.Int) {
	half := len(sig) / 2
	return new(big.Int).SetBytes(sig[:half]), new(big.Int).SetBytes(sig[half:])
}

// joinECDSA writes r and s in size bytes each. They have to fit.
func joinECDSA(r, s *big.Int, size int) []byte {
	sig := make([]byte, 2*size)
	r.FillBytes(sig[:size])
	s.FillBytes(sig[size:])
	return sig
}

// parseECDSA reads an Ecdsa-Sig-Value (RFC 5480, appendix A) of two positive integers.
func parseECDSA(der []byte) (r, s *big.Int, ok bool) {
	input, content := cryptobyte.String(der), cryptobyte.String{}
	r, s = new(big.Int), new(big.Int)
	ok = input.ReadASN1(&content, asn1.SEQUENCE) && input.Empty() &&
		content.ReadASN1Integer(r) && content.ReadASN1Integer(s) && content.Empty() &&
		r.Sign() > 0 && s.Sign() > 0
	return r, s, ok
}

func encodeECDSA(r, s *big.Int) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(r)
		b.AddASN1BigInt(s)
	})
	return b.Bytes()
}
