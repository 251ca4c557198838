package c509

import (
	"fmt"
	"slices"
	"strings"
)

// Extensions are a certificate's extensions in order (section 3.1.10). None is an empty array in the encoding,
// and keyUsage alone a single integer.
type Extensions []Extension

// Extension is one extension, named either by ID or by OID.
type Extension struct {
	ID       int    // registry value (section 8.8) or private use from 32768; always positive
	OID      string // dotted; if not empty, ID is 0. Type 3 only
	Critical bool
	Value    []byte // one encoded CBOR item; under an OID the DER extension value
}

// Extensions that this package has types for, section 8.8.
const (
	keyUsageID         = 2
	basicConstraintsID = 4
)

// Find returns the extension with a registered or private-use ID.
func (x Extensions) Find(id int) (Extension, bool) {
	i := slices.IndexFunc(x, func(e Extension) bool { return e.ID == id && e.OID == "" })
	if i < 0 {
		return Extension{}, false
	}
	return x[i], true
}

// KeyUsage is the set of purposes that keyUsage permits: bit i of RFC 5280, section 4.2.1.3, is 1 << i.
type KeyUsage uint16

const (
	DigitalSignature KeyUsage = 1 << iota
	NonRepudiation
	KeyEncipherment
	DataEncipherment
	KeyAgreement
	KeyCertSign
	CRLSign
	EncipherOnly
	DecipherOnly
)

// keyUsageBits is how many bits RFC 5280 names.
const keyUsageBits = 9

var keyUsageNames = [keyUsageBits]string{"digitalSignature", "nonRepudiation", "keyEncipherment",
	"dataEncipherment", "keyAgreement", "keyCertSign", "cRLSign", "encipherOnly", "decipherOnly"}

// names returns the identifiers of the bits that are set.
func (u KeyUsage) names() []string {
	var names []string
	for i, name := range keyUsageNames {
		if u&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// String returns the identifiers of RFC 5280, separated by commas.
func (u KeyUsage) String() string { return strings.Join(u.names(), ", ") }

// Extension returns the keyUsage extension (section 3.3).
func (u KeyUsage) Extension(critical bool) Extension {
	var w writer
	w.uint(uint64(u))
	return Extension{ID: keyUsageID, Critical: critical, Value: w.buf}
}

// KeyUsage returns the value of keyUsage, false if the certificate has none.
func (c *Certificate) KeyUsage() (KeyUsage, bool) {
	e, ok := c.Extensions.Find(keyUsageID)
	if !ok {
		return 0, false
	}
	r := &reader{rest: e.Value}
	n := r.uint()
	return KeyUsage(n), r.end() == nil && n < 1<<keyUsageBits
}

// BasicConstraints says whether a certificate may issue others (RFC 5280, section 4.2.1.9).
type BasicConstraints struct {
	CA      bool
	PathLen int // how many issuing certificates may follow, -1 for any number; without meaning if not CA
}

// Values of basicConstraints that are no path length, section 3.3.
const (
	notCA      = -2
	anyPathLen = -1
)

// Extension returns the basicConstraints extension (section 3.3).
func (b BasicConstraints) Extension(critical bool) Extension {
	n := int64(notCA)
	if b.CA {
		n = int64(max(b.PathLen, anyPathLen))
	}
	var w writer
	w.int(n)
	return Extension{ID: basicConstraintsID, Critical: critical, Value: w.buf}
}

// BasicConstraints returns the value of basicConstraints, false if the certificate has none.
func (c *Certificate) BasicConstraints() (BasicConstraints, bool) {
	e, ok := c.Extensions.Find(basicConstraintsID)
	if !ok {
		return BasicConstraints{}, false
	}
	r := &reader{rest: e.Value}
	n := r.code()
	if r.end() != nil || n < notCA {
		return BasicConstraints{}, false
	}
	return BasicConstraints{CA: n != notCA, PathLen: max(n, anyPathLen)}, true
}

func (r *reader) extensions() Extensions {
	if r.peek() != majorArray {
		n := r.code()
		if n == 0 {
			r.malformed("keyUsage without a bit")
		}
		return Extensions{KeyUsage(abs(n)).Extension(n < 0)}
	}
	items := r.array()
	if items%2 != 0 {
		r.malformed("extension without value")
	}
	x := Extensions{}
	for ; items > 0 && r.err == nil; items -= 2 {
		x = append(x, r.extension())
	}
	if x.loneKeyUsage() {
		r.malformed("keyUsage alone is written as one integer")
	}
	return x
}

func (r *reader) extension() Extension {
	if r.peek() == majorBytes {
		e := Extension{OID: r.oid()}
		if r.peek() == majorArray {
			if n := r.array(); n != 1 {
				r.malformed("critical value in an array of %d", n)
			}
			e.Critical = true
		}
		e.Value = r.bytes()
		return e
	}
	n := r.code()
	return Extension{ID: abs(n), Critical: n < 0, Value: r.raw()}
}

func (w *writer) extensions(x Extensions) {
	if x.loneKeyUsage() {
		r := &reader{rest: x[0].Value}
		n := r.int()
		if x[0].Critical {
			n = -n
		}
		w.int(n)
		return
	}
	w.array(2 * len(x))
	for _, e := range x {
		switch {
		case e.OID != "" && e.Critical:
			w.oid(e.OID)
			w.array(1)
			w.bytes(e.Value)
		case e.OID != "":
			w.oid(e.OID)
			w.bytes(e.Value)
		case e.Critical:
			w.int(-int64(e.ID))
			w.raw(e.Value)
		default:
			w.int(int64(e.ID))
			w.raw(e.Value)
		}
	}
}

func (x Extensions) loneKeyUsage() bool {
	return len(x) == 1 && x[0].ID == keyUsageID && x[0].OID == ""
}

// check holds the extensions to sections 3.3 and 3.7, and to one of each (RFC 5280, section 4.2).
func (x Extensions) check(native bool) error {
	seen := make(map[string]bool)
	for _, e := range x {
		if err := e.check(native); err != nil {
			return fmt.Errorf("%s: %w", e.name(), err)
		}
		kind := e.name()
		if known, ok := extensionTypes.oid(e.OID); ok {
			kind = known.name // by OID for a value that has no encoding under its number
		}
		if seen[kind] {
			return fmt.Errorf("%s: %w: occurs twice", kind, ErrMalformed)
		}
		seen[kind] = true
	}
	return nil
}

func (e Extension) check(native bool) error {
	if e.OID != "" {
		return e.checkOID(native)
	}
	if _, ok := extensionTypes.id(e.ID); !ok {
		if !native || e.ID < firstPrivate {
			return fmt.Errorf("%w: extension %d", ErrUnsupported, e.ID)
		}
		r := &reader{rest: e.Value}
		r.raw()
		return r.end()
	}
	_, err := valueToDER(e.ID, e.Value, native)
	return err
}

// checkOID refuses an OID where the registry has an encoding for both the extension and its value: that one
// has to be used (section 3.7).
func (e Extension) checkOID(native bool) error {
	if native {
		return fmt.Errorf("%w: OID in a natively signed certificate (section 3.7)", ErrMalformed)
	}
	if e.ID != 0 {
		return fmt.Errorf("%w: both ID and OID", ErrMalformed)
	}
	if known, ok := extensionTypes.oid(e.OID); ok {
		if _, ok := valueFromDER(known.id, e.Value); ok {
			return fmt.Errorf("%w: extension %d by its OID", ErrMalformed, known.id)
		}
	}
	return checkOID(e.OID)
}

// name returns the registered identifier, the OID or the number.
func (e Extension) name() string {
	if e.OID != "" {
		return e.OID
	}
	return extensionTypes.name(e.ID)
}
