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
	"github.com/birthmark/birthmark/link"
)

const atecc608 = 0x60 // third byte of the revision, 00 00 60 nn; the one chip type that a profile may ask for

// hello asks who is there.
func (u *unit) hello(ctx context.Context) (greeted, error) {
	u.begin(Hello)
	h, err := u.conversation.Hello(ctx)
	if err != nil {
		return greeted{}, fault(err)
	}
	u.chip, u.firmware = h.Chip, h.Firmware
	return greeted{h}, nil
}

// admit refuses, before anything is done to it, a unit that could never be provisioned here, and every unit once the
// order has run out in mid-shift: the next stage locks the chip for good.
func (u *unit) admit(ctx context.Context, g greeted) (admitted, error) {
	order := u.station.Order
	if err := order.Usable(u.station.Test, u.station.Now()); err != nil {
		return admitted{}, err
	}
	err := order.Fits(u.station.Bundle, g.AnchorHash, g.Product, g.Firmware)
	if err != nil {
		return admitted{}, fmt.Errorf("chip %x: %w: %w", u.chip, err, ErrSetAside)
	}
	if err := u.suits(order.Profile, g); err != nil {
		return admitted{}, err
	}
	if err := u.findCapture(); err != nil {
		return admitted{}, err
	}
	if order.Profile.Captured() && g.State == link.Blank {
		return admitted{}, fmt.Errorf("chip %x is on the list of %q and says that it is blank: it is another chip: %w", u.chip, u.listed.List.Station, ErrSetAside)
	}
	if len(g.UnitCertificate) > 0 {
		if _, err := u.carried(ctx, g); err != nil {
			return admitted{}, err
		}
	}
	return admitted{g}, nil
}

// suits sets aside a unit that is none of the profile's.
func (u *unit) suits(p *ca.Profile, g greeted) error {
	var err error
	switch {
	case g.State == link.Foreign:
		err = errors.New("it is locked with a configuration that is not ours")
	case g.Revision[2] != atecc608:
		err = fmt.Errorf("revision %x is not that of an %s", g.Revision, p.Chip.Type)
	default:
		err = p.Fits(g.Product, g.Peers, g.ChipOptions, g.Firmware)
	}
	if err != nil {
		return fmt.Errorf("chip %x: %w: %w", u.chip, err, ErrSetAside)
	}
	return nil
}

// findCapture finds the chip on goods-in's lists, where the profile asks for that. Its unit is unharmed if it is on none: a list
// may not have come yet.
func (u *unit) findCapture() (err error) {
	if u.station.Order.Profile.Captured() {
		u.listed, err = u.station.Captures.Find(u.chip)
	}
	return err
}

// prepare has the unit configure and lock its chip, make its key and lock the data zone, and holds what the chip then says
// of itself against the profile. ca.Check does so again; here the refusal is about the unit, which is set aside.
func (u *unit) prepare(ctx context.Context, a admitted) (prepared, error) {
	profile := u.station.Order.Profile
	p, err := u.prepareChip(ctx, profile)
	if err != nil {
		return prepared{}, err
	}
	if profile.Captured() && !u.listed.Holds(p.AttestationKey) {
		return prepared{}, fmt.Errorf("chip %x shows another attestation key than %q captured: %w", u.chip, u.listed.List.Station, ErrSetAside)
	}
	return prepared{a, p.Configuration}, nil
}

// prepareChip is stage 2, wherever it takes place.
func (u *unit) prepareChip(ctx context.Context, profile *ca.Profile) (link.Preparation, error) {
	u.begin(Prepare)
	p, err := u.conversation.Prepare(ctx)
	if err != nil {
		return p, fault(err)
	}
	zone := p.Configuration
	serial := append(bytes.Clone(zone[:4]), zone[8:13]...)
	if !bytes.Equal(serial, u.chip[:]) {
		return p, fmt.Errorf("chip %x shows the configuration of chip %x: %w", u.chip, serial, ErrSetAside)
	}
	if err := profile.CheckConfiguration(zone); err != nil {
		return p, fmt.Errorf("chip %x: %w: %w", u.chip, err, ErrSetAside)
	}
	return p, nil
}

// prove has the unit sign a fresh challenge, bound to this order, chip, firmware and use, with the key that it shows. Where the
// profile asks for it, the chip attests that key.
func (u *unit) prove(ctx context.Context, p prepared) (proven, error) {
	order := u.station.Order
	said, err := u.proveKey(ctx, order.Certificate.Name, p.Firmware)
	if err != nil {
		return proven{}, err
	}
	end := proven{prepared: p, key: said.Key}
	if order.Profile.Captured() {
		if end.attested, err = u.station.Captures.Attest(said); err != nil {
			return proven{}, fmt.Errorf("%w: %w", err, ErrSetAside)
		}
	}
	return end, nil
}

// proveKey is stage 3, wherever it takes place. The chip's part of what it gives is not checked yet.
func (u *unit) proveKey(ctx context.Context, order ca.OrderName, firmware [32]byte) (ca.Attestation, error) {
	u.begin(Prove)
	var challenge [32]byte
	rand.Read(challenge[:]) // never fails: crypto/rand stops the program instead
	proof, err := u.conversation.Prove(ctx, challenge, order[:])
	if err != nil {
		return ca.Attestation{}, fault(err)
	}
	statement := link.PossessionStatement(challenge, order[:], u.chip, firmware, proof.Key)
	if !verify(proof.Key, statement, proof.Signature) {
		return ca.Attestation{}, fmt.Errorf("chip %x does not prove that it holds the key that it shows: %w", u.chip, ErrSetAside)
	}
	return ca.Attestation{Chip: u.chip, Nonce: sha256.Sum256(statement), Key: proof.Key, Signature: proof.Attestation}, nil
}

// check asks the authority's policy, which alone can make a draft.
func (u *unit) check(p proven) (*ca.Draft, error) {
	u.begin(Check)
	return ca.Check(u.station.Order, u.station.Bundle, ca.Candidate{
		Key:           p.key,
		Firmware:      p.Firmware,
		Anchor:        p.AnchorHash,
		Product:       p.Product,
		Configuration: p.configuration,
		Attested:      p.attested,
	}, u.station.Test, u.station.Now())
}

// trust hands the unit what leads from the root in its image to the order's, and the status list, so that it is born knowing as
// much as the station does. A unit of an authority's first root that nobody is revoked of needs none of it: install gives the anchor.
func (u *unit) trust(ctx context.Context) error {
	b := u.station.Bundle
	if len(b.Links) == 0 && b.List == nil {
		return nil
	}
	t, err := u.conversation.Link(ctx, b.Anchor[:])
	if err != nil {
		return fault(err)
	}
	_, err = tell(ctx, u.conversation, b, t)
	return err
}

// install hands the unit its certificates and has it sign what it stored and read back, with the key that the book has.
func (u *unit) install(ctx context.Context, r recorded) (installed, error) {
	u.begin(Install)
	if err := u.trust(ctx); err != nil {
		return installed{}, err
	}
	var challenge [32]byte
	rand.Read(challenge[:])
	anchor, order := u.station.Bundle.Anchor, u.station.Order.Certificate.Raw
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
func (u *unit) seal(ctx context.Context, i shaken) (sealed, error) {
	u.begin(Seal)
	s, err := u.conversation.Seal(ctx)
	if err != nil {
		return sealed{}, fault(err)
	}
	end, err := u.checkSeal(i.recorded, s)
	end.handshake = handshakeFull
	if i.falsePeers {
		end.falsePeers = falsePeersRefused
	}
	return end, err
}

// checkSeal believes the lock bytes, not the word of the unit: both zones are locked, and of the slots number 8, the
// certificates, alone.
func (u *unit) checkSeal(r recorded, s link.Seal) (sealed, error) {
	wanted := link.Locks{0x00, 0x00, 0xFF, 0xFE}
	switch {
	case s.Locks != wanted:
		return sealed{}, fmt.Errorf("chip %x says that it is sealed and its lock bytes are %x, not %x: %w", u.chip, s.Locks, wanted, ErrSetAside)
	case !s.DebugClosed:
		return sealed{}, fmt.Errorf("chip %x: the unit's debug port is open after the seal: %w", u.chip, ErrSetAside)
	case s.Generation != 0:
		return sealed{}, fmt.Errorf("chip %x: pairing record of generation %d in a new unit: %w", u.chip, s.Generation, ErrSetAside)
	}
	return sealed{recorded: r, Seal: s}, nil
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

// fault sorts what a conversation ends with: the port's and the context's own errors stay as they are, the unit's say
// whether trying again may help.
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
