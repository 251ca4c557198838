package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"fmt"
	"strings"
)

const (
	anchorSize = 98 // bytes: root's name 2, key 64, hash of the next root's key 32
	pointSize  = 64 // bytes: X then Y
)

// Anchor is what a unit trusts first: a root's name, its key, and the hash of the key that will replace it. A firmware
// image holds the anchor's hash (docs/formats.md, "Anchor"). ParseAnchor and Init make them.
type Anchor [anchorSize]byte

// Hash is SHA-256 of the anchor's 98 bytes.
func (a Anchor) Hash() [32]byte { return sha256.Sum256(a[:]) }

// Name is the root's name.
func (a Anchor) Name() RootName { return RootName(a[:2]) }

// Key is the root's key; it was checked when the anchor was made or parsed.
func (a Anchor) Key() *ecdsa.PublicKey {
	key, err := publicKey([pointSize]byte(a[2:66]))
	if err != nil {
		panic(err) // ParseAnchor and newAnchor let no such anchor out
	}
	return key
}

// Next is SHA-256 of the next root's key, X then Y.
func (a Anchor) Next() [32]byte { return [32]byte(a[66:]) }

// ParseAnchor reads the 98 bytes of an anchor. Errors wrap ErrMalformed.
func ParseAnchor(b []byte) (Anchor, error) {
	if len(b) != anchorSize {
		return Anchor{}, fmt.Errorf("anchor: %d bytes, want %d: %w", len(b), anchorSize, ErrMalformed)
	}
	a := Anchor(b)
	if err := a.Name().check(); err != nil {
		return Anchor{}, fmt.Errorf("anchor: %w", err)
	}
	if _, err := publicKey([pointSize]byte(a[2:66])); err != nil {
		return Anchor{}, fmt.Errorf("anchor: %w", err)
	}
	return a, nil
}

func newAnchor(name RootName, root, next *ecdsa.PublicKey) Anchor {
	var a Anchor
	key, hash := point(root), keyHash(next)
	copy(a[:2], name[:])
	copy(a[2:66], key[:])
	copy(a[66:], hash[:])
	return a
}

// keyHash is what an anchor says of the next root: SHA-256 of X then Y.
func keyHash(key *ecdsa.PublicKey) [32]byte {
	p := point(key)
	return sha256.Sum256(p[:])
}

// point gives X then Y of a P-256 key.
func point(key *ecdsa.PublicKey) [pointSize]byte {
	b, err := key.Bytes() // SEC 1, 2.3.3: 04, X, Y
	if err != nil {
		panic(err) // every key passed p256Key or publicKey
	}
	return [pointSize]byte(b[1:])
}

// publicKey makes a key of X then Y; a point that is not on the curve wraps ErrMalformed.
func publicKey(xy [pointSize]byte) (*ecdsa.PublicKey, error) {
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{0x04}, xy[:]...))
	if err != nil {
		return nil, fmt.Errorf("key is not a point of P-256: %w", ErrMalformed)
	}
	return key, nil
}

// p256Key narrows a public key to the only kind that units can check: ECDSA on P-256. Others wrap ErrMalformed.
func p256Key(key crypto.PublicKey) (*ecdsa.PublicKey, error) {
	k, ok := key.(*ecdsa.PublicKey)
	if !ok || k.Curve != elliptic.P256() {
		return nil, fmt.Errorf("key is %T, want ECDSA on P-256: %w", key, ErrMalformed)
	}
	return k, nil
}

// ImageConstants writes the constants of a firmware image as a C header: the anchor's hash, the product, its peers. The
// start-up code copies bm_image_constants and fills in the hash of the firmware, which nothing built into it can hold.
func (a Anchor) ImageConstants(p *Profile) string {
	var b strings.Builder
	hash := a.Hash()
	fmt.Fprintf(&b, "/* Product %q under root %x. Made by `birthmark ca bundle --c`; include it in one file. */\n", p.Name, a.Name())
	fmt.Fprintf(&b, "#include \"birthmark.h\"\n\nstatic const struct bm_image bm_image_constants = {\n    .anchor_hash = {")
	for i, octet := range hash {
		separator := " "
		if i%8 == 0 {
			separator = "\n        "
		}
		fmt.Fprintf(&b, "%s0x%02x,", separator, octet)
	}
	fmt.Fprintf(&b, "\n    },\n    .product = %du,\n    .peers = {", p.Product)
	for i, peer := range p.Peers {
		separator := ""
		if i > 0 {
			separator = ", "
		}
		fmt.Fprintf(&b, "%s%du", separator, peer)
	}
	fmt.Fprintf(&b, "},\n    .peer_count = %d,\n};\n", len(p.Peers))
	return b.String()
}
