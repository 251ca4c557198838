package provision

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link"
)

const certificateSlot = 8 // of the chip; locked by the seal

// hello asks who is there, and refuses a unit that could never be provisioned here before anything is done to it.
func (u *unit) hello(ctx context.Context) (greeted, error) {
	u.begin(Hello)
	h, err := u.conversation.Hello(ctx)
	if err != nil {
		return greeted{}, fault(err)
	}
	u.chip = h.Chip
	if h.State == link.Foreign {
		return greeted{}, fmt.Errorf("chip %x is locked with a configuration that is not ours: %w", u.chip, ErrSetAside)
	}
	if err := u.station.Order.Fits(h.AnchorHash, h.Product, h.Firmware); err != nil {
		return greeted{}, fmt.Errorf("%w: %w", err, ErrSetAside)
	}
	return greeted{h}, nil
}

// prepare has the unit configure and lock its chip, make its key and lock the data zone, and holds what the chip then says
// of itself against the profile.
func (u *unit) prepare(ctx context.Context, g greeted) (prepared, error) {
	u.begin(Prepare)
	zone, err := u.conversation.Prepare(ctx)
	if err != nil {
		return prepared{}, fault(err)
	}
	serial := append(bytes.Clone(zone[:4]), zone[8:13]...)
	if !bytes.Equal(serial, u.chip[:]) {
		return prepared{}, fmt.Errorf("chip %x shows the configuration of chip %x: %w", u.chip, serial, ErrSetAside)
	}
	if err := u.station.Order.Profile.CheckConfiguration(zone); err != nil {
		return prepared{}, fmt.Errorf("chip %x: %w: %w", u.chip, err, ErrSetAside)
	}
	return prepared{g, zone}, nil
}

// prove has the unit sign a fresh challenge, bound to this order, chip, firmware and use, with the key that it shows.
func (u *unit) prove(ctx context.Context, p prepared) (proven, error) {
	u.begin(Prove)
	var challenge [32]byte
	rand.Read(challenge[:])
	order := u.station.Order.Certificate.Name
	proof, err := u.conversation.Prove(ctx, challenge, order[:])
	if err != nil {
		return proven{}, fault(err)
	}
	statement := link.PossessionStatement(challenge, order[:], u.chip, p.Firmware, proof.Key)
	if !verify(proof.Key, statement, proof.Signature) {
		return proven{}, fmt.Errorf("chip %x does not prove that it holds the key that it shows: %w", u.chip, ErrSetAside)
	}
	return proven{p, proof.Key}, nil
}

func (u *unit) check(p proven) (*ca.Draft, error) {
	u.begin(Check)
	return ca.Check(u.station.Order, ca.Candidate{
		Key:           p.key,
		Firmware:      p.Firmware,
		Anchor:        p.AnchorHash,
		Product:       p.Product,
		Configuration: p.configuration,
	}, u.station.Test, u.station.Now())
}

// reserve binds the next serial number to this chip and key, or finds the one that an earlier run bound.
func (u *unit) reserve(ctx context.Context, d *ca.Draft, p proven) (reserved, error) {
	u.begin(Reserve)
	r, err := u.station.Book.Reserve(ctx, u.station.Order.Number(), ledger.UnitKey{Chip: u.chip, Key: p.key}, u.station.Now())
	if errors.Is(err, ledger.ErrConflict) || errors.Is(err, ledger.ErrVoid) {
		if e, lookup := u.station.Book.Unit(ctx, u.chip); lookup == nil && e.Order != u.station.Order.Number() && e.Key == p.key {
			return reserved{}, fmt.Errorf("chip %x was begun under order %d as %v; finish it with that order's file: %w", u.chip, e.Order, ca.EUI64(e.Serial), ca.ErrPolicy)
		}
		return reserved{}, fmt.Errorf("%w: %w", err, ErrSetAside)
	}
	if err != nil {
		return reserved{}, err
	}
	if len(p.UnitCertificate) > 0 && r.State == ledger.Reserved {
		return reserved{}, fmt.Errorf("chip %x carries a certificate that is not in this ledger: it was made at another station or from an older copy of this book: %w", u.chip, ca.ErrPolicy)
	}
	return reserved{d, r}, nil
}

// signAndCommit makes the certificate and records it before anybody else sees it. What an earlier run recorded is taken
// as it stands; what an earlier run signed and did not record never left that process.
func (u *unit) signAndCommit(ctx context.Context, r reserved) (recorded, error) {
	if r.State != ledger.Reserved {
		return u.recall(ctx)
	}
	u.begin(Sign)
	key := timed{u.station.Key, &u.station.signing}
	issued, err := r.Sign(rand.Reader, key, ca.EUI64(r.Serial), r.IssuedAt, u.station.Twin)
	if err != nil {
		return recorded{}, err
	}
	u.begin(Commit)
	entry, err := u.station.Book.Commit(ctx, r.Serial, issued.Certificate.Raw, issued.X509)
	return recorded{entry, issued.Certificate}, err
}

// recall takes from the book what an earlier run recorded, and verifies it again: the book lies on a disk.
func (u *unit) recall(ctx context.Context) (recorded, error) {
	entry, err := u.station.Book.Unit(ctx, u.chip)
	if err != nil {
		return recorded{}, err
	}
	certificate, err := ca.ParseUnitCertificate(entry.Certificate)
	if err == nil {
		err = certificate.Verify(u.station.Order.Certificate)
	}
	if err != nil {
		return recorded{}, fmt.Errorf("certificate of chip %x in the ledger: %w", u.chip, err)
	}
	return recorded{entry, certificate}, nil
}

// install hands the unit its certificates and has it sign what it stored and read back.
func (u *unit) install(ctx context.Context, r recorded) (installed, error) {
	u.begin(Install)
	var challenge [32]byte
	rand.Read(challenge[:])
	anchor, order := u.station.Order.Anchor, u.station.Order.Certificate.Raw
	signature, err := u.conversation.Install(ctx, challenge, anchor[:], order, r.Certificate)
	if err != nil {
		return installed{}, fault(err)
	}
	statement := link.InstalledStatement(challenge, u.chip, anchor[:], order, r.Certificate)
	if !verify(r.Key, statement, signature) {
		return installed{}, fmt.Errorf("chip %x does not sign for what it should have stored: another key, or other bytes: %w", u.chip, ErrSetAside)
	}
	return installed{r}, nil
}

// seal closes the unit for good and reads every lock back.
func (u *unit) seal(ctx context.Context, i installed) (sealed, error) {
	u.begin(Seal)
	s, err := u.conversation.Seal(ctx)
	if err != nil {
		return sealed{}, fault(err)
	}
	return sealed{i.recorded, s}, u.checkSeal(s)
}

func (u *unit) checkSeal(s link.Seal) error {
	switch {
	case !s.Locks.Configuration() || !s.Locks.Data() || !s.Locks.Slot(certificateSlot):
		return fmt.Errorf("chip %x says that it is sealed and its lock bytes are %x: %w", u.chip, s.Locks, ErrSetAside)
	case !s.DebugClosed:
		return fmt.Errorf("chip %x: the unit's debug port is open after the seal: %w", u.chip, ErrSetAside)
	case s.Generation != 0:
		return fmt.Errorf("chip %x: pairing record of generation %d in a new unit: %w", u.chip, s.Generation, ErrSetAside)
	}
	return nil
}

// resumeSealed finishes a journey that stopped between the seal and the receipt. A sealed unit answers hello alone, so what
// it holds is compared with the book, byte for byte.
func (u *unit) resumeSealed(ctx context.Context, g greeted) (*Receipt, error) {
	entry, err := u.station.Book.Unit(ctx, u.chip)
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return nil, fmt.Errorf("chip %x is sealed and not in this ledger: it was provisioned elsewhere: %w", u.chip, ErrProvisioned)
	case err != nil:
		return nil, err
	case !bytes.Equal(entry.Certificate, g.UnitCertificate):
		return nil, fmt.Errorf("chip %x is sealed with a certificate that is not the one in this ledger for %v: %w", u.chip, ca.EUI64(entry.Serial), ErrSetAside)
	case entry.State == ledger.Closed:
		return nil, fmt.Errorf("chip %x is unit %v: %w", u.chip, ca.EUI64(entry.Serial), ErrProvisioned)
	case g.Generation == nil:
		return nil, fmt.Errorf("chip %x is sealed without a pairing record: %w", u.chip, ErrSetAside)
	}
	r, err := u.recall(ctx)
	if err != nil {
		return nil, err
	}
	u.begin(Seal)
	s := link.Seal{Locks: g.Locks, Generation: *g.Generation, DebugClosed: g.DebugClosed}
	if err := u.checkSeal(s); err != nil {
		return nil, err
	}
	return u.close(ctx, sealed{r, s})
}

// verify checks an ECDSA signature, r then s, by a key given as X then Y, over SHA-256 of the statement.
func verify(key [64]byte, statement []byte, signature [64]byte) bool {
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{0x04}, key[:]...))
	if err != nil {
		return false
	}
	digest := sha256.Sum256(statement)
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return ecdsa.Verify(public, digest[:], r, s)
}

// fault sorts what a conversation ends with: the port's own errors stay as they are, the unit's say whether trying again
// may help.
func fault(err error) error {
	var status *link.StatusError
	switch {
	case errors.As(err, &status) && (status.Status == link.StatusConfiguration || status.Status == link.StatusRefused):
		return fmt.Errorf("%w: %w", err, ErrSetAside)
	case errors.As(err, &status), errors.Is(err, link.ErrSilent), errors.Is(err, link.ErrGarbage), errors.Is(err, link.ErrUnitChanged):
		return fmt.Errorf("%w: %w", err, ErrRetry)
	}
	return err
}
