//go:build cgo

package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"fmt"
	"io"
	"math/big"
	"sync"

	"github.com/miekg/pkcs11"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Signer signs with one private key of a token. It is safe for concurrent use: as many signatures as
// Options.Sessions are under way at once, more wait.
type Signer struct {
	token *token
	pair  keyPair

	mu         sync.Mutex // guards pair.private and generation
	generation uint64     // of the module, when pair.private was found
}

// Signer finds the one key that want names; the zero Selector names the only P-256 key of the token. Errors
// wrap ErrNoKey, ErrAmbiguous or ErrLost.
func (t *Token) Signer(ctx context.Context, want Selector) (*Signer, error) {
	k := &Signer{token: t.token}
	err := t.read(ctx, func(s session) error {
		pair, err := s.key(want)
		if err != nil {
			return err
		}
		always, err := s.attribute(pair.private, pkcs11.CKA_ALWAYS_AUTHENTICATE)
		if err == nil && len(always) == 1 && always[0] != 0 {
			return fmt.Errorf("key %s wants its PIN for every signature (CKA_ALWAYS_AUTHENTICATE)", pair)
		}
		k.pair, k.generation = pair, s.generation
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find key in token %q: %w", t.identity.Token, err)
	}
	return k, nil
}

// Public returns the *ecdsa.PublicKey.
func (k *Signer) Public() crypto.PublicKey { return k.pair.public }

// Description names key and token.
func (k *Signer) Description() string {
	id := k.token.identity
	return fmt.Sprintf("key %s in token %q (serial %s, %s)", k.pair, id.Token, id.Serial, id.Manufacturer)
}

// Sign signs a SHA-256 digest with CKM_ECDSA and verifies the signature. The token is the source of
// randomness; rand is not used. Errors wrap ErrLost, and ErrPIN or ErrPINLocked if a token that came
// back refused the PIN.
func (k *Signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := checkDigest(digest, opts); err != nil {
		return nil, err
	}
	var der []byte
	err := k.token.read(context.Background(), func(s session) error {
		private, err := k.in(s)
		if err != nil {
			return err
		}
		der, err = s.signature(private, k.pair.public, digest)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w with %s: %w", ErrSign, k.Description(), err)
	}
	return der, nil
}

// in returns the handle of the key. After a recovery it is found again, by its public key.
func (k *Signer) in(s session) (pkcs11.ObjectHandle, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.generation != s.generation {
		pair, err := s.key(k.pair.selector())
		if err != nil {
			return 0, err
		}
		k.pair.private, k.generation = pair.private, s.generation
	}
	return k.pair.private, nil
}

// signature signs a digest and verifies the signature.
func (s session) signature(private pkcs11.ObjectHandle, public *ecdsa.PublicKey, digest []byte) ([]byte, error) {
	raw, err := s.sign(s.handle, private, digest)
	if err != nil {
		return nil, err
	}
	der, err := encodeSignature(raw)
	if err != nil {
		return nil, err
	}
	return verified(public, digest, der)
}

// encodeSignature turns r and s, 32 bytes each (PKCS#11 v2.40 mechanisms, section 2.3.1), into a DER
// ECDSA-Sig-Value (RFC 3279, section 2.2.3).
func encodeSignature(raw [64]byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[:32]))
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[32:]))
	})
	return b.Bytes()
}
