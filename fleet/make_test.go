package fleet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/templates"
)

var ends = []string{"", ".cbor", ".jsonl", ".tar", ".db"}

func demoSensor(t testing.TB) *ca.Profile {
	t.Helper()
	text, err := templates.Product("demo-sensor")
	if err != nil {
		t.Fatal(err)
	}
	profile, err := ca.ParseProfile(text)
	if err != nil {
		t.Fatal(err)
	}
	return profile
}

func makeRequest(t testing.TB, out string) MakeRequest {
	t.Helper()
	return MakeRequest{Out: out, Units: 600, Orders: 7, Seed: "42", X509: true, Profile: demoSensor(t)}
}

func mustMake(t testing.TB, r MakeRequest) {
	t.Helper()
	last := -1
	if err := Make(t.Context(), r, func(n int) { last = n }); err != nil {
		t.Fatal(err)
	}
	if last != r.Units {
		t.Fatalf("%d units reported, not %d", last, r.Units)
	}
}

func read(t testing.TB, path string) (*Fleet, []Unit) {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var units []Unit
	for u, err := range f.Units() {
		if err != nil {
			t.Fatal(err)
		}
		units = append(units, u)
	}
	return f, units
}

// content is what lies at a path, file by file.
func content(t testing.TB, at string) map[string][32]byte {
	t.Helper()
	files := map[string][32]byte{}
	err := filepath.WalkDir(at, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(at, path)
		files[name] = sha256.Sum256(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func same(a, b map[string][32]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for name, sum := range a {
		if b[name] != sum {
			return false
		}
	}
	return true
}

// A fleet is the same in all forms, its units are genuine, and the same seed gives the same bytes.
func TestMake(t *testing.T) {
	var first []Unit
	for _, end := range ends {
		out := filepath.Join(t.TempDir(), "fleet"+end)
		r := makeRequest(t, out)
		mustMake(t, r)
		f, units := read(t, out)
		if f.Head.Seed != "42" || len(f.Orders) != 7 || len(units) != r.Units {
			t.Fatalf("%s: %d orders, %d units", out, len(f.Orders), len(units))
		}
		if first == nil {
			first = units
			genuine(t, f, units)
		}
		for i, u := range units {
			if w := first[i]; u.Serial != w.Serial || u.Order != w.Order || u.Key != w.Key || !bytes.Equal(u.Certificate, w.Certificate) || !bytes.Equal(u.X509, w.X509) {
				t.Fatalf("%s: unit %d differs", out, i)
			}
		}
		again := filepath.Join(t.TempDir(), "fleet"+end)
		r.Out = again
		mustMake(t, r)
		if !same(content(t, out), content(t, again)) {
			t.Errorf("%s: the same seed gives other bytes", out)
		}
		r.Out, r.Units, r.Seed = filepath.Join(t.TempDir(), "fleet"+end), 10, "43"
		mustMake(t, r)
		if _, others := read(t, r.Out); others[0].Key == first[0].Key || bytes.Equal(others[0].Certificate, first[0].Certificate) {
			t.Errorf("%s: another seed gives the same unit", out)
		}
	}
}

func genuine(t *testing.T, f *Fleet, units []Unit) {
	t.Helper()
	seen := map[ca.EUI64]bool{}
	count := map[uint16]uint64{}
	for _, u := range units {
		o, ok := f.Order(u.Order)
		if !ok || seen[u.Serial] {
			t.Fatalf("unit %v of order %d", u.Serial, u.Order)
		}
		seen[u.Serial] = true
		count[u.Order]++
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), u.Key[:])
		if err != nil {
			t.Fatal(err)
		}
		c, err := ca.ParseUnitCertificate(u.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Bundle.VerifyUnit(o.Certificate, c); err != nil || c.Serial != u.Serial || !c.Key.Equal(key.Public()) {
			t.Fatalf("unit %v: %v", u.Serial, err)
		}
		public, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if err := ca.CheckRecorded(c, o, uint64(u.Serial), [64]byte(public[1:]), o.Issued, u.X509); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range f.Orders {
		if !o.Test() || count[o.Number()] != o.Count {
			t.Errorf("order %d: test %v, %d units of %d", o.Number(), o.Test(), count[o.Number()], o.Count)
		}
	}
}

// A run that is broken off at any batch leaves whole units, and the next one goes on with them. What a torn end leaves is dropped.
func TestMakeResumes(t *testing.T) {
	for _, end := range ends {
		out := filepath.Join(t.TempDir(), "fleet"+end)
		r := makeRequest(t, out)
		ctx, cancel := context.WithCancel(t.Context())
		stopped := 0
		err := Make(ctx, r, func(n int) {
			if n > 0 {
				stopped = n
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) || stopped == 0 || stopped == r.Units {
			t.Fatalf("%s: %d units, %v", out, stopped, err)
		}
		if _, units := read(t, out); len(units) != stopped {
			t.Errorf("%s: %d units are there, %d were reported", out, len(units), stopped)
		}
		if end != "" && end != ".db" {
			tear(t, out)
		}
		began := -1
		if err := Make(t.Context(), r, func(n int) {
			if began < 0 {
				began = n
			}
		}); err != nil {
			t.Fatal(err)
		}
		if began == 0 || began > stopped {
			t.Errorf("%s: goes on at %d of %d", out, began, stopped)
		}
		r.Out = filepath.Join(t.TempDir(), "fleet"+end)
		mustMake(t, r)
		if end == ".db" { // its header counts transactions
			_, a := read(t, out)
			_, b := read(t, r.Out)
			if len(a) != len(b) || a[len(a)-1].Key != b[len(b)-1].Key {
				t.Errorf("%s: other rows", out)
			}
		} else if !same(content(t, out), content(t, r.Out)) {
			t.Errorf("%s: other bytes than in one go", out)
		}
		before := content(t, r.Out)
		mustMake(t, r) // all of it is there
		if !same(content(t, r.Out), before) {
			t.Errorf("%s: made again", r.Out)
		}
	}
}

// tear takes some bytes off the end.
func tear(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()-100)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestMakeRefuses(t *testing.T) {
	for _, end := range ends {
		out := filepath.Join(t.TempDir(), "fleet"+end)
		r := makeRequest(t, out)
		r.Units, r.Orders = 3, 1
		mustMake(t, r)
		before := content(t, out)
		for name, change := range map[string]func(r *MakeRequest){
			"seed":   func(r *MakeRequest) { r.Seed = "x" },
			"units":  func(r *MakeRequest) { r.Units = 4 },
			"orders": func(r *MakeRequest) { r.Orders = 2 },
			"twins":  func(r *MakeRequest) { r.X509 = false },
		} {
			other := r
			change(&other)
			if err := Make(t.Context(), other, func(int) {}); !errors.Is(err, ErrOther) {
				t.Errorf("%s, other %s: %v", end, name, err)
			}
		}
		if !same(content(t, out), before) {
			t.Errorf("%s: changed", out)
		}
		foreign := filepath.Join(t.TempDir(), "notes"+end)
		var err error
		if end == "" {
			err = os.Mkdir(foreign, 0o755)
		} else {
			err = os.WriteFile(foreign, []byte("{\"birthmark\":\"else\"}\n"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		r.Out = foreign
		if err := Make(t.Context(), r, func(int) {}); !errors.Is(err, ErrNotMade) {
			t.Errorf("%s: %v", foreign, err)
		}
	}
	for _, change := range []func(r *MakeRequest){
		func(r *MakeRequest) { r.Units = 0 }, func(r *MakeRequest) { r.Units = MaxMade + 1 }, func(r *MakeRequest) { r.Orders = 33 },
		func(r *MakeRequest) { r.Orders = 0 }, func(r *MakeRequest) { r.Units, r.Orders = 2, 3 }, func(r *MakeRequest) { r.Seed = "" },
	} {
		r := makeRequest(t, filepath.Join(t.TempDir(), "fleet"))
		change(&r)
		if err := Make(t.Context(), r, func(int) {}); !errors.Is(err, ErrRange) {
			t.Errorf("%d units, %d orders, seed %q: %v", r.Units, r.Orders, r.Seed, err)
		}
	}
}
