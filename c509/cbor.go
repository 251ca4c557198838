package c509

import (
	"bytes"
	"fmt"
	"math"
	"unicode/utf8"
)

// Major types, RFC 8949, section 3.1.
const (
	majorUint   = 0
	majorNegint = 1
	majorBytes  = 2
	majorText   = 3
	majorArray  = 4
	majorMap    = 5
	majorTag    = 6
	majorSimple = 7

	majorNone = 0xff // what peek gives at the end of the input and after an error
)

// Simple values, RFC 8949, section 3.3. C509 has no others: undefined stands in request templates only.
const (
	simpleFalse = 0xf4
	simpleTrue  = 0xf5
	simpleNull  = 0xf6
)

// maxDepth bounds the recursion into a value of no known shape. The draft's own extension values are three
// arrays deep at most; private ones have the rest.
const maxDepth = 16

// A reader takes deterministically encoded CBOR (RFC 8949, section 4.2.1) apart, item by item: shortest
// heads, definite lengths, valid UTF-8. It is our own because it has to refuse every second encoding of a
// value, and a general decoder such as fxamacker/cbor takes heads longer than needed. The first error
// sticks; afterwards every method returns a zero value, so that a caller checks err once at the end.
type reader struct {
	rest   []byte
	where  string // the field being read, for the error
	native bool   // inside a natively signed certificate
	err    error
}

func (r *reader) fail(kind error, format string, args ...any) {
	if r.err != nil {
		return
	}
	r.err = fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
	if r.where != "" {
		r.err = fmt.Errorf("%s: %w", r.where, r.err)
	}
	r.rest = nil
}

func (r *reader) malformed(format string, args ...any)   { r.fail(ErrMalformed, format, args...) }
func (r *reader) unsupported(format string, args ...any) { r.fail(ErrUnsupported, format, args...) }

// peek returns the major type of the next item.
func (r *reader) peek() byte {
	if len(r.rest) == 0 {
		return majorNone
	}
	return r.rest[0] >> 5
}

// head reads an initial byte and its argument.
func (r *reader) head() (major byte, arg uint64) {
	if len(r.rest) == 0 {
		r.malformed("ends in the middle of an item")
		return majorNone, 0
	}
	major, info := r.rest[0]>>5, r.rest[0]&0x1f
	if info < 24 {
		r.rest = r.rest[1:]
		return major, uint64(info)
	}
	if info > 27 {
		r.malformed("indefinite length or reserved head %#02x", r.rest[0])
		return majorNone, 0
	}
	size := 1 << (info - 24)
	if len(r.rest) < 1+size {
		r.malformed("ends in the middle of a head")
		return majorNone, 0
	}
	for _, b := range r.rest[1 : 1+size] {
		arg = arg<<8 | uint64(b)
	}
	if size == 1 && arg < 24 || size > 1 && arg>>(4*size) == 0 {
		r.malformed("head longer than needed")
		return majorNone, 0
	}
	r.rest = r.rest[1+size:]
	return major, arg
}

func (r *reader) expect(want byte, what string) uint64 {
	if got := r.peek(); got != want && got != majorNone {
		r.malformed("major type %d, want %s", got, what)
		return 0
	}
	_, arg := r.head()
	return arg
}

func (r *reader) uint() uint64 { return r.expect(majorUint, "an unsigned integer") }

func (r *reader) int() int64 {
	if r.peek() != majorNegint {
		n := r.uint()
		if n > math.MaxInt64 {
			r.malformed("integer beyond 63 bits")
			return 0
		}
		return int64(n)
	}
	_, n := r.head()
	if n > math.MaxInt64 {
		r.malformed("integer beyond 63 bits")
		return 0
	}
	return -1 - int64(n)
}

// code reads an integer that stands for something in one of the registries of section 8. Nothing is
// registered beyond 16 bits; private use is open above, and 32 bits of it are taken.
func (r *reader) code() int {
	n := r.int()
	if n < -math.MaxInt32 || n > math.MaxInt32 {
		r.unsupported("registry value %d beyond 32 bits", n)
		return 0
	}
	return int(n)
}

func (r *reader) string(major byte, what string) []byte {
	n := r.expect(major, what)
	if n > uint64(len(r.rest)) {
		r.malformed("string of %d bytes, %d are left", n, len(r.rest))
		return nil
	}
	s := r.rest[:n:n]
	r.rest = r.rest[n:]
	return s
}

// bytes returns the content of a byte string. It aliases the input.
func (r *reader) bytes() []byte { return r.string(majorBytes, "a byte string") }

func (r *reader) text() string {
	s := r.string(majorText, "a text string")
	if !utf8.Valid(s) {
		r.malformed("text is not UTF-8")
		return ""
	}
	return string(s)
}

// array returns a count of items that the rest of the input can hold.
func (r *reader) array() int { return r.count(r.expect(majorArray, "an array"), 1) }

func (r *reader) count(n, itemsEach uint64) int {
	if n > uint64(len(r.rest))/itemsEach {
		r.malformed("%d items, %d bytes are left", n, len(r.rest))
		return 0
	}
	return int(n)
}

// null takes a null if it comes next.
func (r *reader) null() bool {
	if len(r.rest) == 0 || r.rest[0] != simpleNull {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

// raw returns the encoding of the next item, whatever it is. It aliases the input.
func (r *reader) raw() []byte {
	start := r.rest
	r.skip(maxDepth)
	if r.err != nil {
		return nil
	}
	n := len(start) - len(r.rest)
	return start[:n:n]
}

func (r *reader) skip(depth int) {
	if depth == 0 {
		r.unsupported("nested deeper than %d", maxDepth)
		return
	}
	switch r.peek() {
	case majorBytes:
		r.bytes()
	case majorText:
		r.text()
	case majorArray:
		for n := r.array(); n > 0 && r.err == nil; n-- {
			r.skip(depth - 1)
		}
	case majorMap:
		r.skipMap(depth)
	case majorTag:
		if _, tag := r.head(); tag == 2 || tag == 3 {
			r.bignum()
			return
		}
		r.skip(depth - 1)
	case majorSimple:
		if b := r.rest[0]; b < simpleFalse || b > simpleNull {
			r.unsupported("simple value or float %#02x", b)
			return
		}
		r.rest = r.rest[1:]
	default:
		r.head()
	}
}

// skipMap wants keys in strictly rising bytewise order (RFC 8949, section 4.2.1), which also excludes
// duplicates.
func (r *reader) skipMap(depth int) {
	_, n := r.head()
	var last []byte
	for i := r.count(n, 2); i > 0 && r.err == nil; i-- {
		start := r.rest
		r.skip(depth - 1)
		if r.err != nil {
			return
		}
		key := start[:len(start)-len(r.rest)]
		if last != nil && bytes.Compare(key, last) <= 0 {
			r.malformed("map keys out of order")
		}
		last = key
		r.skip(depth - 1)
	}
}

// bignum reads what a tag 2 or 3 holds: more than 64 bits, or an integer would do, and no leading zero
// (RFC 8949, section 3.4.3).
func (r *reader) bignum() {
	if b := r.bytes(); r.err == nil && (len(b) <= 8 || b[0] == 0) {
		r.malformed("bignum shorter than nine bytes or with a leading zero")
	}
}

// end reports the first error, or bytes that follow the last item.
func (r *reader) end() error {
	r.where = ""
	if len(r.rest) > 0 {
		r.malformed("%d bytes follow", len(r.rest))
	}
	return r.err
}

// A writer is the inverse of a reader: it can only write deterministic encoding.
type writer struct {
	buf []byte
}

func (w *writer) head(major byte, arg uint64) {
	major <<= 5
	switch {
	case arg < 24:
		w.buf = append(w.buf, major|byte(arg))
	case arg <= math.MaxUint8:
		w.buf = append(w.buf, major|24, byte(arg))
	case arg <= math.MaxUint16:
		w.buf = append(w.buf, major|25, byte(arg>>8), byte(arg))
	case arg <= math.MaxUint32:
		w.buf = append(w.buf, major|26, byte(arg>>24), byte(arg>>16), byte(arg>>8), byte(arg))
	default:
		w.buf = append(w.buf, major|27, byte(arg>>56), byte(arg>>48), byte(arg>>40), byte(arg>>32),
			byte(arg>>24), byte(arg>>16), byte(arg>>8), byte(arg))
	}
}

func (w *writer) uint(n uint64) { w.head(majorUint, n) }

func (w *writer) int(n int64) {
	if n < 0 {
		w.head(majorNegint, uint64(-1-n))
		return
	}
	w.uint(uint64(n))
}

func (w *writer) bytes(b []byte) {
	w.head(majorBytes, uint64(len(b)))
	w.buf = append(w.buf, b...)
}

func (w *writer) text(s string) {
	w.head(majorText, uint64(len(s)))
	w.buf = append(w.buf, s...)
}

func (w *writer) array(n int)  { w.head(majorArray, uint64(n)) }
func (w *writer) null()        { w.buf = append(w.buf, simpleNull) }
func (w *writer) raw(b []byte) { w.buf = append(w.buf, b...) }
