//go:build cgo

package hsm

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

const idSize = 16 // bytes of a new CKA_ID, random: nobody else picks the same

// p256 is CKA_EC_PARAMS: the OID 1.2.840.10045.3.1.7 (RFC 5480, section 2.1.1.1).
const p256 = "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"

// GenerateKey makes a P-256 key pair that stays in the token: sensitive, not extractable, and good for
// signing only. Everything the token was told is read back, and a signature is made and verified; if
// anything is not as it should be, the pair is destroyed. Errors wrap ErrKeyExists, if any key or public
// key has the label, or ErrLost, after which nobody knows whether the pair is there.
func (t *Token) GenerateKey(ctx context.Context, label string) (*Signer, error) {
	k, err := t.generate(ctx, label)
	if err != nil {
		return nil, fmt.Errorf("generate key %q in token %q: %w", label, t.identity.Token, err)
	}
	return k, nil
}

func (t *Token) generate(ctx context.Context, label string) (*Signer, error) {
	if label == "" {
		return nil, errors.New("it needs a label")
	}
	// A look can be repeated, so a lost token comes back here and not when something is being made.
	err := t.read(ctx, func(s session) error { return s.labelFree(label) })
	if err != nil {
		return nil, err
	}
	k := &Signer{token: t.token}
	err = t.write(ctx, func(s session) error {
		var public pkcs11.ObjectHandle
		k.pair, public, err = s.makePair(label)
		if err != nil {
			return err
		}
		k.generation = s.generation
		if err := s.checkPair(&k.pair); err != nil {
			return errors.Join(err, s.destroy(k.pair.private), s.destroy(public))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return k, nil
}

func (s session) labelFree(label string) error {
	for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY} {
		found, err := s.find([]*pkcs11.Attribute{attr(pkcs11.CKA_CLASS, class), attr(pkcs11.CKA_LABEL, label)})
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return ErrKeyExists
		}
	}
	return nil
}

// promised is what a private key must be, told to the token and read back.
func promised(label string, id []byte) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		attr(pkcs11.CKA_TOKEN, true),
		attr(pkcs11.CKA_PRIVATE, true),
		attr(pkcs11.CKA_SENSITIVE, true),
		attr(pkcs11.CKA_EXTRACTABLE, false),
		attr(pkcs11.CKA_SIGN, true),
		attr(pkcs11.CKA_DECRYPT, false),
		attr(pkcs11.CKA_DERIVE, false),
		attr(pkcs11.CKA_UNWRAP, false),
		attr(pkcs11.CKA_LABEL, label),
		attr(pkcs11.CKA_ID, id),
	}
}

func (s session) makePair(label string) (keyPair, pkcs11.ObjectHandle, error) {
	id := make([]byte, idSize)
	rand.Read(id)
	public, private, err := s.GenerateKeyPair(s.handle,
		[]*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_EC_KEY_PAIR_GEN, nil)},
		[]*pkcs11.Attribute{
			attr(pkcs11.CKA_EC_PARAMS, []byte(p256)),
			attr(pkcs11.CKA_TOKEN, true),
			attr(pkcs11.CKA_VERIFY, true),
			attr(pkcs11.CKA_LABEL, label),
			attr(pkcs11.CKA_ID, id),
		}, promised(label, id))
	if err != nil {
		return keyPair{}, 0, fmt.Errorf("C_GenerateKeyPair: %w", err)
	}
	return keyPair{private: private, label: label, id: id}, public, nil
}

// checkPair reads back what the token made, and lets it sign. It fills in the public key.
func (s session) checkPair(pair *keyPair) error {
	want := append(promised(pair.label, pair.id),
		attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC),
		attr(pkcs11.CKA_LOCAL, true),
		attr(pkcs11.CKA_ALWAYS_SENSITIVE, true),
		attr(pkcs11.CKA_NEVER_EXTRACTABLE, true))
	for _, a := range want {
		have, err := s.attribute(pair.private, a.Type)
		if err != nil {
			return fmt.Errorf("read back attribute 0x%X: %w", a.Type, err)
		}
		if !bytes.Equal(have, a.Value) {
			return fmt.Errorf("attribute 0x%X of the new key is %x, want %x", a.Type, have, a.Value)
		}
	}
	var err error
	if pair.public, err = s.publicKey(*pair); err != nil {
		return err
	}
	digest := sha256.Sum256([]byte("birthmark self-test"))
	_, err = s.signature(pair.private, pair.public, digest[:])
	return err
}

// DestroyKey destroys the one key pair that want names, and looks that it is gone. Errors wrap ErrNoKey,
// ErrAmbiguous or ErrLost.
func (t *Token) DestroyKey(ctx context.Context, want Selector) error {
	if err := t.destroyKey(ctx, want); err != nil {
		return fmt.Errorf("destroy key %s in token %q: %w", want, t.identity.Token, err)
	}
	return nil
}

func (t *Token) destroyKey(ctx context.Context, want Selector) error {
	if want.Label == "" && want.ID == nil && want.Public == nil {
		return errors.New("it must be named")
	}
	// As in generate: a lost token comes back here.
	err := t.read(ctx, func(s session) error {
		_, err := s.key(want)
		return err
	})
	if err != nil {
		return err
	}
	return t.write(ctx, func(s session) error {
		pair, err := s.key(want)
		if err != nil {
			return err
		}
		objects, err := s.halves(pair)
		if err != nil {
			return err
		}
		for _, object := range objects {
			if err := s.destroy(object); err != nil {
				return err
			}
		}
		left, err := s.halves(pair)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%d of its %d objects are still there", len(left), len(objects))
		}
		return err
	})
}

// halves returns those objects of a key pair that the token has: the private key and every public key
// of the same label, id and point.
func (s session) halves(pair keyPair) ([]pkcs11.ObjectHandle, error) {
	var halves []pkcs11.ObjectHandle
	for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY} {
		found, err := s.find([]*pkcs11.Attribute{attr(pkcs11.CKA_CLASS, class),
			attr(pkcs11.CKA_LABEL, pair.label), attr(pkcs11.CKA_ID, pair.id)})
		if err != nil {
			return nil, err
		}
		for _, object := range found {
			if class == pkcs11.CKO_PUBLIC_KEY {
				public, err := s.point(object)
				if lost(err) {
					return nil, err
				}
				if err != nil || !pair.public.Equal(public) {
					continue
				}
			} else if object != pair.private {
				continue
			}
			halves = append(halves, object)
		}
	}
	return halves, nil
}

func (s session) destroy(object pkcs11.ObjectHandle) error {
	if err := s.DestroyObject(s.handle, object); err != nil {
		return fmt.Errorf("C_DestroyObject: %w", err)
	}
	return nil
}
