// Package ca says what may be signed, and signs it with keys that its caller opened: the authority's root, the orders that
// it gives to stations, and the certificates that a station makes under an order. It never opens a key itself: it takes
// a crypto.Signer. The formats are those of docs/formats.md.
package ca

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrPolicy is wrapped by every refusal of this package that a correct program and a healthy unit can still meet: an order
// that is used up or expired, a profile that a unit does not meet, a test authority on a production line.
var ErrPolicy = errors.New("refused by policy")

// ErrMalformed is wrapped where bytes or text are not of the format that they claim.
var ErrMalformed = errors.New("malformed")

// ErrVerify is wrapped where a signature, a hash or a link of the chain does not hold.
var ErrVerify = errors.New("verification failed")

// ErrTest is wrapped where a test authority meets a production line, or the other way round.
var ErrTest = fmt.Errorf("test and production do not mix: %w", ErrPolicy)

// ErrOtherRoot is wrapped where a unit's firmware was built for another root or product: the unit has to be set aside.
var ErrOtherRoot = errors.New("the unit's firmware is not of this order")

const (
	flagTest     = 0x01
	maxOrder     = 0xFFFF // the order number has two bytes
	stationIdent = EUI64(0xFFFFFFFFFFFFFFFF)
)

// RootName is a root's name on units: flags and epoch (docs/formats.md, "Names").
type RootName [2]byte

// Test says whether the authority is marked as a test authority.
func (n RootName) Test() bool { return n[0]&flagTest != 0 }

// Epoch counts the roots of an authority from 1.
func (n RootName) Epoch() int { return int(n[1]) }

func (n RootName) check() error {
	if n[0]&^flagTest != 0 || n[1] == 0 {
		return fmt.Errorf("root name %x: %w", n[:], ErrMalformed)
	}
	return nil
}

func newRootName(test bool, epoch int) RootName {
	n := RootName{0, byte(epoch)}
	if test {
		n[0] |= flagTest
	}
	return n
}

// OrderName is an order's name on units: its root's name and its number, big-endian.
type OrderName [4]byte

// Root is the name of the root that signed the order.
func (n OrderName) Root() RootName { return RootName(n[:2]) }

// Number counts the orders of an authority from 1, through all its epochs.
func (n OrderName) Number() uint16 { return binary.BigEndian.Uint16(n[2:]) }

func newOrderName(root RootName, number uint16) OrderName {
	n := OrderName{root[0], root[1]}
	binary.BigEndian.PutUint16(n[2:], number)
	return n
}

// EUI64 is a unit's name and serial number (IEEE EUI-64), the first octet most significant.
type EUI64 uint64

// String gives the form that people and X.509 names use: 02-12-34-56-78-9A-BC-DE.
func (e EUI64) String() string {
	b := e.Bytes()
	parts := make([]string, len(b))
	for i, octet := range b {
		parts[i] = fmt.Sprintf("%02X", octet)
	}
	return strings.Join(parts, "-")
}

// Bytes gives the eight octets.
func (e EUI64) Bytes() [8]byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(e))
	return b
}

// ParseEUI64 reads sixteen hexadecimal digits, bare or as eight pairs with dashes or colons between them.
func ParseEUI64(s string) (EUI64, error) {
	b, err := parseOctets(s)
	if err != nil || len(b) != 8 {
		return 0, fmt.Errorf("EUI-64 %q: want 16 hexadecimal digits, bare or as 02-12-34-56-78-9A-BC-DE: %w", s, ErrMalformed)
	}
	return EUI64(binary.BigEndian.Uint64(b)), nil
}

// Prefix is the part that all EUI-64s of an authority share: an OUI of three octets, a longer assignment, or a locally
// administered prefix. One to six octets, so that at least 65,535 units fit.
type Prefix []byte

// ParsePrefix reads a prefix such as 02-1A-2B.
func ParsePrefix(s string) (Prefix, error) {
	b, err := parseOctets(s)
	if err != nil || len(b) < 1 || len(b) > 6 {
		return nil, fmt.Errorf("prefix %q: want 1 to 6 octets such as 02-1A-2B: %w", s, ErrMalformed)
	}
	if b[0]&0x01 != 0 {
		return nil, fmt.Errorf("prefix %q: its first octet has the group bit set, so its EUI-64s name no unit: %w", s, ErrMalformed)
	}
	return b, nil
}

func (p Prefix) String() string { return strings.ToUpper(dashed(p)) }

// first and last bound the serial numbers under the prefix. The one whose other octets are all zero is left out, as is the
// one whose other octets are all ones: people take them for a network and a broadcast address.
func (p Prefix) first() EUI64 { return p.fill(0x00) + 1 }
func (p Prefix) last() EUI64  { return p.fill(0xFF) - 1 }

func (p Prefix) fill(octet byte) EUI64 {
	b := [8]byte{octet, octet, octet, octet, octet, octet, octet, octet}
	copy(b[:], p)
	return EUI64(binary.BigEndian.Uint64(b[:]))
}

// Range is what an order may name, both ends included.
type Range struct{ First, Last EUI64 }

// Size counts the serial numbers of the range.
func (r Range) Size() uint64 { return uint64(r.Last-r.First) + 1 }

// Contains says whether the range holds e.
func (r Range) Contains(e EUI64) bool { return r.First <= e && e <= r.Last }

func (r Range) overlaps(o Range) bool { return r.First <= o.Last && o.First <= r.Last }

func (r Range) String() string { return fmt.Sprintf("%v to %v", r.First, r.Last) }

// check refuses what no order may hold: an empty range, the names 0 and FF..FF, and EUI-48s in disguise.
func (r Range) check() error {
	switch {
	case r.First > r.Last:
		return fmt.Errorf("range %v is empty: %w", r, ErrMalformed)
	case r.First == 0 || r.Last == stationIdent:
		return fmt.Errorf("range %v contains a reserved EUI-64: %w", r, ErrMalformed)
	}
	if e, ok := r.encapsulated(); ok {
		return fmt.Errorf("range %v contains %v, whose octets 4 and 5 are FF-FE (an EUI-48 in disguise, with a second encoding): %w", r, e, ErrMalformed)
	}
	return nil
}

// encapsulated finds the first EUI-64 of the range whose octets 4 and 5 are FF-FE.
func (r Range) encapsulated() (EUI64, bool) {
	const low = 24 // bits after octet 5
	high := uint64(r.First) >> low
	next := high&^0xFFFF | 0xFFFE
	if high&0xFFFF > 0xFFFE {
		next += 0x10000
	}
	start := next << low
	if next == high {
		start = uint64(r.First)
	}
	return EUI64(start), next <= uint64(r.Last)>>low
}

func parseOctets(s string) ([]byte, error) {
	bare := strings.NewReplacer("-", "", ":", "").Replace(s)
	b, err := hex.DecodeString(bare)
	if err != nil {
		return nil, err
	}
	if bare != s && !strings.EqualFold(strings.ReplaceAll(s, ":", "-"), dashed(b)) {
		return nil, errors.New("separators are not between octets")
	}
	return b, nil
}

func dashed(b []byte) string {
	parts := make([]string, len(b))
	for i, octet := range b {
		parts[i] = fmt.Sprintf("%02x", octet)
	}
	return strings.Join(parts, "-")
}
