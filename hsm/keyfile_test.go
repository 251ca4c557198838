package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.step.sm/crypto/pemutil"
)

const passphrase = "correct horse"

func fileOptions(t *testing.T) Options {
	t.Helper()
	return Options{PIN: PINFromFile(secretFile(t, passphrase+"\n"))}
}

func TestDestroyKeyFile(t *testing.T) {
	ctx, options := context.Background(), fileOptions(t)
	path := filepath.Join(t.TempDir(), "root-1.key")
	k, err := CreateKey(ctx, path, options)
	if err != nil {
		t.Fatal(err)
	}
	public := k.Public().(*ecdsa.PublicKey)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, try := range []struct {
		public  *ecdsa.PublicKey
		options Options
		want    error
		there   bool // afterwards
	}{
		{&other.PublicKey, options, ErrNoKey, true},
		{public, Options{PIN: PINFromFile(secretFile(t, "wrong"))}, ErrPIN, true},
		{public, options, nil, false},
		{public, options, ErrNoKey, false},
	} {
		if err := DestroyKey(ctx, path, try.public, try.options); !errors.Is(err, try.want) {
			t.Errorf("have %v, want %v", err, try.want)
		}
		if _, err := os.Stat(path); (err == nil) != try.there {
			t.Errorf("after %v: %v", try.want, err)
		}
	}
}

func TestKeyFile(t *testing.T) {
	options := fileOptions(t)
	path := filepath.Join(t.TempDir(), "order")
	k, err := CreateKey(context.Background(), "file:"+path, options)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("mode %v, error %v", info.Mode(), err)
	}
	again, err := OpenKey(context.Background(), "file:"+path, options)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	digest := sha256.Sum256([]byte("one unit"))
	der, err := again.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil || !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest[:], der) {
		t.Fatal("bad signature", err)
	}
	if _, err := again.Sign(rand.Reader, digest[:31], crypto.SHA256); err == nil {
		t.Fatal("signed 31 bytes")
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateKey(context.Background(), "file:"+path, options); !errors.Is(err, ErrKeyExists) {
		t.Fatalf("have %v, want ErrKeyExists", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Fatal("the key file was changed", err)
	}
	if err := writeNew(path, nil); !errors.Is(err, ErrKeyExists) { // as if it had appeared while somebody typed
		t.Fatalf("have %v, want ErrKeyExists", err)
	}
}

func TestWrongPassphrase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "order.key")
	if _, err := CreateKey(context.Background(), path, fileOptions(t)); err != nil {
		t.Fatal(err)
	}
	wrong := Options{PIN: PINFromFile(secretFile(t, "incorrect horse"))}
	_, err := OpenKey(context.Background(), path, wrong)
	if !errors.Is(err, ErrPIN) || strings.Contains(err.Error(), "horse") {
		t.Fatalf("have %v, want ErrPIN and no passphrase", err)
	}
	_, err = OpenKey(context.Background(), filepath.Join(t.TempDir(), "none.key"), wrong)
	if !errors.Is(err, ErrNoKey) {
		t.Fatalf("have %v, want ErrNoKey", err)
	}
	for _, source := range []PINSource{PINFromEnv("BIRTHMARK_TEST_NONE"), PINFromFile(secretFile(t, ""))} {
		none := filepath.Join(t.TempDir(), "none.key")
		if _, err := CreateKey(context.Background(), none, Options{PIN: source}); err == nil {
			t.Fatal("a key was made without a passphrase")
		}
		if _, err := os.Stat(none); err == nil {
			t.Fatal("a file was left behind")
		}
	}
}

// encrypted is a key as pemutil writes it.
func encrypted(t *testing.T, curve elliptic.Curve) *pem.Block {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := pemutil.Serialize(key, pemutil.WithPKCS8(true), pemutil.WithPassword([]byte(passphrase)))
	if err != nil {
		t.Fatal(err)
	}
	return block
}

func TestKeyFileThatIsRefused(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	good := pem.EncodeToMemory(encrypted(t, elliptic.P256()))
	var cut struct { // EncryptedPrivateKeyInfo, RFC 5958, section 3
		Algorithm asn1.RawValue
		Data      []byte
	}
	if _, err := asn1.Unmarshal(encrypted(t, elliptic.P256()).Bytes, &cut); err != nil {
		t.Fatal(err)
	}
	cut.Data = cut.Data[1:] // no longer whole blocks
	cutDER, err := asn1.Marshal(cut)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text []byte
		why  string
	}{
		"not encrypted": {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), "want \"ENCRYPTED"},
		"not PEM":       {der, "not one PEM block"},
		"empty":         {nil, "not one PEM block"},
		"two blocks":    {append(good, good...), "not one PEM block"},
		"headers":       {pem.EncodeToMemory(&pem.Block{Type: encryptedPEM, Headers: map[string]string{"a": "b"}, Bytes: der}), "want \"ENCRYPTED"},
		"too large":     {make([]byte, maxKeyFile+1), "larger than"},
		"P-384":         {pem.EncodeToMemory(encrypted(t, elliptic.P384())), "not a P-256 key"},
		"cut":           {pem.EncodeToMemory(&pem.Block{Type: encryptedPEM, Bytes: cutDER}), "malformed"},
		"damaged":       {pem.EncodeToMemory(&pem.Block{Type: encryptedPEM, Bytes: der}), "damaged"},
	} {
		path := filepath.Join(t.TempDir(), "a.key")
		if err := os.WriteFile(path, c.text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenKey(context.Background(), path, fileOptions(t)); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: have %v, want %q", name, err, c.why)
		}
	}
}

// openssl is the foreign implementation: each must read what the other wrote.
func TestKeyFileAndOpenSSL(t *testing.T) {
	options := fileOptions(t)
	folder := t.TempDir()
	ours, theirs := filepath.Join(folder, "ours.key"), filepath.Join(folder, "theirs.key")
	k, err := CreateKey(context.Background(), ours, options)
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) []byte {
		t.Helper()
		command := exec.Command("openssl", args...)
		command.Env = append(os.Environ(), "BIRTHMARK_TEST_PIN="+passphrase)
		out, err := command.Output()
		if err != nil {
			t.Fatalf("openssl, which scripts/bootstrap installs: %v", err)
		}
		return out
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	if out := run("pkey", "-in", ours, "-passin", "env:BIRTHMARK_TEST_PIN", "-pubout", "-outform", "DER"); string(out) != string(der) {
		t.Error("openssl reads another key")
	}
	run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes-256-cbc", "-pass", "env:BIRTHMARK_TEST_PIN", "-out", theirs)
	other, err := OpenKey(context.Background(), theirs, options)
	if err != nil {
		t.Fatal(err)
	}
	der, err = x509.MarshalPKIXPublicKey(other.Public())
	if err != nil {
		t.Fatal(err)
	}
	if out := run("pkey", "-in", theirs, "-passin", "env:BIRTHMARK_TEST_PIN", "-pubout", "-outform", "DER"); string(out) != string(der) {
		t.Error("we read another key")
	}
}
