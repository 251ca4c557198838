//go:build cgo

package sim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"math/big"
	"testing"

	"github.com/birthmark/birthmark/device"
	"github.com/fxamacker/cbor/v2"
)

const product = 4711

// authority is a root, one order and its key: just enough to give units certificates.
type authority struct {
	order  *ecdsa.PrivateKey
	anchor []byte // docs/formats.md, "Anchor"
	// The order's certificate, and its name.
	certificate, name []byte
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	root, order := newKey(t), newKey(t)
	rootName, name := []byte{1, 1}, []byte{1, 1, 0, 9}
	next := sha256.Sum256([]byte("the next root's key"))
	certificate := sign(t, root, 2, []byte{9}, 0, rootName, 1_800_000_000, nil, name, 1, compressed(point(t, order)),
		[]any{-2, 32, -4, 0, -33000, []any{product, serial(1), serial(99)}})
	return authority{order: order, anchor: append(append(rootName, point(t, root)...), next[:]...), certificate: certificate, name: name}
}

// image is the firmware that this authority's units are built with.
func (a authority) image() device.Image {
	return device.Image{AnchorHash: sha256.Sum256(a.anchor), FirmwareHash: sha256.Sum256([]byte("firmware")),
		Product: product, Peers: []uint32{product}}
}

// issue gives unit n the certificate for its key, X then Y.
func (a authority) issue(t *testing.T, n byte, key [64]byte) []byte {
	t.Helper()
	name := serial(n)
	return sign(t, a.order, 2, name, 0, a.name, 1_800_000_001, nil, name, 1,
		compressed(key[:]), -1)
}

// serial is an EUI-64 without leading zeros.
func serial(n byte) []byte { return []byte{2, 0, 0, 0, 0, 0, 0, n} }

// sign encodes the ten items of a certificate and its signature with low s. The second item is the serial number, which
// C509 encodes as a byte string without leading zeros.
func sign(t *testing.T, key *ecdsa.PrivateKey, items ...any) []byte {
	t.Helper()
	var signed []byte
	for _, item := range items {
		b, err := cbor.Marshal(item)
		if err != nil {
			t.Fatal(err)
		}
		signed = append(signed, b...)
	}
	digest := sha256.Sum256(signed)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	if n := key.Params().N; new(big.Int).Lsh(s, 1).Cmp(n) > 0 {
		s.Sub(n, s)
	}
	signature := append([]byte{0x58, 64}, make([]byte, 64)...)
	r.FillBytes(signature[2:34])
	s.FillBytes(signature[34:])
	return append(append([]byte{0x8B}, signed...), signature...)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// point is X then Y.
func point(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	b, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b[1:]
}

// compressed is the key of a certificate, from X then Y.
func compressed(key []byte) []byte { return append([]byte{2 + key[63]&1}, key[:32]...) }

// verify checks a unit's signature over a statement.
func verify(t *testing.T, key [64]byte, statement []byte, signature [64]byte) {
	t.Helper()
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, key[:]...))
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(statement)
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(public, digest[:], r, s) {
		t.Errorf("the signature over %x does not hold", statement)
	}
}
