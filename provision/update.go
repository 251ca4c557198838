package provision

import (
	"context"
	"errors"
	"fmt"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/link"
)

// ErrRelease: a release is not for the pairing that the unit has.
var ErrRelease = errors.New("the release is not for this unit's pairing")

// Update is a unit that was told what its authority has to say. Its Generation is that of the pairing record as it is now.
type Update struct {
	*Inspection
	Trust    link.Trust // how far the unit's trust goes, at least
	Released bool
}

// Tell hands a provisioned unit the links and the status list of a bundle, as far as it lacks them, and a release, which may be
// nil. Whatever it takes it keeps, also if the next thing fails, and it may be told all again. Errors are link's, or wrap
// ErrNotProvisioned; ca.ErrOtherRoot for a unit of another authority; ErrRelease for a release of another unit or generation,
// before the unit is told anything; ca.ErrUnknownRoot for a unit that knows more roots than the bundle; ErrSetAside where the
// unit refuses what it should take; ErrRetry.
func Tell(ctx context.Context, path string, baud int, b *ca.Bundle, release *ca.Release) (*Update, error) {
	port, err := link.Open(path, baud)
	if err != nil {
		return nil, err
	}
	conversation := link.Dial(port)
	defer conversation.Close()
	h, err := conversation.Hello(ctx)
	if err != nil {
		return nil, fault(err)
	}
	i, err := inspect(h)
	switch {
	case err != nil:
		return nil, err
	case i.Unit == nil || h.State != link.Installed && h.State != link.Sealed:
		return nil, fmt.Errorf("chip %x is %v: %w", h.Chip, h.State, ErrNotProvisioned)
	case h.AnchorHash != b.Anchor.Hash():
		return nil, fmt.Errorf("the unit trusts another root: %w", ca.ErrOtherRoot)
	}
	if err := fits(release, i); err != nil {
		return nil, err
	}
	u := &Update{Inspection: i}
	if u.Trust, err = tell(ctx, conversation, b, link.Trust{}); err != nil || release == nil {
		return u, err
	}
	generation, err := conversation.Release(ctx, release.Object)
	if status, ok := errors.AsType[*link.StatusError](err); ok && status.Status == link.StatusState {
		return u, fmt.Errorf("%v is paired with nobody: %w", i.Unit.Serial, ErrRelease)
	}
	if err != nil {
		return u, fault(err)
	}
	u.Generation, u.Released = &generation, true
	return u, nil
}

// fits says whether a release, if there is one, is for the unit and the pairing that it has.
func fits(r *ca.Release, i *Inspection) error {
	switch {
	case r == nil:
		return nil
	case r.Serial != i.Unit.Serial:
		return fmt.Errorf("it is for %v, and this is %v: %w", r.Serial, i.Unit.Serial, ErrRelease)
	case i.Generation == nil:
		return fmt.Errorf("%v has lost the record of its pairing: %w", r.Serial, ErrSetAside)
	case r.Generation != *i.Generation:
		return fmt.Errorf("it is for generation %d of %v, whose pairing record has generation %d: %w", r.Generation, r.Serial, *i.Generation, ErrRelease)
	}
	return nil
}

// tell hands over the links and the list that a unit lacks whose trust is known to go as far as t, and gives how far it goes then, at
// least: a unit that has all of it does not say what else it has.
func tell(ctx context.Context, c *link.Conversation, b *ca.Bundle, t link.Trust) (link.Trust, error) {
	var err error
	for _, l := range b.Links {
		if uint32(l.Anchor.Name().Epoch()) <= t.Epoch {
			continue
		}
		if t, err = c.Link(ctx, l.Object); err != nil {
			return t, fault(err)
		}
	}
	epoch := uint32(b.Epoch())
	switch {
	case t.Epoch > epoch:
		return t, fmt.Errorf("the unit knows root %d and the bundle ends with root %d: %w", t.Epoch, epoch, ca.ErrUnknownRoot)
	case b.List == nil:
		t.Epoch = epoch
		return t, nil
	case t.ListEpoch == epoch && t.ListNumber >= b.List.Number:
		return t, nil
	}
	told, err := c.List(ctx, b.List.Object)
	status, refused := errors.AsType[*link.StatusError](err)
	switch {
	case refused && status.Status == link.StatusRefused && link.Check(status.Detail) == link.CheckOld:
		return link.Trust{Epoch: epoch, ListEpoch: epoch, ListNumber: b.List.Number}, nil
	case refused && status.Status == link.StatusRefused && len(b.Links) == 0:
		// The list is the first root's, and so is the image's anchor: only a unit that has left that root refuses it.
		return t, fmt.Errorf("the unit knows a newer root than the bundle, which ends with root %d: %w", epoch, ca.ErrUnknownRoot)
	case err != nil:
		return t, fault(err)
	}
	return told, nil
}
