package ca

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

func TestAnchor(t *testing.T) {
	root, next := newKey(t), newKey(t)
	a := newAnchor(RootName{1, 3}, &root.PublicKey, &next.PublicKey)
	nextHash := sha256.Sum256(sec1(&next.PublicKey)[1:])
	want := slices.Concat([]byte{1, 3}, sec1(&root.PublicKey)[1:], nextHash[:])
	if !bytes.Equal(a[:], want) || a.Hash() != sha256.Sum256(want) || a.Next() != nextHash || a.Name() != (RootName{1, 3}) || !a.Key().Equal(&root.PublicKey) {
		t.Errorf("%x, want %x", a, want)
	}
	if again, err := ParseAnchor(want); err != nil || again != a {
		t.Errorf("%x, %v", again, err)
	}
	for name, spoil := range map[string]func(b []byte) []byte{
		"a byte less":         func(b []byte) []byte { return b[:97] },
		"a byte more":         func(b []byte) []byte { return append(b, 0) },
		"nothing":             func([]byte) []byte { return nil },
		"flag 2":              func(b []byte) []byte { b[0] |= 2; return b },
		"epoch 0":             func(b []byte) []byte { b[1] = 0; return b },
		"a key off the curve": func(b []byte) []byte { b[65] ^= 1; return b },
		"a key of zeros":      func(b []byte) []byte { clear(b[2:66]); return b },
		"a key beyond p":      func(b []byte) []byte { copy(b[2:34], bytes.Repeat([]byte{0xFF}, 32)); return b },
	} {
		_, err := ParseAnchor(spoil(bytes.Clone(want)))
		wantError(t, name, err, ErrMalformed)
	}
}

func TestBundle(t *testing.T) {
	a := newAnchor(RootName{0, 1}, &newKey(t).PublicKey, &newKey(t).PublicKey)
	none := [][]byte{}
	b := (&Bundle{Anchor: a}).Encode()
	want := items{[]any{"birthmark bundle 1", a[:], none, []byte{}}}.encode(t)
	if !bytes.Equal(b, want) {
		t.Errorf("%x, want %x", b, want)
	}
	if again, err := ParseBundle(b); err != nil || again.Anchor != a || again.Links != nil || again.List != nil {
		t.Errorf("%+v, %v", again, err)
	}
	for size := range b {
		_, err := ParseBundle(b[:size])
		wantError(t, "cut", err, ErrMalformed)
	}
	for name, wrong := range map[string][]byte{
		"another title":        items{[]any{"birthmark bundle 2", a[:], none, []byte{}}}.encode(t),
		"an anchor cut":        items{[]any{"birthmark bundle 1", a[:97], none, []byte{}}}.encode(t),
		"an anchor of zeros":   items{[]any{"birthmark bundle 1", make([]byte, 98), none, []byte{}}}.encode(t),
		"an anchor in text":    items{[]any{"birthmark bundle 1", strings.Repeat("x", 98), none, []byte{}}}.encode(t),
		"an item more":         items{[]any{"birthmark bundle 1", a[:], none, []byte{}, 0}}.encode(t),
		"a tag":                items{cbor.Tag{Number: 55799, Content: []any{"birthmark bundle 1", a[:], none, []byte{}}}}.encode(t),
		"null for links":       items{[]any{"birthmark bundle 1", a[:], nil, []byte{}}}.encode(t),
		"null for the list":    items{[]any{"birthmark bundle 1", a[:], none, nil}}.encode(t),
		"null for a link":      items{[]any{"birthmark bundle 1", a[:], []any{nil}, []byte{}}}.encode(t),
		"the anchor alone":     items{[]any{"birthmark bundle 1", a[:]}}.encode(t),
		"a byte more":          append(bytes.Clone(b), 0),
		"the anchor by itself": a[:],
	} {
		_, err := ParseBundle(wrong)
		wantError(t, name, err, ErrMalformed)
	}
}

// The header of `ca bundle --c` is C that the library's own header accepts, and means what was asked for.
func TestImageConstants(t *testing.T) {
	a := newAnchor(RootName{1, 1}, &newKey(t).PublicKey, &newKey(t).PublicKey)
	hash := a.Hash()
	for _, test := range []struct {
		product uint32
		peers   []uint32
	}{
		{7, []uint32{7}},
		{math.MaxUint32, []uint32{1, 2, 3, 4, 5, 6, 7, math.MaxUint32}},
	} {
		p := &Profile{Name: "pump_2.b-c", Product: test.product, Peers: test.peers}
		folder := t.TempDir()
		writeFile(t, filepath.Join(folder, "image.h"), []byte(a.ImageConstants(p)))
		writeFile(t, filepath.Join(folder, "print.c"), []byte(`#include <stdio.h>
#include "image.h"
int main(void)
{
    const struct bm_image *image = &bm_image_constants;
    for (unsigned i = 0; i < sizeof image->anchor_hash; i++) {
        printf("%02x", image->anchor_hash[i]);
    }
    printf(" %lu", (unsigned long)image->product);
    for (unsigned i = 0; i < BM_PEERS_MAX; i++) {
        printf(" %lu", (unsigned long)image->peers[i]);
    }
    printf(" %u", image->peer_count);
    return 0;
}
`))
		binary := filepath.Join(folder, "print")
		compile := exec.Command("cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-I../device", "-o", binary, filepath.Join(folder, "print.c"))
		if out, err := compile.CombinedOutput(); err != nil {
			t.Fatalf("cc (a C compiler is needed): %v\n%s", err, out)
		}
		out, err := exec.Command(binary).Output()
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%s %d", hex.EncodeToString(hash[:]), test.product)
		for i := range maxPeers {
			peer := uint32(0)
			if i < len(test.peers) {
				peer = test.peers[i]
			}
			want += fmt.Sprintf(" %d", peer)
		}
		want += fmt.Sprintf(" %d", len(test.peers))
		if string(out) != want {
			t.Errorf("the image has\n%s, want\n%s", out, want)
		}
	}
}
