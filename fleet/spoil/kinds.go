package spoil

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/binary"
	"math/big"
	"slices"

	"github.com/birthmark/birthmark/device"
)

// sections says for each check where it is laid down. Their names stay as they are.
var sections = map[string]string{
	"": "docs/formats.md",

	// Encoding.
	"shortest":        "RFC 8949, 4.2.1; docs/formats.md",
	"definite":        "RFC 8949, 4.2.1; docs/formats.md",
	"type":            "docs/formats.md, Unit certificate; RFC 8949, 3.1",
	"size":            "docs/formats.md, Names",
	"bounds":          "RFC 8949, appendix F",
	"end":             "RFC 8949, appendix F; docs/formats.md",
	"signature-range": "docs/formats.md, Order certificate; FIPS 186-5, 6.4.2",
	"low-s":           "docs/formats.md, Order certificate",
	"name":            "docs/formats.md, Names",
	"key-form":        "docs/formats.md, Unit certificate; SEC 1, 2.3.4",
	"x-range":         "SEC 1, 2.3.4",
	"on-curve":        "SEC 1, 2.3.4",
	"items":           "docs/formats.md, Root certificate",
	"cert-type":       "docs/formats.md, Root certificate",

	// Certificates.
	"serial":         "docs/formats.md, Unit certificate",
	"leading-zero":   "docs/formats.md, Unit certificate; draft-ietf-cose-cbor-encoded-cert-21, 3.1.2",
	"number":         "docs/formats.md, Names",
	"algorithm":      "docs/formats.md, Root certificate",
	"time":           "docs/formats.md, Root certificate",
	"expiry":         "docs/formats.md, Root certificate",
	"key-algorithm":  "docs/formats.md, Root certificate",
	"key-usage":      "docs/formats.md, Unit certificate",
	"order-usage":    "docs/formats.md, Order certificate",
	"constraints":    "docs/formats.md, Order certificate",
	"critical-range": "docs/formats.md, Order certificate",
	"extensions":     "docs/formats.md, Order certificate",
	"subject":        "docs/formats.md, Order certificate",
	"range-nobody":   "docs/formats.md, Names",
	"range-station":  "docs/formats.md, Names",
	"range-eui48":    "docs/formats.md, Names; draft-ietf-cose-cbor-encoded-cert-21, 3.1.4",

	// Trust.
	"root":            "docs/formats.md, Trust",
	"flags":           "docs/formats.md, Names",
	"closed":          "docs/formats.md, Trust",
	"order-signature": "docs/formats.md, Unit certificate",
	"product":         "docs/formats.md, Unit certificate",
	"issuer":          "docs/formats.md, Unit certificate",
	"range":           "docs/formats.md, Unit certificate",
	"revoked":         "docs/formats.md, Trust",
	"held":            "docs/formats.md, Trust",
	"unit-signature":  "docs/formats.md, Unit certificate",
	"chain":           "docs/formats.md, In the unit",
	"anchor":          "docs/formats.md, Anchor",
	"key":             "docs/wire.md, What the unit does",

	// What a root signs.
	"object-head":      "docs/formats.md, Trust",
	"title":            "docs/formats.md, Trust; RFC 9052, 4.4",
	"object-signature": "docs/formats.md, Trust",
	"signer":           "docs/formats.md, Trust",
	"link-epoch":       "docs/formats.md, Trust",
	"link-flags":       "docs/formats.md, Trust",
	"link-key":         "docs/formats.md, Trust",
	"link-again":       "docs/formats.md, Trust",
	"link-order":       "docs/formats.md, Trust",
	"link-anchor":      "docs/formats.md, Anchor",
	"link-size":        "docs/formats.md, Trust",
	"link-room":        "docs/formats.md, Trust",
	"list-common":      "docs/formats.md, Trust",
	"list-size":        "docs/formats.md, Trust",
	"list-order":       "docs/formats.md, Trust",
	"list-range":       "docs/formats.md, Trust",
	"list-room":        "docs/formats.md, Trust",
	"list-number":      "docs/formats.md, Trust",
	"release-size":     "docs/formats.md, Trust",
	"release-unit":     "docs/formats.md, Trust",
	"release-pairing":  "docs/formats.md, Trust",
}

// Exit codes of cert verify (docs/commands.md, "Exit codes").
const (
	exitUsage  = 2 // the bundle itself is malformed
	exitPolicy = 3 // a root that the bundle does not know may be a newer one
	exitVerify = 9
)

// What the C library returns, by its enums.
const (
	good           = "BM_OK"
	badAnchor      = "BM_CHECK_ANCHOR"
	badOrder       = "BM_CHECK_ORDER"
	badOrderIssuer = "BM_CHECK_ORDER_ISSUER"
	badOrderSigned = "BM_CHECK_ORDER_SIGNATURE"
	badProduct     = "BM_CHECK_PRODUCT"
	badUnit        = "BM_CHECK_UNIT"
	badUnitIssuer  = "BM_CHECK_UNIT_ISSUER"
	badSerial      = "BM_CHECK_SERIAL"
	badKey         = "BM_CHECK_KEY"
	badUnitSigned  = "BM_CHECK_UNIT_SIGNATURE"
	badRoot        = "BM_CHECK_ROOT"
	badClosed      = "BM_CHECK_CLOSED"
	badRevoked     = "BM_CHECK_REVOKED"
	badHeld        = "BM_CHECK_HELD"
	badID          = "BM_CHECK_ID"
	badState       = "BM_ERR_STATE"
	malformed      = "BM_ERR_MALFORMED"
	badAuth        = "BM_ERR_AUTH"
)

var numbers = map[string]int{
	good: 0, badAnchor: int(device.CheckAnchor), badOrder: int(device.CheckOrder), badOrderIssuer: int(device.CheckOrderIssuer),
	badOrderSigned: int(device.CheckOrderSignature), badProduct: int(device.CheckProduct), badUnit: int(device.CheckUnit),
	badUnitIssuer: int(device.CheckUnitIssuer), badSerial: int(device.CheckSerial), badKey: int(device.CheckKey),
	badUnitSigned: int(device.CheckUnitSignature), badRoot: int(device.CheckRoot), badClosed: int(device.CheckClosed),
	badRevoked: int(device.CheckRevoked), badHeld: int(device.CheckHeld), badID: int(device.CheckID),
	badState: int(device.ErrState), malformed: int(device.ErrMalformed), badAuth: int(device.ErrAuth),
}

// kind is one thing wrong: a small change to what is good, which is signed after it, and what must come of it.
type kind struct {
	name    string // and the file's, with what it is as its end
	check   string // empty: it is good
	returns string // of the C library
	spoil   func(w *works, s *sample)
	why     string

	bundle, key string // files; empty: the fleet's bundle, and the unit's key where that is asked for
	born        bool   // judged as at a birth, not as a peer
	peer        bool   // cert verify is told the product that judges
	exit        int    // of cert verify; 0: verification failed
	alone       string // why only a unit can know
	whole       string // file that this one was before it was cut or grew
}

// sample is what a kind spoils, before it is signed: a chain or an object.
type sample struct {
	chain
	object
}

// unitItem puts an encoded item in the place of a unit certificate's.
func unitItem(at int, encoded ...byte) func(*works, *sample) {
	return func(_ *works, s *sample) { s.unit[at] = encoded }
}

// orderItem puts an encoded item in the place of an order certificate's.
func orderItem(at int, encoded ...byte) func(*works, *sample) {
	return func(_ *works, s *sample) { s.order[at] = encoded }
}

// unitEdit makes an item of the unit certificate from what it is.
func unitEdit(at int, how func([]byte) []byte) func(*works, *sample) {
	return func(_ *works, s *sample) { s.unit[at] = how(bytes.Clone(s.unit[at])) }
}

func orderEdit(at int, how func([]byte) []byte) func(*works, *sample) {
	return func(_ *works, s *sample) { s.order[at] = how(bytes.Clone(s.order[at])) }
}

// unitNumber gives the unit another serial number.
func unitNumber(of func(w *works) uint64) func(*works, *sample) {
	return func(w *works, s *sample) { s.number(of(w)) }
}

func (s *sample) number(n uint64) {
	s.unit[itemSerial], s.unit[itemSubject] = encode(serial(n)), encode(eui(n))
}

// orderName gives the order another name, which the unit names as its issuer.
func orderName(change func(name []byte)) func(*works, *sample) {
	return func(w *works, s *sample) {
		name := bytes.Clone(w.orderName())
		change(name)
		s.order[itemSerial] = encode(append([]byte{}, bytes.TrimLeft(name[2:], "\x00")...)) // nil would be null
		s.order[itemIssuer], s.order[itemSubject], s.unit[itemIssuer] = encode(name[:2]), encode(name), encode(name)
	}
}

// orderRange gives the order a range, and the unit a number in it.
func orderRange(of func(w *works) (first, last, unit uint64)) func(*works, *sample) {
	return func(w *works, s *sample) {
		first, last, unit := of(w)
		s.order[itemExtensions] = w.extensions(w.product, first, last)
		s.number(unit)
	}
}

// extensionByte changes a byte of an order's extensions: 86 21 18 20 23 00 39 80E7 83.
func extensionByte(at int, b byte) func(*works, *sample) {
	return orderEdit(itemExtensions, func(x []byte) []byte { x[at] = b; return x })
}

// asText makes a text string of a byte string, and longHead gives it a head that is longer than it has to be.
func asText(item []byte) []byte {
	item[0] |= 0x20
	return item
}

func longHead(item []byte) []byte {
	if size := item[0] & 31; size < 24 {
		return slices.Concat([]byte{item[0]&^31 | 24, size}, item[1:])
	}
	return slices.Concat([]byte{item[0] + 1, 0}, item[1:])
}

// longer makes a byte string of up to 22 bytes one longer.
func longer(item []byte) []byte {
	item[0]++
	return append(item, 1)
}

func bendUnit(how func([]byte) []byte) func(*works, *sample) {
	return func(_ *works, s *sample) { s.bendUnit = how }
}

func bendOrder(how func([]byte) []byte) func(*works, *sample) {
	return func(_ *works, s *sample) { s.bendOrder = how }
}

func bendObject(how func([]byte) []byte) func(*works, *sample) {
	return func(_ *works, s *sample) { s.object.bend = how }
}

func zeroSignature(b []byte) []byte {
	clear(b[len(b)-64:])
	return b
}

func grow(b []byte) []byte { return append(b, 0) }

func indefinite(b []byte) []byte {
	b[0] = 0x9F
	return append(b, 0xFF)
}

// later changes a certificate's time of issue after it was signed.
func later(it items) func([]byte) []byte {
	at := 1 + len(slices.Concat(it[:itemNotAfter]...))
	return func(b []byte) []byte { b[at-1] ^= 1; return b }
}

func unitSigner(by func(w *works) *ecdsa.PrivateKey) func(*works, *sample) {
	return func(w *works, s *sample) { s.unitBy = by(w) }
}

func orderSigner(by func(w *works) *ecdsa.PrivateKey) func(*works, *sample) {
	return func(w *works, s *sample) { s.orderBy = by(w) }
}

func objectSigner(by func(w *works) *ecdsa.PrivateKey) func(*works, *sample) {
	return func(w *works, s *sample) { s.by = by(w) }
}

func stranger(w *works) *ecdsa.PrivateKey { return w.stranger }

// payload changes what an object says.
func payload(change func(w *works, payload []byte) []byte) func(*works, *sample) {
	return func(w *works, s *sample) { s.payload = change(w, s.payload) }
}

func payloadByte(at int, b byte) func(*works, *sample) {
	return payload(func(_ *works, p []byte) []byte { p[at] = b; return p })
}

func titled(title string) func(*works, *sample) {
	return func(_ *works, s *sample) { s.title = title }
}

// listed is another list of number 2: its counts and what is behind them.
func listed(rest ...byte) func(*works, *sample) {
	return payload(func(_ *works, p []byte) []byte { return append(p[:6:6], rest...) })
}

// offCurve is the first x above 0 that no point has, behind 02.
func offCurve() []byte {
	p := elliptic.P256().Params()
	for x := byte(1); ; x++ {
		compressed := append([]byte{2}, big.NewInt(int64(x)).FillBytes(make([]byte, 32))...)
		if found, _ := elliptic.UnmarshalCompressed(p, compressed); found == nil {
			return compressed
		}
	}
}

// beyondField is the point of the smallest x, written as x + p.
func beyondField() []byte {
	p := elliptic.P256().Params()
	for x := int64(0); ; x++ {
		compressed := append([]byte{2}, big.NewInt(x).FillBytes(make([]byte, 32))...)
		if found, _ := elliptic.UnmarshalCompressed(p, compressed); found != nil {
			return append([]byte{2}, found.Add(found, p.P).FillBytes(make([]byte, 32))...)
		}
	}
}

var goodChains = []kind{
	{name: "good", returns: good, peer: true, why: "the certificates of the fleet's first unit, as it shows them"},
	{name: "good-birth", returns: good, born: true, key: unitKeyFile, why: "the same, given to the unit that has the key"},
	{name: "good-rotated", returns: good, peer: true, bundle: rotatedBundle, why: "the same after a rotation: the link names the order"},
}

var badUnits = []kind{
	{name: "unit-type", check: "cert-type", returns: badUnit, spoil: unitItem(itemType, 3),
		why: "it says type 3, a certificate that was X.509 and whose signature covers DER"},
	{name: "unit-type-long", check: "shortest", returns: badUnit, spoil: unitItem(itemType, 0x18, 2),
		why: "the type is written in two bytes where one does"},
	{name: "unit-algorithm-long", check: "shortest", returns: badUnit, spoil: unitItem(itemAlgorithm, 0x18, 0),
		why: "the signature algorithm is written in two bytes where one does"},
	{name: "unit-issuer-long", check: "shortest", returns: badUnit, spoil: unitEdit(itemIssuer, longHead),
		why: "the head of the issuer's byte string is longer than it has to be"},
	{name: "unit-key-long", check: "shortest", returns: badUnit, spoil: unitEdit(itemKey, longHead),
		why: "the head of the key's byte string is longer than it has to be"},
	{name: "unit-indefinite", check: "definite", returns: badUnit, spoil: bendUnit(indefinite),
		why: "it is an array of indefinite length"},
	{name: "unit-items", check: "items", returns: badUnit, spoil: bendUnit(func(b []byte) []byte { b[0]++; return b }),
		why: "its array says twelve items and has eleven"},
	{name: "unit-end", check: "end", returns: badUnit, born: true, spoil: bendUnit(grow), whole: "good.chain",
		why: "a byte follows the signature"},
	{name: "unit-serial-text", check: "type", returns: badUnit, spoil: unitEdit(itemSerial, asText),
		why: "the serial number is a text string"},
	{name: "unit-issuer-text", check: "type", returns: badUnit, spoil: unitEdit(itemIssuer, asText),
		why: "the issuer is a text string"},
	{name: "unit-subject-text", check: "type", returns: badUnit, spoil: unitEdit(itemSubject, asText),
		why: "the subject is a text string"},
	{name: "unit-key-text", check: "type", returns: badUnit, spoil: unitEdit(itemKey, asText),
		why: "the key is a text string"},
	{name: "unit-time-null", check: "type", returns: badUnit, spoil: unitItem(itemNotBefore, 0xF6),
		why: "the time of issue is null"},
	{name: "unit-time-negative", check: "type", returns: badUnit, spoil: unitItem(itemNotBefore, 0x3A, 0x10, 0, 0, 0),
		why: "the time of issue is before 1970"},
	{name: "unit-time-2106", check: "time", returns: badUnit, born: true, spoil: unitItem(itemNotBefore, 0x1B, 0, 0, 0, 1, 0, 0, 0, 0),
		why: "the time of issue does not fit 32 bits"},
	{name: "unit-expiry", check: "expiry", returns: badUnit, spoil: unitItem(itemNotAfter, 0x1A, 0x70, 0, 0, 0),
		why: "it expires, and units have no clock"},
	{name: "unit-serial", check: "serial", returns: badUnit, spoil: func(w *works, s *sample) { s.unit[itemSerial] = encode(serial(w.first + 1)) },
		why: "the serial number is not the subject's"},
	{name: "unit-serial-zero", check: "leading-zero", returns: badUnit, spoil: func(w *works, s *sample) { s.unit[itemSerial] = encode(append([]byte{0}, serial(w.first)...)) },
		why: "the serial number begins with a zero byte"},
	{name: "unit-issuer-size", check: "size", returns: badUnit, spoil: unitEdit(itemIssuer, longer),
		why: "a byte follows the order's name in the issuer"},
	{name: "unit-subject-size", check: "size", returns: badUnit, spoil: unitEdit(itemSubject, longer),
		why: "a byte follows the EUI-64 in the subject"},
	{name: "unit-algorithm", check: "algorithm", returns: badUnit, spoil: unitItem(itemAlgorithm, 1),
		why: "it says that it is signed with SHA-384"},
	{name: "unit-key-algorithm", check: "key-algorithm", returns: badUnit, spoil: unitItem(itemKeyAlgorithm, 2),
		why: "it says that its key is one of P-384"},
	{name: "unit-key-form", check: "key-form", returns: badUnit, spoil: unitEdit(itemKey, func(b []byte) []byte { b[2] = -b[2]; return b }),
		why: "the key is marked as one that X.509 had uncompressed"},
	{name: "unit-key-off-curve", check: "on-curve", returns: badUnit, spoil: func(_ *works, s *sample) { s.unit[itemKey] = encode(offCurve()) },
		why: "the key is no point of the curve"},
	{name: "unit-key-x", check: "x-range", returns: badUnit, spoil: func(_ *works, s *sample) { s.unit[itemKey] = encode(beyondField()) },
		why: "the key's x is a point's plus the field's prime, a second way to write it"},
	{name: "unit-may-certify", check: "key-usage", returns: badUnit, spoil: unitItem(itemExtensions, 0x38, 31),
		why: "its key may sign certificates: it would be an order"},
	{name: "unit-may-agree", check: "key-usage", returns: badUnit, spoil: unitItem(itemExtensions, 0x2F),
		why: "its key is for key agreement"},
	{name: "unit-may-more", check: "key-usage", returns: badUnit, spoil: unitItem(itemExtensions, 0x22),
		why: "its key is for nonRepudiation as well"},
	{name: "unit-usage-optional", check: "key-usage", returns: badUnit, spoil: unitItem(itemExtensions, 1),
		why: "its keyUsage is not critical"},
	{name: "unit-usage-array", check: "key-usage", returns: badUnit, spoil: unitItem(itemExtensions, 0x82, 0x21, 1),
		why: "its keyUsage stands in a list of extensions, where a number alone says it"},
	{name: "unit-high-s", check: "low-s", returns: badUnit, spoil: bendUnit(highS),
		why: "s of its signature is the larger of the two that hold"},
	{name: "unit-signature-0", check: "signature-range", returns: badUnit, spoil: bendUnit(zeroSignature),
		why: "r and s are 0, which holds for whoever computes without looking at them"},
	{name: "unit-issuer", check: "issuer", returns: badUnitIssuer, spoil: unitEdit(itemIssuer, func(b []byte) []byte { b[4] ^= 2; return b }),
		why: "it names another order of the same root as its issuer"},
	{name: "unit-epoch", check: "issuer", returns: badUnitIssuer, spoil: unitEdit(itemIssuer, func(b []byte) []byte { b[2]++; return b }),
		why: "it names an order of the next root as its issuer"},
	{name: "unit-below", check: "range", returns: badSerial, spoil: unitNumber(func(w *works) uint64 { return w.first - 1 }),
		why: "its serial number is the one before the order's range"},
	{name: "unit-above", check: "range", returns: badSerial, spoil: unitNumber(func(w *works) uint64 { return w.last + 1 }),
		why: "its serial number is the one after the order's range"},
	{name: "unit-station", check: "range", returns: badSerial, spoil: unitNumber(func(*works) uint64 { return 1<<64 - 1 }),
		why: "it is a station's certificate, which no unit takes that is sealed"},
	{name: "unit-forged", check: "unit-signature", returns: badUnitSigned, spoil: unitSigner(stranger),
		why: "a stranger signed it"},
	{name: "unit-self-signed", check: "unit-signature", returns: badUnitSigned, spoil: unitSigner(func(w *works) *ecdsa.PrivateKey { return w.unit }),
		why: "it signed itself"},
	{name: "unit-by-root", check: "unit-signature", returns: badUnitSigned, spoil: unitSigner(func(w *works) *ecdsa.PrivateKey { return w.root }),
		why: "the root signed it, over the order's head"},
	{name: "unit-changed", check: "unit-signature", returns: badUnitSigned, spoil: func(_ *works, s *sample) { s.bendUnit = later(s.unit) },
		why: "its time of issue was changed after it was signed"},
	{name: "unit-revoked", check: "revoked", returns: badRevoked, bundle: revokedBundle,
		why: "its serial number is on the status list"},
	{name: "unit-held-range", check: "held", returns: badHeld, bundle: heldRange, peer: true,
		why: "the status list has a range that it is in: nobody pairs with it any more"},
	{name: "unit-held-order", check: "held", returns: badHeld, bundle: heldBundle, peer: true,
		why: "the status list has its order: nobody pairs with it any more"},
}

var badOrders = []kind{
	{name: "order-type-long", check: "shortest", returns: badOrder, spoil: orderItem(itemType, 0x18, 2),
		why: "the type is written in two bytes where one does"},
	{name: "order-range-long", check: "shortest", returns: badOrder, spoil: orderEdit(itemExtensions, func(b []byte) []byte {
		at := len(b) - 18 // the head of the first number
		return slices.Concat(b[:at], longHead(b[at:at+9]), b[at+9:])
	}), why: "the head of the range's first number is longer than it has to be"},
	{name: "order-indefinite", check: "definite", returns: badOrder, spoil: bendOrder(indefinite),
		why: "it is an array of indefinite length"},
	{name: "order-items", check: "items", returns: badOrder, spoil: bendOrder(func(b []byte) []byte { b[0]++; return b }),
		why: "its array says twelve items and has eleven"},
	{name: "order-end", check: "end", returns: badOrder, spoil: bendOrder(grow), whole: "good.chain",
		why: "a byte follows the signature"},
	{name: "order-issuer-text", check: "type", returns: badOrder, spoil: orderEdit(itemIssuer, asText),
		why: "the issuer is a text string"},
	{name: "order-serial", check: "serial", returns: badOrder, spoil: func(w *works, s *sample) {
		s.order[itemSerial] = encode([]byte{w.orderName()[3] ^ 0x40})
	}, why: "the serial number is not the number in the subject"},
	{name: "order-serial-zero", check: "leading-zero", returns: badOrder, spoil: func(w *works, s *sample) {
		s.order[itemSerial] = encode(append([]byte{0}, bytes.TrimLeft(w.orderName()[2:], "\x00")...))
	}, why: "the serial number begins with a zero byte"},
	{name: "order-number", check: "number", returns: badOrder, spoil: orderName(func(name []byte) { name[2], name[3] = 0, 0 }),
		why: "it is order 0, and orders count from 1"},
	{name: "order-algorithm", check: "algorithm", returns: badOrder, spoil: orderItem(itemAlgorithm, 1),
		why: "it says that it is signed with SHA-384"},
	{name: "order-time-2106", check: "time", returns: badOrder, spoil: orderItem(itemNotBefore, 0x1B, 0, 0, 0, 1, 0, 0, 0, 0),
		why: "the time of issue does not fit 32 bits"},
	{name: "order-expiry", check: "expiry", returns: badOrder, spoil: orderItem(itemNotAfter, 0x1A, 0x70, 0, 0, 0),
		why: "it expires, and units have no clock"},
	{name: "order-subject-size", check: "size", returns: badOrder, spoil: orderEdit(itemSubject, longer),
		why: "a byte follows the order's name in the subject"},
	{name: "order-subject", check: "subject", returns: badOrder, spoil: func(w *works, s *sample) {
		name := bytes.Clone(w.orderName())
		name[0] ^= 1
		s.order[itemSubject], s.unit[itemIssuer] = encode(name), encode(name)
	}, why: "its subject is a production order's, under a test authority's root"},
	{name: "order-usage-more", check: "order-usage", returns: badOrder, spoil: extensionByte(3, 0x60),
		why: "its key may sign lists of revoked certificates as well"},
	{name: "order-usage-other", check: "order-usage", returns: badOrder, spoil: extensionByte(3, 0x40),
		why: "its key may not sign certificates"},
	{name: "order-usage-optional", check: "order-usage", returns: badOrder, spoil: extensionByte(1, 2),
		why: "its keyUsage is not critical"},
	{name: "order-path", check: "constraints", returns: badOrder, spoil: extensionByte(5, 1),
		why: "it allows a further authority below it"},
	{name: "order-no-authority", check: "constraints", returns: badOrder, spoil: extensionByte(5, 0x21),
		why: "it says that it is no authority"},
	{name: "order-path-optional", check: "constraints", returns: badOrder, spoil: extensionByte(4, 4),
		why: "its basicConstraints are not critical"},
	{name: "order-range-optional", check: "critical-range", returns: badOrder, spoil: orderEdit(itemExtensions, func(b []byte) []byte {
		b[6], b[8] = 0x19, 0xE8
		return b
	}), why: "its range is not critical"},
	{name: "order-extension", check: "extensions", returns: badOrder, spoil: orderEdit(itemExtensions, func(b []byte) []byte {
		b[0] += 2
		return append(b, 0x39, 0x80, 0xE8, 0)
	}), why: "it has a further critical extension, which nobody knows"},
	{name: "order-range-nobody", check: "range-nobody", returns: badOrder, spoil: orderRange(func(*works) (first, last, unit uint64) { return 0, 16, 5 }),
		why: "its range has number 0, which is nobody's"},
	{name: "order-range-station", check: "range-station", returns: badOrder,
		spoil: orderRange(func(*works) (first, last, unit uint64) { return 1<<64 - 1<<24, 1<<64 - 1, 1<<64 - 2 }),
		why:   "its range has the stations' number"},
	{name: "order-range-eui48", check: "range-eui48", returns: badOrder,
		spoil: orderRange(func(w *works) (first, last, unit uint64) { return w.first, w.first | (1<<40 - 1), w.first }),
		why:   "its range has numbers with FF-FE in the middle, which have a second encoding"},
	{name: "order-high-s", check: "low-s", returns: badOrder, spoil: bendOrder(highS),
		why: "s of its signature is the larger of the two that hold"},
	{name: "order-signature-0", check: "signature-range", returns: badOrder, spoil: bendOrder(zeroSignature),
		why: "r and s are 0, which holds for whoever computes without looking at them"},
	{name: "order-flag", check: "name", returns: badOrder, bundle: flagBundle, exit: exitUsage, spoil: orderName(func(name []byte) { name[0] = 3 }),
		why: "it and its root have a flag that nobody knows"},
	{name: "order-epoch-0", check: "name", returns: badOrder, bundle: epochBundle, exit: exitUsage, spoil: orderName(func(name []byte) { name[1] = 0 }),
		why: "it and its root are of epoch 0, and epochs count from 1"},
	{name: "order-epoch", check: "root", returns: badRoot, exit: exitPolicy, spoil: orderName(func(name []byte) { name[1] = 9 }),
		why: "it names a root that nobody knows here"},
	{name: "order-production", check: "flags", returns: badRoot, spoil: orderName(func(name []byte) { name[0] = 0 }),
		why: "it is a production order by a test authority's root"},
	{name: "order-forged", check: "order-signature", returns: badOrderSigned, spoil: orderSigner(stranger),
		why: "a stranger signed it"},
	{name: "order-self-signed", check: "order-signature", returns: badOrderSigned, spoil: orderSigner(func(w *works) *ecdsa.PrivateKey { return w.order }),
		why: "it signed itself"},
	{name: "order-by-next-root", check: "order-signature", returns: badOrderSigned, spoil: orderSigner(func(w *works) *ecdsa.PrivateKey { return w.next }),
		why: "the next root's key signed it before its time"},
	{name: "order-changed", check: "order-signature", returns: badOrderSigned, spoil: func(_ *works, s *sample) { s.bendOrder = later(s.order) },
		why: "its time of issue was changed after it was signed"},
	{name: "order-closed", check: "closed", returns: badClosed, bundle: closedBundle,
		why: "its root is closed, and the link does not name it: somebody with the old key made it"},
	{name: "order-product", check: "product", returns: badProduct, peer: true, spoil: otherProduct,
		why: "it builds a product that the one who judges does not talk to"},
}

// otherProduct has the order build one that the judge neither is nor talks to.
func otherProduct(w *works, s *sample) {
	other := uint32(1)
	for other == w.product || slices.Contains(w.peers, other) {
		other++
	}
	s.order[itemExtensions] = w.extensions(other, w.first, w.last)
}

var badChains = []kind{
	{name: "chain-label", check: "chain", returns: badID, spoil: func(_ *works, s *sample) {
		s.bendChain = func(b []byte) []byte { b[2]++; return b }
	}, why: "its label is another COSE header's"},
	{name: "chain-long", check: "shortest", returns: badID, spoil: func(_ *works, s *sample) {
		s.bendChain = func(b []byte) []byte { return append(b[:4:4], longHead(b[4:])...) }
	}, why: "the head of the unit's byte string is longer than it has to be"},
	{name: "chain-anchor", check: "anchor", returns: badRoot, bundle: plantedBundle,
		why:   "the anchor in flash announces a stranger's key as the next root's, and its hash is not the image's",
		alone: anchorAlone},
	{name: "chain-end", check: "end", returns: badID, whole: "good.chain", spoil: func(_ *works, s *sample) { s.bendChain = grow },
		why: "a byte follows the order"},
}

var badBirths = []kind{
	{name: "birth-key", check: "key", returns: badKey, born: true, key: strangeKeyFile,
		why: "the certificate is for another key than the chip's"},
	{name: "birth-key-negated", check: "key", returns: badKey, born: true, key: unitKeyFile, spoil: unitEdit(itemKey, func(b []byte) []byte { b[2] ^= 1; return b }),
		why: "the certificate is for the chip's key with the other y"},
	{name: "birth-flag", check: "name", returns: badAnchor, born: true, bundle: flagBundle, exit: exitUsage, spoil: orderName(func(name []byte) { name[0] = 3 }),
		why: "the anchor and all below it have a flag that nobody knows"},
	{name: "birth-product", check: "product", returns: badProduct, born: true, peer: true, spoil: otherProduct,
		why: "the order builds another product than the image is"},
	{name: "birth-epoch", check: "root", returns: badOrderIssuer, born: true, exit: exitPolicy, spoil: orderName(func(name []byte) { name[1] = 9 }),
		why: "the order is not of the anchor's root"},
	{name: "birth-anchor", check: "anchor", returns: badAnchor, born: true, bundle: plantedBundle,
		why:   "the anchor announces a stranger's key as the next root's, and its hash is not the image's",
		alone: anchorAlone},
}

const anchorAlone = "cert verify believes the bundle that it is given; a unit compares the anchor with the hash in its image"

var goodObjects = map[string][]kind{
	"link": {
		{name: "good-link", returns: good, why: "the link to root 2, which names the order"},
		{name: "good-link-again", returns: good, bundle: rotatedBundle, why: "the same, where it is already"},
	},
	"list":    {{name: "good-list", returns: good, why: "status list 2, with another unit on it"}},
	"release": {{name: "good-release", returns: good, why: "the release of the unit, whose pairing has generation 5"}},
}

// badObjects are common to all that a root signs.
var badObjects = []kind{
	{name: "head", check: "object-head", returns: malformed, spoil: func(_ *works, s *sample) { s.protected = []byte{0xA1, 0x01, 0x27} },
		why: "its protected header says EdDSA"},
	{name: "long", check: "shortest", returns: malformed, spoil: func(_ *works, s *sample) {
		s.payloadHead = longHead(head(2, uint64(len(s.payload))))
	}, why: "the head of the payload's byte string is longer than it has to be"},
	{name: "end", check: "end", returns: malformed, spoil: bendObject(grow), whole: "good",
		why: "a byte follows the signature"},
	{name: "high-s", check: "low-s", returns: malformed, spoil: bendObject(highS),
		why: "s of its signature is the larger of the two that hold"},
	{name: "signature-0", check: "signature-range", returns: malformed, spoil: bendObject(zeroSignature),
		why: "r and s are 0, which holds for whoever computes without looking at them"},
	{name: "forged", check: "object-signature", returns: badAuth, spoil: objectSigner(stranger),
		why: "a stranger signed it"},
}

var badLinks = []kind{
	{name: "link-title", check: "title", returns: badAuth, spoil: titled(listTitle),
		why: "it was signed as a status list"},
	{name: "link-by-old-root", check: "object-signature", returns: badAuth, spoil: objectSigner(func(w *works) *ecdsa.PrivateKey { return w.root }),
		why: "the old root signed it, which may be stolen"},
	{name: "link-flag", check: "name", returns: malformed, bundle: flagBundle, exit: exitUsage, spoil: payloadByte(0, 3),
		why: "it leads from a root that has a flag that nobody knows to another such"},
	{name: "link-epoch", check: "link-epoch", returns: badAuth, spoil: payloadByte(1, 3),
		why: "it leads to root 3, and root 2 is not there"},
	{name: "link-flags", check: "link-flags", returns: badAuth, spoil: payload(func(_ *works, p []byte) []byte { p[0] ^= 1; return p }),
		why: "it leads from a test authority to production"},
	{name: "link-key", check: "link-key", returns: badAuth, spoil: func(w *works, s *sample) {
		copy(s.payload[2:], point(w.stranger))
		s.by = w.stranger
	}, why: "its key is not the one whose hash the root before it left"},
	{name: "link-again", check: "link-again", returns: badAuth, bundle: rotatedBundle, spoil: payload(func(_ *works, p []byte) []byte { return p[:anchorSize] }),
		why: "it is another link to the root that is there, and closes the order out"},
	{name: "link-order", check: "link-order", returns: malformed, spoil: payload(func(_ *works, p []byte) []byte {
		return slices.Concat(p[:anchorSize], bytes.Repeat([]byte{2}, 12), bytes.Repeat([]byte{1}, 12))
	}), why: "the orders that it closes descend"},
	{name: "link-twice", check: "link-order", returns: malformed, spoil: payload(func(_ *works, p []byte) []byte {
		return append(p, p[anchorSize:]...)
	}), why: "it names one order twice"},
	{name: "link-short", check: "link-anchor", returns: malformed, spoil: payload(func(_ *works, p []byte) []byte { return p[:anchorSize-1] }),
		why: "the hash of the key after its own is a byte short"},
	{name: "link-part", check: "link-size", returns: malformed, spoil: payload(func(_ *works, p []byte) []byte {
		return append(p, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF)
	}), why: "the last order is cut short"},
	{name: "link-room", check: "link-room", returns: malformed, spoil: payload(func(_ *works, p []byte) []byte {
		p = p[:anchorSize:anchorSize]
		for n := range byte(33) {
			p = append(append(p, n), make([]byte, 11)...)
		}
		return p
	}), why: "it names 33 orders, and units have room for 32"},
}

var badLists = []kind{
	{name: "list-title", check: "title", returns: badAuth, spoil: titled(linkTitle),
		why: "it was signed as a link"},
	{name: "list-by-next-root", check: "object-signature", returns: badAuth, spoil: objectSigner(func(w *works) *ecdsa.PrivateKey { return w.next }),
		why: "the next root signed it before its time"},
	{name: "list-signer", check: "signer", returns: badAuth, bundle: rotatedBundle, spoil: objectSigner(func(w *works) *ecdsa.PrivateKey { return w.next }),
		why: "it names the old root, and the new one signed it"},
	{name: "list-again", check: "list-number", returns: badState, bundle: revokedBundle, spoil: payloadByte(5, 1),
		why: "its number is that of the list that is there, which says otherwise"},
	{name: "list-older", check: "list-number", returns: badState, bundle: revokedBundle, spoil: payloadByte(5, 0),
		why: "it is older than the list that is there, whose unit it would let in again"},
	{name: "list-common", check: "list-common", returns: malformed, spoil: listed(8, 0, 0, 2, 3, 4, 5, 6, 7, 8, 9),
		why: "all its numbers have eight bytes in common, so there is nothing left of them"},
	{name: "list-part", check: "list-size", returns: malformed, spoil: listed(0, 0, 0, 2, 3, 4, 5, 6),
		why: "its last number is cut short"},
	{name: "list-missing", check: "list-size", returns: malformed, spoil: listed(0, 2, 0, 1, 0, 1),
		why: "it says two orders and has one"},
	{name: "list-descends", check: "list-order", returns: malformed, spoil: listed(7, 0, 0, 2, 3, 4, 5, 6, 7, 8, 2, 1),
		why: "its numbers descend"},
	{name: "list-twice", check: "list-order", returns: malformed, spoil: listed(0, 2, 0, 1, 0, 1, 1, 0, 1),
		why: "it names one order twice"},
	{name: "list-overlap", check: "list-order", returns: malformed, spoil: listed(7, 0, 2, 2, 3, 4, 5, 6, 7, 8, 1, 4, 4, 9),
		why: "its ranges overlap"},
	{name: "list-reversed", check: "list-range", returns: malformed, spoil: listed(7, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1),
		why: "its range ends before it begins"},
	{name: "list-one", check: "list-range", returns: malformed, spoil: listed(7, 0, 1, 2, 3, 4, 5, 6, 7, 8, 4, 4),
		why: "its range is of one unit, which is a number"},
	{name: "list-room", check: "list-room", returns: malformed, spoil: payload(func(_ *works, p []byte) []byte {
		p = append(p[:6:6], 6, 0, 0, 2, 3, 4, 5, 6, 7)
		for n := range uint16(212) {
			p = binary.BigEndian.AppendUint16(p, n)
		}
		return p
	}), why: "it has 514 bytes, and units have room for 512"},
}

var badReleases = []kind{
	{name: "release-title", check: "title", returns: badAuth, spoil: titled(listTitle),
		why: "it was signed as a status list"},
	{name: "release-signer", check: "signer", returns: badAuth, bundle: rotatedBundle, spoil: objectSigner(func(w *works) *ecdsa.PrivateKey { return w.next }),
		why: "it names the old root, and the new one signed it"},
	{name: "release-size", check: "release-size", returns: malformed, spoil: payload(func(_ *works, p []byte) []byte { return append(p, 0) }),
		why: "a byte follows the generation"},
	{name: "release-unit", check: "release-unit", returns: badAuth, spoil: payload(func(_ *works, p []byte) []byte { p[9] ^= 1; return p }),
		why: "it is another unit's", alone: "whose it is shows in what cert verify prints; a unit compares it with its own certificate"},
	{name: "release-pairing", check: "release-pairing", returns: badAuth, spoil: payloadByte(13, releasedGeneration-1),
		why: "it is for the pairing before, and was good once", alone: "which pairing it ends shows in what cert verify prints; a unit compares it with its own record"},
}
