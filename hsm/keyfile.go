package hsm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.step.sm/crypto/kms/apiv1"
	"go.step.sm/crypto/kms/softkms"
	"go.step.sm/crypto/pemutil"

	"github.com/birthmark/birthmark/internal/durable"
)

const (
	maxKeyFile   = 4096                    // bytes; an encrypted P-256 key takes about 450
	encryptedPEM = "ENCRYPTED PRIVATE KEY" // RFC 7468, section 11
)

// fileKey is a P-256 key that was decrypted into memory.
type fileKey struct {
	signer crypto.Signer
	public *ecdsa.PublicKey
	path   string
}

// openFile decrypts the PKCS#8 key (RFC 5958, section 3) in the PEM file at path.
func openFile(ctx context.Context, path string, source PINSource) (Key, error) {
	text, err := readKeyFile(path)
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	passphrase, err := source.read(ctx, passphrasePrompt(path))
	if err != nil {
		return nil, fmt.Errorf("open key file %q: %w", path, err)
	}
	defer clear(passphrase)
	key, err := decrypt(text, passphrase)
	if err != nil {
		return nil, fmt.Errorf("open key file %q: %w", path, err)
	}
	key.path = path
	return key, nil
}

func passphrasePrompt(path string) string { return fmt.Sprintf("passphrase of key file %q", path) }

// readKeyFile returns the file's text if it is one encrypted PEM block: a key that lies open on a disk
// is not used, so that nobody gets accustomed to one.
func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	switch {
	case len(text) > maxKeyFile:
		return nil, fmt.Errorf("%q: larger than %d bytes", path, maxKeyFile)
	case block == nil, len(bytes.TrimSpace(rest)) != 0:
		return nil, fmt.Errorf("%q: not one PEM block", path)
	case block.Type != encryptedPEM, len(block.Headers) != 0:
		return nil, fmt.Errorf("%q: a PEM block %q, want %q (openssl pkcs8 -topk8 makes it)", path, block.Type, encryptedPEM)
	}
	return text, nil
}

func decrypt(text, passphrase []byte) (key *fileKey, err error) {
	// pemutil's CBC decryption panics when IV or ciphertext has a wrong size.
	defer func() {
		if recover() != nil {
			key, err = nil, errors.New("malformed encryption parameters")
		}
	}()
	signer, err := new(softkms.SoftKMS).CreateSigner(&apiv1.CreateSignerRequest{SigningKeyPEM: text, Password: passphrase})
	if err != nil {
		// One wrong passphrase in 256 passes the padding and fails as a malformed key, so both look alike.
		return nil, fmt.Errorf("%w, or the file is damaged: %w", ErrPIN, err)
	}
	public, ok := signer.Public().(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("not a P-256 key")
	}
	return &fileKey{signer: signer, public: public}, nil
}

// createFile makes a key and writes it, encrypted, to a new file of mode 0600. The file and its folder
// are synced: a key that signed is there after a power cut.
func createFile(ctx context.Context, path string, source PINSource) (Key, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("create key file: %w: %q", ErrKeyExists, path) // before anybody types
	}
	passphrase, err := source.readNew(ctx, passphrasePrompt(path))
	if err != nil {
		return nil, fmt.Errorf("create key file %q: %w", path, err)
	}
	defer clear(passphrase)
	made, err := new(softkms.SoftKMS).CreateKey(&apiv1.CreateKeyRequest{Name: path, SignatureAlgorithm: apiv1.ECDSAWithSHA256})
	if err != nil {
		return nil, fmt.Errorf("create key file %q: %w", path, err)
	}
	block, err := pemutil.Serialize(made.PrivateKey, pemutil.WithPKCS8(true), pemutil.WithPassword(passphrase))
	if err != nil {
		return nil, fmt.Errorf("create key file %q: %w", path, err)
	}
	text := pem.EncodeToMemory(block)
	key, err := decrypt(text, passphrase) // what is on the disk must open again
	if err != nil {
		return nil, fmt.Errorf("create key file %q: %w", path, err)
	}
	key.path = path
	if err := writeNew(path, text); err != nil {
		return nil, fmt.Errorf("create key file: %w", err)
	}
	return key, nil
}

// destroyFile removes a key file that has this key in it, which takes its passphrase.
func destroyFile(ctx context.Context, path string, public *ecdsa.PublicKey, source PINSource) error {
	key, err := openFile(ctx, path, source)
	if err != nil {
		return err
	}
	if !public.Equal(key.Public()) {
		return fmt.Errorf("key file %q: it has another key in it: %w", path, ErrNoKey)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("destroy key file: %w", err)
	}
	return durable.SyncFolder(filepath.Dir(path))
}

// writeNew writes a key file that was not there and makes it last.
func writeNew(path string, text []byte) error {
	err := durable.WriteNew(path, text, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %w", ErrKeyExists, err)
	}
	return err
}

func (k *fileKey) Public() crypto.PublicKey { return k.public }

func (k *fileKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := checkDigest(digest, opts); err != nil {
		return nil, err
	}
	der, err := k.signer.Sign(rand, digest, opts)
	if err == nil {
		der, err = verified(k.public, digest, der)
	}
	if err != nil {
		return nil, fmt.Errorf("%w with key file %q: %w", ErrSign, k.path, err)
	}
	return der, nil
}

func (k *fileKey) Description() string { return fmt.Sprintf("key file %q", k.path) }

// Close has nothing to give back; the key goes with the memory of the process.
func (k *fileKey) Close() error { return nil }
