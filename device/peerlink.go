package device

import "fmt"

// Policy says which genuine unit may become a unit's peer (docs/peerlink.md, "Policies"): an Expected, Gesture or Wired. The zero
// Expected expects nobody.
type Policy interface{ policy() }

// Expected is the unit of this serial number, code, or both; nil is any.
type Expected struct {
	Serial []byte // 8 bytes
	Code   []byte // 4 bytes
}

// Gesture is the first unit that asks within a minute of a press.
type Gesture struct{}

// Wired is the first genuine unit.
type Wired struct{}

func (Expected) policy() {}
func (Gesture) policy()  {}
func (Wired) policy()    {}

// PeerOptions is what a product decides about its peer link.
type PeerOptions struct {
	Policy       Policy
	AllowRelease bool   // the peer may release the pairing over its session
	Now          uint32 // milliseconds on the unit's clock at its start
}

// PeerEventKind is enum bm_peerlink_event, and 0 for a message.
type PeerEventKind int

// The events of peerlink.h, by their numbers there.
const (
	PeerMessage PeerEventKind = iota
	PeerReady
	PeerFailed
	PeerUndelivered
	PeerReleased
	PeerClosed
)

// String names the event.
func (k PeerEventKind) String() string {
	names := []string{"message", "ready", "failed", "undelivered", "released", "closed"}
	if k < 0 || int(k) >= len(names) {
		return fmt.Sprintf("event %d", int(k))
	}
	return names[k]
}

// PeerReason says why: a negative Status, a positive Check, or one of those below.
type PeerReason int

// The reasons of peerlink.h, by their numbers there.
const (
	PeerStranger PeerReason = 32 + iota
	PeerTimeout
	PeerNotAllowed
	PeerDeclined
)

// String says in words why.
func (r PeerReason) String() string {
	switch {
	case r == PeerStranger:
		return "it is not the unit that this one is paired with"
	case r == PeerTimeout:
		return "the peer does not answer"
	case r == PeerNotAllowed:
		return "this unit does not allow it"
	case r == PeerDeclined:
		return "the peer does not allow it"
	case r < 0:
		return Status(r).Error()
	}
	return Check(r).Error()
}

// PeerEvent is something that a peer link tells its product.
type PeerEvent struct {
	Kind    PeerEventKind
	Reason  PeerReason // PeerReady: 1 if the pairing is new; PeerFailed, PeerClosed: why
	Message []byte     // PeerMessage
}

// PeerState is enum bm_peerlink_state.
type PeerState int

// The states of peerlink.h, by their numbers there.
const (
	PeerIdle PeerState = iota
	PeerMeeting
	PeerOpen
	PeerSending
)

// PairingState is enum bm_pairing_state.
type PairingState int

// The states of pairing.h, by their numbers there.
const (
	PairingFault PairingState = iota
	PairingOpen
	PairingPaired
)

// String names the state.
func (s PairingState) String() string {
	names := []string{"fault", "open", "paired"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("pairing state %d", int(s))
	}
	return names[s]
}

// Pairing is a record of who a unit's peer is.
type Pairing struct {
	State      PairingState
	Generation uint32
	Peer       []byte // its certificate, if the unit is paired
}
