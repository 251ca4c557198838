package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// reload reads the authority's folder again, and wants so many orders there.
func (w *works) reload(t testing.TB, orders int) {
	t.Helper()
	a, err := Load(w.authority.folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Orders) != orders {
		t.Fatalf("%d orders, want %d", len(a.Orders), orders)
	}
	w.authority = a
}

func (w *works) path(elements ...string) string {
	return filepath.Join(append([]string{w.authority.folder}, elements...)...)
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestInit(t *testing.T) {
	w := newWorks(t)
	a := w.authority
	if a.Name != "ACME" || !a.Test || a.Prefix.String() != "02-1A-2B" || a.RootURI() != "root.key" || a.NextURI() != "next.key" || a.OldURI() != "" || len(a.Orders) != 0 {
		t.Errorf("%+v", a)
	}
	if a.Anchor.Name() != (RootName{1, 1}) || !a.Anchor.Key().Equal(&w.root.PublicKey) || a.Anchor.Next() != keyHash(&w.next.PublicKey) {
		t.Errorf("anchor %x", a.Anchor)
	}
	for _, name := range []string{"root-1.pem", "root-1.c509", "authority.yaml"} {
		if info, err := os.Stat(w.path(name)); err != nil || info.Mode().Perm() != 0o644 { // nothing in it is secret
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	w.reload(t, 0)
	if w.authority.Anchor != a.Anchor || w.authority.Prefix.String() != a.Prefix.String() {
		t.Errorf("loaded %+v", w.authority)
	}
	r := w.initRequest(filepath.Join(t.TempDir(), "drawn"))
	r.Prefix = nil
	if drawn, err := Init(rand.Reader, w.root, w.next, r); err != nil || len(drawn.Prefix) != 3 {
		t.Errorf("%v, %v", drawn, err)
	}
}

func TestInitRefused(t *testing.T) {
	root, next := newKey(t), newKey(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorks(t)
	for _, test := range []struct {
		name       string
		root, next *ecdsa.PrivateKey
		change     func(r *InitRequest)
		want       error
	}{
		{"two equal keys", root, root, func(*InitRequest) {}, ErrPolicy},
		{"a root on P-384", p384, next, func(*InitRequest) {}, ErrMalformed},
		{"a next root on P-384", root, p384, func(*InitRequest) {}, ErrMalformed},
		{"one place for both", root, next, func(r *InitRequest) { r.NextURI = r.RootURI }, ErrPolicy},
		{"a production root in a file", root, next, func(r *InitRequest) { r.Test = false }, ErrPolicy},
		{"no name", root, next, func(r *InitRequest) { r.Name = "" }, ErrMalformed},
		{"a long name", root, next, func(r *InitRequest) { r.Name = strings.Repeat("x", 48) }, ErrMalformed},
		{"a name of two lines", root, next, func(r *InitRequest) { r.Name = "A\nB" }, ErrMalformed},
		{"an empty prefix", root, next, func(r *InitRequest) { r.Prefix = Prefix{} }, ErrMalformed},
		{"a group prefix", root, next, func(r *InitRequest) { r.Prefix = Prefix{1, 2, 3} }, ErrMalformed},
		{"a folder that is taken", root, next, func(r *InitRequest) { r.Folder = w.authority.folder }, ErrPolicy},
		{"a time before 1970", root, next, func(r *InitRequest) { r.Now = time.Time{} }, ErrMalformed},
	} {
		folder := filepath.Join(t.TempDir(), "authority")
		r := w.initRequest(folder)
		test.change(&r)
		a, err := Init(rand.Reader, test.root, test.next, r)
		wantError(t, test.name, err, test.want)
		if a != nil {
			t.Errorf("%s: an authority beside an error", test.name)
		}
		if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something was written: %v", test.name, err)
		}
	}
	w.reload(t, 0) // the folder that was taken
	_, err = Init(rand.Reader, refusingSigner{root}, next, w.initRequest(filepath.Join(t.TempDir(), "authority")))
	wantError(t, "a token that is gone", err, errSigner)
}

func TestProductionAuthority(t *testing.T) {
	w := newWorks(t)
	r := w.initRequest(filepath.Join(t.TempDir(), "authority"))
	r.Test, r.RootURI = false, "pkcs11:token=officer;object=root-1"
	a, err := Init(rand.Reader, w.root, w.next, r)
	if err != nil || a.Test || a.Anchor.Name() != (RootName{0, 1}) || a.roots[0].Subject.CommonName != "ACME Root 1" {
		t.Errorf("%+v, %v", a, err)
	}
}

// The longest name leaves a commonName of RFC 5280's bound.
func TestLongestAuthorityName(t *testing.T) {
	w := newWorks(t)
	r := w.initRequest(filepath.Join(t.TempDir(), "authority"))
	r.Name = strings.Repeat("x", maxAuthority)
	if _, err := Init(rand.Reader, w.root, w.next, r); err != nil {
		t.Error(err)
	}
	if name := people(r.Name, true, "Order", 65535); len(name) != 64 {
		t.Errorf("%q has %d bytes", name, len(name))
	}
}

// A run that stopped before authority.yaml was written is repeated, whatever it left.
func TestInitAfterInterruption(t *testing.T) {
	w := newWorks(t)
	for _, left := range [][]string{
		{},
		{"orders"},
		{"orders", ".new-1"},
		{"orders", "root-1.pem"},
		{"orders", "root-1.pem", "root-1.c509"},
		{"orders", "root-1.pem", "root-1.c509", ".new-1"},
	} {
		folder := filepath.Join(t.TempDir(), "authority")
		for _, name := range left {
			if name == "orders" {
				if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
					t.Fatal(err)
				}
				continue
			}
			writeFile(t, filepath.Join(folder, name), []byte("half"))
		}
		if _, err := Load(folder); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: %v", left, err)
		}
		if _, err := Init(rand.Reader, w.root, w.next, w.initRequest(folder)); err != nil {
			t.Errorf("%v: %v", left, err)
		}
	}
}

// Every bit of the root's files counts, and what authority.yaml says where a certificate says it as well.
func TestLoadNoticesAlteredRoots(t *testing.T) {
	w := newWorks(t)
	native := w.path("root-1.c509")
	content := readFile(t, native)
	for bit := range 8 * len(content) {
		content[bit/8] ^= 1 << (bit % 8)
		writeFile(t, native, content)
		if _, err := Load(w.authority.folder); !errors.Is(err, ErrVerify) && !errors.Is(err, ErrMalformed) {
			t.Errorf("root-1.c509, byte %d, bit %d: %v", bit/8, bit%8, err)
		}
		content[bit/8] ^= 1 << (bit % 8)
	}
	writeFile(t, native, content)
	other := newWorks(t)
	for _, test := range []struct {
		file    string
		content func(good []byte) []byte
		want    error
	}{
		{"root-1.c509", func([]byte) []byte { return readFile(t, other.path("root-1.c509")) }, ErrVerify},
		{"root-1.c509", func([]byte) []byte { return nil }, ErrMalformed},
		{"root-1.pem", func([]byte) []byte { return readFile(t, other.path("root-1.pem")) }, ErrVerify},
		{"root-1.pem", func(good []byte) []byte { return good[:200] }, ErrMalformed},
		{"root-1.pem", func([]byte) []byte {
			return []byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
		}, ErrMalformed},
	} {
		good := readFile(t, w.path(test.file))
		writeFile(t, w.path(test.file), test.content(good))
		_, err := Load(w.authority.folder)
		wantError(t, test.file, err, test.want)
		writeFile(t, w.path(test.file), good)
	}
	for _, name := range []string{"root-1.pem", "root-1.c509", "authority.yaml", "orders"} {
		if err := os.Rename(w.path(name), w.path("away")); err != nil {
			t.Fatal(err)
		}
		_, err := Load(w.authority.folder)
		wantError(t, name+" missing", err, fs.ErrNotExist)
		if err := os.Rename(w.path("away"), w.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	w.reload(t, 0)
}

func TestLoadNoticesAlteredSettings(t *testing.T) {
	w := newWorks(t)
	w.firstOrder(t, 10)
	good := string(readFile(t, w.path("authority.yaml")))
	anchor := hex.EncodeToString(w.authority.Anchor[:])
	otherNext := newAnchor(RootName{1, 1}, &w.root.PublicKey, &newKey(t).PublicKey)
	productive := newAnchor(RootName{0, 1}, &w.root.PublicKey, &w.next.PublicKey)
	for _, test := range []struct {
		old, new string
		want     error
	}{
		{"name: ACME", "name: EMCA", ErrVerify},
		{"authority/1", "authority/2", ErrMalformed},
		{anchor, anchor[2:], ErrMalformed},
		{anchor, "zz" + anchor[2:], ErrMalformed},
		{anchor, hex.EncodeToString(otherNext[:]), ErrVerify},
		{anchor, hex.EncodeToString(productive[:]), ErrVerify},
		{"02-1A-2B", "02-1A-2C", ErrVerify},
		{"02-1A-2B", "03-1A-2B", ErrMalformed},
		{"name:", "Name:", ErrMalformed},
		{"name: ACME", "name: ACME\nname: ACME", ErrMalformed},
		{"name: ACME", "name: ACME\n---\n", ErrMalformed},
		{"name: ACME", "name: [", ErrMalformed},
		{"root.key", "moved.key", nil},
		{"    - next.key", "    - next.key\n    - after.key", nil}, // a rotation is prepared
		{"    - next.key", "    - next.key\n    - after.key\n    - one-more.key", ErrVerify},
		{"    - next.key\n", "", ErrVerify},
	} {
		text := strings.Replace(good, test.old, test.new, 1)
		if text == good {
			t.Fatalf("%q is not in %s", test.old, good)
		}
		writeFile(t, w.path("authority.yaml"), []byte(text))
		_, err := Load(w.authority.folder)
		wantError(t, test.new, err, test.want)
	}
}

// TestLoadNoticesBrokenChains has a folder of three orders, and each way to take one out, put one in, or exchange two.
func TestLoadNoticesBrokenChains(t *testing.T) {
	w := newWorks(t)
	w.firstOrder(t, 10)
	fork := *w.authority // an officer's copy of the folder after order 1
	fork.folder = filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(fork.folder, os.DirFS(w.authority.folder)); err != nil {
		t.Fatal(err)
	}
	w.sign(t, w.request(t, 10))
	w.sign(t, w.request(t, 10))
	forked, err := fork.Order(rand.Reader, w.root, w.request(t, 99))
	if err != nil {
		t.Fatal(err)
	}
	one, two, three := w.path("orders", "00001.order"), w.path("orders", "00002.order"), w.path("orders", "00003.order")
	files := [][]byte{readFile(t, one), readFile(t, two), readFile(t, three)}
	other := newWorks(t)
	for name, spoil := range map[string]func(){
		"order 1 missing":           func() { os.Remove(one) },
		"order 2 missing":           func() { os.Remove(two) },
		"orders 2 and 3 swapped":    func() { writeFile(t, two, files[2]); writeFile(t, three, files[1]) },
		"order 2 twice":             func() { writeFile(t, three, files[1]) },
		"the fork in place of 2":    func() { writeFile(t, two, forked.File) },
		"the fork as a fourth":      func() { writeFile(t, w.path("orders", "00004.order"), forked.File) },
		"another authority's order": func() { writeFile(t, one, other.firstOrder(t, 10).File) },
		"a bit of order 2":          func() { flipped := bytes.Clone(files[1]); flipped[len(flipped)/2] ^= 1; writeFile(t, two, flipped) },
		"order 2 empty":             func() { writeFile(t, two, nil) },
		"a foreign file":            func() { writeFile(t, w.path("orders", "00004.order~"), files[2]) },
		"a hidden file":             func() { writeFile(t, w.path("orders", ".hidden"), files[2]) },
	} {
		spoil()
		if _, err := Load(w.authority.folder); !errors.Is(err, ErrVerify) && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.RemoveAll(w.path("orders")); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(w.path("orders"), 0o755); err != nil {
			t.Fatal(err)
		}
		for i, path := range []string{one, two, three} {
			writeFile(t, path, files[i])
		}
	}
	w.reload(t, 3)
	// The tail may be cut without a trace in the folder: the ledgers of stations and the status list know more.
	if err := os.Remove(three); err != nil {
		t.Fatal(err)
	}
	w.reload(t, 2)
}

// What a stolen root could sign and this program would not: a chain that is whole, and an order in it that must not be.
func TestLoadNoticesForbiddenOrders(t *testing.T) {
	for _, test := range []struct {
		name   string
		forked bool // it follows another order 1
		change func(w *works, o *OrderCertificate)
	}{
		{"another chain", true, func(*works, *OrderCertificate) {}},
		{"an overlap", false, func(w *works, o *OrderCertificate) { o.Range = w.authority.Orders[0].Certificate.Range }},
		{"an order key used before", false, func(w *works, o *OrderCertificate) { o.Key = &w.order.PublicKey }},
		{"the next root's key", false, func(w *works, o *OrderCertificate) { o.Key = &w.next.PublicKey }},
		{"another prefix", false, func(w *works, o *OrderCertificate) { o.Range = Range{0x0400000000000001, 0x0400000000000002} }},
		{"the number 3", false, func(_ *works, o *OrderCertificate) { o.Name[3] = 3 }},
		{"a time before order 1", false, func(w *works, o *OrderCertificate) { o.IssuedAt = w.authority.Orders[0].Issued.Add(-time.Second) }},
	} {
		w := newWorks(t)
		first := w.firstOrder(t, 10)
		draft, err := w.authority.next(w.request(t, 10))
		if err != nil {
			t.Fatal(err)
		}
		test.change(w, draft)
		previous := first.hash()
		if test.forked {
			previous[0] ^= 1
		}
		certificate, err := signOrderCertificate(rand.Reader, w.root, draft)
		if err != nil {
			t.Fatal(err)
		}
		form, err := orderX509(rand.Reader, "ACME", w.authority.roots[0], w.root, certificate, "line-1")
		if err != nil {
			t.Fatal(err)
		}
		file := payloadOf(t, first).with(payloadPrevious, previous[:]).with(payloadCertificate, certificate.Raw).with(payloadX509, form).
			with(payloadCount, 1).with(payloadIssued, certificate.IssuedAt.Unix()).signed(t, w.root)
		if _, err := ParseOrder(file); err != nil {
			t.Fatalf("%s: it is no order to begin with: %v", test.name, err)
		}
		writeFile(t, w.path("orders", "00002.order"), file)
		_, err = Load(w.authority.folder)
		wantError(t, test.name, err, ErrVerify)
	}
}

// A crash while a file is written leaves only its temporary name, which is no order and no obstacle.
func TestUnfinishedFiles(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 10)
	writeFile(t, w.path("orders", ".new-123"), o.File[:100])
	writeFile(t, w.path("orders", ".new-456"), o.File)
	writeFile(t, w.path(".new-789"), []byte("birthmark"))
	w.reload(t, 1)
	w.sign(t, w.request(t, 10))
	w.reload(t, 2)
}

// Of two officers' commands at once one fails, and the order that is there stays.
func TestTwoOfficers(t *testing.T) {
	w := newWorks(t)
	second, err := Load(w.authority.folder)
	if err != nil {
		t.Fatal(err)
	}
	o := w.firstOrder(t, 10)
	_, err = second.Order(rand.Reader, w.root, w.request(t, 20))
	wantError(t, "the later one", err, fs.ErrExist)
	if !bytes.Equal(readFile(t, w.authority.OrderPath(o)), o.File) || len(second.Orders) != 0 {
		t.Error("the later one left something")
	}
	w.reload(t, 1)
}

// A folder that takes no file loses nothing: the order is not there, and the next try makes it.
func TestOrderWithoutRoom(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 10)
	if err := os.Rename(w.path("orders"), w.path("away")); err != nil {
		t.Fatal(err)
	}
	_, err := w.authority.Order(rand.Reader, w.root, w.request(t, 10))
	wantError(t, "no folder", err, fs.ErrNotExist)
	if len(w.authority.Orders) != 1 {
		t.Error("an order that was not recorded counts")
	}
	if err := os.Rename(w.path("away"), w.path("orders")); err != nil {
		t.Fatal(err)
	}
	if next := w.sign(t, w.request(t, 10)); next.Number() != 2 || next.Previous != o.hash() {
		t.Errorf("%+v", next)
	}
	w.reload(t, 2)
}
