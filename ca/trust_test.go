package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/binary"
	"math"
	"slices"
	"testing"
)

// forUnits is a root-signed object as units see it, put together by hand: without the tag.
func forUnits(t testing.TB, root *ecdsa.PrivateKey, title string, payload []byte) []byte {
	return handMade(t, root, title, protectedHeader, noHeader, payload)[1:]
}

// chain is an authority's roots by epoch, the first of epoch 0, which is none.
type chain []*ecdsa.PrivateKey

func newChain(t testing.TB) chain {
	c := chain{}
	for n := range byte(6) {
		c = append(c, fixedKey(t, n+1))
	}
	return c
}

func (c chain) anchor(epoch int) Anchor {
	return newAnchor(RootName{1, byte(epoch)}, &c[epoch].PublicKey, &c[epoch+1].PublicKey)
}

// order is an order certificate by the root of this epoch.
func (c chain) order(t testing.TB, epoch int, number uint16) *OrderCertificate {
	t.Helper()
	o, err := signOrderCertificate(rand.Reader, c[epoch], &OrderCertificate{
		Name: newOrderName(RootName{1, byte(epoch)}, number), Product: 7, Range: Range{0x021A2B0000000100, 0x021A2B00000001FF},
		Key: &c[0].PublicKey, IssuedAt: morning,
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (c chain) link(t testing.TB, epoch int, orders ...*OrderCertificate) *Link {
	t.Helper()
	l, err := SignLink(rand.Reader, c[epoch], c.anchor(epoch-1), &c[epoch+1].PublicKey, orders)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// reversed is the same values the other way round.
func reversed[T any](values []T) []T {
	v := slices.Clone(values)
	slices.Reverse(v)
	return v
}

func TestLink(t *testing.T) {
	c := newChain(t)
	var orders []*OrderCertificate
	for number := range uint16(MaxOrdersPerRoot) {
		orders = append(orders, c.order(t, 1, number+1))
	}
	for _, given := range [][]*OrderCertificate{nil, orders[:1], orders, reversed(orders)} {
		l := c.link(t, 2, given...)
		hashes := make([][]byte, len(given))
		for i, o := range given {
			hash := o.Fingerprint()
			hashes[i] = hash[:12]
		}
		slices.SortFunc(hashes, bytes.Compare)
		anchor := c.anchor(2)
		payload := append(anchor[:], slices.Concat(hashes...)...)
		if want := forUnits(t, c[2], "birthmark link 1", payload); !bytes.Equal(l.Object[:len(want)-64], want[:len(want)-64]) {
			t.Errorf("%d orders: %x, want %x", len(given), l.Object, want)
		}
		again, err := ParseLink(forUnits(t, c[2], "birthmark link 1", payload))
		if err != nil || again.Verify(c.anchor(1)) != nil || again.Anchor != anchor || !slices.Equal(again.Orders, l.Orders) {
			t.Errorf("%d orders: %+v, %v", len(given), again, err)
		}
	}
	if size := len(c.link(t, 2, orders...).Object); size != 557 {
		t.Errorf("a full link has %d bytes", size)
	}
	for name, test := range map[string]struct {
		next, after *ecdsa.PrivateKey
		before      Anchor
		orders      []*OrderCertificate
		want        error
	}{
		"the root's own key":             {c[1], c[3], c.anchor(1), nil, ErrVerify},
		"a key that nobody knows":        {newKey(t), c[3], c.anchor(1), nil, ErrVerify},
		"the same key after it":          {c[2], c[2], c.anchor(1), nil, ErrMalformed},
		"the old key after it":           {c[2], c[1], c.anchor(1), nil, ErrMalformed},
		"33 orders":                      {c[2], c[3], c.anchor(1), append(slices.Clone(orders), c.order(t, 1, 33)), ErrPolicy},
		"an order twice":                 {c[2], c[3], c.anchor(1), []*OrderCertificate{orders[0], orders[0]}, ErrMalformed},
		"an order of another root":       {c[2], c[3], c.anchor(1), []*OrderCertificate{c.order(t, 2, 1)}, ErrVerify},
		"an order that the root did not": {c[2], c[3], c.anchor(1), []*OrderCertificate{chain{c[0], c[4]}.order(t, 1, 1)}, ErrVerify},
		"after the last epoch":           {c[2], c[3], newAnchor(RootName{1, 255}, &c[1].PublicKey, &c[2].PublicKey), nil, ErrPolicy},
	} {
		_, err := SignLink(rand.Reader, test.next, test.before, &test.after.PublicKey, test.orders)
		wantError(t, name, err, test.want)
	}
	_, err := SignLink(rand.Reader, refusingSigner{c[2]}, c.anchor(1), &c[3].PublicKey, nil)
	wantError(t, "a token that is gone", err, errSigner)
}

// badPayloads are refused by both readers, well signed though they are: by what, and what is wrong.
func badPayloads(t testing.TB, c chain) map[string]map[string][]byte {
	anchor, other, off := c.anchor(2), c.anchor(2), c.anchor(2)
	other[0], off[65] = 3, off[65]^1
	hash := func(b byte) []byte { return append([]byte{b}, make([]byte, 11)...) }
	list := func(rest ...byte) []byte { return append([]byte{1, 1, 0, 0, 0, 9}, rest...) }
	var full []byte
	for n := range byte(33) {
		full = append(full, hash(n)...)
	}
	return map[string]map[string][]byte{
		linkTitle: {
			"nothing":             nil,
			"an anchor cut":       anchor[:97],
			"a part of an order":  append(slices.Clone(anchor[:]), 1),
			"33 orders":           append(slices.Clone(anchor[:]), full...),
			"orders that descend": slices.Concat(anchor[:], hash(2), hash(1)),
			"an order twice":      slices.Concat(anchor[:], hash(2), hash(2)),
			"an unknown flag":     other[:],
			"no point":            off[:],
		},
		listTitle: {
			"nothing":                 nil,
			"no counts":               list(0, 0),
			"eight common bytes":      list(8, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8),
			"fewer common bytes":      list(7, 0, 0, 1),
			"fewer orders":            list(0, 2, 0, 1, 0, 1),
			"fewer ranges":            list(7, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5),
			"a part of a number":      list(0, 0, 0, 1),
			"orders that descend":     list(0, 2, 0, 1, 0, 2, 1, 0, 1),
			"an order twice":          list(0, 2, 0, 1, 0, 2, 1, 0, 2),
			"a range of one":          list(7, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 5),
			"ranges that overlap":     list(7, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5, 7, 7, 9),
			"numbers that descend":    list(7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 4),
			"a number twice":          list(7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 5),
			"more than a unit's room": list(append([]byte{7, 0, 0, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 422)...)...),
		},
		releaseTitle: {
			"nothing":     nil,
			"a byte less": append([]byte{1, 1}, make([]byte, 11)...),
			"a byte more": append([]byte{1, 1}, make([]byte, 13)...),
		},
	}
}

// parseByTitle reads an object of any kind.
func parseByTitle(title string, object []byte) error {
	var err error
	switch title {
	case linkTitle:
		_, err = ParseLink(object)
	case listTitle:
		_, err = ParseStatusList(object)
	default:
		_, err = ParseRelease(object)
	}
	return err
}

func TestBadPayloads(t *testing.T) {
	c := newChain(t)
	for title, payloads := range badPayloads(t, c) {
		for name, payload := range payloads {
			wantError(t, title+": "+name, parseByTitle(title, forUnits(t, c[1], title, payload)), ErrMalformed)
		}
	}
	for title, payload := range map[string][]byte{listTitle: {2, 1, 0, 0, 0, 1, 0, 0, 0}, releaseTitle: append([]byte{1, 0}, make([]byte, 12)...)} {
		wantError(t, title+": a name that no root has", parseByTitle(title, forUnits(t, c[1], title, payload)), ErrMalformed)
	}
	wantError(t, "the tag", parseByTitle(releaseTitle, append([]byte{0xD2}, forUnits(t, c[1], releaseTitle, make([]byte, 14))...)), ErrMalformed)
}

func TestLinkVerify(t *testing.T) {
	c := newChain(t)
	l := c.link(t, 2)
	if err := l.Verify(c.anchor(1)); err != nil {
		t.Fatal(err)
	}
	anchor := c.anchor(2)
	productive := c.anchor(1)
	productive[0] = 0
	forged, err := ParseLink(forUnits(t, c[1], linkTitle, anchor[:]))
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"a gap":                           c.link(t, 3).Verify(c.anchor(1)),
		"the same epoch":                  l.Verify(c.anchor(2)),
		"older":                           l.Verify(c.anchor(3)),
		"another authority":               l.Verify(newAnchor(RootName{1, 1}, &c[1].PublicKey, &c[5].PublicKey)),
		"a productive one":                l.Verify(productive),
		"the old root's signature":        forged.Verify(c.anchor(1)),
		"epoch 1 as 256":                  c.link(t, 2).Verify(newAnchor(RootName{1, 255}, &c[1].PublicKey, &c[2].PublicKey)),
		"a list by another root":          verifyOther(t, c, listTitle),
		"a release by another root":       verifyOther(t, c, releaseTitle),
		"a list's title on a link":        titled(t, c, listTitle).Verify(c.anchor(1)),
		"a release's title on a link":     titled(t, c, releaseTitle).Verify(c.anchor(1)),
		"an order file's title on a link": titled(t, c, orderTitle).Verify(c.anchor(1)),
	} {
		wantError(t, name, err, ErrVerify)
	}
}

// verifyOther holds a list or release of root 1 against root 2, and one in root 2's name by root 1.
func verifyOther(t *testing.T, c chain, title string) error {
	t.Helper()
	verify := func(payload []byte, a Anchor) error {
		object := forUnits(t, c[1], title, payload)
		if title == listTitle {
			l, err := ParseStatusList(object)
			if err != nil {
				t.Fatal(err)
			}
			return l.Verify(a)
		}
		r, err := ParseRelease(object)
		if err != nil {
			t.Fatal(err)
		}
		return r.Verify(a)
	}
	size := map[string]int{listTitle: 7, releaseTitle: 12}[title]
	if err := verify(append([]byte{1, 1}, make([]byte, size)...), c.anchor(1)); err != nil {
		t.Error(err)
	}
	wantError(t, title, verify(append([]byte{1, 1}, make([]byte, size)...), c.anchor(2)), ErrVerify)
	return verify(append([]byte{1, 2}, make([]byte, size)...), c.anchor(2))
}

// titled is a link that was signed as something else.
func titled(t *testing.T, c chain, title string) *Link {
	t.Helper()
	anchor := c.anchor(2)
	l, err := ParseLink(forUnits(t, c[2], title, anchor[:]))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestStatusList(t *testing.T) {
	c := newChain(t)
	number := func(last byte) EUI64 { return 0x021A2B0000000100 + EUI64(last) }
	for name, test := range map[string]struct {
		list StatusList
		want []byte // behind name and number
	}{
		"empty":    {StatusList{}, []byte{0, 0, 0}},
		"one unit": {StatusList{Serials: []EUI64{number(5)}}, []byte{7, 0, 0, 2, 0x1A, 0x2B, 0, 0, 0, 1, 5}},
		"units": {StatusList{Serials: []EUI64{number(5), number(2), 0x021A2B0000020005}},
			[]byte{5, 0, 0, 2, 0x1A, 0x2B, 0, 0, 0, 1, 2, 0, 1, 5, 2, 0, 5}},
		"all": {StatusList{
			Orders:  []OrderName{{1, 3, 1, 2}, {1, 1, 2, 3}},
			Ranges:  []Range{{number(20), number(30)}, {number(1), number(9)}},
			Serials: []EUI64{number(3), number(15)},
		}, []byte{7, 2, 2, 2, 0x1A, 0x2B, 0, 0, 0, 1, 1, 2, 3, 3, 1, 2, 1, 9, 20, 30, 3, 15}},
		"nothing in common": {StatusList{Ranges: []Range{{0x01FFFFFFFFFFFFFF, 0x0200000000000000}}},
			[]byte{0, 0, 1, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0, 0, 0, 0, 0}},
	} {
		test.list.Number = 0x01020304
		l, err := SignStatusList(rand.Reader, c[3], c.anchor(3), test.list)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := forUnits(t, c[3], "birthmark list 1", append([]byte{1, 3, 1, 2, 3, 4}, test.want...))
		if !bytes.Equal(l.Object[:len(want)-64], want[:len(want)-64]) {
			t.Errorf("%s: %x, want %x", name, l.Object, want)
		}
		again, err := ParseStatusList(want)
		if err != nil || again.Verify(c.anchor(3)) != nil || again.Number != 0x01020304 || !slices.Equal(again.Orders, l.Orders) ||
			!slices.Equal(again.Ranges, l.Ranges) || !slices.Equal(again.Serials, l.Serials) {
			t.Errorf("%s: %+v, %v", name, again, err)
		}
	}
	many := func(n int, step EUI64) (serials []EUI64) {
		for i := range n {
			serials = append(serials, number(0)&^0xFFFFFF+EUI64(i)*step)
		}
		return serials
	}
	for name, test := range map[string]struct {
		key  *ecdsa.PrivateKey
		list StatusList
		want error
	}{
		"another key":              {c[2], StatusList{}, ErrVerify},
		"a unit twice":             {c[3], StatusList{Serials: []EUI64{5, 5}}, ErrMalformed},
		"a range of one":           {c[3], StatusList{Ranges: []Range{{5, 5}}}, ErrMalformed},
		"a range that ends before": {c[3], StatusList{Ranges: []Range{{5, 4}}}, ErrMalformed},
		"ranges that overlap":      {c[3], StatusList{Ranges: []Range{{5, 9}, {9, 12}}}, ErrMalformed},
		"an order twice":           {c[3], StatusList{Orders: []OrderName{{1, 1, 0, 1}, {1, 1, 0, 1}}}, ErrMalformed},
		"a productive order":       {c[3], StatusList{Orders: []OrderName{{0, 1, 0, 1}}}, ErrMalformed},
		"an order of a later root": {c[3], StatusList{Orders: []OrderName{{1, 4, 0, 1}}}, ErrMalformed},
		"an order of no root":      {c[3], StatusList{Orders: []OrderName{{1, 0, 0, 1}}}, ErrMalformed},
		"142 units of three bytes": {c[3], StatusList{Serials: many(142, 1<<16)}, ErrPolicy},
		"256 orders":               {c[3], StatusList{Orders: make([]OrderName, 256)}, ErrMalformed},
		"256 ranges":               {c[3], StatusList{Ranges: make([]Range, 256)}, ErrPolicy},
	} {
		_, err := SignStatusList(rand.Reader, test.key, c.anchor(3), test.list)
		wantError(t, name, err, test.want)
	}
	l, err := SignStatusList(rand.Reader, c[3], c.anchor(3), StatusList{Serials: many(141, 1<<16)})
	if err != nil || len(l.Object) != 512 {
		t.Errorf("141 units of three bytes: %v", err)
	}
	_, err = SignStatusList(rand.Reader, refusingSigner{c[3]}, c.anchor(3), StatusList{})
	wantError(t, "a token that is gone", err, errSigner)
}

// Signing sorts a copy: the caller's list stays as it was.
func TestStatusListKeepsItsInput(t *testing.T) {
	c := newChain(t)
	list := StatusList{Serials: []EUI64{9, 3}, Ranges: []Range{{20, 30}, {11, 12}}, Orders: []OrderName{{1, 1, 0, 2}, {1, 1, 0, 1}}}
	if _, err := SignStatusList(rand.Reader, c[1], c.anchor(1), list); err != nil {
		t.Fatal(err)
	}
	if list.Serials[0] != 9 || list.Ranges[0].First != 20 || list.Orders[0][3] != 2 {
		t.Errorf("%+v", list)
	}
}

func TestRelease(t *testing.T) {
	c := newChain(t)
	r, err := SignRelease(rand.Reader, c[2], c.anchor(2), 0x021A2B0000000105, 0x01020304)
	if err != nil {
		t.Fatal(err)
	}
	want := forUnits(t, c[2], "birthmark release 1", []byte{1, 2, 2, 0x1A, 0x2B, 0, 0, 0, 1, 5, 1, 2, 3, 4})
	if !bytes.Equal(r.Object[:len(want)-64], want[:len(want)-64]) || len(want) != 87 {
		t.Errorf("%x, want %x", r.Object, want)
	}
	again, err := ParseRelease(want)
	if err != nil || again.Verify(c.anchor(2)) != nil || again.Serial != r.Serial || again.Generation != 0x01020304 || again.Root != (RootName{1, 2}) {
		t.Errorf("%+v, %v", again, err)
	}
	_, err = SignRelease(rand.Reader, c[1], c.anchor(2), 1, 1)
	wantError(t, "another key", err, ErrVerify)
	_, err = SignRelease(rand.Reader, refusingSigner{c[2]}, c.anchor(2), 1, 1)
	wantError(t, "a token that is gone", err, errSigner)
}

// encodeForUnits writes an object from nothing but its payload and its signature.
func encodeForUnits(t testing.TB, payload, signature []byte) []byte {
	return slices.Concat([]byte{0x84, 0x43, 0xA1, 0x01, 0x26, 0xA0}, items{payload, signature}.encode(t))
}

func FuzzLink(f *testing.F) {
	c := newChain(f)
	f.Add(c.link(f, 2, c.order(f, 1, 1), c.order(f, 1, 2)).Object)
	f.Add(forUnits(f, c[2], linkTitle, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLink(b)
		if err != nil {
			return
		}
		payload := slices.Clone(l.Anchor[:])
		for _, hash := range l.Orders {
			payload = append(payload, hash[:]...)
		}
		if again := encodeForUnits(t, payload, b[len(b)-64:]); !bytes.Equal(again, b) || len(b) > 557 {
			t.Fatalf("%x\nis read as\n%x", b, again)
		}
	})
}

func FuzzStatusList(f *testing.F) {
	c := newChain(f)
	f.Add(forUnits(f, c[1], listTitle, []byte{1, 1, 0, 0, 0, 9, 6, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 2, 0, 7}))
	f.Add(forUnits(f, c[1], listTitle, []byte{1, 1, 0, 0, 0, 9, 3, 0, 0, 1, 2, 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseStatusList(b)
		if err != nil {
			return
		}
		common := len(l.prefix) // which the entries alone do not say
		payload := binary.BigEndian.AppendUint32(l.Root[:], l.Number)
		payload = append(payload, byte(common), byte(len(l.Orders)), byte(len(l.Ranges)))
		payload = append(payload, l.prefix...)
		for _, o := range l.Orders {
			payload = append(payload, o[1:]...)
		}
		for _, n := range append(ends(l.Ranges), l.Serials...) {
			octets := n.Bytes()
			payload = append(payload, octets[common:]...)
		}
		if again := encodeForUnits(t, payload, b[len(b)-64:]); !bytes.Equal(again, b) || len(b) > 512 {
			t.Fatalf("%x\nis read as\n%x", b, again)
		}
	})
}

func ends(ranges []Range) (numbers []EUI64) {
	for _, r := range ranges {
		numbers = append(numbers, r.First, r.Last)
	}
	return numbers
}

func FuzzRelease(f *testing.F) {
	c := newChain(f)
	f.Add(forUnits(f, c[1], releaseTitle, append([]byte{1, 1}, make([]byte, 12)...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRelease(b)
		if err != nil {
			return
		}
		payload := binary.BigEndian.AppendUint64(r.Root[:], uint64(r.Serial))
		payload = binary.BigEndian.AppendUint32(payload, r.Generation)
		if again := encodeForUnits(t, payload, b[len(b)-64:]); !bytes.Equal(again, b) {
			t.Fatalf("%x\nis read as\n%x", b, again)
		}
	})
}

// How many serial numbers a list holds is what docs/formats.md says of it: for 2^24 possible units three quarters of what any
// encoding could hold.
func TestStatusListRoom(t *testing.T) {
	for common, want := range map[int]int{0: 53, 4: 106, 5: 141} {
		if got := (maxList - 75 - listHead - common) / (serialSize - common); got != want {
			t.Errorf("%d common bytes: %d serial numbers, not %d", common, got, want)
		}
	}
	// log2 of 2^24 over n, by its factors, against the bits that the numbers have.
	room := float64(8 * (maxList - 75 - listHead - 5))
	n, sum := 0, 0.0
	for ; sum <= room; n++ {
		sum += math.Log2(float64(1<<24-n)) - math.Log2(float64(n+1))
	}
	if n-1 != 189 {
		t.Errorf("%d serial numbers at best", n-1)
	}
}

// bundle is what leads to the root of this epoch, each before it closed with an order of its own, and a status list.
func (c chain) bundle(t testing.TB, epoch int) *Bundle {
	t.Helper()
	b := &Bundle{Anchor: c.anchor(1)}
	for e := 2; e <= epoch; e++ {
		b.Links = append(b.Links, c.link(t, e, c.order(t, e-1, uint16(e-1))))
	}
	list, err := SignStatusList(rand.Reader, c[epoch], c.anchor(epoch), StatusList{Number: 4, Serials: []EUI64{0x021A2B0000000105}})
	if err != nil {
		t.Fatal(err)
	}
	b.List = list
	return b
}
