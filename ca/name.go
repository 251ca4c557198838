package ca

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	flagTest     = 0x01 // of a root's name
	groupBit     = 0x01 // of an EUI-64's first octet: it names no single unit (IEEE 802, 8.2.2)
	maxPrefix    = 6    // octets, so that 65,534 units fit under the longest
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
	return dashed(b[:])
}

// Bytes gives the eight octets.
func (e EUI64) Bytes() [8]byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(e))
	return b
}

// ParseEUI64 reads sixteen hexadecimal digits, bare or as eight pairs with dashes or colons between them. Anything else
// wraps ErrMalformed.
func ParseEUI64(s string) (EUI64, error) {
	b, ok := parseOctets(s)
	if !ok || len(b) != 8 {
		return 0, fmt.Errorf("EUI-64 %q: want 16 hexadecimal digits, bare or as 02-12-34-56-78-9A-BC-DE: %w", s, ErrMalformed)
	}
	return EUI64(binary.BigEndian.Uint64(b)), nil
}

// Prefix is the part that all EUI-64s of an authority share, one to six octets: an OUI of three, a longer assignment, or
// a locally administered prefix.
type Prefix []byte

// ParsePrefix reads a prefix such as 02-1A-2B. One under which no unit can have a name wraps ErrMalformed, as does
// anything else.
func ParsePrefix(s string) (Prefix, error) {
	b, ok := parseOctets(s)
	switch {
	case !ok || len(b) < 1 || len(b) > maxPrefix:
		return nil, fmt.Errorf("prefix %q: want 1 to %d octets such as 02-1A-2B: %w", s, maxPrefix, ErrMalformed)
	case b[0]&groupBit != 0:
		return nil, fmt.Errorf("prefix %q: its first octet has the group bit set, so its EUI-64s name no unit: %w", s, ErrMalformed)
	case len(b) > 4 && b[3] == 0xFF && b[4] == 0xFE:
		return nil, fmt.Errorf("prefix %q: octets 4 and 5 are FF-FE, which no range may contain: %w", s, ErrMalformed)
	}
	return b, nil
}

func (p Prefix) String() string { return dashed(p) }

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

// ParseRange reads FIRST..LAST. Errors wrap ErrMalformed.
func ParseRange(s string) (r Range, err error) {
	first, last, ok := strings.Cut(s, "..")
	if !ok {
		return r, fmt.Errorf("range %q: want FIRST..LAST: %w", s, ErrMalformed)
	}
	if r.First, err = ParseEUI64(first); err != nil {
		return r, err
	}
	r.Last, err = ParseEUI64(last)
	return r, err
}

// Size counts the serial numbers of a range that is not empty.
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

// EUI-64s whose octets 4 and 5 are FF-FE come in blocks: all values of the last three octets.
const (
	blockBits = 24
	blockSize = 1 << blockBits // EUI-64s
)

// encapsulated finds the first EUI-64 of the range, which is not empty, whose octets 4 and 5 are FF-FE.
func (r Range) encapsulated() (EUI64, bool) {
	block := (uint64(r.First)>>blockBits+1)>>16<<16 | 0xFFFE // the first such block that does not end before the range
	return max(r.First, EUI64(block<<blockBits)), block <= uint64(r.Last)>>blockBits
}

// parseOctets reads hexadecimal octets, bare or with a dash between each two, or a colon.
func parseOctets(s string) ([]byte, bool) {
	b, err := hex.DecodeString(strings.NewReplacer("-", "", ":", "").Replace(s))
	if err != nil {
		return nil, false
	}
	bare := hex.EncodeToString(b)
	paired := dashed(b)
	return b, strings.EqualFold(s, bare) || strings.EqualFold(s, paired) || strings.EqualFold(s, strings.ReplaceAll(paired, "-", ":"))
}

// dashed gives octets as 02-1A-2B.
func dashed(octets []byte) string {
	return strings.ReplaceAll(fmt.Sprintf("% X", octets), " ", "-")
}

// checkTitle holds a name that people gave, and that certificates, terminals and file names will show, to printable
// characters and at most size bytes of UTF-8.
func checkTitle(what, name string, size int) error {
	if name == "" || len(name) > size {
		return fmt.Errorf("%s %q: %d bytes, want 1 to %d: %w", what, name, len(name), size, ErrMalformed)
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("%s %q: it has characters that do not print: %w", what, name, ErrMalformed)
	}
	return nil
}
