package c509

import (
	"bytes"
	stdasn1 "encoding/asn1"
	"encoding/binary"
	"math"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxIntAddress is the longest address, in bytes with the one that counts unused bits, that is encoded as an
// integer (section 3.3). The integers are below 2^60 then.
const maxIntAddress = 8

// addresses is IPAddrBlocks and its second version (RFC 3779, section 2.2): groups of address family,
// subsequent address family or null, and null for inherit or an array of prefixes and ranges. An address is
// the content of its BIT STRING, the first byte of which counts unused bits; or, if all of a family are short,
// the difference of two such contents, that byte raised by one, read as integers.
func addressesToDER(r *reader, b *cryptobyte.Builder) {
	n := r.items(3)
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for ; n > 0 && r.err == nil; n-- {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { familyToDER(r, b) })
		}
	})
}

func familyToDER(r *reader, b *cryptobyte.Builder) {
	afi := r.uint()
	family := []byte{byte(afi >> 8), byte(afi)}
	if !r.null() {
		safi := r.uint()
		family = append(family, byte(safi))
		if safi > math.MaxUint8 {
			r.malformed("subsequent address family %d", safi)
		}
	}
	if afi > math.MaxUint16 {
		r.malformed("address family %d", afi)
	}
	b.AddASN1OctetString(family)
	if r.null() {
		addElement(b, asn1.NULL, nil)
		return
	}
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		var last int64
		for n := r.items(1); n > 0 && r.err == nil; n-- {
			if r.peek() != majorArray {
				last = addressToDER(r, b, last)
				continue
			}
			r.pair()
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				last = addressToDER(r, b, last)
				last = addressToDER(r, b, last)
			})
		}
	})
}

// addressToDER returns the integer that the next difference counts from.
func addressToDER(r *reader, b *cryptobyte.Builder, last int64) int64 {
	if r.peek() == majorBytes {
		addElement(b, asn1.BIT_STRING, r.bytes())
		return 0
	}
	last += r.int()
	content := bytes.TrimLeft(binary.BigEndian.AppendUint64(nil, uint64(last)), "\x00")
	if len(content) == 0 {
		r.malformed("address without length")
		return 0
	}
	content[0]--
	addElement(b, asn1.BIT_STRING, content)
	return last
}

func addressesFromDER(s *cryptobyte.String, w *writer) bool {
	return sequencesFromDER(s, w, 3, func(family *cryptobyte.String, items *writer) bool {
		var id, choice cryptobyte.String
		if !family.ReadASN1(&id, asn1.OCTET_STRING) || len(id) < 2 || len(id) > 3 {
			return false
		}
		items.uint(uint64(binary.BigEndian.Uint16(id)))
		if len(id) == 3 {
			items.uint(uint64(id[2]))
		} else {
			items.null()
		}
		if isNull(*family) {
			return nullFromDER(family, items)
		}
		return family.ReadASN1(&choice, asn1.SEQUENCE) && choiceFromDER(choice, items)
	})
}

// choiceFromDER writes prefixes and ranges; a range is two addresses, a prefix one.
func choiceFromDER(choice cryptobyte.String, w *writer) bool {
	var entries [][][]byte
	short := true
	for !choice.Empty() {
		list, size := choice, 1
		if choice.PeekASN1Tag(asn1.SEQUENCE) {
			size = 2
			if !choice.ReadASN1(&list, asn1.SEQUENCE) {
				return false
			}
		}
		entry := make([][]byte, size)
		for i := range entry {
			var bits stdasn1.BitString
			if !list.ReadASN1BitString(&bits) {
				return false
			}
			entry[i] = append([]byte{byte(8*len(bits.Bytes) - bits.BitLength)}, bits.Bytes...)
			short = short && len(entry[i]) <= maxIntAddress
		}
		if size == 1 {
			choice = list
		} else if !list.Empty() {
			return false
		}
		entries = append(entries, entry)
	}
	w.array(len(entries))
	var last int64
	for _, entry := range entries {
		if len(entry) == 2 {
			w.array(2)
		}
		for _, address := range entry {
			if !short {
				w.bytes(address)
				continue
			}
			n := addressInt(address)
			w.int(n - last)
			last = n
		}
	}
	return true
}

func addressInt(address []byte) int64 {
	n := int64(address[0]) + 1
	for _, b := range address[1:] {
		n = n<<8 | int64(b)
	}
	return n
}

// systems is AS identifiers and their second version (RFC 3779, section 3.2) without rdi: null for inherit, or
// an array of numbers and ranges, each number the difference from the one before.
func systemsToDER(r *reader, b *cryptobyte.Builder) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(contextConstructed(0), func(b *cryptobyte.Builder) {
			if r.null() {
				addElement(b, asn1.NULL, nil)
				return
			}
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				var last int64
				next := func(b *cryptobyte.Builder) {
					last += r.natural()
					b.AddASN1Int64(last)
				}
				for n := r.items(1); n > 0 && r.err == nil; n-- {
					if r.peek() != majorArray {
						next(b)
						continue
					}
					r.pair()
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						next(b)
						next(b)
					})
				}
			})
		})
	})
}

func systemsFromDER(s *cryptobyte.String, w *writer) bool {
	var content, numbers, list cryptobyte.String
	if !s.ReadASN1(&content, asn1.SEQUENCE) || !content.ReadASN1(&numbers, contextConstructed(0)) ||
		!content.Empty() {
		return false
	}
	if isNull(numbers) {
		w.null()
		return true
	}
	if !numbers.ReadASN1(&list, asn1.SEQUENCE) || !numbers.Empty() {
		return false
	}
	var items writer
	var last int64
	n := 0
	next := func(s *cryptobyte.String) bool {
		var number int64
		ok := s.ReadASN1Integer(&number)
		items.int(number - last)
		last = number
		return ok
	}
	for ; !list.Empty(); n++ {
		if !list.PeekASN1Tag(asn1.SEQUENCE) {
			if !next(&list) {
				return false
			}
			continue
		}
		var span cryptobyte.String
		if !list.ReadASN1(&span, asn1.SEQUENCE) {
			return false
		}
		items.array(2)
		low, high := next(&span), next(&span)
		if !low || !high || !span.Empty() {
			return false
		}
	}
	w.items(n, items)
	return true
}
