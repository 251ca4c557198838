package c509

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A codec takes the value of one extension from CBOR to DER and back (section 3.3). Neither direction needs to
// be strict alone: valueToDER and valueFromDER let pass only what comes back as it was. So each value has one
// encoding in either format, and what CBOR cannot hold is left to the OID form.
type codec struct {
	toDER   func(r *reader, b *cryptobyte.Builder)
	fromDER func(s *cryptobyte.String, w *writer) bool
}

func extensionCodec(id int) codec {
	switch id {
	case 1:
		return codec{keyIDToDER, keyIDFromDER}
	case keyUsageID:
		return codec{keyUsageToDER, keyUsageFromDER}
	case 3, 25:
		return codec{altNameToDER, altNameFromDER}
	case basicConstraintsID:
		return codec{basicConstraintsToDER, basicConstraintsFromDER}
	case 5, 29:
		return codec{distributionToDER, distributionFromDER}
	case 6:
		return codec{policiesToDER, policiesFromDER}
	case 7:
		return codec{authorityKeyToDER, authorityKeyFromDER}
	case 8:
		return codec{purposesToDER, purposesFromDER}
	case 9, 31:
		return codec{accessToDER, accessFromDER}
	case 26:
		return codec{nameConstraintsToDER, nameConstraintsFromDER}
	case 27:
		return codec{mappingsToDER, mappingsFromDER}
	case 28:
		return codec{policyConstraintsToDER, policyConstraintsFromDER}
	case 30:
		return codec{naturalToDER, naturalFromDER}
	case 32, 34:
		return codec{addressesToDER, addressesFromDER}
	case 33, 35:
		return codec{systemsToDER, systemsFromDER}
	case 36:
		return codec{nullToDER, nullFromDER}
	}
	return codec{featuresToDER, featuresFromDER} // 38, the last of the registry
}

// valueToDER converts the value of a registered extension from CBOR. native forbids what only type 3 has.
func valueToDER(id int, value []byte, native bool) ([]byte, error) {
	r := &reader{rest: value, native: native}
	var b cryptobyte.Builder
	extensionCodec(id).toDER(r, &b)
	if err := r.end(); err != nil {
		return nil, err
	}
	der, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if back, ok := convertFromDER(id, der); !ok || !bytes.Equal(back, value) {
		return nil, fmt.Errorf("%w: value has another encoding", ErrMalformed)
	}
	return der, nil
}

// valueFromDER converts the value of a registered extension to CBOR. It reports false for what has no CBOR
// encoding, or is not DER.
func valueFromDER(id int, der []byte) ([]byte, bool) {
	value, ok := convertFromDER(id, der)
	if !ok {
		return nil, false
	}
	back, err := valueToDER(id, value, false)
	return value, err == nil && bytes.Equal(back, der)
}

func convertFromDER(id int, der []byte) ([]byte, bool) {
	s := cryptobyte.String(der)
	var w writer
	ok := extensionCodec(id).fromDER(&s, &w) && s.Empty()
	return w.buf, ok
}

// items reads the head of an array of groups of n items, at least one group, and returns how many there are.
func (r *reader) items(n int) int {
	items := r.array()
	if items == 0 || items%n != 0 {
		r.malformed("array of %d items, want groups of %d", items, n)
	}
	return items / n
}

// items writes an array of n items that are in items already.
func (w *writer) items(n int, items writer) {
	w.array(n)
	w.raw(items.buf)
}

// natural reads an unsigned integer of at most 63 bits, which is what a DER INTEGER is built from here.
func (r *reader) natural() int64 {
	n := r.int()
	if n < 0 {
		r.malformed("negative")
		return 0
	}
	return n
}

// registered reads a registry value or an unwrapped OID into a dotted OID.
func (r *reader) registered(t registry) string {
	if r.peek() == majorBytes {
		return r.oid()
	}
	n := r.code()
	e, ok := t.id(n)
	if !ok {
		r.unsupported("registry value %d", n)
	}
	return e.oid
}

func (w *writer) registered(t registry, oid string) {
	if e, ok := t.oid(oid); ok {
		w.int(int64(e.id))
		return
	}
	w.oid(oid)
}

func addOID(b *cryptobyte.Builder, oid string) {
	addElement(b, asn1.OBJECT_IDENTIFIER, oidContent(oid))
}

func addElement(b *cryptobyte.Builder, tag asn1.Tag, content []byte) {
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(content) })
}

// addIA5 writes text of the type IA5String, or implicitly tagged as such.
func addIA5(b *cryptobyte.Builder, tag asn1.Tag, s string) {
	if !isASCII(s) {
		b.SetError(errors.New("IA5String of other characters than ASCII"))
	}
	addElement(b, tag, []byte(s))
}

func readOID(s *cryptobyte.String) (string, bool) {
	var content cryptobyte.String
	if !s.ReadASN1(&content, asn1.OBJECT_IDENTIFIER) || len(content) > maxOID {
		return "", false
	}
	var oid x509.OID
	err := oid.UnmarshalBinary(content)
	return oid.String(), err == nil
}

// sequencesFromDER reads a SEQUENCE of SEQUENCEs and writes an array. Of each inner one read makes size items, from all of
// its content.
func sequencesFromDER(s *cryptobyte.String, w *writer, size int, read func(*cryptobyte.String, *writer) bool) bool {
	var list cryptobyte.String
	if !s.ReadASN1(&list, asn1.SEQUENCE) {
		return false
	}
	var items writer
	n := 0
	for ; !list.Empty(); n += size {
		var content cryptobyte.String
		if !list.ReadASN1(&content, asn1.SEQUENCE) || !read(&content, &items) || !content.Empty() {
			return false
		}
	}
	w.items(n, items)
	return true
}

// isElement tells whether b is one DER element, without looking inside.
func isElement(b []byte) bool {
	s := cryptobyte.String(b)
	var element cryptobyte.String
	var tag asn1.Tag
	return s.ReadAnyASN1Element(&element, &tag) && s.Empty()
}

func keyIDToDER(r *reader, b *cryptobyte.Builder) { b.AddASN1OctetString(r.bytes()) }

func keyIDFromDER(s *cryptobyte.String, w *writer) bool {
	var id cryptobyte.String
	ok := s.ReadASN1(&id, asn1.OCTET_STRING)
	w.bytes(id)
	return ok
}

func keyUsageToDER(r *reader, b *cryptobyte.Builder) {
	n := r.uint()
	if n == 0 || n >= 1<<keyUsageBits {
		r.malformed("keyUsage %d", n)
		return
	}
	addNamedBits(b, asn1.BIT_STRING, n)
}

func keyUsageFromDER(s *cryptobyte.String, w *writer) bool {
	n, ok := readNamedBits(s, asn1.BIT_STRING)
	w.uint(n)
	return ok
}

// addNamedBits writes a BIT STRING with a named bit list of at most 16 bits: bit i of n is the string's bit i,
// trailing zeros are dropped (X.690, section 11.2.2).
func addNamedBits(b *cryptobyte.Builder, tag asn1.Tag, n uint64) {
	size := bits.Len64(n)
	reversed := bits.Reverse16(uint16(n))
	content := []byte{byte(-size & 7), byte(reversed >> 8), byte(reversed)}
	addElement(b, tag, content[:1+(size+7)/8])
}

func readNamedBits(s *cryptobyte.String, tag asn1.Tag) (uint64, bool) {
	var content cryptobyte.String
	if !s.ReadASN1(&content, tag) || len(content) < 1 || len(content) > 3 {
		return 0, false
	}
	var n uint64
	for i, b := range content[1:] {
		n |= uint64(bits.Reverse8(b)) << (8 * i)
	}
	return n, true
}

func basicConstraintsToDER(r *reader, b *cryptobyte.Builder) {
	n := r.int()
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		if n != notCA {
			b.AddASN1Boolean(true)
		}
		if n > anyPathLen {
			b.AddASN1Int64(n)
		}
	})
}

func basicConstraintsFromDER(s *cryptobyte.String, w *writer) bool {
	var content cryptobyte.String
	if !s.ReadASN1(&content, asn1.SEQUENCE) {
		return false
	}
	n := int64(notCA)
	if !content.Empty() {
		n = anyPathLen
		var ca bool
		if !content.ReadASN1Boolean(&ca) {
			return false
		}
	}
	if !content.Empty() && !content.ReadASN1Integer(&n) {
		return false
	}
	w.int(n)
	return content.Empty()
}

// purposes is extKeyUsage: one purpose stands without array.
func purposesToDER(r *reader, b *cryptobyte.Builder) {
	n := 1
	if r.peek() == majorArray {
		n = r.items(1)
	}
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for ; n > 0 && r.err == nil; n-- {
			addOID(b, r.registered(keyPurposes))
		}
	})
}

func purposesFromDER(s *cryptobyte.String, w *writer) bool {
	var content cryptobyte.String
	if !s.ReadASN1(&content, asn1.SEQUENCE) || content.Empty() {
		return false
	}
	var items writer
	n := 0
	for ; !content.Empty(); n++ {
		oid, ok := readOID(&content)
		if !ok {
			return false
		}
		items.registered(keyPurposes, oid)
	}
	if n == 1 {
		w.raw(items.buf)
		return true
	}
	w.items(n, items)
	return true
}

// natural is inhibitAnyPolicy.
func naturalToDER(r *reader, b *cryptobyte.Builder) { b.AddASN1Int64(r.natural()) }

func naturalFromDER(s *cryptobyte.String, w *writer) bool {
	var n int64
	ok := s.ReadASN1Integer(&n)
	w.int(n)
	return ok
}

// null is OCSP no check.
func nullToDER(r *reader, b *cryptobyte.Builder) {
	if !r.null() {
		r.malformed("want null")
	}
	addElement(b, asn1.NULL, nil)
}

func nullFromDER(s *cryptobyte.String, w *writer) bool {
	w.null()
	ok := isNull(*s)
	*s = nil
	return ok
}

// isNull tells whether s is a DER NULL and nothing else.
func isNull(s cryptobyte.String) bool { return string(s) == "\x05\x00" }

// features is TLS features (RFC 7633, section 4); the draft allows an empty list.
func featuresToDER(r *reader, b *cryptobyte.Builder) {
	n := r.array()
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for ; n > 0 && r.err == nil; n-- {
			b.AddASN1Int64(r.natural())
		}
	})
}

func featuresFromDER(s *cryptobyte.String, w *writer) bool {
	var content cryptobyte.String
	if !s.ReadASN1(&content, asn1.SEQUENCE) {
		return false
	}
	var items writer
	n := 0
	for ; !content.Empty(); n++ {
		var feature int64
		if !content.ReadASN1Integer(&feature) {
			return false
		}
		items.int(feature)
	}
	w.items(n, items)
	return true
}
