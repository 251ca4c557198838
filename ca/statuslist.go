package ca

import (
	"bytes"
	"cmp"
	"crypto"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/veraison/go-cose"
)

const (
	listTitle   = "birthmark list 1"
	maxList     = 512 // bytes of the whole object, as many as units keep
	listHead    = 9   // bytes: name 2, number 4, size of the common bytes, counts of orders and ranges
	maxListed   = 255 // orders, and ranges
	maxCommon   = 7   // bytes that all listed serial numbers begin with
	serialSize  = 8   // bytes
	listedOrder = 3   // bytes: epoch 1, number 2
)

// StatusList says which units are no longer welcome (docs/formats.md, "Trust"). It is complete: each replaces the one before.
// Only SignStatusList and ParseStatusList make a signed one, whose entries ascend.
type StatusList struct {
	Root    RootName
	Number  uint32
	Orders  []OrderName // make no new pairings
	Ranges  []Range     // nor do these, of two serial numbers or more
	Serials []EUI64     // are refused
	Object  []byte      // as it was signed

	prefix []byte // what all serial numbers begin with, which stands once
	signed *cose.Sign1Message
}

// SignStatusList signs the number and entries of a list by the root of the anchor. The entries may come in any order. What
// says one thing twice wraps ErrMalformed, a list that units have no room for ErrPolicy, another key than the anchor's ErrVerify.
func SignStatusList(random io.Reader, root crypto.Signer, a Anchor, list StatusList) (*StatusList, error) {
	if !a.Key().Equal(root.Public()) {
		return nil, fmt.Errorf("status list: the key is not that of root %d: %w", a.Name().Epoch(), ErrVerify)
	}
	l, err := draftStatusList(a.Name(), list)
	if err != nil {
		return nil, fmt.Errorf("status list: %w", err)
	}
	object, err := signForUnits(random, root, listTitle, l.payload())
	if err != nil {
		return nil, err
	}
	signed, err := ParseStatusList(object)
	if err != nil {
		return nil, fmt.Errorf("read back the new status list: %w", err)
	}
	return signed, signed.Verify(a)
}

// draftStatusList puts a list's entries into their order, and refuses what SignStatusList would, before anything is signed.
func draftStatusList(root RootName, list StatusList) (*StatusList, error) {
	l := &StatusList{
		Root:    root,
		Number:  list.Number,
		Orders:  slices.SortedFunc(slices.Values(list.Orders), compareNames),
		Ranges:  slices.SortedFunc(slices.Values(list.Ranges), func(a, b Range) int { return cmp.Compare(a.First, b.First) }),
		Serials: slices.Sorted(slices.Values(list.Serials)),
	}
	for _, o := range l.Orders {
		if o.Root().Test() != root.Test() || o.Root().Epoch() < 1 || o.Root().Epoch() > root.Epoch() {
			return nil, fmt.Errorf("order %x is not of this authority up to root %d: %w", o, root.Epoch(), ErrMalformed)
		}
	}
	if len(l.Orders) > maxListed || len(l.Ranges) > maxListed {
		return nil, fmt.Errorf("%d orders and %d ranges, at most %d of each: %w", len(l.Orders), len(l.Ranges), maxListed, ErrPolicy)
	}
	l.prefix = commonPrefix(l.numbers())
	payload := l.payload()
	if size := objectSize(len(payload)); size > maxList {
		return nil, fmt.Errorf("%d bytes, and a unit keeps %d: list ranges or whole orders in place of single units: %w", size, maxList, ErrPolicy)
	}
	_, err := parseListed(payload)
	return l, err
}

// revokes says whether the list has a serial number; a list that is nil has nothing.
func (l *StatusList) revokes(serial EUI64) bool {
	return l != nil && slices.Contains(l.Serials, serial)
}

// holds says whether the list has an order, or a range that a serial number is in.
func (l *StatusList) holds(order OrderName, serial EUI64) bool {
	return l != nil && (slices.Contains(l.Orders, order) ||
		slices.ContainsFunc(l.Ranges, func(r Range) bool { return r.Contains(serial) }))
}

// Entries is how many orders, ranges and serial numbers it has.
func (l *StatusList) Entries() int { return len(l.Orders) + len(l.Ranges) + len(l.Serials) }

func compareNames(a, b OrderName) int { return bytes.Compare(a[:], b[:]) }

// numbers are all serial numbers of the list, those of ranges first.
func (l *StatusList) numbers() []EUI64 {
	var numbers []EUI64
	for _, r := range l.Ranges {
		numbers = append(numbers, r.First, r.Last)
	}
	return append(numbers, l.Serials...)
}

// commonPrefix is what all numbers begin with.
func commonPrefix(numbers []EUI64) []byte {
	if len(numbers) == 0 {
		return nil
	}
	first := numbers[0].Bytes()
	common := maxCommon
	for _, n := range numbers {
		octets := n.Bytes()
		for !bytes.Equal(octets[:common], first[:common]) {
			common--
		}
	}
	return first[:common]
}

func (l *StatusList) payload() []byte {
	b := binary.BigEndian.AppendUint32(l.Root[:], l.Number)
	b = append(b, byte(len(l.prefix)), byte(len(l.Orders)), byte(len(l.Ranges)))
	b = append(b, l.prefix...)
	for _, o := range l.Orders {
		b = append(b, o[1:]...)
	}
	for _, n := range l.numbers() {
		octets := n.Bytes()
		b = append(b, octets[len(l.prefix):]...)
	}
	return b
}

// ParseStatusList reads a status list. Its signature is not checked: Verify does that. Errors wrap ErrMalformed.
func ParseStatusList(object []byte) (*StatusList, error) {
	if len(object) > maxList {
		return nil, fmt.Errorf("status list: %d bytes, at most %d: %w", len(object), maxList, ErrMalformed)
	}
	m, err := parseForUnits(listTitle, object)
	if err != nil {
		return nil, err
	}
	l, err := parseListed(m.Payload)
	if err != nil {
		return nil, fmt.Errorf("status list: %w", err)
	}
	l.Object, l.signed = bytes.Clone(object), m
	return l, nil
}

func parseListed(b []byte) (*StatusList, error) {
	if len(b) < listHead || b[6] > maxCommon || len(b) < listHead+int(b[6]) {
		return nil, fmt.Errorf("payload of %d bytes: %w", len(b), ErrMalformed)
	}
	l := &StatusList{Root: RootName(b[:2]), Number: binary.BigEndian.Uint32(b[2:]), prefix: bytes.Clone(b[listHead:][:b[6]])}
	if err := l.Root.check(); err != nil {
		return nil, err
	}
	orders, ends, rest := int(b[7]), 2*int(b[8]), b[listHead+len(l.prefix):]
	width := serialSize - len(l.prefix)
	ordersSize := orders * listedOrder
	if len(rest) < ordersSize+ends*width || (len(rest)-ordersSize)%width != 0 {
		return nil, fmt.Errorf("%d bytes for %d orders and %d ranges: %w", len(rest), orders, ends/2, ErrMalformed)
	}
	var numbers []EUI64
	for entry := range slices.Chunk(rest[:ordersSize], listedOrder) {
		l.Orders = append(l.Orders, OrderName{l.Root[0], entry[0], entry[1], entry[2]})
	}
	for entry := range slices.Chunk(rest[ordersSize:], width) {
		numbers = append(numbers, EUI64(binary.BigEndian.Uint64(slices.Concat(l.prefix, entry))))
	}
	for pair := range slices.Chunk(numbers[:ends], 2) {
		l.Ranges = append(l.Ranges, Range{pair[0], pair[1]})
	}
	l.Serials = numbers[ends:]
	if !ascending(l.Orders, compareNames) ||
		!ascending(numbers[:ends], cmp.Compare) || !ascending(l.Serials, cmp.Compare) {
		return nil, fmt.Errorf("an entry stands twice, overlaps or is out of order: %w", ErrMalformed)
	}
	return l, nil
}

// ascending says whether each value is above the one before it.
func ascending[T any](values []T, compare func(a, b T) int) bool {
	for i := 1; i < len(values); i++ {
		if compare(values[i-1], values[i]) >= 0 {
			return false
		}
	}
	return true
}

// Verify checks that the root of this anchor signed the list. Errors wrap ErrVerify.
func (l *StatusList) Verify(a Anchor) error {
	if l.Root != a.Name() {
		return fmt.Errorf("status list: it is of root %x, not of %x: %w", l.Root, a.Name(), ErrVerify)
	}
	return verifyObject(l.signed, listTitle, a.Key())
}
