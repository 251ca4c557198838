package c509

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Name is an issuer or subject: attributes in order, one per relative distinguished name (section 3.1.4).
type Name []Attribute

// Attribute is one type and value of a Name. It is comparable.
type Attribute struct {
	Type  int    // registry value (section 8.6); negative for a PrintableString in the X.509 form
	OID   string // dotted; if not empty, Type is 0 and Value the DER encoding of the X.509 value
	Value Value
}

// Kind says in which of three ways an attribute value is encoded (SpecialText, section 3.1.4).
type Kind byte

const (
	Text  Kind = iota // a text string
	Bytes             // a byte string; in type 3 it stands for its lower-case hexadecimal text
	EUI64             // tag 48, RFC 9542, section 2.4; in type 3 it stands for the text "01-23-45-67-89-AB-CD-EF"
)

// Value is an attribute's value. It is comparable.
type Value struct {
	Kind Kind
	Data string // the text; the bytes; always 8 bytes for EUI64
}

// Attribute types that this package or its callers treat specially, section 8.6.
const (
	EmailAddress    = 0
	CommonName      = 1
	SerialNumber    = 3
	CountryName     = 4
	DomainComponent = 22
)

// firstPrivate begins the private-use range of every registry that has one (sections 8.6, 8.8, 8.9, 8.12).
const firstPrivate = 32768

const tagMAC = 48

// euiInfix is in octets 4 and 5 of an EUI-64 that was made from a 48-bit MAC address. Such a one is encoded
// as the MAC address.
const euiInfix = "\xff\xfe"

// BytesName returns a name of one common name that is a byte string.
func BytesName(b []byte) Name { return Name{{Type: CommonName, Value: Value{Bytes, string(b)}}} }

// CommonName returns the value of a name that is one common name and nothing else, as BytesName makes it.
func (n Name) CommonName() (Value, bool) {
	if !n.compact() {
		return Value{}, false
	}
	return n[0].Value, true
}

// compact tells whether a name is encoded as its one value, without array and type.
func (n Name) compact() bool { return len(n) == 1 && n[0].Type == CommonName && n[0].OID == "" }

func (r *reader) name() Name {
	if r.peek() != majorArray {
		return Name{{Type: CommonName, Value: r.value()}}
	}
	items := r.array()
	if items%2 != 0 {
		r.malformed("attribute type without value")
	}
	n := Name{}
	for ; items > 0 && r.err == nil; items -= 2 {
		var a Attribute
		if r.peek() == majorBytes {
			a = Attribute{OID: r.oid(), Value: Value{Bytes, string(r.bytes())}}
		} else {
			a = Attribute{Type: r.code(), Value: r.value()}
		}
		n = append(n, a)
	}
	if n.compact() {
		r.malformed("a single common name stands without array")
	}
	return n
}

func (w *writer) name(n Name) {
	if n.compact() {
		w.value(n[0].Value)
		return
	}
	w.array(2 * len(n))
	for _, a := range n {
		if a.OID != "" {
			w.oid(a.OID)
		} else {
			w.int(int64(a.Type))
		}
		w.value(a.Value)
	}
}

func (r *reader) value() Value {
	switch r.peek() {
	case majorBytes:
		return Value{Bytes, string(r.bytes())}
	case majorTag:
		return r.eui64()
	}
	return Value{Text, r.text()}
}

func (r *reader) eui64() Value {
	if tag := r.expect(majorTag, "a tag"); tag != tagMAC {
		r.unsupported("tag %d in a name", tag)
	}
	s := string(r.bytes())
	switch {
	case r.err != nil:
	case len(s) == 6:
		s = s[:3] + euiInfix + s[3:]
	case len(s) != 8:
		r.malformed("EUI-64 of %d bytes", len(s))
	case s[3:5] == euiInfix:
		r.malformed("EUI-64 with FF-FE in octets 4 and 5 is written in 6 bytes")
	}
	return Value{EUI64, s}
}

func (w *writer) value(v Value) {
	switch v.Kind {
	case Bytes:
		w.bytes([]byte(v.Data))
	case EUI64:
		w.head(majorTag, tagMAC)
		if v.Data[3:5] == euiInfix {
			w.bytes([]byte(v.Data[:3] + v.Data[5:]))
		} else {
			w.bytes([]byte(v.Data))
		}
	default:
		w.text(v.Data)
	}
}

// check holds a name to what section 3.1.4 says beyond the grammar. In a type 2 certificate byte strings and
// EUI-64 are values of their own, text may be any, and attribute types are not negative.
func (n Name) check(native bool) error {
	for i, a := range n {
		if err := a.check(native); err != nil {
			return fmt.Errorf("attribute %d: %w", i, err)
		}
	}
	return nil
}

func (a Attribute) check(native bool) error {
	if a.Value.Kind > EUI64 || a.Value.Kind == EUI64 && len(a.Value.Data) != 8 {
		return fmt.Errorf("%w: value of kind %d with %d bytes", ErrMalformed, a.Value.Kind, len(a.Value.Data))
	}
	if a.OID != "" {
		switch {
		case native:
			return fmt.Errorf("%w: OID %s in a natively signed certificate (section 3.7)", ErrMalformed, a.OID)
		case a.Value.Kind != Bytes || a.Type != 0:
			return fmt.Errorf("%w: value of OID %s is not a byte string", ErrMalformed, a.OID)
		}
		return a.checkOID()
	}
	if _, ok := rdnAttributes.id(abs(a.Type)); !ok && !(native && a.Type >= firstPrivate) {
		return fmt.Errorf("%w: attribute type %d", ErrUnsupported, a.Type)
	}
	if native {
		if a.Type < 0 {
			return fmt.Errorf("%w: negative attribute type in a natively signed certificate", ErrMalformed)
		}
		return a.checkText(a.Value)
	}
	v := valueOf(a.Value.String())
	if v != a.Value {
		return fmt.Errorf("%w: %q has another encoding", ErrMalformed, a.Value)
	}
	return a.checkText(Value{Text, v.String()})
}

// checkOID refuses the OID form where the registry has one for both the type and the value: that one has to be
// used (section 3.7).
func (a Attribute) checkOID() error {
	if err := checkOID(a.OID); err != nil {
		return err
	}
	if !isElement([]byte(a.Value.Data)) {
		return fmt.Errorf("%w: value of OID %s is not DER", ErrMalformed, a.OID)
	}
	if attributeFromDER(a.OID, []byte(a.Value.Data)) != a {
		return fmt.Errorf("%w: registered attribute by its OID %s", ErrMalformed, a.OID)
	}
	return nil
}

// checkText holds a text value to the restrictions of its attribute type (section 3.1.4).
func (a Attribute) checkText(v Value) error {
	if v.Kind != Text {
		return nil
	}
	var ok bool
	switch s := v.Data; {
	case a.Type == EmailAddress || a.Type == DomainComponent:
		ok = isASCII(s)
	case abs(a.Type) == CountryName:
		ok = isPrintable(s) && len(s) == 2
	case a.Type < 0 || a.Type == SerialNumber:
		ok = isPrintable(s) && a.Type != -DomainComponent
	default:
		ok = utf8.ValidString(s)
	}
	if !ok {
		return fmt.Errorf("%w: %q does not fit attribute type %d", ErrMalformed, v.Data, a.Type)
	}
	return nil
}

// valueOf encodes the text of an X.509 attribute (section 3.1.4): lower-case hexadecimal digits in pairs become
// bytes, an EUI-64 in its usual form becomes tag 48, the rest stays text.
func valueOf(s string) Value {
	if b, err := hex.DecodeString(s); err == nil && len(b) > 0 && strings.ToLower(s) == s {
		return Value{Bytes, string(b)}
	}
	if b, err := hex.DecodeString(strings.ReplaceAll(s, "-", "")); err == nil && len(b) == 8 {
		if v := (Value{EUI64, string(b)}); v.String() == s {
			return v
		}
	}
	return Value{Text, s}
}

// String returns the text that the value stands for in the X.509 form.
func (v Value) String() string {
	switch v.Kind {
	case Bytes:
		return hex.EncodeToString([]byte(v.Data))
	case EUI64:
		return strings.ReplaceAll(fmt.Sprintf("% X", v.Data), " ", "-")
	}
	return v.Data
}

// String returns the name for people: the value alone for a single common name, else type=value pairs. A value
// that a terminal would not show as it is stands in quotes.
func (n Name) String() string {
	if v, ok := n.CommonName(); ok {
		return v.printable()
	}
	var b strings.Builder
	for i, a := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s=%s", a.typeName(), a.Value.printable())
	}
	return b.String()
}

// printable quotes text that has anything but printable characters.
func (v Value) printable() string {
	s := v.String()
	if strings.ContainsFunc(s, func(c rune) bool { return !strconv.IsPrint(c) }) {
		return strconv.Quote(s)
	}
	return s
}

func (a Attribute) typeName() string {
	if a.OID != "" {
		return a.OID
	}
	return rdnAttributes.name(abs(a.Type))
}

func abs(n int) int { return max(n, -n) }

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c >= utf8.RuneSelf })
}

// isPrintable tells whether s has only the 74 characters of an ASN.1 PrintableString (X.680, table 10).
func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			strings.ContainsRune(" '()+,-./:=?", c))
	})
}
