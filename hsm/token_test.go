//go:build cgo

package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"testing"
)

var digest = sha256.Sum256([]byte("one unit"))

func create(t *testing.T, uri string, options Options) Key {
	t.Helper()
	k, err := CreateKey(context.Background(), uri, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func mustSign(t *testing.T, k crypto.Signer) {
	t.Helper()
	der, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest[:], der) {
		t.Fatal("signature does not verify")
	}
}

func TestCreateSignReopen(t *testing.T) {
	options := tokens(t, "factory-a")
	k := create(t, "pkcs11:token=factory-a;object=order", options)
	mustSign(t, k)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenKey(context.Background(), "pkcs11:token=factory-a;object=order", options)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if !again.Public().(*ecdsa.PublicKey).Equal(k.Public()) {
		t.Fatal("another key came back")
	}
	mustSign(t, again)
}
