package link

import "fmt"

// Status is how a unit answers a request (docs/wire.md, "Messages").
type Status uint8

// The statuses other than 0, ok.
const (
	StatusMalformed     Status = 1
	StatusSequence      Status = 2 // the unit has restarted, or somebody else talked to it: say Hello
	StatusState         Status = 3
	StatusChip          Status = 4
	StatusConfiguration Status = 5 // never curable: set the unit aside
	StatusRefused       Status = 6
	StatusFlash         Status = 7
)

// StatusError is a unit's answer other than ok.
type StatusError struct {
	Verb   string // what was asked, "hello" to "release"
	Status Status
	Detail uint32 // StatusState: a State; StatusChip: the chip's status byte; StatusRefused: the number of the check
}

// Error says what happened in one sentence.
func (e *StatusError) Error() string {
	switch e.Status {
	case StatusMalformed:
		return "the unit cannot read the request"
	case StatusSequence:
		return "the unit does not know this session"
	case StatusState:
		return fmt.Sprintf("the unit does not do this when it is %s", State(min(e.Detail, 255)))
	case StatusChip:
		if e.Detail == 0 {
			return "the unit's chip does not answer"
		}
		return fmt.Sprintf("the unit's chip failed with status %#02x", e.Detail)
	case StatusConfiguration:
		return "the unit's chip is locked with another configuration, or with a key that the unit does not have"
	case StatusRefused:
		return "the unit refuses: " + Check(min(e.Detail, 255)).String()
	case StatusFlash:
		return "the unit's flash does not hold what was written"
	default:
		return fmt.Sprintf("the unit answers with unknown status %d, detail %d", e.Status, e.Detail)
	}
}

// Check is the first thing that does not hold in what a unit was given, or in what its peer shows (docs/wire.md, "Checks").
type Check uint8

// CheckOld says that a status list is not newer than the unit's.
const CheckOld Check = 18

// CheckHeld says that the peer's order is on the status list: it is who it says, and no new pairing is made with it.
const CheckHeld Check = 14

// String says in words what does not hold.
func (c Check) String() string {
	const first = 1
	if int(c) < first || int(c) >= first+len(checks) {
		return fmt.Sprintf("unknown check %d", uint8(c))
	}
	return checks[c-first]
}

var checks = [...]string{
	"the anchor is not the one that its firmware was built for",
	"the order certificate is malformed or not of the profile",
	"the order certificate was not issued by the anchor's root",
	"the order certificate's signature does not hold",
	"the order is for another product",
	"the unit certificate is malformed or not of the profile",
	"the unit certificate was not issued by the order",
	"the serial number is outside the order's range",
	"the certificate is for another key than the chip's",
	"the unit certificate's signature does not hold",
	"the order is of a root that it does not know",
	"the order's root is closed, and the order is not among those that it signed",
	"the serial number is on the status list",
	"the order, or its range, is on the status list",
	"the certificate is its own",
	"what is shown is not a unit certificate and its order",
	"the object is not signed by the newest root, or not the next",
	"the object is not newer than what it has",
}

// State is how far a unit has come.
type State uint8

// The states of docs/wire.md.
const (
	Blank     State = 0 // configuration or data zone open
	Prepared  State = 1 // both locked, key made
	Installed State = 2 // certificates stored and good
	Sealed    State = 3 // certificate slot locked
	Foreign   State = 4 // locked with a configuration that is not ours
)

// String gives the state's name in docs/wire.md.
func (s State) String() string {
	switch s {
	case Blank:
		return "blank"
	case Prepared:
		return "prepared"
	case Installed:
		return "installed"
	case Sealed:
		return "sealed"
	case Foreign:
		return "foreign"
	default:
		return fmt.Sprintf("in state %d", uint8(s))
	}
}

// Locks are the chip's lock bytes, configuration bytes 86 to 89: LockValue, LockConfig, SlotLocked low byte first.
type Locks [4]byte

// Configuration says whether the configuration zone is locked.
func (l Locks) Configuration() bool { return l[1] == 0 }

// Data says whether the data zone is locked.
func (l Locks) Data() bool { return l[0] == 0 }

// Slot says whether slot n, 0 to 15, is locked on its own.
func (l Locks) Slot(n int) bool { return (uint16(l[3])<<8|uint16(l[2]))>>n&1 == 0 }
