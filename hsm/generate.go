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
// anything is not as it should be, the pair is destroyed. Errors wrap ErrKeyExists, if a key has the
// label, ErrHalfKey, if a public key alone has it, ErrLost, or ErrLeft.
func (t *Token) GenerateKey(ctx context.Context, label string) (*Signer, error) {
	return t.create(ctx, label, nil)
}

// create is GenerateKey with an id that the caller drew, so that it finds the pair again if it dies meanwhile.
func (t *Token) create(ctx context.Context, label string, id []byte) (*Signer, error) {
	k, err := t.generate(ctx, label, id)
	if err != nil {
		return nil, fmt.Errorf("generate key %q in token %q: %w", label, t.identity.Token, err)
	}
	return k, nil
}

func (t *Token) generate(ctx context.Context, label string, id []byte) (*Signer, error) {
	if id == nil {
		id = make([]byte, idSize)
		rand.Read(id)
	}
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
		_, private, err := s.makePair(label, id)
		if err != nil {
			return err
		}
		pair := keyPair{private: private, label: label, id: id}
		if err := s.checkPair(&pair); err != nil {
			return err
		}
		k.pair, k.generation = pair, s.generation
		return nil
	})
	if err != nil {
		if e := t.undo(context.WithoutCancel(ctx), Selector{Label: label, ID: id}); e != nil {
			err = fmt.Errorf("%w; %w with id %x: %w", err, ErrLeft, id, e)
		}
		return nil, err
	}
	return k, nil
}

// undo destroys what a generation that failed left behind: the token may have made the pair and lost the answer. The label was
// free before.
func (t *Token) undo(ctx context.Context, made Selector) error {
	var halves []pkcs11.ObjectHandle
	find := func(s session) error {
		private, err := s.find(made.template(pkcs11.CKO_PRIVATE_KEY))
		if err != nil {
			return err
		}
		public, err := s.find(made.template(pkcs11.CKO_PUBLIC_KEY))
		halves = append(private, public...)
		return err
	}
	if err := t.read(ctx, find); err != nil || len(halves) == 0 { // read brings a lost token back
		return err
	}
	return t.write(ctx, func(s session) error {
		err := find(s)
		for _, half := range halves {
			err = errors.Join(err, s.destroy(half))
		}
		return err
	})
}

func (s session) labelFree(label string) error {
	for _, half := range []struct {
		class uint
		taken error
	}{
		{pkcs11.CKO_PRIVATE_KEY, ErrKeyExists},
		{pkcs11.CKO_PUBLIC_KEY, ErrHalfKey}, // SoftHSM2 leaves it behind when it is killed in C_GenerateKeyPair
	} {
		found, err := s.find([]*pkcs11.Attribute{attr(pkcs11.CKA_CLASS, half.class), attr(pkcs11.CKA_LABEL, label)})
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return half.taken
		}
	}
	return nil
}

// limits are what every private key must be.
func limits() []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		attr(pkcs11.CKA_TOKEN, true),
		attr(pkcs11.CKA_PRIVATE, true),
		attr(pkcs11.CKA_SENSITIVE, true),
		attr(pkcs11.CKA_EXTRACTABLE, false),
		attr(pkcs11.CKA_SIGN, true),
		attr(pkcs11.CKA_DECRYPT, false),
		attr(pkcs11.CKA_DERIVE, false),
		attr(pkcs11.CKA_UNWRAP, false),
	}
}

// promised is what a private key made here must be, told to the token and read back. Without CKA_MODIFIABLE=false,
// SoftHSM2 lets whoever is logged in set CKA_DERIVE later.
func promised(label string, id []byte) []*pkcs11.Attribute {
	return append(limits(),
		attr(pkcs11.CKA_MODIFIABLE, false),
		attr(pkcs11.CKA_LABEL, label),
		attr(pkcs11.CKA_ID, id))
}

func (s session) makePair(label string, id []byte) (public, private pkcs11.ObjectHandle, err error) {
	public, private, err = s.GenerateKeyPair(s.handle,
		[]*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_EC_KEY_PAIR_GEN, nil)},
		[]*pkcs11.Attribute{
			attr(pkcs11.CKA_EC_PARAMS, []byte(p256)),
			attr(pkcs11.CKA_TOKEN, true), // and no CKA_VERIFY, which tpm2-pkcs11 refuses beside CKA_DECRYPT=false
			attr(pkcs11.CKA_LABEL, label),
			attr(pkcs11.CKA_ID, id),
		}, promised(label, id))
	if err != nil {
		return 0, 0, fmt.Errorf("C_GenerateKeyPair: %w", err)
	}
	return public, private, nil
}

// checkPair reads back what the token made, and lets it sign. It fills in the public key.
func (s session) checkPair(pair *keyPair) error {
	want := append(promised(pair.label, pair.id),
		attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC),
		attr(pkcs11.CKA_LOCAL, true),
		attr(pkcs11.CKA_ALWAYS_SENSITIVE, true),
		attr(pkcs11.CKA_NEVER_EXTRACTABLE, true))
	if err := s.holds(pair.private, want); err != nil {
		return err
	}
	var err error
	if pair.public, err = s.publicKey(*pair); err != nil {
		return err
	}
	digest := sha256.Sum256([]byte("birthmark self-test"))
	_, err = s.signature(pair.private, pair.public, digest[:])
	return err
}

// holds compares what the token says of a key with what it must be.
func (s session) holds(private pkcs11.ObjectHandle, want []*pkcs11.Attribute) error {
	for _, a := range want {
		have, err := s.attribute(private, a.Type)
		if err != nil {
			return fmt.Errorf("read back attribute 0x%X: %w", a.Type, err)
		}
		if !bytes.Equal(have, a.Value) {
			return fmt.Errorf("attribute 0x%X of the key is %x, want %x", a.Type, have, a.Value)
		}
	}
	return nil
}

// adopt is Signer for a key that must be as good as one made here. One that was restored from a copy need not be unmodifiable.
func (t *Token) adopt(ctx context.Context, want Selector) (*Signer, error) {
	k, err := t.Signer(ctx, want)
	if err != nil {
		return nil, err
	}
	err = t.read(ctx, func(s session) error {
		private, err := k.in(s)
		if err != nil {
			return err
		}
		return s.holds(private, limits())
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.Description(), err)
	}
	return k, nil
}

// DestroyKey destroys the one key pair that want names, private key first, and looks that both are gone.
// After an error it may be called again: it also destroys a public key that was left behind. Errors wrap
// ErrNoKey, ErrAmbiguous or ErrLost.
func (t *Token) DestroyKey(ctx context.Context, want Selector) error {
	err := errors.New("it must be named")
	if want.Label != "" || want.ID != nil || want.Public != nil {
		// As in generate: a lost token comes back here.
		err = t.read(ctx, func(s session) error {
			_, err := s.find(want.template(pkcs11.CKO_PRIVATE_KEY))
			return err
		})
	}
	if err == nil {
		err = t.write(ctx, func(s session) error { return s.destroyPair(want) })
	}
	if err != nil {
		return fmt.Errorf("destroy key %s in token %q: %w", want, t.identity.Token, err)
	}
	return nil
}

func (s session) destroyPair(want Selector) error {
	var objects []pkcs11.ObjectHandle
	pair, missing := s.key(want)
	if missing == nil {
		objects = append(objects, pair.private)
		want = pair.selector()
	} else if !errors.Is(missing, ErrNoKey) {
		return missing
	}
	public, err := s.publicHalves(want)
	if err != nil {
		return err
	}
	objects = append(objects, public...)
	if len(objects) == 0 {
		return missing
	}
	for _, object := range objects {
		if err := s.destroy(object); err != nil {
			return err
		}
		_, err := s.attribute(object, pkcs11.CKA_CLASS)
		switch code(err) {
		case pkcs11.CKR_OK:
			return errors.New("C_DestroyObject: the object is still there")
		case pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID: // the latter is what tpm2-pkcs11 says
		default:
			return err
		}
	}
	return nil
}

// publicHalves returns the public key object that want names, or none.
func (s session) publicHalves(want Selector) ([]pkcs11.ObjectHandle, error) {
	found, err := s.find(want.template(pkcs11.CKO_PUBLIC_KEY))
	if err != nil {
		return nil, err
	}
	var halves []pkcs11.ObjectHandle
	for _, object := range found {
		public, err := s.point(object)
		if code(err) != pkcs11.CKR_OK {
			return nil, err
		}
		if want.Public == nil || err == nil && want.Public.Equal(public) {
			halves = append(halves, object)
		}
	}
	if len(halves) > 1 {
		return nil, fmt.Errorf("%w: %d public keys", ErrAmbiguous, len(halves))
	}
	return halves, nil
}

func (s session) destroy(object pkcs11.ObjectHandle) error {
	if err := s.DestroyObject(s.handle, object); err != nil {
		return fmt.Errorf("C_DestroyObject: %w", err)
	}
	return nil
}
