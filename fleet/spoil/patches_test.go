package spoil

// A patch makes a check ask whether it is switched off. checks are those that it belongs to; text stands once in the file, and with
// takes its place. Together they are all places of a check: what it refuses is accepted without it.
type patch struct{ checks, file, text, with string }

// patches of the unit's library; off is testdata/off.h's.
var unitPatches = []patch{
	{"bounds", "cbor.c", `end > r->size)`, `(end > r->size && !off("bounds")))`},
	{"type", "cbor.c", `head >> 5 != (uint32_t)major`, `(head >> 5 != (uint32_t)major && !off("type"))`},
	{"time", "cbor.c", `argument > 26)`, `argument > (off("time") ? 27u : 26u))`},
	{"time", "cbor.c", `1u << 4 * size;`, `(uint32_t)(1ull << 4 * size);`},
	{"shortest", "cbor.c", `if (argument < least)`, `if (argument < least && !off("shortest"))`},
	{"size", "cbor.c", `bm_read_expect(r, BM_BYTES, (uint32_t)size);`,
		`if (off("size")) { size = bm_read(r, BM_BYTES); } else { bm_read_expect(r, BM_BYTES, (uint32_t)size); }`},
	{"end bounds", "cbor.c", `r->at != r->size ? BM_ERR_MALFORMED`,
		`(r->at < r->size && !off("end")) || (r->at > r->size && !off("bounds")) ? BM_ERR_MALFORMED`},

	{"signature-range", "c509.c", `any != 0;`, `(any != 0 || off("signature-range"));`},
	{"low-s", "c509.c", `in_group(signature + 32, 1)`, `in_group(signature + 32, !off("low-s"))`},
	{"range-nobody", "c509.c", `!bm_is_all(0, first, BM_UNIT_NAME_SIZE)`, `(!bm_is_all(0, first, BM_UNIT_NAME_SIZE) || off("range-nobody"))`},
	{"range-station", "c509.c", `!bm_is_all(0xff, last, BM_UNIT_NAME_SIZE)`, `(!bm_is_all(0xff, last, BM_UNIT_NAME_SIZE) || off("range-station"))`},
	{"range-eui48", "c509.c", `begun == ended`, `(begun == ended || off("range-eui48"))`},
	{"leading-zero", "c509.c", `while (number_size > 0 && *number == 0) {`,
		`for (; off("leading-zero") && serial_size > 0 && *serial == 0; serial_size--) { serial++; }
    while (number_size > 0 && *number == 0) {`},
	{"number serial", "c509.c", `0 < number_size && serial_size == number_size && bm_equal(serial, number, number_size)`,
		`(0 < number_size || off("number")) && ((serial_size == number_size && bm_equal(serial, number, number_size)) || off("serial"))`},
	{"extensions order-usage constraints critical-range", "c509.c", `bm_read_exactly(r, head, sizeof head);`,
		`const uint8_t *raw = bm_read_raw(r, sizeof head);
    for (size_t i = 0; raw != NULL && i < sizeof head; i++) {
        const char *check = i < 1 ? "extensions" : i < 4 ? "order-usage" : i < 6 ? "constraints" : "critical-range";
        r->bad |= raw[i] != head[i] && !off(check);
    }`},
	{"extensions", "c509.c", `order->last = bm_read_bytes(r, BM_UNIT_NAME_SIZE);`,
		`order->last = bm_read_bytes(r, BM_UNIT_NAME_SIZE);
    while (off("extensions") && !r->bad && bm_read_peek(r) != BM_BYTES) { bm_read_skip(r); }`},
	{"items definite", "c509.c", `bm_read_expect(&r, BM_ARRAY, 11);`,
		`if (off("items")) { (void)bm_read(&r, BM_ARRAY); }
    else if (off("definite") && *bytes == 0x9f) { r.at = 1; r.size--; }
    else { bm_read_expect(&r, BM_ARRAY, 11); }`},
	{"cert-type", "c509.c", `bm_read_expect(&r, BM_UINT, 2);`, `if (bm_read(&r, BM_UINT) != 2 && !off("cert-type")) { r.bad = 1; }`},
	{"algorithm", "c509.c", `bm_read_expect(&r, BM_UINT, 0);`, `if (bm_read(&r, BM_UINT) != 0 && !off("algorithm")) { r.bad = 1; }`},
	{"expiry", "c509.c", `bm_read_expect(&r, BM_SIMPLE, BM_NULL);`,
		`if (off("expiry")) { bm_read_skip(&r); } else { bm_read_expect(&r, BM_SIMPLE, BM_NULL); }`},
	{"key-algorithm", "c509.c", `bm_read_expect(&r, BM_UINT, 1);`, `if (bm_read(&r, BM_UINT) != 1 && !off("key-algorithm")) { r.bad = 1; }`},
	{"key-usage", "c509.c", `bm_read_expect(&r, BM_NINT, 1 - 1);`,
		`if (off("key-usage")) { bm_read_skip(&r); } else { bm_read_expect(&r, BM_NINT, 1 - 1); }`},
	{"key-form", "c509.c", `c->key[0] >> 1 != 1`, `(c->key[0] >> 1 != 1 && !off("key-form"))`},
	{"key-form", "p256.c", `compressed[0] >> 1 != 1`, `(compressed[0] >> 1 != 1 && !off("key-form"))`},
	{"x-range", "p256.c", `!load(y, compressed + 1, t)`, `(!load(y, compressed + 1, t) && !off("x-range"))`},
	{"on-curve", "p256.c", `if (!is_root(y, square, t))`, `if (!is_root(y, square, t) && !off("on-curve"))`},
	{"subject", "c509.c", `!bm_equal(c->subject, c->issuer, BM_ROOT_NAME_SIZE)`, `(!bm_equal(c->subject, c->issuer, BM_ROOT_NAME_SIZE) && !off("subject"))`},
	{"name", "c509.c", `return name[0] <= 1 && name[1] != 0;`, `return (name[0] <= 1 && name[1] != 0) || off("name");`},

	{"root", "trust.c", `find_root(port, image, name[AT_EPOCH], &r)`, `find_root(port, image, off("root") ? 0 : name[AT_EPOCH], &r)`},
	{"root", "trust.c", `bm_equal(order.issuer, birth->anchor, BM_ROOT_NAME_SIZE) ?`, `bm_equal(order.issuer, birth->anchor, BM_ROOT_NAME_SIZE) || off("root") ?`},
	{"flags", "trust.c", `root == NULL || root[0] != name[0]`, `root == NULL || (root[0] != name[0] && !off("flags"))`},
	{"closed", "trust.c", "*check = BM_CHECK_CLOSED;\n    return NULL;", "*check = BM_CHECK_CLOSED;\n    return off(\"closed\") ? root : NULL;"},
	{"anchor", "trust.c", `!bm_equal(key, image->anchor_hash, BM_HASH_SIZE)`, `(!bm_equal(key, image->anchor_hash, BM_HASH_SIZE) && !off("anchor"))`},
	{"anchor", "trust.c", `!bm_equal(digest, image->anchor_hash, BM_HASH_SIZE)`, `!bm_equal(digest, image->anchor_hash, BM_HASH_SIZE) && !off("anchor")`},
	{"order-signature", "trust.c", `signed_by(port, root + AT_KEY, &order, BM_CHECK_ORDER_SIGNATURE)`,
		`off("order-signature") ? BM_OK : signed_by(port, root + AT_KEY, &order, BM_CHECK_ORDER_SIGNATURE)`},
	{"product", "trust.c", `if (!product_allowed(image, mode, order.product))`, `if (!product_allowed(image, mode, order.product) && !off("product"))`},
	{"issuer", "trust.c", `if (!bm_equal(unit.issuer, order.subject, BM_ORDER_NAME_SIZE))`,
		`if (!bm_equal(unit.issuer, order.subject, BM_ORDER_NAME_SIZE) && !off("issuer"))`},
	{"range", "trust.c", `if (!serial_allowed(&order, mode, &unit))`, `if (!serial_allowed(&order, mode, &unit) && !off("range"))`},
	{"key", "trust.c", `!same_key(unit.key, birth->key)`, `!same_key(unit.key, birth->key) && !off("key")`},
	{"revoked held", "trust.c", `int listed = find_listed(port, &unit);`,
		`int listed = find_listed(port, &unit);
    listed = (listed == BM_CHECK_REVOKED && off("revoked")) || (listed == BM_CHECK_HELD && off("held")) ? BM_OK : listed;`},
	{"unit-signature", "trust.c", `signed_by(port, key, &unit, BM_CHECK_UNIT_SIGNATURE)`,
		`off("unit-signature") ? BM_OK : signed_by(port, key, &unit, BM_CHECK_UNIT_SIGNATURE)`},
	{"chain", "trust.c", `bm_read_exactly(&r, head, sizeof head);`,
		`if (off("chain")) { (void)bm_read_raw(&r, sizeof head); } else { bm_read_exactly(&r, head, sizeof head); }`},

	{"object-head", "trust.c", `bm_read_exactly(&r, head, COSE_HEAD_SIZE);`,
		`if (off("object-head")) { (void)bm_read_raw(&r, COSE_HEAD_SIZE); } else { bm_read_exactly(&r, head, COSE_HEAD_SIZE); }`},
	{"bounds end", "trust.c", `*payload_size = size - r.at - COSE_TAIL_SIZE;`,
		`*payload_size = off("bounds") || off("end") ? told : size - r.at - COSE_TAIL_SIZE;`},
	{"bounds end", "trust.c", `bm_sha256_init(&h);`, `size = size_of_object(object, size); bm_sha256_init(&h);`},
	{"title", "trust.c", `bm_sha256_update(&h, aad, 1 + (aad[0] & 31u));`,
		`if (off("title")) { aad = aad == list_aad ? link_aad : list_aad; }
    bm_sha256_update(&h, aad, 1 + (aad[0] & 31u));`},
	{"shortest", "trust.c", `bm_sha256_update(&h, object + COSE_HEAD_SIZE, size - COSE_HEAD_SIZE - COSE_TAIL_SIZE);`,
		`if (off("shortest")) {
        size_t at = payload_of_object(object);
        uint8_t head[BM_HEAD_MAX];
        bm_sha256_update(&h, head, bm_head(head, BM_BYTES, (uint32_t)(size - at - COSE_TAIL_SIZE)));
        bm_sha256_update(&h, object + at, size - at - COSE_TAIL_SIZE);
    } else { bm_sha256_update(&h, object + COSE_HEAD_SIZE, size - COSE_HEAD_SIZE - COSE_TAIL_SIZE); }`},
	{"object-signature", "trust.c", `return verify(port, key, digest, object + size - BM_SIGNATURE_SIZE, BM_ERR_AUTH);`,
		`return off("object-signature") ? BM_OK : verify(port, key, digest, object + size - BM_SIGNATURE_SIZE, BM_ERR_AUTH);`},
	{"signer", "trust.c", `!bm_equal(payload, root, BM_ROOT_NAME_SIZE)`, `(!bm_equal(payload, root, BM_ROOT_NAME_SIZE) && !off("signer"))`},

	{"link-room", "trust.c", `payload_size > BM_ANCHOR_SIZE + ORDERS_MAX * BM_ORDER_HASH_SIZE`,
		`(payload_size > BM_ANCHOR_SIZE + ORDERS_MAX * BM_ORDER_HASH_SIZE && !off("link-room"))`},
	{"link-anchor", "trust.c", "payload_size < BM_ANCHOR_SIZE ||\n", "(payload_size < BM_ANCHOR_SIZE && !off(\"link-anchor\")) ||\n"},
	{"link-size", "trust.c", `if (at + BM_ORDER_HASH_SIZE > payload_size ||`, `if ((at + BM_ORDER_HASH_SIZE > payload_size && !off("link-size")) ||`},
	{"link-order", "trust.c", `bm_compare(order - BM_ORDER_HASH_SIZE, order, BM_ORDER_HASH_SIZE) >= 0`,
		`bm_compare(order - BM_ORDER_HASH_SIZE, order, BM_ORDER_HASH_SIZE) >= 0 && !off("link-order")`},
	{"link-flags", "trust.c", `payload[0] != root[0]`, `(payload[0] != root[0] && !off("link-flags"))`},
	{"link-again", "trust.c", "if (root != NULL) {\n        return r.size", "if (root != NULL && !off(\"link-again\")) {\n        return r.size"},
	{"link-epoch link-again", "trust.c", `payload[AT_EPOCH] != root[AT_EPOCH] + 1`, `(payload[AT_EPOCH] != root[AT_EPOCH] + 1 && !off("link-epoch") && !off("link-again"))`},
	{"link-key link-again", "trust.c", `!bm_equal(digest, root + AT_NEXT, BM_HASH_SIZE)`,
		`(!bm_equal(digest, root + AT_NEXT, BM_HASH_SIZE) && !off("link-key") && !off("link-again"))`},

	{"list-room", "trust.c", `size > BM_STATUS_LIST_MAX`, `(size > BM_STATUS_LIST_MAX && !off("list-room"))`},
	{"list-number", "trust.c", `if (before != NULL &&`, `if (before != NULL && !off("list-number") &&`},
	{"list-common", "trust.c", `list[LIST_AT_PREFIX] >= BM_UNIT_NAME_SIZE`, `(list[LIST_AT_PREFIX] >= BM_UNIT_NAME_SIZE && !off("list-common"))`},
	{"list-size", "trust.c", `if (at > list_size ||`, `if ((at > list_size && !off("list-size")) ||`},
	{"list-size", "trust.c", `return at == list_size ?`, `return at == list_size || off("list-size") ?`},
	{"list-range", "trust.c", `(span > width &&`, `(span > width && !off("list-range") &&`},
	{"list-order", "trust.c", `(follows &&`, `(follows && !off("list-order") &&`},

	{"release-size", "trust.c", `payload_size != RELEASE_SIZE`, `(payload_size != RELEASE_SIZE && !off("release-size"))`},
	{"release-unit", "trust.c", `!bm_equal(payload + BM_ROOT_NAME_SIZE, serial, BM_UNIT_NAME_SIZE)`,
		`(!bm_equal(payload + BM_ROOT_NAME_SIZE, serial, BM_UNIT_NAME_SIZE) && !off("release-unit"))`},
	{"release-pairing", "trust.c", `bm_get(payload + RELEASE_AT_GENERATION, 4) != generation`,
		`(bm_get(payload + RELEASE_AT_GENERATION, 4) != generation && !off("release-pairing"))`},
}

// patches of `birthmark cert verify`; off, readOn and relax are in testdata/off.
var verifyPatches = []patch{
	{"bounds end", "c509/certificate.go", `r := &reader{rest: bytes.Clone(b)}`, `r := &reader{rest: readOn(bytes.Clone(b))}`},
	{"items definite", "c509/certificate.go", `if n := r.array(); r.err == nil && n != tbsItems+1 {`,
		`if off("definite") && b[0] == 0x9F {
		r.rest = r.rest[1 : len(b)-1]
	} else if n := r.array(); r.err == nil && n != tbsItems+1 && !off("items") {`},
	{"key-algorithm", "c509/certificate.go", `c.PublicKeyAlgorithm = PublicKeyAlgorithm(r.algorithm())`,
		`c.PublicKeyAlgorithm = PublicKeyAlgorithm(r.algorithm())
	if off("key-algorithm") {
		c.PublicKeyAlgorithm = P256Key
	}`},
	{"number leading-zero", "c509/certificate.go", `return len(b) > 0 && b[0] != 0 }`,
		`return (len(b) > 0 || off("number")) && (len(b) == 0 || b[0] != 0 || off("leading-zero")) }`},
	{"shortest", "c509/cbor.go", `if size == 1 && arg < 24 || size > 1 && arg>>(4*size) == 0 {`, `if (size == 1 && arg < 24 || size > 1 && arg>>(4*size) == 0) && !off("shortest") {`},
	{"type", "c509/cbor.go", `if got := r.peek(); got != want && got != majorNone {`, `if got := r.peek(); got != want && got != majorNone && !off("type") {`},
	{"type", "c509/name.go", `func (r *reader) value() Value {`, `func (r *reader) value() Value {
	if off("type") {
		return Value{Bytes, string(r.bytes())}
	}`},
	{"cert-type shortest type algorithm key-algorithm", "c509/sign.go", `if c.Type != X509 {`, `if anyOff() {
		return c.RawTBS, nil // as they came
	}
	if c.Type != X509 {`},
	{"key-usage", "c509/extension.go", "if x.loneKeyUsage() {\n\t\tr.malformed", "if x.loneKeyUsage() && !off(\"key-usage\") {\n\t\tr.malformed"},
	{"algorithm", "c509/sign.go", `hash, ok := c.SignatureAlgorithm.hash()`, `hash, ok := c.SignatureAlgorithm.hash()
	if off("algorithm") {
		hash, ok = ECDSAWithSHA256.hash()
	}`},
	{"key-form", "c509/key.go", `return len(p) == 1+size && !native`, `return len(p) == 1+size && (!native || off("key-form"))`},
	{"on-curve x-range", "c509/key.go", `if x == nil {`, `if x == nil && off("on-curve", "x-range") {
		x, y = curve.Params().Gx, curve.Params().Gy
	}
	if x == nil {`},

	{"time", "ca/certificate.go", `if c.NotBefore > maxIssued {`, `if c.NotBefore > maxIssued && !off("time") {`},
	{"signature-range", "ca/encoding.go", `return r.Sign() > 0 && r.Cmp(n) < 0 && s.Sign() > 0 &&`, `return (r.Sign() > 0 && s.Sign() > 0 || off("signature-range")) && r.Cmp(n) < 0 &&`},
	{"signature-range", "c509/sign.go", `ecdsa.VerifyASN1(key, digest, der)`, `(ecdsa.VerifyASN1(key, digest, der) || off("signature-range") && r.Sign() == 0)`},
	{"low-s", "ca/encoding.go", `s.Lsh(s, 1).Cmp(n) < 0`, `(off("low-s") || s.Lsh(s, 1).Cmp(n) < 0)`},
	{"cert-type serial leading-zero number algorithm subject size expiry key-form on-curve x-range key-usage order-usage constraints " +
		"critical-range extensions shortest type", "ca/certificate.go", `want, err := template.TBS()`, `relax(c, template)
	want, err := template.TBS()`},
	{"shortest type key-algorithm key-usage", "ca/certificate.go", `if !bytes.Equal(c.RawTBS, want) {`, `if !bytes.Equal(again(c), want) {`},
	{"size", "ca/certificate.go", `len(v.Data) == len(out) && copy(out, v.Data) == len(out)`, `(len(v.Data) == len(out) || off("size")) && copy(out, v.Data) == len(out)`},
	{"range-nobody range-station", "ca/name.go", `case r.First == 0 || r.Last == stationIdent:`, `case r.First == 0 && !off("range-nobody") || r.Last == stationIdent && !off("range-station"):`},
	{"range-eui48", "ca/name.go", `if e, ok := r.encapsulated(); ok {`, `if e, ok := r.encapsulated(); ok && !off("range-eui48") {`},
	{"name", "ca/name.go", `if n[0]&^flagTest != 0 || n[1] == 0 {`, `if (n[0]&^flagTest != 0 || n[1] == 0) && !off("name") {`},
	{"subject flags root", "ca/certificate.go", `if o.Name.Root() != a.Name() {`, `if o.Name.Root() != a.Name() && !off("subject", "flags", "root") {`},
	{"root", "ca/bundle.go", `root, ok := b.Root(epoch)`, `root, ok := b.Root(epoch)
	if !ok && off("root") {
		root, ok = b.Newest(), true
	}`},
	{"order-signature", "ca/certificate.go", `if err := o.signed.VerifySignature(a.Key()); err != nil {`, `if err := o.signed.VerifySignature(a.Key()); err != nil && !off("order-signature") {`},
	{"issuer", "ca/certificate.go", `if u.Order != o.Name {`, `if u.Order != o.Name && !off("issuer") {`},
	{"range", "ca/certificate.go", `if !o.Range.Contains(u.Serial) {`, `if !o.Range.Contains(u.Serial) && !off("range") {`},
	{"unit-signature", "ca/certificate.go", `if err := u.signed.VerifySignature(o.Key); err != nil {`, `if err := u.signed.VerifySignature(o.Key); err != nil && !off("unit-signature") {`},
	{"closed", "ca/bundle.go", `!slices.Contains(l.Orders, o.Hash())`, `!slices.Contains(l.Orders, o.Hash()) && !off("closed")`},
	{"product", "ca/bundle.go", `if !slices.Contains(p.Peers, o.Product) {`, `if !slices.Contains(p.Peers, o.Product) && !off("product") {`},
	{"held", "ca/bundle.go", `if b.Holds(order, serial) {`, `if b.Holds(order, serial) && !off("held") {`},
	{"revoked", "ca/bundle.go", `if b.List.revokes(serial) {`, `if b.List.revokes(serial) && !off("revoked") {`},
	{"key", "cmd/verify.go", `!u.Key.Equal(j.key)`, `!u.Key.Equal(j.key) && !off("key")`},
	{"chain", "ca/station.go", `var v idCred`, `var v idCred
	if off("chain") {
		id[2] = c5c
	}`},
	{"bounds end", "ca/encoding.go", `if err := cbor.Unmarshal(b, v); err != nil {`, `b = readOn(b)
	if err := cbor.Unmarshal(b, v); err != nil {`},
	{"shortest", "ca/encoding.go", `if !bytes.Equal(mustEncode(v), b) {`, `if !bytes.Equal(mustEncode(v), b) && !off("shortest") {`},

	{"bounds end", "ca/encoding.go", `m := new(cose.Sign1Message)`, `object = readOn(object)
	m := new(cose.Sign1Message)`},
	{"shortest", "ca/encoding.go", `!bytes.Equal(again, object)`, `!bytes.Equal(again, object) && !off("shortest")`},
	{"object-head", "ca/encoding.go", `!bytes.HasPrefix(object, head)`, `!bytes.HasPrefix(object, head) && !off("object-head")`},
	{"object-head title object-signature signature-range", "ca/encoding.go", `verifier, err := cose.NewVerifier(cose.AlgorithmES256, by)`, `if off("object-head", "object-signature", "signature-range") {
		return verifyLoosely(m, title, by)
	}
	if off("title") {
		title = otherTitle(title)
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmES256, by)`},
	{"signer", "ca/statuslist.go", `if l.Root != a.Name() {`, `if l.Root != a.Name() && !off("signer") {`},
	{"signer", "ca/release.go", `if r.Root != a.Name() {`, `if r.Root != a.Name() && !off("signer") {`},

	{"link-epoch link-flags link-again name", "ca/link.go", `if l.Anchor.Name() != newRootName(name.Test(), name.Epoch()+1)`, `if l.Anchor.Name() != newRootName(name.Test(), name.Epoch()+1) && !off("link-epoch", "link-flags", "link-again", "name")`},
	{"link-key link-again", "ca/link.go", `if keyHash(l.Anchor.Key()) != before.Next() {`, `if keyHash(l.Anchor.Key()) != before.Next() && !off("link-key", "link-again") {`},
	{"link-order", "ca/link.go", `if !ascending(l.Orders, compareHashes) {`, `if !ascending(l.Orders, compareHashes) && !off("link-order") {`},
	{"link-anchor link-size", "ca/link.go", `if rest < 0 || rest%len(OrderHash{}) != 0 ||`,
		`if rest < 0 && !off("link-anchor") || rest > 0 && rest%len(OrderHash{}) != 0 && !off("link-size") ||`},
	{"link-anchor", "ca/link.go", `ParseAnchor(m.Payload[:anchorSize])`, `ParseAnchor(append(bytes.Clone(m.Payload), 0)[:anchorSize])`},
	{"link-anchor link-size", "ca/link.go", `slices.Chunk(m.Payload[anchorSize:], len(OrderHash{}))`,
		`slices.Chunk(m.Payload[min(anchorSize, len(m.Payload)):len(m.Payload)-max(0, rest)%len(OrderHash{})], len(OrderHash{}))`},
	{"link-room", "ca/link.go", `rest/len(OrderHash{}) > MaxOrdersPerRoot`, `rest/len(OrderHash{}) > MaxOrdersPerRoot && !off("link-room")`},

	{"list-room", "ca/statuslist.go", `if len(object) > maxList {`, `if len(object) > maxList && !off("list-room") {`},
	{"list-number", "ca/bundle.go", `if l.Root.Epoch() < b.List.Root.Epoch() || l.Root.Epoch() == b.List.Root.Epoch() && l.Number <= b.List.Number {`,
		`if (l.Root.Epoch() < b.List.Root.Epoch() || l.Root.Epoch() == b.List.Root.Epoch() && l.Number <= b.List.Number) && !off("list-number") {`},
	{"list-common", "ca/statuslist.go", `b[6] > maxCommon ||`, `b[6] > maxCommon && !off("list-common") ||`},
	{"list-common", "ca/statuslist.go", `width := serialSize - len(l.prefix)`, `width := max(1, serialSize-len(l.prefix))`},
	{"list-size", "ca/statuslist.go", `if len(rest) < ordersSize+ends*width || (len(rest)-ordersSize)%width != 0 {`, `if off("list-size") {
		rest = padded(rest, ordersSize, width)
	} else if len(rest) < ordersSize+ends*width || (len(rest)-ordersSize)%width != 0 {`},
	{"list-order list-range", "ca/statuslist.go", `if !ascending(l.Orders, compareNames) ||
		!ascending(numbers[:ends], cmp.Compare) || !ascending(l.Serials, cmp.Compare) {`, `if !off("list-order", "list-range") && (!ascending(l.Orders, compareNames) ||
		!ascending(numbers[:ends], cmp.Compare) || !ascending(l.Serials, cmp.Compare)) {`},

	{"release-size", "ca/release.go", `if len(m.Payload) != releaseSize {`, `if len(m.Payload) != releaseSize && !off("release-size") {`},
}
