package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
)

const (
	protocol = 1
	keyUsage = 1   // digitalSignature alone (docs/formats.md, "Unit certificate")
	maxPeers = 8   // products that one image talks to
	maxOrder = 155 // bytes of an order certificate
	maxUnit  = 135 // bytes of a unit certificate

	// Messages is how many a handshake has (RFC 9528, with message_4).
	Messages = 4
)

// Hello is what a unit says about itself. Before the seal nothing of it is proven.
type Hello struct {
	Chip             [9]byte // the chip's serial number
	Revision         [4]byte // the chip's, from its configuration zone
	Firmware         [32]byte
	AnchorHash       [32]byte // of the anchor that the firmware was built for
	Product          uint32
	Peers            []uint32 // products that the unit accepts as peers, 1 to 8
	State            State
	Locks            Locks
	OrderCertificate []byte  // at most 155 bytes, empty when there is none
	UnitCertificate  []byte  // at most 135 bytes, empty when there is none
	Generation       *uint32 // of the pairing record, nil when there is none
	DebugClosed      bool
	ChipOptions      uint16 // that its firmware gives a chip
}

// Preparation is what a unit reads from its chip once that is configured and locked.
type Preparation struct {
	Configuration  [128]byte // the zone
	AttestationKey [64]byte  // the public half of slot 1's key: P-256, X then Y
}

// Proof is a unit's key, its signature over PossessionStatement, and its chip's own statement, with the hash of that one as its
// nonce, that it holds the key (docs/formats.md, "Attestation").
type Proof struct {
	Key         [64]byte // P-256, X then Y
	Attestation [64]byte // r then s
	Signature   [64]byte // r then s
}

// Seal is what a unit reads back after it was sealed.
type Seal struct {
	Locks       Locks
	Generation  uint32
	DebugClosed bool
}

// Hello begins a session and asks the unit what it is. It may be said at any time and is what cures StatusSequence.
//
// Every request below gives: a *StatusError when the unit declines; ErrSilent or ErrGarbage after three tries, when
// Hello is the way to find out how far the unit got; ErrUnitChanged when the chip is not the one of the requests
// before; the port's error, ErrGone of a Port; the context's error at once when it ends.
func (c *Conversation) Hello(ctx context.Context) (Hello, error) {
	c.newSession()
	var h Hello
	var version uint32
	var options cbor.RawMessage // nil: 0
	err := c.call(ctx, request{verb: 1, name: "hello", limit: 2 * time.Second, optional: true},
		&version, &h.Revision, &h.Firmware, &h.AnchorHash, &h.Product, &h.Peers, &h.State, &h.Locks,
		&h.OrderCertificate, &h.UnitCertificate, &h.Generation, &h.DebugClosed, &options)
	if err != nil {
		return Hello{}, err
	}
	if options != nil {
		err = scan([]cbor.RawMessage{options}, &h.ChipOptions)
	}
	switch {
	case err != nil:
	case options != nil && h.ChipOptions == 0:
		err = errors.New("chip options of 0")
	case version != protocol:
		err = fmt.Errorf("protocol %d, not %d", version, protocol)
	case len(h.Peers) == 0 || len(h.Peers) > maxPeers:
		err = fmt.Errorf("%d peers", len(h.Peers))
	case h.State > Foreign:
		err = fmt.Errorf("state %d", h.State)
	case h.OrderCertificate == nil || h.UnitCertificate == nil:
		err = errors.New("null for a certificate")
	case len(h.OrderCertificate) > maxOrder || len(h.UnitCertificate) > maxUnit:
		err = fmt.Errorf("certificates of %d and %d bytes", len(h.OrderCertificate), len(h.UnitCertificate))
	}
	if err != nil {
		return Hello{}, fmt.Errorf("hello: %w: %w", ErrGarbage, err)
	}
	h.Chip = *c.chip
	return h, nil
}

// Prepare has the chip configured, locked and given its keys, whatever of that is still to do.
func (c *Conversation) Prepare(ctx context.Context) (Preparation, error) {
	var p Preparation
	err := c.call(ctx, request{verb: 2, name: "prepare", limit: 15 * time.Second}, &p.Configuration, &p.AttestationKey)
	if err != nil {
		return Preparation{}, err
	}
	return p, nil
}

// Prove gets the unit's key with what speaks for it; order is the order's name, 4 bytes. Neither signature is checked here.
func (c *Conversation) Prove(ctx context.Context, challenge [32]byte, order []byte) (Proof, error) {
	var p Proof
	err := c.call(ctx, request{verb: 3, name: "prove", limit: 3 * time.Second, arguments: []any{challenge, order, keyUsage}},
		&p.Key, &p.Attestation, &p.Signature)
	if err != nil {
		return Proof{}, err
	}
	return p, nil
}

// Install has the unit check and store an anchor, 98 bytes, and the two certificates, and gets its signature over
// InstalledStatement. The signature is not checked here.
func (c *Conversation) Install(ctx context.Context, challenge [32]byte, anchor, order, unit []byte) (signature [64]byte, err error) {
	err = c.call(ctx, request{verb: 4, name: "install", limit: 8 * time.Second, arguments: []any{challenge, anchor, order, unit}},
		&signature)
	return signature, err
}

// Outcome is what a unit makes of an EDHOC message.
type Outcome uint8

// The outcomes of docs/wire.md, verb 5.
const (
	GoOn     Outcome = 0 // here is the next message
	Complete Outcome = 1 // the peer is authenticated; message_4, if it is the unit's to give
	Failed   Outcome = 2 // the peer is refused, or gave up; an error message, if there is one to give
)

// Turn is a unit's answer to an EDHOC message.
type Turn struct {
	Outcome Outcome
	Message []byte
	Check   Check // what is wrong with the peer's certificates; CheckHeld may stand beside Complete
}

// Handshake gives the unit EDHOC message number 1 to 4, or with number 0 and no message has it begin as Initiator, and gets the
// next. Message 1 begins anew as Responder. The unit remembers nothing of a handshake that is over.
func (c *Conversation) Handshake(ctx context.Context, number int, message []byte) (Turn, error) {
	var t Turn
	if message == nil {
		message = []byte{}
	}
	err := c.call(ctx, request{verb: 5, name: "handshake", limit: 6 * time.Second, arguments: []any{number, message}},
		&t.Outcome, &t.Message, &t.Check)
	if err != nil {
		return Turn{}, err
	}
	last := number >= Messages-1
	switch {
	case t.Message == nil || t.Outcome > Failed,
		t.Outcome == GoOn && last, t.Outcome == Complete && !last,
		t.Outcome != Failed && (len(t.Message) > 0) != (number < Messages):
		return Turn{}, fmt.Errorf("handshake: %w: outcome %d with %d bytes to message_%d", ErrGarbage, t.Outcome, len(t.Message), number)
	}
	return t, nil
}

// Seal closes the unit for good and gets what it reads back.
func (c *Conversation) Seal(ctx context.Context) (Seal, error) {
	var s Seal
	err := c.call(ctx, request{verb: 6, name: "seal", limit: 4 * time.Second}, &s.Locks, &s.Generation, &s.DebugClosed)
	if err != nil {
		return Seal{}, err
	}
	return s, nil
}

// Trust is how far a unit's trust goes.
type Trust struct {
	Epoch      uint32 // of the newest root
	ListEpoch  uint32 // of the status list, 0: none
	ListNumber uint32
}

// Link gives the unit the anchor of its image, 98 bytes, or the link to its next root; what it has already is good again.
func (c *Conversation) Link(ctx context.Context, object []byte) (Trust, error) {
	return c.trust(ctx, request{verb: 7, name: "link", arguments: []any{object}})
}

// List gives the unit a status list, which must be newer than its own and signed by its newest root.
func (c *Conversation) List(ctx context.Context, object []byte) (Trust, error) {
	return c.trust(ctx, request{verb: 8, name: "list", arguments: []any{object}})
}

func (c *Conversation) trust(ctx context.Context, q request) (Trust, error) {
	var t Trust
	q.limit = 4 * time.Second
	if err := c.call(ctx, q, &t.Epoch, &t.ListEpoch, &t.ListNumber); err != nil {
		return Trust{}, err
	}
	return t, nil
}

// Release ends the pairing of a unit, and gets the generation that its pairing record has then.
func (c *Conversation) Release(ctx context.Context, object []byte) (generation uint32, err error) {
	err = c.call(ctx, request{verb: 9, name: "release", limit: 4 * time.Second, arguments: []any{object}}, &generation)
	return generation, err
}
