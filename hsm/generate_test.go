//go:build cgo

package hsm

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/birthmark/birthmark/hsm/hsmtest"
)

func TestGenerateRefusesLabel(t *testing.T) {
	token := open(t, tokens(t, "factory-a"))
	if _, err := token.GenerateKey(context.Background(), ""); err == nil {
		t.Fatal("a key without a label")
	}
	if _, err := token.GenerateKey(context.Background(), "order"); err != nil {
		t.Fatal(err)
	}
	_, err := token.GenerateKey(context.Background(), "order")
	wantError(t, err, ErrKeyExists)
	half, err := token.GenerateKey(context.Background(), "half")
	if err != nil {
		t.Fatal(err)
	}
	if err := token.write(context.Background(), func(s session) error { return s.destroy(half.pair.private) }); err != nil {
		t.Fatal(err)
	}
	_, err = token.GenerateKey(context.Background(), "half")
	wantError(t, err, ErrHalfKey)
	named, err := CreateKey(context.Background(), "pkcs11:token=factory-a;object=x;id=%01", Options{Module: proxy.module, Modules: token.modules})
	if err != nil {
		t.Fatal(err)
	}
	defer named.Close()
	if k, err := token.Signer(context.Background(), Selector{Label: "x", ID: []byte{1}}); err != nil || !k.pair.public.Equal(named.Public()) {
		t.Fatalf("by its id: %v", err)
	}
}

// A pair whose attributes cannot be read back, or that does not sign, is not kept.
func TestGenerateLeavesNoHalfTrustedKey(t *testing.T) {
	for _, fault := range []struct {
		entry int
		kind  uint64
	}{{hsmtest.GetAttributeValue, pkcs11.CKR_FUNCTION_FAILED}, {hsmtest.Sign, hsmtest.FlipBit}, {hsmtest.Sign, 0x32}, {hsmtest.Sign, hsmtest.CloseAll}, {hsmtest.GenerateKeyPair, hsmtest.AnswerLost | 0x32}} {
		token := open(t, tokens(t, "factory-a"))
		inject(t, fault.entry, fault.kind, 0, 1)
		if _, err := token.GenerateKey(context.Background(), "order"); err == nil {
			t.Fatalf("entry %d: the key was kept", fault.entry)
		}
		if _, err := token.GenerateKey(context.Background(), "order"); err != nil {
			t.Fatalf("entry %d: the pair is still there: %v", fault.entry, err)
		}
		if err := token.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// twin makes a pair with a given label and id, which SoftHSM2 accepts even if there is one already.
func twin(t *testing.T, token *Token, label string, id []byte, more ...*pkcs11.Attribute) {
	t.Helper()
	err := token.write(context.Background(), func(s session) error {
		_, _, err := s.GenerateKeyPair(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_EC_KEY_PAIR_GEN, nil)},
			[]*pkcs11.Attribute{attr(pkcs11.CKA_EC_PARAMS, []byte(p256)), attr(pkcs11.CKA_TOKEN, true), attr(pkcs11.CKA_LABEL, label), attr(pkcs11.CKA_ID, id)},
			append(promised(label, id), more...))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeyThatWantsItsPINEachTime(t *testing.T) {
	token := open(t, tokens(t, "factory-a"))
	twin(t, token, "careful", []byte{1}, attr(pkcs11.CKA_ALWAYS_AUTHENTICATE, true))
	if _, err := token.Signer(context.Background(), Selector{Label: "careful"}); err == nil || !strings.Contains(err.Error(), "CKA_ALWAYS_AUTHENTICATE") {
		t.Fatalf("have %v", err)
	}
}

// A key that was there is taken only if it is as good as one made here.
func TestAdoptKey(t *testing.T) {
	ctx := context.Background()
	options := tokens(t, "factory-a")
	options.Modules = new(Modules)
	token := open(t, options)
	if _, err := token.GenerateKey(ctx, "good"); err != nil {
		t.Fatal(err)
	}
	k, err := AdoptKey(ctx, "pkcs11:token=factory-a;object=good", options)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(signOnce(k), k.Close()); err != nil {
		t.Error(err)
	}
	for attribute, value := range map[uint]bool{pkcs11.CKA_EXTRACTABLE: true, pkcs11.CKA_SENSITIVE: false, pkcs11.CKA_DERIVE: true, pkcs11.CKA_UNWRAP: true} {
		label := fmt.Sprintf("0x%X", attribute)
		twin(t, token, label, []byte{1}, attr(attribute, value)) // the last of one kind counts
		_, err := AdoptKey(ctx, "pkcs11:token=factory-a;object="+label, options)
		if err == nil || !strings.Contains(err.Error(), "attribute "+label) {
			t.Errorf("%s was taken: %v", label, err)
		}
	}
	_, err = AdoptKey(ctx, "pkcs11:token=factory-a;object=none", options)
	wantError(t, err, ErrNoKey)
}

func TestFindKey(t *testing.T) {
	ctx := context.Background()
	token := open(t, tokens(t, "factory-a"))
	_, err := token.Signer(ctx, Selector{})
	wantError(t, err, ErrNoKey)
	first, err := token.GenerateKey(ctx, "order")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.Signer(ctx, Selector{}); err != nil {
		t.Fatal("the only key is not found without a name:", err)
	}
	twin(t, token, "order", []byte{1})
	_, err = token.Signer(ctx, Selector{Label: "order"})
	wantError(t, err, ErrAmbiguous)
	for _, want := range []Selector{{ID: first.pair.id}, {Public: first.pair.public}, {Label: "order", Public: first.pair.public}} {
		k, err := token.Signer(ctx, want)
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		if !k.pair.public.Equal(first.pair.public) || signOnce(k) != nil {
			t.Fatalf("%s: another key", want)
		}
	}
	wantError(t, token.DestroyKey(ctx, Selector{Label: "order"}), ErrAmbiguous)
	wantError(t, token.DestroyKey(ctx, Selector{Label: "none"}), ErrNoKey)
	if token.DestroyKey(ctx, Selector{}) == nil {
		t.Fatal("a key was destroyed that nobody named")
	}
	if err := token.DestroyKey(ctx, Selector{ID: []byte{1}}); err != nil {
		t.Fatal(err)
	}
	twin(t, token, "order", first.pair.id)
	for _, want := range []Selector{{Label: "order"}, {ID: first.pair.id}, first.pair.selector()} {
		_, err = token.Signer(ctx, want)
		wantError(t, err, ErrAmbiguous)
		wantError(t, token.DestroyKey(ctx, want), ErrAmbiguous)
	}
}

// A key is destroyed by its place and its public key: another one in that place stays.
func TestDestroyKeyAtURI(t *testing.T) {
	ctx := context.Background()
	options := tokens(t, "factory-a")
	const uri = "pkcs11:token=factory-a;object=root-1"
	k, err := CreateKey(ctx, uri, options)
	if err != nil {
		t.Fatal(err)
	}
	public := k.Public().(*ecdsa.PublicKey)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, DestroyKey(ctx, uri, &other.PublicKey, options), ErrNoKey)
	wantError(t, DestroyKey(ctx, "pkcs11:token=factory-b;object=root-1", public, options), ErrNoToken)
	if err := DestroyKey(ctx, uri, public, options); err != nil {
		t.Fatal(err)
	}
	wantError(t, DestroyKey(ctx, uri, public, options), ErrNoKey)
	if again, err := CreateKey(ctx, uri, options); err != nil { // no half of it is left
		t.Error(err)
	} else {
		again.Close()
	}
}

func TestParsePoint(t *testing.T) {
	token := open(t, tokens(t, "factory-a"))
	k, err := token.GenerateKey(context.Background(), "order")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := k.pair.public.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	wrapped := append([]byte{4, 65}, raw...)
	for _, value := range [][]byte{raw, wrapped} {
		if public, err := parsePoint(value); err != nil || !public.Equal(k.pair.public) {
			t.Errorf("%x: %v", value, err)
		}
	}
	off := append([]byte(nil), raw...)
	off[64] ^= 1
	for _, value := range [][]byte{nil, raw[:64], wrapped[:66], append(wrapped, 0), off, {0}} {
		if _, err := parsePoint(value); err == nil {
			t.Errorf("%x is a point", value)
		}
	}
}

func TestModuleThatDoesNotLoad(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("not an ELF file"), 0o600); err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(t.TempDir(), "library.so")
	if out, err := exec.Command("cc", "-shared", "-x", "c", "/dev/null", "-o", library).CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	for path, why := range map[string]string{
		"":                  "no PKCS#11 module is named",
		"libsofthsm2.so":    "not an absolute path",
		"/nonexistent/a.so": "No such file",
		text:                "file too short",
		library:             "not a PKCS#11 module",
	} {
		_, err := Open(context.Background(), URI{Token: "factory-a"}, Options{Module: path})
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: have %v, want %q", path, err, why)
		}
	}
}
