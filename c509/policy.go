package c509

import (
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// The policy qualifiers that CBOR has, section 8.10. Their text types differ, so no others can be encoded.
const (
	cps        = 1 // IA5String
	userNotice = 2 // SEQUENCE with an explicitText of type UTF8String and no noticeRef
)

var policyQualifiers = registry{
	{cps, "1.3.6.1.5.5.7.2.1", "id-qt-cps"},
	{userNotice, "1.3.6.1.5.5.7.2.2", "id-qt-unotice"},
}

// policies is certificatePolicies: pairs of a policy and an array of qualifiers, which are pairs too.
func policiesToDER(r *reader, b *cryptobyte.Builder) {
	n := r.items(2)
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for ; n > 0 && r.err == nil; n-- {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addOID(b, r.registered(policies))
				qualifiersToDER(r, b)
			})
		}
	})
}

func qualifiersToDER(r *reader, b *cryptobyte.Builder) {
	items := r.array()
	if items == 0 {
		return
	}
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for ; items > 0 && r.err == nil; items -= 2 {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { qualifierToDER(r, b) })
		}
	})
}

func qualifierToDER(r *reader, b *cryptobyte.Builder) {
	id := r.code()
	text := r.text()
	e, _ := policyQualifiers.id(id)
	addOID(b, e.oid)
	switch id {
	case cps:
		addIA5(b, asn1.IA5String, text)
	case userNotice:
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { addElement(b, asn1.UTF8String, []byte(text)) })
	default:
		r.unsupported("policy qualifier %d", id)
	}
}

func policiesFromDER(s *cryptobyte.String, w *writer) bool {
	return sequencesFromDER(s, w, 2, func(policy *cryptobyte.String, items *writer) bool {
		oid, ok := readOID(policy)
		if !ok {
			return false
		}
		items.registered(policies, oid)
		if policy.Empty() {
			items.array(0)
			return true
		}
		return sequencesFromDER(policy, items, 2, qualifierFromDER)
	})
}

func qualifierFromDER(qualifier *cryptobyte.String, items *writer) bool {
	oid, ok := readOID(qualifier)
	if !ok {
		return false
	}
	var text cryptobyte.String
	e, _ := policyQualifiers.oid(oid)
	switch e.id {
	case cps:
		ok = qualifier.ReadASN1(&text, asn1.IA5String)
	case userNotice:
		var notice cryptobyte.String
		ok = qualifier.ReadASN1(&notice, asn1.SEQUENCE) && notice.ReadASN1(&text, asn1.UTF8String) && notice.Empty()
	default:
		return false
	}
	items.int(int64(e.id))
	items.text(string(text))
	return ok
}

// mappings is policyMappings: pairs of the issuer's and the subject's policy.
func mappingsToDER(r *reader, b *cryptobyte.Builder) {
	n := r.items(2)
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for ; n > 0 && r.err == nil; n-- {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addOID(b, r.registered(policies))
				addOID(b, r.registered(policies))
			})
		}
	})
}

func mappingsFromDER(s *cryptobyte.String, w *writer) bool {
	return sequencesFromDER(s, w, 2, func(pair *cryptobyte.String, items *writer) bool {
		issuer, ok1 := readOID(pair)
		subject, ok2 := readOID(pair)
		if !ok1 || !ok2 {
			return false
		}
		items.registered(policies, issuer)
		items.registered(policies, subject)
		return true
	})
}

// policyConstraints is two optional numbers, implicitly tagged 0 and 1 in DER, a null each in CBOR if absent.
func policyConstraintsToDER(r *reader, b *cryptobyte.Builder) {
	if n := r.array(); n != 2 {
		r.malformed("array of %d items, want 2", n)
	}
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for tag := range asn1.Tag(2) {
			if !r.null() {
				b.AddASN1Int64WithTag(r.natural(), tag.ContextSpecific())
			}
		}
	})
}

func policyConstraintsFromDER(s *cryptobyte.String, w *writer) bool {
	var content cryptobyte.String
	if !s.ReadASN1(&content, asn1.SEQUENCE) {
		return false
	}
	w.array(2)
	for tag := range asn1.Tag(2) {
		if !content.PeekASN1Tag(tag.ContextSpecific()) {
			w.null()
			continue
		}
		var n int64
		if !content.ReadASN1Int64WithTag(&n, tag.ContextSpecific()) {
			return false
		}
		w.int(n)
	}
	return content.Empty()
}
