// Package spoil makes negative units: from a made fleet, whose keys are all there, certificates and what a root signs with one thing
// wrong each, and a manifest that says which check must refuse it and why (docs/formats.md, "Spoiled fleet").
package spoil

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"iter"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/fleet"
)

const (
	schema       = "spoiled/1"
	manifestFile = "manifest.json"
)

// Fleet is a spoiled fleet: its manifest, and the files that it names.
type Fleet struct {
	Birthmark string   `json:"birthmark"` // spoiled/1
	Seed      string   `json:"seed"`      // of the fleet
	Anchor    string   `json:"anchor"`    // SHA-256, hexadecimal, as the image of the unit that judges holds it
	Product   uint32   `json:"product"`   // its own
	Peers     []uint32 `json:"peers"`     // and those that it talks to
	Kinds     []Kind   `json:"kinds"`     // the good ones first

	files map[string][]byte
}

// Kind is one file, what is wrong with it, and who must say so.
type Kind struct {
	Kind       string   `json:"kind"`
	Object     string   `json:"object"` // that is spoiled
	File       string   `json:"file"`
	Bundle     string   `json:"bundle"`               // file: what the unit that judges believes
	Anchor     string   `json:"anchor,omitempty"`     // of the image, where it is not the fleet's
	Key        string   `json:"key,omitempty"`        // file, PEM: the key of the unit that is born
	Serial     string   `json:"serial,omitempty"`     // of the unit that is given a release
	Generation *uint32  `json:"generation,omitempty"` // of its pairing
	Whole      string   `json:"whole,omitempty"`      // file: where this one was cut, or grew, this is it as it was
	Check      string   `json:"check,omitempty"`      // that must refuse it; empty: it is good
	Why        string   `json:"why"`
	Section    string   `json:"section"` // that says so
	Unit       Verdict  `json:"unit"`
	Verify     *Command `json:"verify,omitempty"`     // nil: only a unit can know
	UnitAlone  string   `json:"unit_alone,omitempty"` // why
}

// Verdict is what the C library returns.
type Verdict struct {
	Function string `json:"function"`
	Returns  string `json:"returns"` // a name of enum bm_status, bm_check or bm_peer_check
	Number   int    `json:"number"`
}

// Command is `birthmark cert verify FILE` with these arguments behind it, in the folder of the files.
type Command struct {
	Arguments []string `json:"arguments"`
	Exit      int      `json:"exit"`
}

// Files gives all files by name, the manifest last.
func (s *Fleet) Files() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, name := range slices.Sorted(maps.Keys(s.files)) {
			if !yield(name, s.files[name]) {
				return
			}
		}
		text, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			panic(err) // of text, numbers and bytes
		}
		yield(manifestFile, append(text, '\n'))
	}
}

// Make makes the certificates of a fleet's first unit, and what its root signs, wrong in one thing at a time. Everything else about each
// file holds: who should sign has signed it, as it is. The same fleet gives the same bytes. Errors are those of reading the unit, or wrap
// fleet.ErrUnfinished for a fleet that has none yet, ca.ErrMalformed or fleet.ErrNotMade for one that somebody has changed.
func Make(f *fleet.Fleet) (*Fleet, error) {
	w, err := open(f)
	if err != nil {
		return nil, err
	}
	hash := f.Bundle.Anchor.Hash()
	w.spoiled = &Fleet{
		Birthmark: schema, Seed: f.Seed, Anchor: hex.EncodeToString(hash[:]), Product: w.product, Peers: w.peers, files: map[string][]byte{},
	}
	if err := w.furnish(); err != nil {
		return nil, err
	}
	for _, k := range goodChains {
		w.addChain("chain", k)
	}
	for _, form := range forms {
		for _, k := range goodObjects[form] {
			w.addObject(form, k)
		}
	}
	w.addBad()
	w.addCut()
	return w.spoiled, nil
}

// addBad adds all that is spoiled but not cut.
func (w *works) addBad() {
	for _, some := range []struct {
		object string
		kinds  []kind
	}{{"unit certificate", badUnits}, {"order certificate", badOrders}, {"chain", badChains}, {"birth", badBirths}} {
		for _, k := range some.kinds {
			w.addChain(some.object, k)
		}
	}
	for _, form := range forms {
		for _, k := range badObjects {
			k.name = form + "-" + k.name
			w.addObject(form, k)
		}
		for _, k := range badOf[form] {
			w.addObject(form, k)
		}
	}
}

func (w *works) addChain(object string, k kind) {
	s := w.chainSample()
	if k.spoil != nil {
		k.spoil(w, &s)
	}
	// The unit's certificate may already have all bytes that a peer's may. An older one makes room for what is longer, or its size would
	// be wrong as well.
	if unit, _ := s.certificates(); len(unit) > maxPeer && !k.born {
		s.unit[itemNotBefore] = encode(0)
	}
	w.addJudged(object, k, s.chain.encode())
}

const maxPeer = 135 // bytes, BM_UNIT_CERTIFICATE_MAX

// addJudged adds a chain, judged as a peer or at a birth.
func (w *works) addJudged(object string, k kind, file []byte) {
	function := "bm_trust_peer"
	var arguments []string
	if k.peer {
		arguments = append(arguments, "--peer-of", profileFile)
	}
	if k.key != "" {
		arguments = append(arguments, "--public-key", k.key)
	}
	if k.born {
		function, k.key = "bm_trust", cmp.Or(k.key, unitKeyFile)
	}
	w.add(k, object, ".chain", function, file, arguments...)
}

func (w *works) chainSample() sample {
	c := w.chain
	c.unit, c.order = slices.Clone(c.unit), slices.Clone(c.order)
	return sample{chain: c}
}

func (w *works) addObject(form string, k kind) {
	o := w.goodObject(form)
	s := sample{object: o}
	if k.spoil != nil {
		k.spoil(w, &s)
	}
	w.add(k, objectNames[form], "."+form, "bm_trust_"+form, s.object.encode(), "--as", form)
}

// addCut adds what was good until it was cut: in front of each field, and of the last byte.
func (w *works) addCut() {
	unit, order := w.chain.certificates()
	whole := w.chain.encode()
	for _, c := range []struct {
		name string
		size int
	}{{"label", 1}, {"array", 3}, {"unit", 4}, {"order", 6 + len(unit)}, {"end", len(whole) - 1}} {
		k := kind{name: "chain-cut-" + c.name, check: "bounds", returns: badID, whole: "good.chain", why: "it ends in front of its " + c.name}
		w.addJudged("chain", k, whole[:c.size])
	}
	for _, c := range cuts(w.chain.unit, unit) {
		k := kind{name: "unit-cut-" + c.name, check: "bounds", returns: badUnit, born: true, whole: "good.chain", why: "the unit's certificate ends in front of its " + c.field}
		w.addJudged("unit certificate", k, joined(unit[:c.size], order))
	}
	for _, c := range cuts(w.chain.order, order) {
		k := kind{name: "order-cut-" + c.name, check: "bounds", returns: badOrder, born: true, whole: "good.chain", why: "the order's certificate ends in front of its " + c.field}
		w.addJudged("order certificate", k, joined(unit, order[:c.size]))
	}
	for _, form := range forms {
		whole := w.goodObject(form).encode()
		for _, c := range []cut{{"protected", "protected header", 1}, {"unprotected", "unprotected header", 5}, {"payload", "payload", 6},
			{"content", "payload's content", 8}, {"signature", "signature", len(whole) - 66}, {"end", "last byte", len(whole) - 1}} {
			k := kind{name: form + "-cut-" + c.name, check: "bounds", returns: malformed, whole: "good-" + form + "." + form, why: "it ends in front of its " + c.field}
			w.add(k, objectNames[form], "."+form, "bm_trust_"+form, whole[:c.size], "--as", form)
		}
	}
}

// cut is where something is cut.
type cut struct {
	name, field string
	size        int // bytes that are left
}

// cuts are those of a certificate.
func cuts(it items, certificate []byte) []cut {
	var all []cut
	at := 1
	for i, name := range itemNames {
		all = append(all, cut{strings.ReplaceAll(name, " ", "-"), name, at})
		if i < len(it) {
			at += len(it[i])
		}
	}
	return append(all, cut{"end", "last byte", len(certificate) - 1})
}

// works has what the first unit of a fleet was made from.
type works struct {
	root, next, after, order, unit, stranger *ecdsa.PrivateKey
	chain                                    chain // good
	profile                                  *ca.Profile
	product                                  uint32
	peers                                    []uint32
	first, last                              uint64 // of the order's range; the unit is the first
	bundle                                   *ca.Bundle
	anchors                                  map[string][32]byte // SHA-256, of bundles that another image has
	spoiled                                  *Fleet
}

func open(f *fleet.Fleet) (*works, error) {
	var u fleet.Unit
	for unit, err := range f.Units() {
		if err != nil {
			return nil, err
		}
		u = unit
		break
	}
	o, ok := f.Order(u.Order)
	switch {
	case u.Certificate == nil:
		return nil, fmt.Errorf("there is no unit yet: %w", fleet.ErrUnfinished)
	case !ok:
		return nil, fmt.Errorf("the fleet has no order %d: %w", u.Order, fleet.ErrNotMade)
	}
	w := &works{
		after: drawn(f.Seed, "root 3"), stranger: drawn(f.Seed, "stranger"), profile: o.Profile, peers: o.Profile.Peers, bundle: f.Bundle,
		first: uint64(o.Certificate.Range.First), last: uint64(o.Certificate.Range.Last),
	}
	for _, k := range []struct {
		to     **ecdsa.PrivateKey
		scalar []byte
	}{{&w.root, f.Roots[0]}, {&w.next, f.Roots[1]}, {&w.order, f.Head.Orders[u.Order-1].Key}, {&w.unit, u.Key[:]}} {
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), k.scalar)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", fleet.ErrNotMade, err)
		}
		*k.to = key
	}
	// Who judges is of the fleet's product. If that does not talk to itself, what he meets is of one that it talks to.
	w.product = o.Profile.Product
	if !slices.Contains(w.peers, w.product) {
		w.product = w.peers[0]
	}
	c, err := ca.ParseUnitCertificate(u.Certificate)
	if err != nil {
		return nil, err
	}
	w.chain = chain{unit: split(c.Raw), order: split(o.Certificate.Raw), unitBy: w.order, orderBy: w.root}
	// What a made fleet has is what its keys sign once more.
	unit, order := w.chain.certificates()
	if !bytes.Equal(unit, c.Raw) || !bytes.Equal(order, o.Certificate.Raw) || !c.Key.Equal(w.unit.Public()) || uint64(c.Serial) != w.first ||
		keyHash(w.next) != f.Bundle.Anchor.Next() || f.Bundle.Epoch() != 1 || f.Bundle.List != nil {
		return nil, fmt.Errorf("its keys are not those of its certificates: %w", fleet.ErrNotMade)
	}
	w.chain.order[itemExtensions] = w.extensions(w.product, w.first, w.last)
	return w, nil
}

// drawn is a key that the fleet's seed gives and that no unit has (FIPS 186-5, A.2.2: of 2^32 tries one is refused).
func drawn(seed, name string) *ecdsa.PrivateKey {
	for try := byte(0); ; try++ {
		h := hmac.New(sha256.New, []byte("birthmark spoil 1"))
		fmt.Fprintf(h, "%s\x00%s\x00%c", name, seed, try)
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), h.Sum(nil)); err == nil {
			return key
		}
	}
}

// The items of a certificate (docs/formats.md, "Unit certificate").
const (
	itemType = iota
	itemSerial
	itemAlgorithm
	itemIssuer
	itemNotBefore
	itemNotAfter
	itemSubject
	itemKeyAlgorithm
	itemKey
	itemExtensions
	itemSignature
)

var itemNames = [...]string{"type", "serial", "algorithm", "issuer", "time", "expiry", "subject", "key algorithm", "key", "extensions", "signature"}

// items are the encoded items of a certificate but its signature: what they are need not be CBOR.
type items [][]byte

func split(certificate []byte) items {
	var raw []cbor.RawMessage
	if err := cbor.Unmarshal(certificate, &raw); err != nil {
		panic(err) // it was parsed by package ca
	}
	var it items
	for _, item := range raw[:itemSignature] {
		it = append(it, item)
	}
	return it
}

// sign gives the certificate: ECDSA with SHA-256 over the items (draft-ietf-cose-cbor-encoded-cert-21, 3.1.12).
func (it items) sign(key *ecdsa.PrivateKey) []byte {
	signed := slices.Concat(it...)
	return slices.Concat([]byte{0x8B}, signed, []byte{0x58, 64}, signature(key, signed))
}

// signature is r and s of 32 bytes each with a low s, deterministic (RFC 6979).
func signature(key *ecdsa.PrivateKey, message []byte) []byte {
	digest := sha256.Sum256(message)
	der, err := key.Sign(nil, digest[:], crypto.SHA256)
	var v struct{ R, S *big.Int }
	if err == nil {
		_, err = asn1.Unmarshal(der, &v)
	}
	if err != nil {
		panic(err) // the key is in memory
	}
	both := append(v.R.FillBytes(make([]byte, 32)), v.S.FillBytes(make([]byte, 32))...)
	if n := elliptic.P256().Params().N; new(big.Int).Lsh(v.S, 1).Cmp(n) > 0 {
		highS(both)
	}
	return both
}

// highS replaces the s that b ends in by n - s, which verifies as well.
func highS(b []byte) []byte {
	s := b[len(b)-32:]
	new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(s)).FillBytes(s)
	return b
}

// chain is {25: [unit, order]} before it is signed. What is to be bent is bent when it is.
type chain struct {
	unit, order                    items
	unitBy, orderBy                *ecdsa.PrivateKey
	bendUnit, bendOrder, bendChain func([]byte) []byte
}

func (c chain) certificates() (unit, order []byte) {
	return bend(c.unit.sign(c.unitBy), c.bendUnit), bend(c.order.sign(c.orderBy), c.bendOrder)
}

func (c chain) encode() []byte {
	unit, order := c.certificates()
	return bend(joined(unit, order), c.bendChain)
}

func joined(unit, order []byte) []byte {
	return slices.Concat([]byte{0xA1, 0x18, 0x19, 0x82}, head(2, uint64(len(unit))), unit, head(2, uint64(len(order))), order)
}

func bend(b []byte, how func([]byte) []byte) []byte {
	if how != nil {
		return how(b)
	}
	return b
}

// head is that of a CBOR item: major type and argument, in its shortest form.
func head(major byte, argument uint64) []byte {
	b := encode(argument)
	b[0] |= major << 5
	return b
}

func encode(v any) []byte {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // the options are constant
	}
	b, err := mode.Marshal(v)
	if err != nil {
		panic(err) // of numbers, text, bytes and arrays of them
	}
	return b
}

func eui(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// serial is what a certificate's serial number is of n.
func serial(n uint64) []byte { return bytes.TrimLeft(eui(n), "\x00") }

// extensions are an order's.
func (w *works) extensions(product uint32, first, last uint64) []byte {
	return encode([]any{-2, 32, -4, 0, -33000, []any{product, eui(first), eui(last)}})
}

// object is a COSE_Sign1 for units before it is signed.
type object struct {
	title              string
	protected, payload []byte
	payloadHead        []byte // nil: the shortest
	by                 *ecdsa.PrivateKey
	bend               func([]byte) []byte
}

func (o object) encode() []byte {
	signed := encode([]any{"Signature1", o.protected, []byte(o.title), o.payload}) // RFC 9052, 4.4
	payloadHead := o.payloadHead
	if payloadHead == nil {
		payloadHead = head(2, uint64(len(o.payload)))
	}
	return bend(slices.Concat([]byte{0x84}, encode(o.protected), []byte{0xA0}, payloadHead, o.payload, []byte{0x58, 64}, signature(o.by, signed)), o.bend)
}

// Files that kinds are given.
const (
	plainBundle    = "bundle.cbor"         // the fleet's
	rotatedBundle  = "rotated.cbor"        // root 2 has replaced root 1 and closed the order in
	closedBundle   = "closed.cbor"         // root 2 has replaced root 1 and closed the order out
	revokedBundle  = "revoked.cbor"        // its list has the unit
	heldBundle     = "held.cbor"           // its list has the order
	heldRange      = "held-range.cbor"     // its list has a range that the unit is in
	flagBundle     = "unknown-flag.cbor"   // of a root whose name has a flag that nobody knows
	epochBundle    = "epoch-0.cbor"        // of a root of epoch 0
	plantedBundle  = "planted-anchor.cbor" // the hash of a stranger's key in place of the next root's
	profileFile    = "profile.yaml"
	unitKeyFile    = "unit.pub"
	strangeKeyFile = "stranger.pub"
)

// furnish adds the files that kinds are given.
func (w *works) furnish() error {
	files := w.spoiled.files
	for name, key := range map[string]*ecdsa.PrivateKey{unitKeyFile: w.unit, strangeKeyFile: w.stranger} {
		der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			return err
		}
		files[name] = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	files[profileFile] = w.profile.Bytes()
	_, order := w.chain.certificates()
	anchor := w.bundle.Anchor[:]
	encodeBundle := func(anchor, link, list []byte) []byte {
		links := [][]byte{}
		if link != nil {
			links = append(links, link)
		}
		if list == nil {
			list = []byte{}
		}
		return encode([]any{"birthmark bundle 1", anchor, links, list})
	}
	changed := func(at int, b ...byte) []byte {
		a := bytes.Clone(anchor)
		copy(a[at:], b)
		return a
	}
	strange := keyHash(w.stranger)
	first := eui(w.first)
	files[plainBundle] = encodeBundle(anchor, nil, nil)
	files[rotatedBundle] = encodeBundle(anchor, w.link(orderHash(order)).encode(), nil)
	files[closedBundle] = encodeBundle(anchor, w.link().encode(), nil)
	files[revokedBundle] = encodeBundle(anchor, nil, w.list(1, []byte{7, 0, 0}, first).encode())
	files[heldBundle] = encodeBundle(anchor, nil, w.list(1, []byte{0, 1, 0}, w.orderName()[1:]).encode())
	files[heldRange] = encodeBundle(anchor, nil, w.list(1, []byte{0, 0, 1}, first, eui(w.first+9)).encode())
	files[flagBundle] = encodeBundle(changed(0, 3), nil, nil)
	files[epochBundle] = encodeBundle(changed(1, 0), nil, nil)
	w.anchors = map[string][32]byte{flagBundle: sha256.Sum256(changed(0, 3)), epochBundle: sha256.Sum256(changed(1, 0))}
	files[plantedBundle] = encodeBundle(changed(66, strange[:]...), nil, nil)
	return nil
}

func (w *works) rootName() []byte { return w.bundle.Anchor[:2] }

// orderName is the name that the order's certificate has.
func (w *works) orderName() []byte { return w.chain.order[itemSubject][1:] }

func orderHash(certificate []byte) []byte {
	hash := sha256.Sum256(certificate)
	return hash[:12]
}

func keyHash(key *ecdsa.PrivateKey) [32]byte { return sha256.Sum256(point(key)) }

// point is X then Y.
func point(key *ecdsa.PrivateKey) []byte {
	b, err := key.PublicKey.Bytes()
	if err != nil {
		panic(err) // the key is one of P-256
	}
	return b[1:]
}

var es256 = []byte{0xA1, 0x01, 0x26}

// link is the one to root 2, which closes these orders in.
func (w *works) link(orders ...[]byte) object {
	after := keyHash(w.after)
	return object{title: linkTitle, protected: es256, by: w.next, payload: slices.Concat(
		[]byte{w.rootName()[0], 2}, point(w.next), after[:], slices.Concat(orders...))}
}

// list is a status list by root 1: its number, the three counts, the rest.
func (w *works) list(number uint32, counts []byte, rest ...[]byte) object {
	return object{title: listTitle, protected: es256, by: w.root, payload: slices.Concat(
		w.rootName(), binary.BigEndian.AppendUint32(nil, number), counts, slices.Concat(rest...))}
}

// What a root signs, by the ends of the files' names and the words of cert verify --as.
var forms = []string{"link", "list", "release"}

var objectNames = map[string]string{"link": "link", "list": "status list", "release": "release"}

var badOf = map[string][]kind{"link": badLinks, "list": badLists, "release": badReleases}

func (w *works) goodObject(form string) object {
	switch form {
	case "link":
		_, order := w.chain.certificates()
		return w.link(orderHash(order))
	case "list":
		return w.list(2, []byte{7, 0, 0}, eui(w.first+1))
	}
	return w.release()
}

const (
	linkTitle    = "birthmark link 1"
	listTitle    = "birthmark list 1"
	releaseTitle = "birthmark release 1"
	anchorSize   = 98 // bytes

	releasedGeneration = 5
)

// release is by root 1, for the unit.
func (w *works) release() object {
	return object{title: releaseTitle, protected: es256, by: w.root, payload: slices.Concat(
		w.rootName(), eui(w.first), []byte{0, 0, 0, releasedGeneration})}
}

// add keeps a kind and its file, whose name ends so.
func (w *works) add(k kind, object, end, function string, file []byte, arguments ...string) {
	v := Kind{
		Kind: k.name, Object: object, File: k.name + end, Bundle: cmp.Or(k.bundle, plainBundle), Key: k.key, Whole: k.whole, Check: k.check, Why: k.why,
		Section: sections[k.check], Unit: Verdict{function, k.returns, numbers[k.returns]}, UnitAlone: k.alone,
	}
	if hash, ok := w.anchors[v.Bundle]; ok {
		v.Anchor = hex.EncodeToString(hash[:])
	}
	if k.whole == "good" {
		v.Whole = "good-" + end[1:] + end
	}
	if function == "bm_trust_release" {
		generation := uint32(releasedGeneration)
		v.Serial, v.Generation = ca.EUI64(w.first).String(), &generation
	}
	if k.alone == "" {
		v.Verify = &Command{append([]string{"--bundle", v.Bundle}, arguments...), k.exit}
		if k.exit == 0 && k.check != "" {
			v.Verify.Exit = exitVerify
		}
	}
	w.spoiled.files[v.File] = file
	w.spoiled.Kinds = append(w.spoiled.Kinds, v)
}
