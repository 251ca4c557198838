package device

import "fmt"

// Status is what the library answers where it does not succeed: enum bm_status of birthmark.h.
type Status int

// The answers, by their numbers in birthmark.h.
const (
	ErrState Status = -1 - iota
	ErrMalformed
	ErrSpace
	ErrAuth
	ErrPort
	ErrUnknown
	ErrSuite
	ErrPeer
)

// Error says in words what happened.
func (s Status) Error() string {
	switch s {
	case ErrState:
		return "not allowed now"
	case ErrMalformed:
		return "the bytes are not of the format"
	case ErrSpace:
		return "the buffer is too small"
	case ErrAuth:
		return "a check of trust failed"
	case ErrPort:
		return "the chip, the flash or another call of the port failed"
	case ErrUnknown:
		return "a credential was named that the other side does not have"
	case ErrSuite:
		return "the cipher suite is not the one to use"
	case ErrPeer:
		return "the peer gave up"
	}
	return fmt.Sprintf("status %d, which this version does not know", int(s))
}
