//go:build cgo

package hsm

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// newBackup makes a P-256 key that is nowhere but in its backup: the pair is an object of one session, which dies with the session
// whatever happens, and was wrapped in it under a secret that is drawn for this key. A token without AES key wrap says CKR_MECHANISM_INVALID.
func (t *Token) newBackup(ctx context.Context, needed, shares int) (*Backup, *Secret, []Share, error) {
	if err := checkSharing(needed, shares); err != nil {
		return nil, nil, nil, err
	}
	secret := drawSecret()
	b := &Backup{Needed: needed, Shares: shares}
	err := t.read(ctx, func(session) error { return nil }) // brings a lost token back
	if err == nil {
		err = t.write(ctx, func(s session) error { return s.makeWrapped(b, secret) })
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("make a key with a backup in token %q: %w", t.identity.Token, err)
	}
	secret.code = b.code()
	list, commitments, err := secret.split(needed, shares)
	if err != nil {
		return nil, nil, nil, err
	}
	b.commitments = commitments
	return b, secret, list, nil
}

// restore takes a key into the token from its backup, with GenerateKey's promises but one: it comes from outside, as its attributes
// say. A signature is made and verified under the backup's public key before it returns; if anything is not as it should be, the
// key is destroyed again. Errors are those of GenerateKey.
func (t *Token) restore(ctx context.Context, label string, id []byte, b *Backup, secret *Secret) (*Signer, error) {
	err := t.read(ctx, func(s session) error { return s.labelFree(label) })
	var k *Signer
	if err == nil {
		k, err = t.takeIn(ctx, label, id, b, secret)
	}
	if err != nil {
		return nil, fmt.Errorf("restore key %q into token %q: %w", label, t.identity.Token, err)
	}
	return k, nil
}

func (t *Token) takeIn(ctx context.Context, label string, id []byte, b *Backup, secret *Secret) (*Signer, error) {
	if label == "" {
		return nil, errors.New("it needs a label")
	}
	if id == nil {
		id = make([]byte, idSize)
		rand.Read(id)
	}
	k := &Signer{token: t.token}
	err := t.write(ctx, func(s session) error {
		private, err := s.unwrap(label, id, b, secret)
		if err != nil {
			return err
		}
		k.pair, k.generation = keyPair{private: private, label: label, id: id}, s.generation
		return s.checkRestored(&k.pair, b.Public)
	})
	if err != nil {
		if e := t.undo(context.WithoutCancel(ctx), Selector{Label: label, ID: id}); e != nil {
			err = fmt.Errorf("%w; %w with id %x: %w", err, ErrLeft, id, e)
		}
		return nil, err
	}
	return k, nil
}

func keyWrap() []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_WRAP_PAD, nil)}
}

// wrapping gives the secret's AES key to the session, for as long as it lasts.
func (s session) wrapping(secret *Secret) (pkcs11.ObjectHandle, error) {
	key, err := secret.wrappingKey()
	if err != nil {
		return 0, err
	}
	defer clear(key)
	h, err := s.CreateObject(s.handle, []*pkcs11.Attribute{
		attr(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		attr(pkcs11.CKA_TOKEN, false),
		attr(pkcs11.CKA_PRIVATE, true),
		attr(pkcs11.CKA_SENSITIVE, true),
		attr(pkcs11.CKA_EXTRACTABLE, false),
		attr(pkcs11.CKA_ENCRYPT, false),
		attr(pkcs11.CKA_DECRYPT, false),
		attr(pkcs11.CKA_WRAP, true),
		attr(pkcs11.CKA_UNWRAP, true),
		attr(pkcs11.CKA_VALUE, key),
	})
	if err != nil {
		return 0, fmt.Errorf("C_CreateObject: %w", err)
	}
	return h, nil
}

// makeWrapped makes the pair and wraps it. Closing the session destroys all that it made.
func (s session) makeWrapped(b *Backup, secret *Secret) error {
	with, err := s.wrapping(secret)
	if err != nil {
		return err
	}
	public, private, err := s.GenerateKeyPair(s.handle,
		[]*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_EC_KEY_PAIR_GEN, nil)},
		[]*pkcs11.Attribute{attr(pkcs11.CKA_EC_PARAMS, []byte(p256)), attr(pkcs11.CKA_TOKEN, false)},
		[]*pkcs11.Attribute{
			attr(pkcs11.CKA_TOKEN, false),
			attr(pkcs11.CKA_PRIVATE, true),
			attr(pkcs11.CKA_SENSITIVE, true),
			attr(pkcs11.CKA_EXTRACTABLE, true),
			attr(pkcs11.CKA_SIGN, false),
			attr(pkcs11.CKA_DECRYPT, false),
			attr(pkcs11.CKA_DERIVE, false),
			attr(pkcs11.CKA_UNWRAP, false),
		})
	if err != nil {
		return fmt.Errorf("C_GenerateKeyPair: %w", err)
	}
	if b.Public, err = s.point(public); err != nil {
		return err
	}
	if b.wrapped, err = s.WrapKey(s.handle, keyWrap(), with, private); err != nil {
		return fmt.Errorf("C_WrapKey: %w", err)
	}
	return nil
}

// unwrap takes the private key in, and puts the public half beside it, by which it is found.
func (s session) unwrap(label string, id []byte, b *Backup, secret *Secret) (pkcs11.ObjectHandle, error) {
	with, err := s.wrapping(secret)
	if err != nil {
		return 0, err
	}
	// SoftHSM2 unwraps into nothing that is not modifiable, so a session's object comes first and the token's is a copy of it.
	first := []*pkcs11.Attribute{attr(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC), attr(pkcs11.CKA_TOKEN, false)}
	for _, a := range promised(label, id) {
		if a.Type != pkcs11.CKA_TOKEN && a.Type != pkcs11.CKA_MODIFIABLE {
			first = append(first, a)
		}
	}
	passing, err := s.UnwrapKey(s.handle, keyWrap(), with, b.wrapped, first)
	if err != nil {
		return 0, fmt.Errorf("C_UnwrapKey: %w", err)
	}
	private, err := s.CopyObject(s.handle, passing, []*pkcs11.Attribute{attr(pkcs11.CKA_TOKEN, true), attr(pkcs11.CKA_MODIFIABLE, false)})
	if err != nil {
		return 0, fmt.Errorf("C_CopyObject: %w", err)
	}
	point, err := b.Public.Bytes()
	if err == nil {
		point, err = asn1.Marshal(point)
	}
	if err != nil {
		return 0, err
	}
	_, err = s.CreateObject(s.handle, []*pkcs11.Attribute{
		attr(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
		attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC),
		attr(pkcs11.CKA_TOKEN, true),
		attr(pkcs11.CKA_EC_PARAMS, []byte(p256)),
		attr(pkcs11.CKA_EC_POINT, point),
		attr(pkcs11.CKA_LABEL, label),
		attr(pkcs11.CKA_ID, id),
	})
	if err != nil {
		return 0, fmt.Errorf("C_CreateObject: %w", err)
	}
	return private, nil
}

// checkRestored reads back what the token took, and lets it sign under the key that it must be.
func (s session) checkRestored(pair *keyPair, public *ecdsa.PublicKey) error {
	for _, a := range append(promised(pair.label, pair.id), attr(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC)) {
		have, err := s.attribute(pair.private, a.Type)
		if err != nil {
			return fmt.Errorf("read back attribute 0x%X: %w", a.Type, err)
		}
		if !bytes.Equal(have, a.Value) {
			return fmt.Errorf("attribute 0x%X of the restored key is %x, want %x", a.Type, have, a.Value)
		}
	}
	pair.public = public
	digest := sha256.Sum256([]byte("birthmark self-test"))
	_, err := s.signature(pair.private, public, digest[:])
	return err
}
