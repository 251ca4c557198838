// Secondopinion asks another PKCS#11 library, kms/pkcs11 of go.step.sm/crypto, for a key: which public key it finds, whether a
// signature verifies under it, and for a signature of its own.
//
// usage: secondopinion URI DIGEST SIGNATURE, the latter two in hexadecimal; a JSON object comes out
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"go.step.sm/crypto/kms/apiv1"
	"go.step.sm/crypto/kms/pkcs11"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "secondopinion:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	if len(args) != 3 {
		return errors.New("usage: secondopinion URI DIGEST SIGNATURE")
	}
	digest, err := hex.DecodeString(args[1])
	if err != nil {
		return err
	}
	ours, err := hex.DecodeString(args[2])
	if err != nil {
		return err
	}
	kms, err := pkcs11.New(context.Background(), apiv1.Options{URI: args[0]})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kms.Close()) }()
	signer, err := kms.CreateSigner(&apiv1.CreateSignerRequest{SigningKey: args[0]})
	if err != nil {
		return err
	}
	public, ok := signer.Public().(*ecdsa.PublicKey)
	if !ok {
		return fmt.Errorf("a key of type %T", signer.Public())
	}
	point, err := public.Bytes()
	if err != nil {
		return err
	}
	theirs, err := signer.Sign(rand.Reader, digest, crypto.SHA256)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(struct {
		Point     string `json:"point"`
		Verified  bool   `json:"verified"`
		Signature string `json:"signature"`
	}{hex.EncodeToString(point), ecdsa.VerifyASN1(public, digest, ours), hex.EncodeToString(theirs)})
}
