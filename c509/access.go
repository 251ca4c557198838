package c509

import (
	"math"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// access is authorityInfoAccess and subjectInfoAccess: pairs of a method and a URI.
func accessToDER(r *reader, b *cryptobyte.Builder) {
	n := r.items(2)
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for ; n > 0 && r.err == nil; n-- {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addOID(b, r.registered(accessMethods))
				addIA5(b, context(uri), r.text())
			})
		}
	})
}

func accessFromDER(s *cryptobyte.String, w *writer) bool {
	return sequencesFromDER(s, w, 2, func(description *cryptobyte.String, items *writer) bool {
		var location cryptobyte.String
		method, ok := readOID(description)
		if !ok || !description.ReadASN1(&location, context(uri)) {
			return false
		}
		items.registered(accessMethods, method)
		items.text(string(location))
		return true
	})
}

// distribution is cRLDistributionPoints and freshestCRL: an array of [URIs, reasons, CRL issuer], or bare text
// for a single point with one URI and nothing else. Each point has a name in URIs.
func distributionToDER(r *reader, b *cryptobyte.Builder) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		if r.peek() == majorText {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { fullNameToDER(r, b) })
			return
		}
		for n := r.items(1); n > 0 && r.err == nil; n-- {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { pointToDER(r, b) })
		}
	})
}

func pointToDER(r *reader, b *cryptobyte.Builder) {
	if n := r.array(); n != 3 {
		r.malformed("array of %d items, want 3", n)
	}
	fullNameToDER(r, b)
	if !r.null() {
		reasons := r.uint()
		if reasons > math.MaxUint16 {
			r.unsupported("reasons %#x", reasons)
		}
		addNamedBits(b, context(1), reasons&math.MaxUint16)
	}
	if !r.null() {
		b.AddASN1(contextConstructed(2), func(b *cryptobyte.Builder) {
			b.AddASN1(contextConstructed(directoryName), func(b *cryptobyte.Builder) { addName(b, r.nestedName()) })
		})
	}
}

func fullNameToDER(r *reader, b *cryptobyte.Builder) {
	n := 1
	if r.peek() == majorArray {
		n = r.items(1)
	}
	b.AddASN1(contextConstructed(0), func(b *cryptobyte.Builder) {
		b.AddASN1(contextConstructed(0), func(b *cryptobyte.Builder) {
			for ; n > 0 && r.err == nil; n-- {
				addIA5(b, context(uri), r.text())
			}
		})
	})
}

func distributionFromDER(s *cryptobyte.String, w *writer) bool {
	var list cryptobyte.String
	if !s.ReadASN1(&list, asn1.SEQUENCE) {
		return false
	}
	var items, bare writer
	n := 0
	for ; !list.Empty(); n++ {
		var point cryptobyte.String
		if !list.ReadASN1(&point, asn1.SEQUENCE) {
			return false
		}
		var names writer
		if !fullNameFromDER(&point, &names) {
			return false
		}
		if point.Empty() && names.buf[0]>>5 == majorText {
			bare = names
		}
		items.array(3)
		items.raw(names.buf)
		if !reasonsFromDER(&point, &items) || !crlIssuerFromDER(&point, &items) || !point.Empty() {
			return false
		}
	}
	if n == 1 && bare.buf != nil {
		w.raw(bare.buf)
		return true
	}
	w.items(n, items)
	return true
}

func fullNameFromDER(point *cryptobyte.String, w *writer) bool {
	var name, uris cryptobyte.String
	if !point.ReadASN1(&name, contextConstructed(0)) || !name.ReadASN1(&uris, contextConstructed(0)) ||
		!name.Empty() || uris.Empty() {
		return false
	}
	var items writer
	n := 0
	for ; !uris.Empty(); n++ {
		var location cryptobyte.String
		if !uris.ReadASN1(&location, context(uri)) {
			return false
		}
		items.text(string(location))
	}
	if n == 1 {
		w.raw(items.buf)
		return true
	}
	w.items(n, items)
	return true
}

func reasonsFromDER(point *cryptobyte.String, w *writer) bool {
	if !point.PeekASN1Tag(context(1)) {
		w.null()
		return true
	}
	n, ok := readNamedBits(point, context(1))
	w.uint(n)
	return ok
}

// crlIssuerFromDER wants GeneralNames of one directory name.
func crlIssuerFromDER(point *cryptobyte.String, w *writer) bool {
	var names, directory cryptobyte.String
	var present bool
	if !point.ReadOptionalASN1(&names, &present, contextConstructed(2)) {
		return false
	}
	if !present {
		w.null()
		return true
	}
	if !names.ReadASN1(&directory, contextConstructed(directoryName)) || !names.Empty() {
		return false
	}
	name, ok := readName(&directory)
	if !ok || !directory.Empty() {
		return false
	}
	w.name(name)
	return true
}
