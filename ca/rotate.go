package ca

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/birthmark/birthmark/internal/durable"
)

// RotateRequest is what an officer decides on when the next root takes the newest one's place.
type RotateRequest struct {
	AfterURI string // where the key of the root after the next is
	Now      time.Time
}

// Rotated says whether the rotation that the request asks for has happened: its key is already the next root's. A run that was cut
// short is repeated with the same request, and then only finishes.
func (a *Authority) Rotated(r RotateRequest) bool {
	return len(a.Links) > 0 && r.AfterURI == a.NextURI()
}

// CanRotate says whether Rotate would sign, so that a refusal comes before a key is made. Errors wrap ErrPolicy.
func (a *Authority) CanRotate(r RotateRequest) error {
	epoch := a.Epoch()
	switch {
	case epoch == maxEpoch:
		return fmt.Errorf("root %d was the last one: the authority ends here: %w", maxEpoch, ErrPolicy)
	case slices.Contains(a.keys[:epoch+1], r.AfterURI):
		return fmt.Errorf("the root after the next in the place of another one, %s: %w", r.AfterURI, ErrPolicy)
	case a.room(epoch) < 0:
		return fmt.Errorf("units have no room for another link: %d bytes hold those to root %d: %w", trustPage, epoch, ErrPolicy)
	case r.Now.Before(a.lastIssued(epoch)):
		return fmt.Errorf("the time is %s, before the root or its last order was made, %s: set the clock: %w",
			r.Now.UTC().Format(time.DateTime), a.lastIssued(epoch).Format(time.DateTime), ErrPolicy)
	}
	return nil
}

// Knows says whether the folder has the order with this number and SHA-256 of its certificate, as a station's ledger names it. An
// order that the link does not list is lost to its units. The error wraps ErrUnknownOrder.
func (a *Authority) Knows(number uint16, fingerprint [32]byte) error {
	if n := int(number); n < 1 || n > len(a.Orders) || a.Orders[n-1].Certificate.Fingerprint() != fingerprint {
		return fmt.Errorf("order %d with certificate %x: %w", number, fingerprint[:4], ErrUnknownOrder)
	}
	return nil
}

// Rotate lets the next root, whose key signs, take the newest one's place. Written in this order, each file whole or not at
// all: where the key after is, the new root's certificates, and the link, which closes the root before with all its orders;
// its existence is the rotation, and there is never a second. The old root's key is not needed. Errors wrap those of CanRotate
// and SignLink, or are the signer's or the folder's; then the old root stands, and the same request may be made again.
func (a *Authority) Rotate(random io.Reader, next crypto.Signer, after *ecdsa.PublicKey, r RotateRequest) error {
	if err := a.CanRotate(r); err != nil {
		return err
	}
	if a.isRootKey(after) {
		return fmt.Errorf("the key of the root after the next is another root's: %w", ErrPolicy)
	}
	var orders []*OrderCertificate
	for _, o := range a.ordersOf(a.Epoch()) {
		orders = append(orders, o.Certificate)
		if o.Certificate.Key.Equal(after) {
			return fmt.Errorf("the key of the root after the next is that of order %d: %w", o.Number(), ErrPolicy)
		}
	}
	link, err := SignLink(random, next, a.Newest(), after, orders)
	if err != nil {
		return err
	}
	certificates, err := signRoot(random, next, a.Name, link.Anchor.Name(), r.Now)
	if err != nil {
		return err
	}
	now, err := Load(a.folder) // time has passed since, at a PIN pad or in a token
	if err != nil {
		return err
	}
	if len(now.Orders) != len(a.Orders) || len(now.Links) != len(a.Links) {
		return fmt.Errorf("another command signed in %s meanwhile: run this again: %w", a.folder, ErrPolicy)
	}
	y := authorityYAML{authoritySchema, a.Name, a.Prefix.String(), append(slices.Clone(a.keys[:a.Epoch()+1]), r.AfterURI), hex.EncodeToString(a.Anchor[:])}
	if err := y.write(a.folder, durable.Replace); err != nil {
		return err
	}
	if err := certificates.write(a.folder); err != nil {
		return err
	}
	if err := durable.Place(a.linkPath(a.Epoch()+1), link.Object); err != nil {
		return fmt.Errorf("record the link to root %d: %w", a.Epoch()+1, err)
	}
	if now, err = Load(a.folder); err == nil {
		*a = *now
	}
	return err
}

func (a *Authority) linkPath(epoch int) string { return filepath.Join(a.folder, linkFile(epoch)) }

// rotated says whether the newest root has been replaced since the folder was read.
func (a *Authority) rotated() bool {
	_, err := os.Lstat(a.linkPath(a.Epoch() + 1))
	return err == nil
}
