package provision

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link"
)

// reserve binds the next serial number to this chip and key, or finds the one that an earlier run bound.
func (u *unit) reserve(ctx context.Context, d *ca.Draft, p proven) (reserved, error) {
	u.begin(Reserve)
	order := u.station.Order.Number()
	r, err := u.station.Book.Reserve(ctx, order, ledger.UnitKey{Chip: u.chip, Key: p.key}, u.station.Now())
	if errors.Is(err, ledger.ErrConflict) {
		if e, lookup := u.station.Book.Unit(ctx, u.chip); lookup == nil && e.Key == p.key && e.Order != order && e.State != ledger.Void {
			return reserved{}, u.otherOrder(e)
		}
	}
	switch {
	case err != nil:
		return reserved{}, contradicted(err)
	case r.State == ledger.Closed:
		return reserved{}, fmt.Errorf("chip %x was sealed as unit %v and now says that it is not, which no chip can do: %w", u.chip, ca.EUI64(r.Serial), ErrSetAside)
	}
	return reserved{d, r}, u.station.Bundle.Welcome(u.station.Order.Certificate.Name, ca.EUI64(r.Serial))
}

// signAndCommit makes the certificate and records it before anybody else sees it: a certificate that left this process is
// in the book and is never made again. What an earlier run recorded is taken as it stands. A run that dies between the
// two stages leaves a signature that nobody has; the next signs once more, over the same serial number, key and time.
func (u *unit) signAndCommit(ctx context.Context, r reserved) (recorded, error) {
	if r.State != ledger.Reserved {
		return u.recall(ctx)
	}
	u.begin(Sign)
	issued, err := r.Sign(rand.Reader, &u.key, ca.EUI64(r.Serial), r.IssuedAt, u.station.Twin)
	if err != nil && !errors.Is(err, ca.ErrPolicy) {
		err = fmt.Errorf("%w: %w", ErrKey, err)
	}
	if err != nil {
		return recorded{}, err
	}
	u.begin(Commit)
	// Cancelled or not: it is signed, and to record it takes no longer than to give up.
	entry, err := u.station.Book.Commit(context.WithoutCancel(ctx), r.Serial, issued.Certificate.Raw, issued.X509)
	if err != nil {
		return recorded{}, contradicted(err)
	}
	return recorded{entry, issued.Certificate}, nil
}

// recall takes from the book what an earlier run recorded, and verifies it again: the book lies on a disk.
func (u *unit) recall(ctx context.Context) (recorded, error) {
	entry, err := u.station.Book.Unit(ctx, u.chip)
	if err != nil {
		return recorded{}, err
	}
	certificate, err := verifyEntry(entry, u.station.Order)
	return recorded{entry, certificate}, err
}

// resume finishes a journey that stopped between the seal and the receipt. What the unit carries is compared with the book,
// byte for byte, and its key proves itself once more. A station is nobody to a sealed unit, so the handshake ends there; the
// whole of it was made in the run that sealed the unit.
func (u *unit) resume(ctx context.Context, g greeted) (*Receipt, error) {
	entry, err := u.carried(ctx, g)
	switch {
	case err != nil:
		return nil, err
	case entry.State == ledger.Closed:
		return nil, fmt.Errorf("chip %x is unit %v: %w", u.chip, ca.EUI64(entry.Serial), ErrProvisioned)
	case entry.State == ledger.Void:
		return nil, fmt.Errorf("chip %x is sealed as unit %v: %w: %w", u.chip, ca.EUI64(entry.Serial), ledger.ErrVoid, ErrSetAside)
	case entry.Order != u.station.Order.Number():
		return nil, u.otherOrder(entry)
	case !bytes.Equal(g.OrderCertificate, u.station.Order.Certificate.Raw):
		return nil, fmt.Errorf("chip %x is sealed with another certificate of order %d than this order's: %w", u.chip, entry.Order, ErrSetAside)
	case g.Generation == nil:
		return nil, fmt.Errorf("chip %x is sealed without a pairing record: %w", u.chip, ErrSetAside)
	}
	if err := u.station.Bundle.Welcome(u.station.Order.Certificate.Name, ca.EUI64(entry.Serial)); err != nil {
		return nil, err
	}
	// The run that sealed it had its key attested; here the list is only named on the receipt.
	if err := u.findCapture(); err != nil {
		return nil, err
	}
	r, err := u.recall(ctx)
	if err != nil {
		return nil, err
	}
	end, err := u.checkSeal(r, link.Seal{Locks: g.Locks, Generation: *g.Generation, DebugClosed: g.DebugClosed})
	if err != nil {
		return nil, err
	}
	u.begin(Handshake)
	if err := (counterpart{u.conversation, u.chip, r.certificate, u.station.Order.Certificate}).prove(ctx); err != nil {
		return nil, err
	}
	end.handshake = handshakeSealed
	return u.close(ctx, end)
}

// carried finds the unit in the book by its chip, with the very certificate that it carries. Where the book has none, the
// unit was begun elsewhere or this is an older copy of the book, and whoever is asked to sign must not: ca.ErrPolicy, or
// ErrProvisioned if the unit is sealed. Where the book gave the serial number to another, one serial number was signed
// twice: ledger.ErrDouble. Anything else sets the unit aside.
func (u *unit) carried(ctx context.Context, g greeted) (ledger.Entry, error) {
	entry, err := u.station.Book.Unit(ctx, u.chip)
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		return ledger.Entry{}, err
	}
	if len(g.UnitCertificate) > 0 && bytes.Equal(entry.Certificate, g.UnitCertificate) {
		return entry, nil
	}
	i, err := inspect(g.Hello)
	if err != nil {
		return ledger.Entry{}, err
	}
	if err := i.Verify(u.station.Bundle); err != nil {
		// Not wrapped: other firmware, which would help a unit of another root before the seal, is too late here.
		return ledger.Entry{}, fmt.Errorf("chip %x: %v: %w", u.chip, err, ErrSetAside)
	}
	if err := i.Compare(ctx, u.station.Book); err != nil {
		return ledger.Entry{}, err
	}
	switch {
	case i.Unit == nil:
		err = fmt.Errorf("chip %x is sealed without a certificate: %w", u.chip, ErrSetAside)
	case entry.Certificate != nil:
		err = fmt.Errorf("chip %x carries another certificate than this ledger has for it as %v: %w", u.chip, ca.EUI64(entry.Serial), ErrSetAside)
	case g.State == link.Sealed:
		err = fmt.Errorf("chip %x is sealed with a certificate that is not in this ledger: it was provisioned elsewhere, or this is an older copy of the book: %w", u.chip, ErrProvisioned)
	default:
		err = fmt.Errorf("chip %x carries a certificate that is not in this ledger: it was made at another station, or this is an older copy of the book: %w", u.chip, ca.ErrPolicy)
	}
	return ledger.Entry{}, err
}

// otherOrder refuses a unit that was begun under another order, which alone can finish it.
func (u *unit) otherOrder(e ledger.Entry) error {
	return fmt.Errorf("chip %x was begun under order %d as %v; finish it with that order's file: %w", u.chip, e.Order, ca.EUI64(e.Serial), ca.ErrPolicy)
}

// contradicted sets a unit aside that is not what the book says of it: void, its chip or key in another pair, or a
// certificate recorded meanwhile for a second unit that says it is this one.
func contradicted(err error) error {
	if errors.Is(err, ledger.ErrConflict) || errors.Is(err, ledger.ErrVoid) {
		return fmt.Errorf("%w: %w", err, ErrSetAside)
	}
	return err
}
