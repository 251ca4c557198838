package fleet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/birthmark/birthmark/ca"
)

// All units of a fleet are good; one whose certificate was changed anywhere is told, by its serial number, and so is one on the
// status list.
func TestVerify(t *testing.T) {
	r := makeRequest(t, filepath.Join(t.TempDir(), "fleet.cbor"))
	r.X509 = false
	mustMake(t, r)
	f, units := read(t, r.Out)
	verify := func(b *ca.Bundle) []Refused {
		t.Helper()
		f, err := Open(r.Out)
		if err != nil {
			t.Fatal(err)
		}
		last := 0
		n, refused, err := f.Verify(t.Context(), b, func(n int) { last = n })
		if err != nil || n != r.Units || last != n {
			t.Fatalf("%d units, %d told: %v", n, last, err)
		}
		return refused
	}
	if refused := verify(f.Bundle); len(refused) > 0 {
		t.Fatalf("%v", refused)
	}

	file, err := os.ReadFile(r.Out)
	if err != nil {
		t.Fatal(err)
	}
	bad := units[300]
	at := bytes.Index(file, bad.Certificate)
	for _, byteAt := range []int{at + 2, at + len(bad.Certificate) - 1} { // its serial number, its signature
		spoilt := bytes.Clone(file)
		spoilt[byteAt] ^= 1
		if err := os.WriteFile(r.Out, spoilt, 0o600); err != nil {
			t.Fatal(err)
		}
		if refused := verify(f.Bundle); len(refused) != 1 || refused[0].Serial != bad.Serial {
			t.Errorf("byte %d: %v", byteAt-at, refused)
		}
	}
	if err := os.WriteFile(r.Out, file, 0o600); err != nil {
		t.Fatal(err)
	}

	if err := os.Truncate(r.Out, int64(at)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := f.Verify(t.Context(), f.Bundle, func(int) {}); n != 300 || !errors.Is(err, ErrUnfinished) {
		t.Errorf("cut short: %d, %v", n, err)
	}
	if err := os.WriteFile(r.Out, file, 0o600); err != nil {
		t.Fatal(err)
	}

	listed := revoke(t, r, units[7].Serial)
	if refused := verify(listed); len(refused) != 1 || refused[0].Serial != units[7].Serial || !errors.Is(refused[0].Reason, ca.ErrRevoked) {
		t.Errorf("revoked: %v", refused)
	}

	other := r
	other.Out, other.Seed = filepath.Join(t.TempDir(), "other.cbor"), "other"
	other.Units, other.Orders = 3, 1
	mustMake(t, other)
	stranger, _ := read(t, other.Out)
	if _, _, err := f.Verify(t.Context(), stranger.Bundle, func(int) {}); err == nil {
		t.Error("good under another authority")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.Verify(ctx, f.Bundle, func(int) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// revoke puts a unit onto the status list of the fleet's authority, made once more.
func revoke(t *testing.T, r MakeRequest, serial ca.EUI64) *ca.Bundle {
	t.Helper()
	return revokeAll(t, r, ca.RevokeRequest{Serials: []ca.EUI64{serial}})
}

func revokeAll(t *testing.T, r MakeRequest, list ca.RevokeRequest) *ca.Bundle {
	t.Helper()
	r.Out = filepath.Join(t.TempDir(), "fleet")
	mustMake(t, r)
	f, err := Open(r.Out)
	if err != nil {
		t.Fatal(err)
	}
	root, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), f.Roots[0])
	if err != nil {
		t.Fatal(err)
	}
	a, err := ca.Load(filepath.Join(r.Out, "authority"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(nil, root, list); err != nil {
		t.Fatal(err)
	}
	b, err := a.Publish()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
