package c509

import (
	"bytes"
	"math/bits"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// C509 General Names, section 8.13. From 0 on the value is the tag number in DER. Below are forms of otherName;
// x400Address (3) and ediPartyName (5) have no encoding.
const (
	macAddress         = -3
	smtpUTF8Mailbox    = -2
	hardwareModuleName = -1
	otherName          = 0
	rfc822Name         = 1
	dNSName            = 2
	directoryName      = 4
	uri                = 6
	iPAddress          = 7
	registeredID       = 8
)

// Type-ids of the otherName forms.
const (
	oidMACAddress         = "1.3.6.1.5.5.7.8.12"
	oidSmtpUTF8Mailbox    = "1.3.6.1.5.5.7.8.9"
	oidHardwareModuleName = "1.3.6.1.5.5.7.8.4"
)

func context(n int) asn1.Tag            { return asn1.Tag(n).ContextSpecific() }
func contextConstructed(n int) asn1.Tag { return context(n).Constructed() }

// altName is subjectAltName and issuerAltName: a single DNS name is bare text.
func altNameToDER(r *reader, b *cryptobyte.Builder) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		if r.peek() == majorText {
			addIA5(b, context(dNSName), r.text())
			return
		}
		generalNamesToDER(r, b)
	})
}

func altNameFromDER(s *cryptobyte.String, w *writer) bool {
	var names cryptobyte.String
	if !s.ReadASN1(&names, asn1.SEQUENCE) {
		return false
	}
	rest, dns := names, cryptobyte.String{}
	if rest.ReadASN1(&dns, context(dNSName)) && rest.Empty() {
		w.text(string(dns))
		return true
	}
	return generalNamesFromDER(names, w)
}

// generalNames is an array of pairs of type and value.
func generalNamesToDER(r *reader, b *cryptobyte.Builder) {
	for n := r.items(2); n > 0 && r.err == nil; n-- {
		generalNameToDER(r, b, false)
	}
}

func generalNamesFromDER(names cryptobyte.String, w *writer) bool {
	var items writer
	n := 0
	for ; !names.Empty(); n += 2 {
		if !generalNameFromDER(&names, &items, false) {
			return false
		}
	}
	w.items(n, items)
	return true
}

// generalNameToDER converts one pair. In a name constraint, an address carries a prefix length.
func generalNameToDER(r *reader, b *cryptobyte.Builder, constraint bool) {
	switch kind := r.code(); kind {
	case macAddress:
		addOtherName(b, oidMACAddress, func(b *cryptobyte.Builder) { b.AddASN1OctetString(r.bytes()) })
	case smtpUTF8Mailbox:
		addOtherName(b, oidSmtpUTF8Mailbox, func(b *cryptobyte.Builder) {
			addElement(b, asn1.UTF8String, []byte(r.text()))
		})
	case hardwareModuleName:
		r.pair()
		addOtherName(b, oidHardwareModuleName, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addOID(b, r.oid())
				b.AddASN1OctetString(r.bytes())
			})
		})
	case otherName:
		r.pair()
		addOtherName(b, r.oid(), func(b *cryptobyte.Builder) { b.AddBytes(r.bytes()) })
	case rfc822Name, dNSName, uri:
		addIA5(b, context(kind), r.text())
	case directoryName:
		b.AddASN1(contextConstructed(directoryName), func(b *cryptobyte.Builder) { addName(b, r.nestedName()) })
	case iPAddress:
		address := r.bytes()
		if constraint {
			address = r.maskOf(address)
		}
		addElement(b, context(iPAddress), address)
	case registeredID:
		addElement(b, context(registeredID), oidContent(r.oid()))
	default:
		r.unsupported("general name %d", kind)
	}
}

func (r *reader) pair() {
	if n := r.array(); n != 2 {
		r.malformed("array of %d items, want 2", n)
	}
}

func addOtherName(b *cryptobyte.Builder, oid string, value cryptobyte.BuilderContinuation) {
	b.AddASN1(contextConstructed(otherName), func(b *cryptobyte.Builder) {
		addOID(b, oid)
		b.AddASN1(contextConstructed(0), value)
	})
}

// nestedName reads a name inside an extension's value. Such a value has to have a DER form in both types, so
// the rules of type 3 hold for its text; but in type 2 without PrintableString (section 3.1.4).
func (r *reader) nestedName() Name {
	n := r.name()
	for _, a := range n {
		if r.native && a.Type < 0 {
			r.malformed("negative attribute type in a natively signed certificate")
		}
	}
	if err := n.check(false); r.err == nil {
		r.err = err
	}
	if r.err != nil {
		return nil
	}
	return n
}

func generalNameFromDER(s *cryptobyte.String, w *writer, constraint bool) bool {
	var content cryptobyte.String
	var tag asn1.Tag
	if !s.ReadAnyASN1(&content, &tag) {
		return false
	}
	kind := int(tag & 0x1f)
	switch tag {
	case contextConstructed(otherName):
		return otherNameFromDER(content, w)
	case context(rfc822Name), context(dNSName), context(uri):
		w.int(int64(kind))
		w.text(string(content))
	case contextConstructed(directoryName):
		name, ok := readName(&content)
		if !ok || !content.Empty() {
			return false
		}
		w.int(directoryName)
		w.name(name)
	case context(iPAddress):
		w.int(iPAddress)
		address := []byte(content)
		if constraint {
			var ok bool
			if address, ok = prefixOf(address); !ok {
				return false
			}
		}
		w.bytes(address)
	case context(registeredID):
		w.int(registeredID)
		w.bytes(content)
	default:
		return false
	}
	return true
}

// otherNameFromDER takes the specific form where there is one (section 3.7).
func otherNameFromDER(content cryptobyte.String, w *writer) bool {
	oid, ok := readOID(&content)
	var value, inner cryptobyte.String
	if !ok || !content.ReadASN1(&value, contextConstructed(0)) || !content.Empty() {
		return false
	}
	rest := value
	switch oid {
	case oidMACAddress:
		if rest.ReadASN1(&inner, asn1.OCTET_STRING) && rest.Empty() && (len(inner) == 6 || len(inner) == 8) {
			w.int(macAddress)
			w.bytes(inner)
			return true
		}
	case oidSmtpUTF8Mailbox:
		if rest.ReadASN1(&inner, asn1.UTF8String) && rest.Empty() {
			w.int(smtpUTF8Mailbox)
			w.text(string(inner))
			return true
		}
	case oidHardwareModuleName:
		var serial cryptobyte.String
		if rest.ReadASN1(&inner, asn1.SEQUENCE) && rest.Empty() {
			if hwType, ok := readOID(&inner); ok && inner.ReadASN1(&serial, asn1.OCTET_STRING) && inner.Empty() {
				w.int(hardwareModuleName)
				w.array(2)
				w.oid(hwType)
				w.bytes(serial)
				return true
			}
		}
	}
	w.int(otherName)
	w.array(2)
	w.oid(oid)
	w.bytes(value)
	return isElement(value)
}

// authorityKey is authorityKeyIdentifier: the key identifier alone, or all three parts in an array.
func authorityKeyToDER(r *reader, b *cryptobyte.Builder) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		if r.peek() == majorBytes {
			addElement(b, context(0), r.bytes())
			return
		}
		if n := r.array(); n != 3 {
			r.malformed("array of %d items, want 3", n)
		}
		addElement(b, context(0), r.bytes())
		b.AddASN1(contextConstructed(1), func(b *cryptobyte.Builder) { generalNamesToDER(r, b) })
		addElement(b, context(2), integerContent(r.bytes()))
	})
}

func authorityKeyFromDER(s *cryptobyte.String, w *writer) bool {
	var content, id, names, serial cryptobyte.String
	if !s.ReadASN1(&content, asn1.SEQUENCE) || !content.ReadASN1(&id, context(0)) {
		return false
	}
	if content.Empty() {
		w.bytes(id)
		return true
	}
	if !content.ReadASN1(&names, contextConstructed(1)) || !content.ReadASN1(&serial, context(2)) {
		return false
	}
	w.array(3)
	w.bytes(id)
	if !generalNamesFromDER(names, w) {
		return false
	}
	w.bytes(bytes.TrimLeft(serial, "\x00"))
	return content.Empty()
}

// integerContent returns the content of a DER INTEGER for an unsigned bignum.
func integerContent(b []byte) []byte {
	if len(b) > 0 && b[0]&0x80 != 0 {
		return append([]byte{0}, b...)
	}
	return b
}

// nameConstraints is permitted and excluded subtrees, a null in place of a list that is absent. The defaults of
// minimum and maximum are the only values (RFC 5280, section 4.2.1.10).
func nameConstraintsToDER(r *reader, b *cryptobyte.Builder) {
	r.pair()
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for i := range 2 {
			if r.null() {
				continue
			}
			b.AddASN1(contextConstructed(i), func(b *cryptobyte.Builder) {
				for n := r.items(2); n > 0 && r.err == nil; n-- {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { generalNameToDER(r, b, true) })
				}
			})
		}
	})
}

func nameConstraintsFromDER(s *cryptobyte.String, w *writer) bool {
	var content cryptobyte.String
	if !s.ReadASN1(&content, asn1.SEQUENCE) {
		return false
	}
	w.array(2)
	for i := range 2 {
		var list cryptobyte.String
		var present bool
		if !content.ReadOptionalASN1(&list, &present, contextConstructed(i)) {
			return false
		}
		if !present {
			w.null()
			continue
		}
		var items writer
		n := 0
		for ; !list.Empty(); n += 2 {
			var subtree cryptobyte.String
			if !list.ReadASN1(&subtree, asn1.SEQUENCE) || !generalNameFromDER(&subtree, &items, true) ||
				!subtree.Empty() {
				return false
			}
		}
		w.items(n, items)
	}
	return content.Empty()
}

// maskOf turns an address and its prefix length in bits into the address and mask of a DER name constraint
// (RFC 9549, section 2.2, by way of section 3.3).
func (r *reader) maskOf(address []byte) []byte {
	size := len(address) - 1
	if size != 4 && size != 16 || int(address[size]) > 8*size {
		r.malformed("address constraint %x", address)
		return nil
	}
	mask := make([]byte, 2*size)
	copy(mask, address[:size])
	for i := range int(address[size]) {
		mask[size+i/8] |= 0x80 >> (i % 8)
	}
	return mask
}

// prefixOf is the inverse of maskOf. A mask that is no prefix does not survive the way back.
func prefixOf(masked []byte) ([]byte, bool) {
	size := len(masked) / 2
	if len(masked) != 8 && len(masked) != 32 {
		return nil, false
	}
	length := 0
	for _, b := range masked[size:] {
		length += bits.OnesCount8(b)
	}
	return append(bytes.Clone(masked[:size]), byte(length)), true
}
