package ca

import (
	"crypto"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/birthmark/birthmark/internal/durable"
)

// lived makes an authority with two roots, three orders and two lists.
func lived(t *testing.T) *works {
	w := newWorks(t)
	w.firstOrder(t, 10)
	w.sign(t, w.request(t, 5))
	if err := w.authority.Revoke(rand.Reader, w.root, RevokeRequest{Orders: []uint16{1}, Serials: []EUI64{w.authority.Orders[1].Certificate.Range.First}}); err != nil {
		t.Fatal(err)
	}
	w.rotate(t)
	if err := w.authority.RenewList(rand.Reader, w.root); err != nil {
		t.Fatal(err)
	}
	w.sign(t, w.requestNow(t, 7))
	return w
}

// A mirror says what its authority says, over other keys, and refuses what that refuses.
func TestMirror(t *testing.T) {
	w := lived(t)
	keys := []crypto.Signer{newKey(t), newKey(t), newKey(t)}
	m, err := w.authority.Mirror(rand.Reader, filepath.Join(t.TempDir(), "mirror"), true, keys)
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != w.authority.Name || m.Epoch() != 2 || !slices.Equal(m.Prefix, w.authority.Prefix) || m.RootURI() != w.authority.RootURI() ||
		m.NextURI() != w.authority.NextURI() || m.Remaining() != w.authority.Remaining() || m.RemainingInLife() != w.authority.RemainingInLife() {
		t.Errorf("mirror %+v", m)
	}
	if !m.Newest().Key().Equal(keys[1].Public()) || m.Newest().Next() == w.authority.Newest().Next() {
		t.Error("the mirror has the authority's keys")
	}
	for i, o := range w.authority.Orders {
		n := m.Orders[i]
		if n.Number() != o.Number() || n.Epoch() != o.Epoch() || n.Station != o.Station || n.Certificate.Range != o.Certificate.Range ||
			!n.Certificate.Key.Equal(o.Certificate.Key) || !n.Issued.Equal(o.Issued) || !n.Expires.Equal(o.Expires) {
			t.Errorf("order %d became %+v", o.Number(), n)
		}
	}
	if m.List.Number != w.authority.List.Number || !slices.Equal(m.List.Serials, w.authority.List.Serials) || len(m.List.Orders) != 1 {
		t.Errorf("list %+v", m.List)
	}
	for _, a := range []*Authority{m, w.authority} {
		again := w.requestNow(t, 5)
		again.Request.Key = w.authority.Orders[0].Certificate.Key
		wantError(t, "an order key twice", a.CanOrder(again), ErrPolicy)
		early := w.requestNow(t, 5)
		early.Now = morning
		wantError(t, "a clock set back", a.CanOrder(early), ErrPolicy)
		wantError(t, "revoked already", a.CanRevoke(RevokeRequest{Orders: []uint16{1}}), ErrPolicy)
	}
}

// Whatever a copy has more is adopted, wherever an earlier call was cut short.
func TestAdopt(t *testing.T) {
	w := newWorks(t)
	w.firstOrder(t, 10)
	copied := filepath.Join(t.TempDir(), "sub", "copy")
	staged, err := w.authority.Copy(copied)
	if err != nil {
		t.Fatal(err)
	}
	kept, grown := w.authority, *w
	grown.authority = staged
	r := w.request(t, 3)
	r.Now = r.Now.Add(time.Minute)
	grown.sign(t, r)
	if err := staged.Revoke(rand.Reader, w.root, RevokeRequest{Orders: []uint16{2}}); err != nil {
		t.Fatal(err)
	}
	grown.rotate(t)
	if err := staged.RenewList(rand.Reader, grown.root); err != nil {
		t.Fatal(err)
	}
	files, err := authorityFiles(copied)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(files) + 1 {
		for _, born := range []bool{true, false} {
			folder := filepath.Join(t.TempDir(), "authority")
			if born {
				if _, err := kept.Copy(folder); err != nil {
					t.Fatal(err)
				}
			}
			slices.SortStableFunc(files, func(a, b string) int { return adoptionRank(a, born) - adoptionRank(b, born) })
			for _, name := range files[:cut] { // what the call that was cut had placed
				data, err := os.ReadFile(filepath.Join(copied, name))
				if err == nil {
					err = os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o755)
				}
				if err == nil {
					err = durable.Replace(filepath.Join(folder, name), data)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			_, err := Load(folder)
			if born && err != nil || !born && cut < len(files) && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("cut before %q, born %v: %v", files[min(cut, len(files)-1)], born, err)
			}
			a, err := Adopt(folder, copied)
			if err != nil {
				t.Fatalf("cut %d, born %v: %v", cut, born, err)
			}
			if a.Epoch() != 2 || len(a.Orders) != 2 || a.ListOutdated() || a.List == nil {
				t.Errorf("adopted %+v", a)
			}
		}
	}
}

// A copy of a folder in which somebody signed since is not adopted.
func TestAdoptBesideOthers(t *testing.T) {
	w := newWorks(t)
	copied := filepath.Join(t.TempDir(), "copy")
	staged, err := w.authority.Copy(copied)
	if err != nil {
		t.Fatal(err)
	}
	grown := *w
	grown.authority = staged
	grown.firstOrder(t, 10)
	other := w.sign(t, w.request(t, 3))
	_, err = Adopt(w.authority.folder, copied)
	wantError(t, "another order", err, ErrPolicy)
	if a, err := Load(w.authority.folder); err != nil || len(a.Orders) != 1 || a.Orders[0].hash() != other.hash() {
		t.Errorf("the folder changed: %v", err)
	}
}
