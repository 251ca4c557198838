package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// later is a request for the rotation to this epoch, so many hours after the authority was born.
func later(epoch int) RotateRequest {
	return RotateRequest{AfterURI: fmt.Sprintf("root-%d.key", epoch+1), Now: morning.Add(time.Duration(epoch) * 24 * time.Hour)}
}

// rotate lets the next root take the place of the newest: works.root is it then.
func (w *works) rotate(t testing.TB) {
	t.Helper()
	after := newKey(t)
	if err := w.authority.Rotate(rand.Reader, w.next, &after.PublicKey, later(w.authority.Epoch()+1)); err != nil {
		t.Fatal(err)
	}
	w.root, w.next = w.next, after
	if err := w.authority.RenewList(rand.Reader, w.root); err != nil {
		t.Fatal(err)
	}
}

// requestNow is request at a time when the newest root is there.
func (w *works) requestNow(t testing.TB, count uint64) OrderRequest {
	t.Helper()
	r := w.request(t, count)
	r.Now = later(w.authority.Epoch()).Now.Add(time.Hour)
	return r
}

func TestRotate(t *testing.T) {
	w := newWorks(t)
	first := w.authority.Anchor
	var orders []*Order
	for epoch := range 3 {
		for range 2 {
			orders = append(orders, w.sign(t, w.requestNow(t, 10)))
		}
		w.rotate(t)
		a := w.authority
		if a.Epoch() != epoch+2 || a.Anchor != first || !a.Newest().Key().Equal(&w.root.PublicKey) || a.Newest().Next() != keyHash(&w.next.PublicKey) {
			t.Fatalf("after rotation %d: %+v", epoch+1, a.Bundle)
		}
		if l := a.Links[epoch]; len(l.Orders) != 2 || !slices.Contains(l.Orders, orders[2*epoch].Certificate.Hash()) || !slices.Contains(l.Orders, orders[2*epoch+1].Certificate.Hash()) {
			t.Errorf("link to root %d closes %x", epoch+2, l.Orders)
		}
		if !a.Rotated(later(epoch+2)) || a.Rotated(later(epoch+3)) || a.OldURI() != a.keys[epoch] || a.NextURI() != later(epoch+2).AfterURI {
			t.Errorf("after rotation %d: keys %v", epoch+1, a.keys)
		}
	}
	w.reload(t, 6)
	for i, o := range w.authority.Orders {
		if int(o.Number()) != i+1 || o.Epoch() != i/2+1 {
			t.Errorf("order %d of root %d is the %dth", o.Number(), o.Epoch(), i+1)
		}
		if i > 0 && o.Certificate.Range.First != w.authority.Orders[i-1].Certificate.Range.Last+1 {
			t.Errorf("order %d begins at %v", o.Number(), o.Certificate.Range.First)
		}
	}
	file, err := w.authority.Publish()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseBundle(file.Encode())
	if err != nil || again.Epoch() != 4 || again.Anchor != first {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestRotateRefused(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 10)
	orderKey, after := w.order, newKey(t)
	for _, test := range []struct {
		name  string
		next  *ecdsa.PrivateKey
		after *ecdsa.PublicKey
		r     RotateRequest
		want  error
	}{
		{"the old root signs", w.root, &after.PublicKey, later(2), ErrVerify},
		{"somebody signs", newKey(t), &after.PublicKey, later(2), ErrVerify},
		{"the next root after itself", w.next, &w.next.PublicKey, later(2), ErrPolicy},
		{"the old root after the next", w.next, &w.root.PublicKey, later(2), ErrPolicy},
		{"an order key after the next", w.next, &orderKey.PublicKey, later(2), ErrPolicy},
		{"in the next root's place", w.next, &after.PublicKey, RotateRequest{"next.key", later(2).Now}, ErrPolicy},
		{"in the old root's place", w.next, &after.PublicKey, RotateRequest{"root.key", later(2).Now}, ErrPolicy},
		{"before the last order", w.next, &after.PublicKey, RotateRequest{"root-3.key", o.Issued.Add(-time.Second)}, ErrPolicy},
	} {
		wantError(t, test.name, w.authority.Rotate(rand.Reader, test.next, test.after, test.r), test.want)
		if w.reload(t, 1); w.authority.Epoch() != 1 {
			t.Fatalf("%s: it happened", test.name)
		}
	}
	if w.authority.Rotated(later(2)) || w.authority.Rotated(RotateRequest{AfterURI: "next.key"}) {
		t.Error("it is said to have happened")
	}
	w.rotate(t)
	wantError(t, "the same again", w.authority.Rotate(rand.Reader, w.root, &w.next.PublicKey, later(2)), ErrPolicy)
	last := *w.authority
	last.Links = []*Link{{Anchor: newAnchor(RootName{1, 255}, &w.root.PublicKey, &w.next.PublicKey)}}
	last.keys = make([]string, 256)
	wantError(t, "after the last epoch", last.CanRotate(later(256)), ErrPolicy)
}

// A run that stops anywhere leaves the old root in its place, or the new one: the same request completes it.
func TestRotateInterrupted(t *testing.T) {
	after := newKey(t)
	for name, stop := range map[string]func(t *testing.T, w *works) (repair func()){
		"authority.yaml written": func(t *testing.T, w *works) func() {
			return occupied(t, w.path("root-2.pem"))
		},
		"X.509 certificate written": func(t *testing.T, w *works) func() {
			return occupied(t, w.path("root-2.c509"))
		},
		"before the link": func(t *testing.T, w *works) func() {
			return occupied(t, w.path("link-2.cbor"))
		},
	} {
		w := newWorks(t)
		w.firstOrder(t, 10)
		repair := stop(t, w)
		if err := w.authority.Rotate(rand.Reader, w.next, &newKey(t).PublicKey, RotateRequest{"another.key", later(2).Now}); err == nil {
			t.Errorf("%s: it did not stop", name)
		}
		repair()
		if w.reload(t, 1); w.authority.Epoch() != 1 || w.authority.NextURI() != "next.key" {
			t.Errorf("%s: %+v", name, w.authority)
		}
		w.sign(t, w.requestNow(t, 5)) // the old root signs on
		if err := w.authority.Rotate(rand.Reader, w.next, &after.PublicKey, later(2)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if w.reload(t, 2); w.authority.Epoch() != 2 || !w.authority.Rotated(later(2)) || w.authority.RootURI() != "next.key" || len(w.authority.Links[0].Orders) != 2 {
			t.Errorf("%s, and completed: %+v", name, w.authority)
		}
	}
	for signatures := range 3 { // link and two certificates
		w := newWorks(t)
		err := w.authority.Rotate(rand.Reader, &tiringSigner{w.next, signatures}, &after.PublicKey, later(2))
		wantError(t, "a token that is gone", err, errSigner)
		if w.reload(t, 0); len(w.authority.keys) != 2 {
			t.Error("something was written")
		}
	}
}

// occupied puts a folder where a file is to go.
func occupied(t *testing.T, path string) (repair func()) {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// What one officer signs and what the other closes do not miss each other.
func TestRotateBesideOthers(t *testing.T) {
	w := newWorks(t)
	w.firstOrder(t, 10)
	load := func() *Authority {
		a, err := Load(w.authority.folder)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	stale := load()
	w.sign(t, w.requestNow(t, 10))
	wantError(t, "an order meanwhile", stale.Rotate(rand.Reader, w.next, &newKey(t).PublicKey, later(2)), ErrPolicy)
	stale, twin := load(), load()
	root := w.root
	w.rotate(t)
	_, err := stale.Order(rand.Reader, root, w.requestNow(t, 10))
	wantError(t, "an order of the closed root", err, ErrPolicy)
	wantError(t, "a list of the closed root", stale.Revoke(rand.Reader, root, RevokeRequest{Orders: []uint16{1}}), ErrPolicy)
	wantError(t, "a second rotation", twin.Rotate(rand.Reader, w.root, &newKey(t).PublicKey, later(2)), ErrPolicy)
	w.reload(t, 2)
}

// Every bit of a link counts, and that it closes what the folder has.
func TestLoadNoticesAlteredLinks(t *testing.T) {
	w := newWorks(t)
	first := w.authority.Anchor
	o := w.firstOrder(t, 10)
	oldRoot, nextRoot := w.root, w.next
	stale := *w.authority
	w.rotate(t)
	w.sign(t, w.requestNow(t, 10))
	link := readFile(t, w.path("link-2.cbor"))
	for bit := range 8 * len(link) {
		link[bit/8] ^= 1 << (bit % 8)
		writeFile(t, w.path("link-2.cbor"), link)
		if _, err := Load(w.authority.folder); !errors.Is(err, ErrVerify) && !errors.Is(err, ErrMalformed) {
			t.Errorf("byte %d, bit %d: %v", bit/8, bit%8, err)
		}
		link[bit/8] ^= 1 << (bit % 8)
	}
	for name, orders := range map[string][]*OrderCertificate{"no order": nil, "an order more": {o.Certificate, newWorksWith(t, oldRoot, nextRoot, newKey(t)).firstOrder(t, 5).Certificate}} {
		other, err := SignLink(rand.Reader, w.root, first, &w.next.PublicKey, orders)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, w.path("link-2.cbor"), other.Object)
		_, err = Load(w.authority.folder)
		wantError(t, name, err, ErrVerify)
	}
	if err := os.Remove(w.path("link-2.cbor")); err != nil {
		t.Fatal(err)
	}
	_, err := Load(w.authority.folder)
	wantError(t, "no link", err, ErrVerify) // order 2 is of a root that nothing leads to
	writeFile(t, w.path("link-2.cbor"), link)
	w.reload(t, 2)
	// The old root signs on: as the last order, and in the place of one of the new root's.
	thief := stale
	thief.folder = filepath.Join(t.TempDir(), "thief")
	if err := os.CopyFS(thief.folder, os.DirFS(w.authority.folder)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(thief.linkPath(2)), os.Remove(filepath.Join(thief.folder, "orders", "00002.order"))); err != nil {
		t.Fatal(err)
	}
	theirs, err := thief.Order(rand.Reader, oldRoot, w.requestNow(t, 5))
	if err != nil {
		t.Fatal(err)
	}
	good := readFile(t, w.path("orders", "00002.order"))
	writeFile(t, w.path("orders", "00002.order"), theirs.File)
	_, err = Load(w.authority.folder)
	wantError(t, "a thief's order", err, ErrVerify)
	writeFile(t, w.path("orders", "00002.order"), good)
	w.reload(t, 2)
}

// As many orders as docs/formats.md says can be closed in the page that units keep links in.
func TestRoom(t *testing.T) {
	w := newWorks(t)
	a := w.authority
	if a.Remaining() != 32 || a.RemainingInLife() != 3*32+5 {
		t.Errorf("new: %d, %d in all", a.Remaining(), a.RemainingInLife())
	}
	w.sign(t, w.requestNow(t, 1))
	if a.Remaining() != 31 || a.RemainingInLife() != 100 {
		t.Errorf("after one: %d, %d in all", a.Remaining(), a.RemainingInLife())
	}
	for i := range 9 { // roots of an order each
		w.rotate(t)
		w.sign(t, w.requestNow(t, 1))
		if want := [...]int{31, 31, 31, 31, 31, 31, 31, 18, 2}[i]; w.authority.Remaining() != want {
			t.Errorf("root %d: %d", i+2, w.authority.Remaining())
		}
	}
	w.rotate(t)
	if w.authority.Remaining() != 0 || w.authority.RemainingInLife() != 0 {
		t.Errorf("root 11: %d, %d in all", w.authority.Remaining(), w.authority.RemainingInLife())
	}
	wantError(t, "an order that nothing could close", w.authority.CanOrder(w.requestNow(t, 1)), ErrPolicy)
	wantError(t, "a root without room for its link", w.authority.CanRotate(later(12)), ErrPolicy)
	w.reload(t, 10)
}

func TestKnows(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 10)
	if err := w.authority.Knows(1, o.Certificate.Fingerprint()); err != nil {
		t.Error(err)
	}
	other := newWorks(t).firstOrder(t, 10).Certificate.Fingerprint()
	wantError(t, "another order 1", w.authority.Knows(1, other), ErrUnknownOrder)
	wantError(t, "order 0", w.authority.Knows(0, o.Certificate.Fingerprint()), ErrUnknownOrder)
	wantError(t, "order 2", w.authority.Knows(2, o.Certificate.Fingerprint()), ErrUnknownOrder)
}

func TestRevoke(t *testing.T) {
	w := newWorks(t)
	one := w.firstOrder(t, 16)
	w.sign(t, w.requestNow(t, 16))
	first := one.Certificate.Range.First
	revoke := func(r RevokeRequest) error { return w.authority.Revoke(rand.Reader, w.root, r) }
	for _, test := range []struct {
		name string
		r    RevokeRequest
		want error
	}{
		{"an order that there is not", RevokeRequest{Orders: []uint16{3}}, ErrPolicy},
		{"order 0", RevokeRequest{Orders: []uint16{0}}, ErrPolicy},
		{"a unit that there is not", RevokeRequest{Serials: []EUI64{first + 32}}, ErrPolicy},
		{"a range that there is not", RevokeRequest{Ranges: []Range{{first + 32, first + 64}}}, ErrPolicy},
		{"a range of one", RevokeRequest{Ranges: []Range{{first, first}}}, ErrMalformed},
		{"a range that ends before", RevokeRequest{Ranges: []Range{{first + 1, first}}}, ErrMalformed},
		{"nobody", RevokeRequest{}, ErrPolicy},
		{"off a list that there is not", RevokeRequest{Serials: []EUI64{first}, Lift: true}, ErrPolicy},
	} {
		wantError(t, test.name, revoke(test.r), test.want)
	}
	if w.authority.List != nil || w.authority.ListOutdated() {
		t.Fatal("there is a list")
	}
	if _, err := os.Stat(w.path("lists")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	wantError(t, "another key", w.authority.Revoke(rand.Reader, w.next, RevokeRequest{Orders: []uint16{1}}), ErrVerify)
	for i, step := range []struct {
		r    RevokeRequest
		want StatusList
	}{
		{RevokeRequest{Serials: []EUI64{first + 3, first + 1, first + 3}}, StatusList{Serials: []EUI64{first + 1, first + 3}}},
		{RevokeRequest{Orders: []uint16{2, 2}, Ranges: []Range{{first + 8, first + 9}, {first + 4, first + 7}, {first + 12, first + 14}}},
			StatusList{Orders: []OrderName{{1, 1, 0, 2}}, Ranges: []Range{{first + 4, first + 9}, {first + 12, first + 14}}, Serials: []EUI64{first + 1, first + 3}}},
		{RevokeRequest{Ranges: []Range{{first + 6, first + 13}}}, // swallows one and a half
			StatusList{Orders: []OrderName{{1, 1, 0, 2}}, Ranges: []Range{{first + 4, first + 14}}, Serials: []EUI64{first + 1, first + 3}}},
		{RevokeRequest{Lift: true, Orders: []uint16{2}, Ranges: []Range{{first + 4, first + 14}}, Serials: []EUI64{first + 1}}, StatusList{Serials: []EUI64{first + 3}}},
		{RevokeRequest{Lift: true, Serials: []EUI64{first + 3}}, StatusList{}},
	} {
		if err := revoke(step.r); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		w.reload(t, 2)
		l := w.authority.List
		if l.Number != uint32(i+1) || !slices.Equal(l.Orders, step.want.Orders) || !slices.Equal(l.Ranges, step.want.Ranges) || !slices.Equal(l.Serials, step.want.Serials) {
			t.Errorf("step %d: %+v", i, l)
		}
	}
	inside := RevokeRequest{Ranges: []Range{{first, first + 9}}}
	if err := revoke(inside); err != nil {
		t.Fatal(err)
	}
	wantError(t, "inside a listed range", revoke(RevokeRequest{Ranges: []Range{{first + 1, first + 2}}}), ErrPolicy)
	wantError(t, "a part of a listed range", revoke(RevokeRequest{Ranges: []Range{{first + 1, first + 2}}, Lift: true}), ErrPolicy)
	if err := os.RemoveAll(w.path("lists")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, w.path("lists"), nil)
	if revoke(inside) == nil {
		t.Error("a list that has no place")
	}
}

// Lists are numbered through the authority's life, and signed anew when the root changes.
func TestRenewList(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 16)
	if err := w.authority.Revoke(rand.Reader, w.root, RevokeRequest{Serials: []EUI64{o.Certificate.Range.First}}); err != nil {
		t.Fatal(err)
	}
	after := newKey(t)
	if err := w.authority.Rotate(rand.Reader, w.next, &after.PublicKey, later(2)); err != nil {
		t.Fatal(err)
	}
	w.reload(t, 1)
	if !w.authority.ListOutdated() {
		t.Error("the list is not outdated")
	}
	_, err := w.authority.Publish()
	wantError(t, "an outdated list", err, ErrPolicy)
	wantError(t, "signed by the old root", w.authority.RenewList(rand.Reader, w.root), ErrVerify)
	for range 2 { // the second time there is nothing to do
		if err := w.authority.RenewList(rand.Reader, w.next); err != nil {
			t.Fatal(err)
		}
		w.reload(t, 1)
		if l := w.authority.List; l.Number != 2 || l.Root != (RootName{1, 2}) || len(l.Serials) != 1 || w.authority.ListOutdated() {
			t.Errorf("%+v", l)
		}
	}
	// Every bit of a list counts, and its place.
	one, two := readFile(t, w.path("lists", "00001.list")), readFile(t, w.path("lists", "00002.list"))
	for name, spoil := range map[string]func(){
		"a bit": func() { bad := bytes.Clone(one); bad[20] ^= 1; writeFile(t, w.path("lists", "00001.list"), bad) },
		"swapped": func() {
			writeFile(t, w.path("lists", "00001.list"), two)
			writeFile(t, w.path("lists", "00002.list"), one)
		},
		"twice":       func() { writeFile(t, w.path("lists", "00003.list"), two) },
		"a gap":       func() { os.Remove(w.path("lists", "00001.list")) },
		"no link":     func() { os.Remove(w.path("link-2.cbor")) },
		"old root on": func() { writeFile(t, w.path("lists", "00003.list"), listOf(t, w.authority.Anchor, w.root, 3)) },
		"cut":         func() { writeFile(t, w.path("lists", "00002.list"), two[:50]) },
		"foreign":     func() { writeFile(t, w.path("lists", "notes"), nil) },
	} {
		link := readFile(t, w.path("link-2.cbor"))
		spoil()
		if _, err := Load(w.authority.folder); !errors.Is(err, ErrVerify) && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if err := errors.Join(os.RemoveAll(w.path("lists")), os.Mkdir(w.path("lists"), 0o755)); err != nil {
			t.Fatal(err)
		}
		writeFile(t, w.path("lists", "00001.list"), one)
		writeFile(t, w.path("lists", "00002.list"), two)
		writeFile(t, w.path("link-2.cbor"), link)
	}
	w.reload(t, 1)
}

// listOf is an empty list of this number.
func listOf(t *testing.T, a Anchor, root *ecdsa.PrivateKey, number uint32) []byte {
	t.Helper()
	l, err := SignStatusList(rand.Reader, root, a, StatusList{Number: number})
	if err != nil {
		t.Fatal(err)
	}
	return l.Object
}

// The figures of docs/formats.md: what 20 entries take, how many serial numbers fit, and how many any encoding could fit.
func TestListFigures(t *testing.T) {
	c := newChain(t)
	size := func(list StatusList) int {
		l, err := SignStatusList(rand.Reader, c[1], c.anchor(1), list)
		if err != nil {
			return math.MaxInt
		}
		return len(l.Object)
	}
	// units of which so many bytes are common, and no more.
	units := func(n, common int) (serials []EUI64) {
		step := EUI64(1) << (8*(8-common) - 8)
		for i := range n {
			serials = append(serials, 0x0200000000000000+EUI64(i)*step)
		}
		return serials
	}
	most := func(common int) int {
		n := 0
		for n < 255 && size(StatusList{Serials: units(n+1, common)}) <= maxList {
			n++
		}
		return n
	}
	var orders []OrderName
	for n := range byte(20) {
		orders = append(orders, OrderName{1, 1, 0, n + 1})
	}
	for common, want := range map[int]int{0: 53, 4: 106, 5: 141} {
		if got := most(common); got != want {
			t.Errorf("%d serial numbers fit under %d common bytes, want %d", got, common, want)
		}
	}
	// Which n of 2^24 possible units are listed takes log2 of the ways to choose them: what a perfect code needs, in the bytes that
	// most(5) take.
	room, bound := float64(8*3*most(5)), 0
	choose := func(n int) float64 {
		a, _ := math.Lgamma(float64(1<<24 + 1))
		b, _ := math.Lgamma(float64(n + 1))
		d, _ := math.Lgamma(float64(1<<24 - n + 1))
		return (a - b - d) / math.Ln2
	}
	for choose(bound+1) <= room {
		bound++
	}
	if worst := size(StatusList{Serials: units(20, 0)}); worst > 256 {
		t.Errorf("20 units take %d bytes", worst)
	}
	text := strings.Join(strings.Fields(string(readFile(t, "../docs/formats.md"))), " ")
	for _, want := range []string{
		fmt.Sprintf("Twenty units take %d bytes at worst, %d under five common bytes; twenty orders %d.",
			size(StatusList{Serials: units(20, 0)}), size(StatusList{Serials: units(20, 5)}), size(StatusList{Orders: orders})),
		fmt.Sprintf("Beside nothing else %d serial numbers fit (p = 0), %d under four common bytes, %d under five.", most(0), most(4), most(5)),
		fmt.Sprintf("what any encoding could do in that space, %d (log2 of the ways to choose n of them)", bound),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("docs/formats.md does not say: %s", want)
		}
	}
}

// At least as many serial numbers fit as ListRoom says, whichever they are.
func TestListRoom(t *testing.T) {
	w := newWorks(t)
	w.firstOrder(t, 70000) // three bytes of their own
	room := w.authority.ListRoom()
	if room != 141 {
		t.Errorf("room for %d", room)
	}
	first := w.authority.Orders[0].Certificate.Range.First
	var r RevokeRequest
	for i := range room + 1 {
		r.Serials = append(r.Serials, first+EUI64(i*490))
	}
	wantError(t, "one too many", w.authority.CanRevoke(r), ErrPolicy)
	r.Serials = r.Serials[1:]
	if err := w.authority.Revoke(rand.Reader, w.root, r); err != nil {
		t.Fatal(err)
	}
	if room := w.authority.ListRoom(); room != 0 {
		t.Errorf("room for %d more", room)
	}
}
