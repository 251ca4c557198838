package ceremony

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/birthmark/birthmark/ca"
)

// throwaway are keys in memory, by their URIs, on which a plan is rehearsed.
type throwaway map[string]throwawayKey

type throwawayKey struct{ *ecdsa.PrivateKey }

func newThrowaway() throwawayKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return throwawayKey{key}
}

func (throwawayKey) Close() error        { return nil }
func (throwawayKey) Description() string { return "a throwaway key in memory" }

// Sign takes randomness from the process, as a token takes its own.
func (k throwawayKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(rand.Reader, digest, opts)
}

func (t throwaway) Look(uri string) (string, bool, error) {
	_, taken := t[uri]
	return "memory of this process", taken, nil
}

func (t throwaway) Make(_ context.Context, uri string, _ []byte) (Key, error) {
	if _, taken := t[uri]; taken {
		return nil, fmt.Errorf("%s: %w", uri, ErrKeyTaken)
	}
	t[uri] = newThrowaway()
	return t[uri], nil
}

func (t throwaway) Open(_ context.Context, uri string, _ []byte) (Key, error) {
	key, there := t[uri]
	if !there {
		return nil, fmt.Errorf("no throwaway key stands for %s: %w", uri, ca.ErrPolicy)
	}
	return key, nil
}

func (t throwaway) Discard(_ context.Context, uri string, _ []byte) (bool, error) {
	_, there := t[uri]
	delete(t, uri)
	return there, nil
}

// Divide rehearses that there are shares: nobody gets one.
func (t throwaway) Divide(_ context.Context, _ string, _, shares int) (Backup, error) {
	return throwawayBackup{t, make([]string, shares)}, nil
}

func (t throwaway) Backup([]byte) (Backup, error) { return throwawayBackup{t, nil}, nil }

// throwawayBackup is of a key that does not matter.
type throwawayBackup struct {
	keys  throwaway
	pages []string
}

func (throwawayBackup) Code() string             { return "0000-0000" }
func (throwawayBackup) File() []byte             { return []byte("REHEARSAL\n") }
func (b throwawayBackup) Pages() []string        { return b.pages }
func (throwawayBackup) Line(string) (int, error) { return 0, nil }
func (b throwawayBackup) Restore(ctx context.Context, uri string, id []byte) (Key, error) {
	return b.keys.Make(ctx, uri, id)
}

func (t throwaway) Destroy(ctx context.Context, uri string, key *ecdsa.PublicKey) (bool, error) {
	if k, there := t[uri]; there && !key.Equal(&k.PublicKey) {
		return false, errors.New("another key is there")
	}
	return t.Discard(ctx, uri, nil)
}

// absent is a key of which only the public half is here.
type absent struct{ public *ecdsa.PublicKey }

func (a absent) Public() crypto.PublicKey { return a.public }

func (absent) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("this key is kept elsewhere")
}
