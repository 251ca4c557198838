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
