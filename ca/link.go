package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/veraison/go-cose"
)

const (
	linkTitle = "birthmark link 1"
	maxEpoch  = 255
)

// OrderHash names an order certificate in a link: the first bytes of its SHA-256.
type OrderHash [12]byte

// Hash is what a link names the order by.
func (o *OrderCertificate) Hash() OrderHash {
	hash := sha256.Sum256(o.Raw)
	return OrderHash(hash[:12])
}

// Link is how one root follows another (docs/formats.md, "Trust"): the new root's anchor, and the orders that the root
// before it ever signed, which are all that units take of it from then on. SignLink and ParseLink make them.
type Link struct {
	Anchor Anchor
	Orders []OrderHash // ascending
	Object []byte      // as it was signed

	signed *cose.Sign1Message
}

// SignLink lets the root whose key next is follow the one of the anchor before, and names the key after it by its hash
// alone. orders are all that the root before signed, in any order. A key that the anchor did not announce wraps ErrVerify; what
// units could not take ErrMalformed, or ErrPolicy if they have no room for it.
func SignLink(random io.Reader, next crypto.Signer, before Anchor, after *ecdsa.PublicKey, orders []*OrderCertificate) (*Link, error) {
	key, err := p256Key(next.Public())
	if err != nil {
		return nil, fmt.Errorf("link: next root: %w", err)
	}
	if _, err := p256Key(after); err != nil {
		return nil, fmt.Errorf("link: root after the next: %w", err)
	}
	epoch := before.Name().Epoch() + 1
	switch {
	case epoch > maxEpoch:
		return nil, fmt.Errorf("link: epoch %d was the last one: the authority ends here: %w", maxEpoch, ErrPolicy)
	case keyHash(key) != before.Next():
		return nil, fmt.Errorf("link: the key is not the one whose hash root %d left to units: %w", before.Name().Epoch(), ErrVerify)
	case after.Equal(key) || after.Equal(before.Key()):
		return nil, fmt.Errorf("link: the root after the next needs a key of its own: %w", ErrMalformed)
	case len(orders) > MaxOrdersPerRoot:
		return nil, fmt.Errorf("link: %d orders, and a unit has room for %d: %w", len(orders), MaxOrdersPerRoot, ErrPolicy)
	}
	hashes := make([]OrderHash, len(orders))
	for i, o := range orders {
		if err := o.Verify(before); err != nil {
			return nil, fmt.Errorf("link: %w", err)
		}
		hashes[i] = o.Hash()
	}
	slices.SortFunc(hashes, compareHashes)
	anchor := newAnchor(newRootName(before.Name().Test(), epoch), key, after)
	payload := anchor[:]
	for _, hash := range hashes {
		payload = append(payload, hash[:]...)
	}
	object, err := signForUnits(random, next, linkTitle, payload)
	if err != nil {
		return nil, err
	}
	l, err := ParseLink(object)
	if err != nil {
		return nil, fmt.Errorf("read back the new link: %w", err)
	}
	return l, l.Verify(before)
}

// linkSize is how many bytes a link has that closes so many orders.
func linkSize(orders int) int { return objectSize(anchorSize + orders*len(OrderHash{})) }

func compareHashes(a, b OrderHash) int { return bytes.Compare(a[:], b[:]) }

// ParseLink reads a link. Its signature is not checked: Verify does that. Errors wrap ErrMalformed.
func ParseLink(object []byte) (*Link, error) {
	m, err := parseForUnits(linkTitle, object)
	if err != nil {
		return nil, err
	}
	rest := len(m.Payload) - anchorSize
	if rest < 0 || rest%len(OrderHash{}) != 0 || rest/len(OrderHash{}) > MaxOrdersPerRoot {
		return nil, fmt.Errorf("link: payload of %d bytes: %w", len(m.Payload), ErrMalformed)
	}
	anchor, err := ParseAnchor(m.Payload[:anchorSize])
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	l := &Link{Anchor: anchor, Object: bytes.Clone(object), signed: m}
	for hash := range slices.Chunk(m.Payload[anchorSize:], len(OrderHash{})) {
		l.Orders = append(l.Orders, OrderHash(hash))
	}
	if !ascending(l.Orders, compareHashes) {
		return nil, fmt.Errorf("link: an order stands twice or they are out of order: %w", ErrMalformed)
	}
	return l, nil
}

// Verify checks that the link follows the root of this anchor, or of the link whose anchor it is, as a unit does: epoch, the
// hash that was left to it, signature. Errors wrap ErrVerify.
func (l *Link) Verify(before Anchor) error {
	name := before.Name()
	if l.Anchor.Name() != newRootName(name.Test(), name.Epoch()+1) || name.Epoch() == maxEpoch {
		return fmt.Errorf("link: root %x does not follow %x: %w", l.Anchor.Name(), name, ErrVerify)
	}
	if keyHash(l.Anchor.Key()) != before.Next() {
		return fmt.Errorf("link: its key is not the one whose hash root %d left to units: %w", name.Epoch(), ErrVerify)
	}
	return verifyObject(l.signed, linkTitle, l.Anchor.Key())
}
