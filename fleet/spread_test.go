//go:build cgo

package fleet

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/rand"
	"flag"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

var update = flag.Bool("update", false, "write docs/spread.svg")

// maker has an authority that goes through its roots, each with an order and a station of its own.
type maker struct {
	authority  *ca.Authority
	root, next *ecdsa.PrivateKey
	order      *ca.Order
	key        *ecdsa.PrivateKey // the order's
	made       int
	profile    *ca.Profile
}

func newMaker(t *testing.T) *maker {
	t.Helper()
	m := &maker{root: newKey(t), next: newKey(t), profile: demoSensor(t)}
	var err error
	m.authority, err = ca.Init(rand.Reader, m.root, m.next, ca.InitRequest{
		Folder: filepath.Join(t.TempDir(), "authority"), Name: "Acme", Test: true, RootURI: "root-1.key", NextURI: "root-2.key", Now: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	m.newOrder(t)
	return m
}

// newOrder is for the units from now on.
func (m *maker) newOrder(t *testing.T) {
	t.Helper()
	m.key, m.made = newKey(t), 0
	text, err := ca.NewRequest(rand.Reader, "line-1", m.key)
	if err != nil {
		t.Fatal(err)
	}
	request, err := ca.ParseRequest(text)
	if err != nil {
		t.Fatal(err)
	}
	m.order, err = m.authority.Order(rand.Reader, m.root, ca.OrderRequest{Request: request, Profile: m.profile, Count: 99, Validity: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
}

// rotate replaces the root, and orders under the new one.
func (m *maker) rotate(t *testing.T) {
	t.Helper()
	after := newKey(t)
	r := ca.RotateRequest{AfterURI: fmt.Sprintf("root-%d.key", m.authority.Epoch()+2), Now: time.Now()}
	if err := m.authority.Rotate(rand.Reader, m.next, &after.PublicKey, r); err != nil {
		t.Fatal(err)
	}
	m.root, m.next = m.next, after
	if err := m.authority.RenewList(rand.Reader, m.root); err != nil {
		t.Fatal(err)
	}
	m.newOrder(t)
}

// unit makes the next unit of the order and seals it. Its image has the first root's hash; the links lead it to the order's.
func (m *maker) unit(t *testing.T, dir string, index int) (path string) {
	t.Helper()
	u, err := sim.Start(sim.Options{Dir: dir, Index: index, Image: device.Image{
		AnchorHash: m.authority.Anchor.Hash(), Product: m.profile.Product, Peers: m.profile.Peers,
	}})
	if err != nil {
		t.Fatal(err)
	}
	port, err := link.Open(u.Port(), 115200)
	if err != nil {
		t.Fatal(err)
	}
	talk := &served{link.Dial(port), u, t}
	defer talk.Close()
	h, err := talk.Hello(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	prepared, err := talk.Prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name := m.order.Certificate.Name
	proof, err := talk.Prove(t.Context(), [32]byte{}, name[:])
	if err != nil {
		t.Fatal(err)
	}
	draft, err := ca.Check(m.order, &m.authority.Bundle, ca.Candidate{Key: proof.Key, Firmware: h.Firmware, Anchor: h.AnchorHash, Product: h.Product,
		Configuration: prepared.Configuration}, true, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issued, err := draft.Sign(rand.Reader, m.key, m.order.Certificate.Range.First+ca.EUI64(m.made), time.Now(), false)
	if err != nil {
		t.Fatal(err)
	}
	m.made++
	give := [][]byte{m.authority.Anchor[:]}
	for _, l := range m.authority.Links {
		give = append(give, l.Object)
	}
	for _, object := range give {
		if _, err := talk.Link(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	if m.authority.List != nil {
		if _, err := talk.List(t.Context(), m.authority.List.Object); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := talk.Install(t.Context(), [32]byte{}, m.authority.Anchor[:], m.order.Certificate.Raw, issued.Certificate.Raw); err != nil {
		t.Fatal(err)
	}
	if _, err := talk.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

// copies gives copies of units, as they were when they were made.
func copies(t *testing.T, paths ...string) (units [2]string) {
	t.Helper()
	dir := t.TempDir()
	for i, path := range paths {
		units[i] = filepath.Join(dir, fmt.Sprintf("copy-%d", i+1))
		if err := sim.Copy(path, units[i]); err != nil {
			t.Fatal(err)
		}
	}
	return units
}

// newest is the one that goes further.
func newest(a, b device.Version) device.Version {
	if cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.ListEpoch, b.ListEpoch), cmp.Compare(a.ListNumber, b.ListNumber)) < 0 {
		return b
	}
	return a
}

// Units of four roots, each pair in both roles: they take each other for genuine, and then both trust the newer root and have the newer
// list. Those of one root need nobody to tell them.
func TestOldMeetsNew(t *testing.T) {
	m := newMaker(t)
	dir := t.TempDir()
	var units [4][2]string
	for epoch := range units {
		if epoch > 0 {
			m.rotate(t)
		}
		if epoch == 1 {
			serial := m.order.Certificate.Range.Last
			if err := m.authority.Revoke(rand.Reader, m.root, ca.RevokeRequest{Serials: []ca.EUI64{serial}}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range units[epoch] {
			units[epoch][i] = m.unit(t, dir, 2*epoch+i+1)
		}
	}
	for first := range units {
		for second := range units {
			pair := copies(t, units[first][0], units[second][1])
			met := meet(t, MeetRequest{Units: pair, Policy: Wired}, nil)
			if met == nil {
				t.FailNow()
			}
			one, two := met.Parties[0], met.Parties[1]
			if one.TrustBefore.Epoch != first+1 || two.TrustBefore.Epoch != second+1 || !met.New {
				t.Errorf("root %d meets root %d: %+v and %+v, new %v", first+1, second+1, one.TrustBefore, two.TrustBefore, met.New)
			}
			want := newest(one.TrustBefore, two.TrustBefore)
			if one.TrustAfter != want || two.TrustAfter != want {
				t.Errorf("root %d meets root %d: %+v and %+v, want %+v", first+1, second+1, one.TrustAfter, two.TrustAfter, want)
			}
			again := meet(t, MeetRequest{Units: [2]string{pair[1], pair[0]}, Policy: Wired}, nil)
			if again != nil && (again.New || again.Parties[0].TrustAfter != want) {
				t.Errorf("root %d meets root %d again: %+v", first+1, second+1, again)
			}
		}
	}
	// From the fourth root's unit to one of the first, and from that to another of the first, which the newest never met.
	pair := copies(t, units[0][0], units[3][0])
	meet(t, MeetRequest{Units: pair, Policy: Wired}, nil)
	last := copies(t, units[0][1])[0]
	if met := meet(t, MeetRequest{Units: [2]string{pair[0], last}, Policy: Wired, Hold: pair[0]}, nil); met != nil {
		if met.Parties[0].TrustBefore.Epoch != 4 || met.Parties[1].TrustBefore.Epoch != 1 || met.Parties[1].TrustAfter != met.Parties[0].TrustBefore {
			t.Errorf("passed on: %+v, %+v", met.Parties[0].TrustBefore, met.Parties[1].TrustAfter)
		}
	}
}

// Whoever has the old root's key makes units that others take for genuine until they have the link, and moves nobody's roots; with it they
// are refused in both roles.
func TestStolenRootMovesNobody(t *testing.T) {
	m := newMaker(t)
	dir := t.TempDir()
	honest := m.unit(t, dir, 1)
	thief := *m
	authority := *m.authority
	thief.authority = &authority
	thief.newOrder(t)
	theirs := thief.unit(t, dir, 2)
	if err := os.Remove(m.authority.OrderPath(thief.order)); err != nil { // it was never the officer's
		t.Fatal(err)
	}
	m.rotate(t)
	informed := m.unit(t, dir, 3)
	for _, beginner := range []int{0, 1} {
		pair := func(a, b string) [2]string {
			units := copies(t, a, b)
			return [2]string{units[beginner], units[1-beginner]}
		}
		if met := meet(t, MeetRequest{Units: pair(honest, theirs), Policy: Wired}, nil); met != nil {
			for _, p := range met.Parties {
				if p.TrustAfter != (device.Version{Epoch: 1}) {
					t.Errorf("a unit that nobody told: %+v", p.TrustAfter)
				}
			}
		}
		met := meet(t, MeetRequest{Units: pair(informed, theirs), Policy: Wired}, ErrNotGenuine)
		if met == nil || met.Parties[beginner].TrustAfter != (device.Version{Epoch: 2}) || met.New {
			t.Errorf("a unit of the new root: %+v", met)
		}
		// An honest one that was told of the link refuses from then on.
		told := copies(t, honest, informed)
		meet(t, MeetRequest{Units: told, Policy: Wired}, nil)
		units := copies(t, told[0], theirs)
		met = meet(t, MeetRequest{Units: [2]string{units[beginner], units[1-beginner]}, Policy: Wired, Hold: units[0]}, ErrNotGenuine)
		if met == nil || met.Parties[beginner].TrustAfter != (device.Version{Epoch: 2}) {
			t.Errorf("a unit that was told: %+v", met)
		}
	}
}

// fleetModel is a fleet of which one knows of the new root when another one that it meets does, whatever else comes of the meeting.
type fleetModel struct {
	moved  []bool
	count  int
	random *mathrand.Rand
}

func newModel(units, born int, seed uint64) *fleetModel {
	f := &fleetModel{moved: make([]bool, units), count: born, random: mathrand.New(mathrand.NewPCG(seed, 0))}
	for i := range born {
		f.moved[i] = true
	}
	return f
}

// meet lets two units meet, drawn at random.
func (f *fleetModel) meet() (a, b int) {
	a, b = f.random.IntN(len(f.moved)), f.random.IntN(len(f.moved)-1)
	if b >= a {
		b++
	}
	if f.moved[a] != f.moved[b] {
		f.moved[a], f.moved[b] = true, true
		f.count++
	}
	return a, b
}

// The model is what real units do: paired ones too, which refuse everybody but their peer, learn of a newer root from whom they
// refuse.
func TestModelOfSpread(t *testing.T) {
	const units = 10
	m := newMaker(t)
	dir := t.TempDir()
	var paths []string
	for i := range units - 2 {
		paths = append(paths, m.unit(t, dir, i+1))
	}
	m.rotate(t)
	m.rotate(t)
	paths = append([]string{m.unit(t, dir, units-1), m.unit(t, dir, units)}, paths...)
	model := newModel(units, 2, 1)
	for n := 1; model.count < units; n++ {
		a, b := model.meet()
		met, _ := Meet(MeetRequest{Units: [2]string{paths[a], paths[b]}, Policy: Wired}) // some are strangers to each other
		if met == nil {
			t.Fatalf("meeting %d: no meeting", n)
		}
		for i, unit := range []int{a, b} {
			want := device.Version{Epoch: 1}
			if model.moved[unit] {
				want.Epoch = 3
			}
			if met.Parties[i].TrustAfter != want {
				t.Fatalf("meeting %d, unit %d: %+v, the model says %+v", n, unit, met.Parties[i].TrustAfter, want)
			}
		}
		if n > 1000 {
			t.Fatal("it does not end")
		}
	}
}

// spread is how many meetings, on average, each of the units has had when so many parts in a thousand know of the new root.
func spread(units, born int, seed uint64) (meetings map[int]float64, curve [][2]float64) {
	f := newModel(units, born, seed)
	meetings = map[int]float64{}
	for n := 0; ; n++ {
		each := 2 * float64(n) / float64(units)
		for _, part := range []int{500, 900, 990, 1000} {
			if meetings[part] == 0 && 1000*f.count >= part*units {
				meetings[part] = each
			}
		}
		if n%(units/20) == 0 {
			curve = append(curve, [2]float64{each, float64(f.count) / float64(units)})
		}
		if f.count == units {
			return meetings, append(curve, [2]float64{each, 1})
		}
		f.meet()
	}
}

// How a new root gets through 10,000 units that meet at random: the table of docs/peerlink.md, and docs/spread.svg. The last to
// know is a matter of luck; with 10,000 units and one that is new, (n - 1) times the n-1st harmonic number are expected.
func TestSpread(t *testing.T) {
	const units, runs = 10_000, 20
	var table strings.Builder
	var curves [][][2]float64
	born := []int{1, 10, 100, 1000}
	for _, born := range born {
		mean := map[int]float64{}
		for run := range runs {
			meetings, curve := spread(units, born, uint64(run))
			for part, each := range meetings {
				mean[part] += each / runs
			}
			if run == 0 {
				curves = append(curves, curve)
			}
		}
		fmt.Fprintf(&table, "| %d | %.1f | %.1f | %.1f | %.1f |\n", born, mean[500], mean[900], mean[990], mean[1000])
		if want := expected(units, born); math.Abs(mean[1000]/want-1) > 0.1 {
			t.Errorf("%d new units: all after %.1f meetings each, %.1f are expected", born, mean[1000], want)
		}
	}
	page, err := os.ReadFile("../docs/peerlink.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), table.String()) {
		t.Errorf("docs/peerlink.md does not have\n%s", table.String())
	}
	picture := plot(born, curves)
	const path = "../docs/spread.svg"
	if *update {
		if err := os.WriteFile(path, picture, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != string(picture) {
		t.Errorf("%s is not what is computed: %v; run go test ./fleet -run TestSpread -update and look at it", path, err)
	}
}

// expected is how many meetings each unit has had on average when all know: with k that know, one of the n(n-1)/2 pairs in k(n-k) moves
// one more.
func expected(units, born int) float64 {
	n, sum := float64(units), 0.0
	for k := float64(born); k < n; k++ {
		sum += n * (n - 1) / 2 / (k * (n - k))
	}
	return 2 * sum / n
}

// plot draws the curves: meetings that each unit has had, and the share of units that know.
func plot(born []int, curves [][][2]float64) []byte {
	const left, top, width, height, most = 60, 20, 640, 320, 24
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 400" width="760" height="400" font-family="Helvetica, Arial, sans-serif" font-size="12" role="img">
<title>How a new root gets through 10,000 units that meet at random</title>
<rect width="760" height="400" fill="#ffffff"/>
`)
	for meetings := 0; meetings <= most; meetings += 4 {
		x := left + width*meetings/most
		fmt.Fprintf(&b, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#c3cdd9\"/><text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"#5a6675\">%d</text>\n",
			x, top, x, top+height, x, top+height+18, meetings)
	}
	for share := 0; share <= 100; share += 25 {
		y := top + height - height*share/100
		fmt.Fprintf(&b, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#c3cdd9\"/><text x=\"%d\" y=\"%d\" text-anchor=\"end\" fill=\"#5a6675\">%d %%</text>\n",
			left, y, left+width, y, left-8, y+4, share)
	}
	fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"#1a1a1a\">meetings that each unit has had, on average</text>\n", left+width/2, top+height+44)
	for i, curve := range curves {
		var points []string
		for _, p := range curve {
			points = append(points, fmt.Sprintf("%.1f,%.1f", left+width*p[0]/most, top+height-height*p[1]))
		}
		color := []string{"#1f3a5f", "#2f6fb3", "#3c8d5a", "#b3472f"}[i]
		fmt.Fprintf(&b, "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", strings.Join(points, " "), color)
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" fill=\"%s\">%d new among 10,000</text>\n", left+width-150, top+height-100+18*i, color, born[i])
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}
