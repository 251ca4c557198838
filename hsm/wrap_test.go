//go:build cgo

package hsm

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"
)

// A key is made with a backup and restored on a second token from three of five shares: it signs for the same public key, and neither token
// lets it out.
func TestBackup(t *testing.T) {
	ctx := context.Background()
	options := tokens(t, "factory-a", "vault")
	options.Modules = new(Modules)
	token := open(t, options)
	b, secret, shares, err := token.newBackup(ctx, 3, 5)
	if err != nil {
		t.Fatal(err)
	}
	if err := token.read(ctx, func(s session) error {
		all, err := s.find(nil)
		if err == nil && len(all) > 0 {
			err = fmt.Errorf("%d objects are in it", len(all))
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	k, err := token.restore(ctx, "root-1", nil, b, secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := signOnce(k); err != nil {
		t.Fatal(err)
	}
	file, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = ParseBackup(file); err != nil {
		t.Fatal(err)
	}
	vault, err := Open(ctx, URI{Token: "vault"}, options)
	if err != nil {
		t.Fatal(err)
	}
	defer vault.Close()
	if secret, err = b.Combine([]Share{shares[4], shares[0], shares[2]}); err != nil {
		t.Fatal(err)
	}
	restored, err := vault.restore(ctx, "root-1", nil, b, secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := signOnce(restored); err != nil {
		t.Fatal(err)
	}
	if !k.Public().(*ecdsa.PublicKey).Equal(restored.Public()) {
		t.Error("another public key")
	}
	for _, in := range []*Token{token, vault} {
		found, err := in.Signer(ctx, Selector{Label: "root-1"})
		if err != nil {
			t.Fatal(err)
		}
		err = in.write(ctx, func(s session) error {
			if _, err := s.attribute(found.pair.private, pkcs11.CKA_VALUE); err == nil {
				return errors.New("its value can be read")
			}
			with, err := s.wrapping(secret)
			if err != nil {
				return err
			}
			if _, err := s.WrapKey(s.handle, keyWrap(), with, found.pair.private); err == nil {
				return errors.New("it can be wrapped")
			}
			if err := s.SetAttributeValue(s.handle, found.pair.private, []*pkcs11.Attribute{attr(pkcs11.CKA_EXTRACTABLE, true)}); err == nil {
				return errors.New("it can be made extractable")
			}
			all, err := s.find(nil)
			if err == nil && len(all) != 3 { // the pair, and the wrapping key of this session
				err = fmt.Errorf("%d objects", len(all))
			}
			return err
		})
		if err != nil {
			t.Errorf("token %q: %v", in.identity.Token, err)
		}
	}
	if _, err := vault.restore(ctx, "root-1", nil, b, secret); !errors.Is(err, ErrKeyExists) {
		t.Errorf("restored twice: %v", err)
	}
	wrong := drawSecret()
	if _, err := vault.restore(ctx, "other", nil, b, wrong); err == nil || !strings.Contains(err.Error(), "C_UnwrapKey") {
		t.Errorf("under another secret: %v", err)
	}
	other, _, _, err := token.newBackup(ctx, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	exchanged := *b
	exchanged.Public = other.Public
	if _, err := vault.restore(ctx, "other", nil, &exchanged, secret); err == nil {
		t.Error("another key's backup was taken for it")
	}
	if err := vault.read(ctx, func(s session) error { return s.labelFree("other") }); err != nil {
		t.Errorf("it is left in the token: %v", err)
	}
}

// Whichever call of a backup fails, once: there is a key or there is none, and no half of one.
func TestEveryCallOfBackupFails(t *testing.T) {
	ctx := context.Background()
	options := tokens(t, "factory-a")
	life := func() error {
		token, err := Open(ctx, URI{Token: "factory-a"}, options)
		if err != nil {
			return err
		}
		defer token.Close()
		b, _, shares, err := token.newBackup(ctx, 2, 2)
		if err != nil {
			return err
		}
		secret, err := b.Combine(shares)
		if err != nil {
			return err
		}
		_, err = token.restore(ctx, "order", nil, b, secret)
		return err
	}
	everyCallFails(t, options, life)
}
