package ca

import (
	"bytes"
	"fmt"
	"slices"
)

const bundleTitle = "birthmark bundle 1"

// Bundle is what stations, and units through them, are told of their authority: the anchor of the first root, whose hash firmware
// images hold, the links from it to the newest root, and the newest status list. ParseBundle and an Authority make them.
type Bundle struct {
	Anchor Anchor
	Links  []*Link     // root 2 first
	List   *StatusList // by the newest root; nil: nobody is listed
}

// bundleFile is the file of that name (docs/formats.md, "Bundle").
type bundleFile struct {
	_      struct{} `cbor:",toarray"`
	Title  string
	Anchor Anchor
	Links  [][]byte
	List   []byte // empty: none
}

// Encode writes the bundle's file.
func (b *Bundle) Encode() []byte {
	file := bundleFile{Title: bundleTitle, Anchor: b.Anchor, Links: [][]byte{}, List: []byte{}}
	for _, l := range b.Links {
		file.Links = append(file.Links, l.Object)
	}
	if b.List != nil {
		file.List = b.List.Object
	}
	return mustEncode(file)
}

// ParseBundle reads what Encode wrote, and verifies that each link follows the root before it and that the newest root signed
// the list. Whether the anchor is the right one is the caller's to say. Errors wrap ErrMalformed or ErrVerify.
func ParseBundle(file []byte) (*Bundle, error) {
	var v bundleFile
	if err := decodeStrict(file, &v); err != nil || v.Title != bundleTitle || v.Links == nil || v.List == nil {
		return nil, fmt.Errorf("not a bundle: want what `birthmark ca bundle` writes: %w", ErrMalformed)
	}
	b, err := v.parse()
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return b, nil
}

func (v *bundleFile) parse() (*Bundle, error) {
	anchor, err := ParseAnchor(v.Anchor[:])
	if err != nil {
		return nil, err
	}
	b := &Bundle{Anchor: anchor}
	for _, object := range v.Links {
		if err := b.follow(object); err != nil {
			return nil, err
		}
	}
	if len(v.List) == 0 {
		return b, nil
	}
	if b.List, err = ParseStatusList(v.List); err != nil {
		return nil, err
	}
	return b, b.List.Verify(b.Newest())
}

// follow takes the link to the next root.
func (b *Bundle) follow(object []byte) error {
	l, err := ParseLink(object)
	if err == nil {
		err = l.Verify(b.Newest())
	}
	if err == nil {
		b.Links = append(b.Links, l)
	}
	return err
}

// Newest is the newest root's anchor.
func (b *Bundle) Newest() Anchor {
	if len(b.Links) == 0 {
		return b.Anchor
	}
	return b.Links[len(b.Links)-1].Anchor
}

// Epoch is that of the newest root.
func (b *Bundle) Epoch() int { return b.Newest().Name().Epoch() }

// Root is the anchor of the root of this epoch; ok is false if the bundle does not know it.
func (b *Bundle) Root(epoch int) (a Anchor, ok bool) {
	if epoch == b.Anchor.Name().Epoch() {
		return b.Anchor, true
	}
	for _, l := range b.Links {
		if l.Anchor.Name().Epoch() == epoch {
			return l.Anchor, true
		}
	}
	return Anchor{}, false
}

// VerifyOrder judges an order certificate as a unit does that has this bundle: by the root of the order's own epoch, and by the
// link that closed that root. Errors wrap ErrUnknownRoot, ErrClosedRoot or ErrVerify.
func (b *Bundle) VerifyOrder(o *OrderCertificate) error {
	epoch := o.Name.Root().Epoch()
	root, ok := b.Root(epoch)
	if !ok {
		return fmt.Errorf("order %d is of root %d, the newest that the bundle names is root %d: %w", o.Name.Number(), epoch, b.Epoch(), ErrUnknownRoot)
	}
	if err := o.Verify(root); err != nil {
		return err
	}
	for _, l := range b.Links {
		if l.Anchor.Name().Epoch() == epoch+1 && !slices.Contains(l.Orders, o.Hash()) {
			return fmt.Errorf("order %d is not among those that root %d signed before it was closed: %w", o.Name.Number(), epoch, ErrClosedRoot)
		}
	}
	return nil
}

// VerifyUnit judges a unit's certificates as another unit does that has this bundle. Errors are those of VerifyOrder, or wrap
// ErrVerify or, for a serial number on the status list, ErrRevoked.
func (b *Bundle) VerifyUnit(o *OrderCertificate, u *UnitCertificate) error {
	if err := b.VerifyOrder(o); err != nil {
		return err
	}
	if err := u.Verify(o); err != nil {
		return err
	}
	return b.Revoked(u.Serial)
}

// VerifyPeer judges a unit's certificates as a unit of this product does that has this bundle and has not met the other before: as
// VerifyUnit, and whether it would pair with it. Errors are those of VerifyUnit, or wrap ErrVerify for a product that this one does
// not talk to, ErrRevoked for a listed order or range.
func (b *Bundle) VerifyPeer(o *OrderCertificate, u *UnitCertificate, p *Profile) error {
	if err := b.VerifyUnit(o, u); err != nil {
		return err
	}
	if !slices.Contains(p.Peers, o.Product) {
		return fmt.Errorf("%v is product %d, and %q talks to %v: %w", u.Serial, o.Product, p.Name, p.Peers, ErrVerify)
	}
	return b.Welcome(o.Name, u.Serial)
}

// VerifyLink judges a link as a unit does that has this bundle: it has it already, or it follows the newest root. Errors wrap
// ErrVerify.
func (b *Bundle) VerifyLink(l *Link) error {
	if slices.ContainsFunc(b.Links, func(known *Link) bool { return bytes.Equal(known.Object, l.Object) }) {
		return nil
	}
	return l.Verify(b.Newest())
}

// VerifyList judges a status list as a unit does that has this bundle: it has it already, or the newest root signed it and it is newer.
// Errors wrap ErrVerify.
func (b *Bundle) VerifyList(l *StatusList) error {
	if b.List != nil {
		if bytes.Equal(b.List.Object, l.Object) {
			return nil
		}
		if l.Root.Epoch() < b.List.Root.Epoch() || l.Root.Epoch() == b.List.Root.Epoch() && l.Number <= b.List.Number {
			return fmt.Errorf("status list %d of root %d is not newer than list %d of root %d, which is in the bundle: %w",
				l.Number, l.Root.Epoch(), b.List.Number, b.List.Root.Epoch(), ErrVerify)
		}
	}
	return l.Verify(b.Newest())
}

// Revoked says whether the status list has a serial number. The error wraps ErrRevoked.
func (b *Bundle) Revoked(serial EUI64) error {
	if b.List.revokes(serial) {
		return fmt.Errorf("%v is on status list %d: %w", serial, b.List.Number, ErrRevoked)
	}
	return nil
}

// Holds says whether the status list has the unit's order, or a range that the unit is in: genuine as it is, nobody pairs with it
// any more.
func (b *Bundle) Holds(order OrderName, serial EUI64) bool { return b.List.holds(order, serial) }

// Welcome refuses to make a unit that nobody would pair with: the status list has its order, its range or its serial number. The
// error wraps ErrRevoked.
func (b *Bundle) Welcome(order OrderName, serial EUI64) error {
	if b.Holds(order, serial) {
		return fmt.Errorf("%v, or its order %d, is on status list %d: %w", serial, order.Number(), b.List.Number, ErrRevoked)
	}
	return b.Revoked(serial)
}

// VerifyFile judges an order file: as VerifyOrder does, and that its anchor is the bundle's for that root, with the same next root.
func (b *Bundle) VerifyFile(o *Order) error {
	if root, known := b.Root(o.Epoch()); known && o.Anchor != root {
		return fmt.Errorf("order %d is of another authority: %w", o.Number(), ErrVerify)
	}
	return b.VerifyOrder(o.Certificate)
}

// AdmitOrder says whether a station that was given this bundle may work under an order. Errors are those of VerifyFile, or wrap
// ErrRevoked if the status list has it.
func (b *Bundle) AdmitOrder(o *Order) error {
	if err := b.VerifyFile(o); err != nil {
		return err
	}
	if b.List != nil && slices.Contains(b.List.Orders, o.Certificate.Name) {
		return fmt.Errorf("order %d is on status list %d: %w", o.Number(), b.List.Number, ErrRevoked)
	}
	return nil
}
