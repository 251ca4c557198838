package c509

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"math/big"
	"testing"
)

// The issuer of draft-ietf-cose-cbor-encoded-cert, Appendix A.1.4.
const draftIssuer = "DC66B3415456D649429B53223DF7532B942D6B0E0842C30BCA4C0ACF91547BB2"

// unit returns an unsigned unit certificate as the product has them.
func unit(t testing.TB) *Certificate {
	t.Helper()
	key, err := CompressedKey(&privateKey(t, draftIssuer).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return &Certificate{
		Type:               Native,
		SerialNumber:       []byte{2, 0x12, 0, 0, 0, 0, 0, 7},
		Issuer:             BytesName([]byte{0, 1, 0, 0, 0, 9}),
		NotBefore:          1_750_000_000,
		NotAfter:           NoExpiry,
		Subject:            Name{{Type: CommonName, Value: Value{EUI64, "\x02\x12\x00\x00\x00\x00\x00\x07"}}},
		PublicKeyAlgorithm: P256Key,
		PublicKey:          key,
		Extensions:         Extensions{DigitalSignature.Extension(true)},
	}
}

func TestSign(t *testing.T) {
	key := privateKey(t, draftIssuer)
	half := new(big.Int).Rsh(key.Params().N, 1)
	for range 8 { // random signatures: s is high in half of them before it is brought down
		c := unit(t)
		if err := c.Sign(rand.Reader, key); err != nil {
			t.Fatal(err)
		}
		if _, s := splitECDSA(c.Signature); len(c.Signature) != 64 || s.Cmp(half) > 0 {
			t.Fatalf("signature %x: not 64 bytes with low s", c.Signature)
		}
		if err := c.VerifySignature(&key.PublicKey); err != nil {
			t.Fatal(err)
		}
		parsed, err := Parse(c.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(parsed.RawTBS, c.RawTBS) || parsed.Fingerprint() != c.Fingerprint() {
			t.Fatal("parsed certificate differs from the signed one")
		}
		if usage, ok := parsed.KeyUsage(); usage != DigitalSignature || !ok || !parsed.Extensions[0].Critical {
			t.Fatalf("keyUsage %v, %v", usage, ok)
		}
	}
}

// answer is a signer that gives a fixed answer.
type answer struct {
	key *ecdsa.PrivateKey
	der []byte
	err error
}

func (a answer) Public() crypto.PublicKey { return &a.key.PublicKey }

func (a answer) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return a.der, a.err }

func TestSignRefusesWhatTheSignerSays(t *testing.T) {
	key := privateKey(t, draftIssuer)
	order := key.Params().N
	one := big.NewInt(1)
	der := func(r, s *big.Int) []byte {
		b, err := encodeECDSA(r, s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	broken := errors.New("token is gone")
	for name, test := range map[string]struct {
		answer answer
		want   error
	}{
		"error":           {answer{key, nil, broken}, broken},
		"empty":           {answer{key, nil, nil}, ErrMalformed},
		"raw r and s":     {answer{key, make([]byte, 64), nil}, ErrMalformed},
		"zero":            {answer{key, der(big.NewInt(0), one), nil}, ErrMalformed},
		"trailing byte":   {answer{key, append(der(one, one), 0), nil}, ErrMalformed},
		"wrong":           {answer{key, der(one, one), nil}, ErrSignature},
		"r is the order":  {answer{key, der(order, one), nil}, ErrMalformed},
		"s is the order":  {answer{key, der(one, order), nil}, ErrSignature},
		"s above it":      {answer{key, der(one, new(big.Int).Lsh(order, 9)), nil}, ErrMalformed},
		"r of 500 digits": {answer{key, der(new(big.Int).Lsh(one, 4000), one), nil}, ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			c := unit(t)
			if err := c.Sign(rand.Reader, test.answer); !errors.Is(err, test.want) {
				t.Fatalf("err = %v, want %v", err, test.want)
			}
			if c.Signature != nil || c.Raw != nil || c.RawTBS != nil {
				t.Fatal("an error left something behind")
			}
		})
	}
}

func TestSignRefusesOtherKindsOfCertificates(t *testing.T) {
	key := privateKey(t, draftIssuer)
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	reencoded, algorithm := unit(t), unit(t)
	reencoded.Type = X509
	algorithm.SignatureAlgorithm = ECDSAWithSHA384
	for name, test := range map[string]struct {
		c   *Certificate
		key crypto.Signer
	}{
		"type 3": {reencoded, key}, "SHA-384": {algorithm, key}, "P-384": {unit(t), other},
	} {
		if err := test.c.Sign(rand.Reader, test.key); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v, want ErrUnsupported", name, err)
		}
	}
}
