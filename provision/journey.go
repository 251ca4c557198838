package provision

import (
	"context"
	"encoding/hex"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link"
)

// unit is one unit on one lane.
type unit struct {
	station      *Station // nil at goods-in
	watch        func(Event)
	port         string
	bare         bool // a chip without a unit
	conversation *link.Conversation
	key          timed // the station's
	stage        Stage
	chip         [9]byte // what hello said, as the next is
	firmware     [32]byte
	listed       ca.Listed // by goods-in, where the profile asks for that
}

// The values that the stages hand on. Each is made by one stage only.
type (
	greeted  struct{ link.Hello }
	admitted struct{ greeted } // it may become a unit of this order
	prepared struct {
		admitted
		configuration [128]byte
	}
	proven struct {
		prepared
		key      [64]byte
		attested ca.Attested // nothing where the profile asks for nothing
	}
	reserved struct {
		*ca.Draft
		ledger.Reservation
	}
	recorded struct { // the certificate is in the book, durably
		ledger.Entry
		certificate *ca.UnitCertificate
	}
	installed struct{ recorded }
	shaken    struct { // station and unit have authenticated each other
		installed
		falsePeers bool // it refused two
	}
	sealed struct {
		recorded
		link.Seal
		handshake  string // as the receipt has it
		falsePeers string
	}
)

// journey runs the stages in order. Reserve and Commit are durable before the next stage begins, so a run that stops
// anywhere is continued by the next one with the same serial number and the same certificate.
func (u *unit) journey(ctx context.Context) (*Receipt, error) {
	greeting, err := u.hello(ctx)
	if err != nil {
		return nil, err
	}
	if greeting.State == link.Sealed {
		return u.resume(ctx, greeting)
	}
	candidate, err := u.admit(ctx, greeting)
	if err != nil {
		return nil, err
	}
	ready, err := u.prepare(ctx, candidate)
	if err != nil {
		return nil, err
	}
	proof, err := u.prove(ctx, ready)
	if err != nil {
		return nil, err
	}
	draft, err := u.check(proof)
	if err != nil {
		return nil, err
	}
	place, err := u.reserve(ctx, draft, proof)
	if err != nil {
		return nil, err
	}
	record, err := u.signAndCommit(ctx, place)
	if err != nil {
		return nil, err
	}
	stored, err := u.install(ctx, record)
	if err != nil {
		return nil, err
	}
	met, err := u.shake(ctx, stored)
	if err != nil {
		return nil, err
	}
	end, err := u.seal(ctx, met)
	if err != nil {
		return nil, err
	}
	return u.close(ctx, end)
}

func (u *unit) begin(s Stage) {
	u.stage = s
	if u.watch != nil {
		u.watch(Event{Port: u.port, Stage: s, Chip: u.chipText()})
	}
}

func (u *unit) chipText() string {
	if u.chip == [9]byte{} {
		return ""
	}
	return hex.EncodeToString(u.chip[:])
}
