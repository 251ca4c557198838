package c509

import (
	"bytes"
	"fmt"
	"math/bits"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A codec takes the value of one extension from CBOR to DER and back (section 3.3). It need not be strict:
// valueToDER and valueFromDER let pass only what comes back as it was. So each value has one encoding, in both
// formats, and what CBOR cannot hold is left to the OID form.
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
	case basicConstraintsID:
		return codec{basicConstraintsToDER, basicConstraintsFromDER}
	}
	return codec{
		toDER:   func(r *reader, _ *cryptobyte.Builder) { r.unsupported("extension %d", id) },
		fromDER: func(*cryptobyte.String, *writer) bool { return false },
	}
}

// valueToDER converts an extension's value from CBOR.
func valueToDER(id int, value []byte) ([]byte, error) {
	r := &reader{rest: value}
	var b cryptobyte.Builder
	extensionCodec(id).toDER(r, &b)
	if err := r.end(); err != nil {
		return nil, err
	}
	der, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return der, nil
}

// valueFromDER converts an extension's value to CBOR. It reports false for what has no CBOR encoding.
func valueFromDER(id int, der []byte) ([]byte, bool) {
	s := cryptobyte.String(der)
	var w writer
	if !extensionCodec(id).fromDER(&s, &w) || !s.Empty() {
		return nil, false
	}
	back, err := valueToDER(id, w.buf)
	return w.buf, err == nil && bytes.Equal(back, der)
}

func keyIDToDER(r *reader, b *cryptobyte.Builder) { b.AddASN1OctetString(r.bytes()) }

func keyIDFromDER(s *cryptobyte.String, w *writer) bool {
	var id cryptobyte.String
	if !s.ReadASN1(&id, asn1.OCTET_STRING) {
		return false
	}
	w.bytes(id)
	return true
}

func keyUsageToDER(r *reader, b *cryptobyte.Builder) {
	n := r.uint()
	if n == 0 || n >= 1<<keyUsageBits {
		r.malformed("keyUsage %d", n)
		return
	}
	b.AddASN1(asn1.BIT_STRING, func(b *cryptobyte.Builder) { addNamedBits(b, n) })
}

func keyUsageFromDER(s *cryptobyte.String, w *writer) bool {
	var content cryptobyte.String
	if !s.ReadASN1(&content, asn1.BIT_STRING) {
		return false
	}
	n, ok := namedBits(content)
	w.uint(n)
	return ok
}

// addNamedBits writes the content of a BIT STRING with a named bit list of at most 16 bits: bit i of n is the
// string's bit i, trailing zeros are dropped (X.690, section 11.2.2).
func addNamedBits(b *cryptobyte.Builder, n uint64) {
	size := bits.Len64(n)
	b.AddUint8(uint8(-size & 7))
	reversed := bits.Reverse16(uint16(n))
	if size > 0 {
		b.AddUint8(uint8(reversed >> 8))
	}
	if size > 8 {
		b.AddUint8(uint8(reversed))
	}
}

// namedBits is the inverse of addNamedBits, without its strictness.
func namedBits(content cryptobyte.String) (uint64, bool) {
	if len(content) < 1 || len(content) > 3 {
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
	if n < notCA {
		r.malformed("basicConstraints %d", n)
	}
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
		if !content.ReadASN1Boolean(&ca) || !ca {
			return false
		}
	}
	if !content.Empty() && !content.ReadASN1Integer(&n) {
		return false
	}
	w.int(n)
	return content.Empty()
}
