// Package ca says what may be signed, and signs it with keys that its caller opened: the authority's root, the orders that
// it gives to stations, and the certificates that a station makes under an order. It never opens a key itself: it takes
// a crypto.Signer. The formats are those of docs/formats.md.
package ca

import (
	"errors"
	"fmt"
)

// ErrPolicy is wrapped by every refusal of this package that a correct program and a healthy unit can still meet: an order
// that is used up or expired, a profile that a unit does not meet, a test authority on a production line.
var ErrPolicy = errors.New("refused by policy")

// ErrMalformed is wrapped where bytes or text are not of the format that they claim.
var ErrMalformed = errors.New("malformed")

// ErrVerify is wrapped where a signature, a hash or a link of the chain does not hold.
var ErrVerify = errors.New("verification failed")

// ErrTest is wrapped where a test authority meets a production line, or the other way round. It wraps ErrPolicy.
var ErrTest = fmt.Errorf("test and production do not mix: %w", ErrPolicy)

// ErrOtherRoot is wrapped where a unit's firmware was built for another root or product: the unit has to be set aside.
var ErrOtherRoot = errors.New("the unit's firmware is not of this order")

// ErrUnknownRoot is wrapped where an order is of a root that the bundle does not name: the bundle is older than the order. It
// wraps ErrPolicy.
var ErrUnknownRoot = fmt.Errorf("no such root is known here: %w", ErrPolicy)

// ErrClosedRoot is wrapped where an order was signed by a root that is closed, and the link that closed it does not list it:
// somebody who has the old root's key made it. It wraps ErrVerify.
var ErrClosedRoot = fmt.Errorf("its root is closed: %w", ErrVerify)

// ErrRevoked is wrapped where a unit or an order is on the status list.
var ErrRevoked = errors.New("revoked")

// ErrUnknownOrder is wrapped where a station's ledger has an order that the authority's folder has not.
var ErrUnknownOrder = errors.New("the authority's folder has no such order")
