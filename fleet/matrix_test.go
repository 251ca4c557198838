//go:build cgo

package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/templates"
)

// small makes a fleet of JSON lines with so many units and orders, and a changed profile.
func small(t testing.TB, name, seed string, units, orders int, changes ...string) MakeRequest {
	t.Helper()
	text, err := templates.Product("demo-sensor")
	if err != nil {
		t.Fatal(err)
	}
	profile, err := ca.ParseProfile([]byte(strings.NewReplacer(changes...).Replace(string(text))))
	if err != nil {
		t.Fatal(err)
	}
	r := MakeRequest{Out: filepath.Join(t.TempDir(), name+".jsonl"), Seed: seed, Units: units, Orders: orders, Profile: profile}
	mustMake(t, r)
	return r
}

func open(t testing.TB, paths ...string) (fleets []*Fleet) {
	t.Helper()
	for _, path := range paths {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		fleets = append(fleets, f)
	}
	return fleets
}

func mustMeet(t testing.TB, r MatrixRequest) *Matrix {
	t.Helper()
	last := 0
	m, err := MeetAll(t.Context(), r, func(n int) { last = n })
	if err != nil {
		t.Fatal(err)
	}
	if last != r.Meetings() || m.Met+m.Refused > last {
		t.Fatalf("%d meetings, %d told; %d met, %d refused", r.Meetings(), last, m.Met, m.Refused)
	}
	return m
}

// change writes one unit of a fleet otherwise.
func change(t *testing.T, path string, unit int, change func(u *unitJSON)) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := bytes.SplitAfter(text, []byte("\n"))
	var u unitJSON
	if err := json.Unmarshal(all[1+unit], &u); err != nil {
		t.Fatal(err)
	}
	change(&u)
	if all[1+unit], err = json.Marshal(u); err != nil {
		t.Fatal(err)
	}
	all[1+unit] = append(all[1+unit], '\n')
	if err := os.WriteFile(path, bytes.Join(all, nil), 0o644); err != nil {
		t.Fatal(err)
	}
}

// All units of a fleet meet, in both roles; the matrix has them one by one, or by orders if they are many.
func TestMeetAll(t *testing.T) {
	r := small(t, "fleet", "42", 9, 2)
	m := mustMeet(t, MatrixRequest{Fleets: open(t, r.Out)})
	if m.Met != 9*8 || m.Refused != 0 || len(m.Groups) != 9 || len(m.Refusals) != 0 || m.Took <= 0 {
		t.Fatalf("%d met, %d refused, %d rows", m.Met, m.Refused, len(m.Groups))
	}
	for i, row := range m.Cells {
		for j, cell := range row {
			if want := min(1, max(i-j, j-i)); cell.Met != want || cell.Refused != 0 {
				t.Errorf("%s, %s: %+v", m.Name(m.Groups[i]), m.Name(m.Groups[j]), cell)
			}
		}
	}

	r = small(t, "fleet", "42", maxUnitRows+3, 2)
	m = mustMeet(t, MatrixRequest{Fleets: open(t, r.Out), Sample: 500, Seed: "a"})
	if m.Met != 500 || len(m.Groups) != 2 || m.Name(m.Groups[1]) != "order 2" {
		t.Fatalf("%d met, rows %v", m.Met, m.Groups)
	}
	for i, row := range m.Cells {
		for j, cell := range row {
			if cell.Met < 80 || cell.Met > 170 {
				t.Errorf("orders %d and %d: %d meetings of 500", i+1, j+1, cell.Met)
			}
		}
	}
}

// Each way in which a unit can be wrong is refused in its row and its column, by everybody else, for what it is.
func TestMeetAllRefuses(t *testing.T) {
	const units, bad = 4, 3 // two of each order
	tests := []struct {
		name   string
		change func(u *unitJSON)
		listed func(r *ca.RevokeRequest, serial ca.EUI64)
		why    device.PeerReason
	}{
		{name: "signature", change: func(u *unitJSON) { u.Certificate[len(u.Certificate)-1] ^= 1 }, why: device.PeerReason(device.CheckUnitSignature)},
		{name: "certificate", change: func(u *unitJSON) { u.Certificate[0] ^= 1 }, why: device.PeerReason(device.CheckUnit)},
		{name: "point", change: func(u *unitJSON) { u.Key[31] ^= 1 }, why: device.PeerReason(device.ErrAuth)},
		{name: "order", change: func(u *unitJSON) { u.Order = 1 }, why: device.PeerReason(device.CheckUnitIssuer)},
		{name: "revoked", listed: func(r *ca.RevokeRequest, serial ca.EUI64) { r.Serials = []ca.EUI64{serial} }, why: device.PeerReason(device.CheckRevoked)},
		{name: "held", listed: func(r *ca.RevokeRequest, serial ca.EUI64) { r.Ranges = []ca.Range{{First: serial, Last: serial + 1}} }, why: device.PeerReason(device.CheckHeld)},
	}
	for _, test := range tests {
		r := small(t, "fleet", "42", units, 2)
		request := MatrixRequest{}
		if test.change != nil {
			change(t, r.Out, bad, test.change)
		} else {
			_, all := read(t, r.Out)
			var list ca.RevokeRequest
			test.listed(&list, all[bad].Serial)
			request.Bundle = revokeAll(t, r, list)
		}
		request.Fleets = open(t, r.Out)
		m := mustMeet(t, request)
		for i, row := range m.Cells {
			for j, cell := range row {
				switch {
				case i == j:
				case i != bad && j != bad:
					if cell.Met != 1 || cell.Refused != 0 {
						t.Errorf("%s: %d and %d: %+v", test.name, i, j, cell)
					}
				case cell.Met != 0 || cell.Refused != 1 || cell.Reasons[0].Why != test.why || cell.Reasons[0].Answerer != (i == bad):
					t.Errorf("%s: %d and %d: %+v", test.name, i, j, cell)
				}
			}
		}
		if m.Met != 6 || m.Refused != 6 || len(m.Refusals) != 6 || m.Refusals[0].Begins != m.Groups[0] || m.Refusals[0].Answers != m.Groups[bad] {
			t.Errorf("%s: %d met, %d refused: %+v", test.name, m.Met, m.Refused, m.Refusals)
		}
	}
}

// Fleets of one seed have one root, so what they say of each other is what their profiles say; of two seeds, nobody meets the other's.
// A unit that both fleets have does not meet itself.
func TestMeetAllFleets(t *testing.T) {
	sensor := small(t, "sensor", "42", 3, 1, "peers: [7]", "peers: [7, 8]")
	valve := small(t, "valve", "42", 4, 1, "product: 7 ", "product: 8 ", "peers: [7]", "peers: [8]")
	m := mustMeet(t, MatrixRequest{Fleets: open(t, sensor.Out, valve.Out)})
	if m.Met != 3*2+4*3 || m.Refused != 2*(3*4-3) {
		t.Errorf("%d met, %d refused", m.Met, m.Refused)
	}
	product := device.PeerReason(device.CheckProduct)
	if c := m.Cells[0][4]; c.Refused != 1 || c.Reasons[0].Reason != (Reason{true, product}) {
		t.Errorf("sensor begins: %+v", c)
	}
	if c := m.Cells[4][0]; c.Refused != 1 || c.Reasons[0].Reason != (Reason{false, product}) {
		t.Errorf("valve begins: %+v", c)
	}
	if c := m.Cells[0][3]; c.Met+c.Refused != 0 || m.Name(m.Groups[0]) != m.Groups[0].Serial.String()+" of sensor.jsonl" {
		t.Errorf("%s meets itself: %+v", m.Name(m.Groups[0]), c)
	}

	other := small(t, "sensor", "43", 2, 1)
	fleets := open(t, sensor.Out, other.Out)
	m = mustMeet(t, MatrixRequest{Fleets: fleets})
	if m.Met != 3*2+2 || m.Refused != 2*3*2 || m.FleetName(0) != sensor.Out {
		t.Errorf("%d met, %d refused, %s", m.Met, m.Refused, m.FleetName(0))
	}
	for _, r := range m.Refusals {
		if r.Reason != (Reason{false, device.PeerReason(device.CheckOrderSignature)}) {
			t.Errorf("%+v", r)
		}
	}
}

func TestMeetAllErrors(t *testing.T) {
	r := small(t, "fleet", "42", 70, 1)
	fleets := open(t, r.Out)
	ctx, cancel := context.WithCancel(t.Context())
	m, err := MeetAll(ctx, MatrixRequest{Fleets: fleets}, func(int) { cancel() })
	if !errors.Is(err, context.Canceled) || m == nil || m.Met == 0 || m.Met == 70*69 {
		t.Errorf("interrupted: %+v, %v", m, err)
	}

	other := open(t, small(t, "other", "43", 1, 1).Out)
	for name, request := range map[string]MatrixRequest{
		"one unit": {Fleets: other}, "nobody": {}, "sample": {Fleets: fleets, Sample: -1}, "bundle": {Fleets: fleets, Bundle: other[0].Bundle},
	} {
		if _, err := MeetAll(t.Context(), request, func(int) {}); !errors.Is(err, ErrRange) {
			t.Errorf("%s: %v", name, err)
		}
	}
	change(t, r.Out, 3, func(u *unitJSON) { clear(u.Key) })
	if _, err := MeetAll(t.Context(), MatrixRequest{Fleets: fleets}, func(int) {}); !errors.Is(err, ErrBad) {
		t.Errorf("no key: %v", err)
	}
	change(t, r.Out, 3, func(u *unitJSON) { u.Order = 2 })
	if _, err := MeetAll(t.Context(), MatrixRequest{Fleets: fleets}, func(int) {}); !errors.Is(err, ErrBad) {
		t.Errorf("no order: %v", err)
	}
	if err := os.Truncate(r.Out, 6000); err != nil {
		t.Fatal(err)
	}
	if _, err := MeetAll(t.Context(), MatrixRequest{Fleets: fleets}, func(int) {}); !errors.Is(err, ErrUnfinished) {
		t.Errorf("cut short: %v", err)
	}
}

// The page's picture has a square for each cell, with what happened there, and nothing from outside; a name is text.
func TestPage(t *testing.T) {
	a, b := small(t, "<b>&", "42", 3, 1), small(t, "b", "43", 2, 1)
	m := mustMeet(t, MatrixRequest{Fleets: open(t, a.Out, b.Out)})
	page, err := m.Page()
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	at, end := strings.Index(text, "<svg"), strings.Index(text, "</svg>")
	var svg struct {
		Title string `xml:"title"`
		Rects []struct {
			Class string `xml:"class,attr"`
			Title string `xml:"title"`
		} `xml:"rect"`
	}
	if err := xml.Unmarshal([]byte(text[at:end+len("</svg>")]), &svg); err != nil {
		t.Fatal(err)
	}
	classes := map[string]int{}
	for _, r := range svg.Rects {
		classes[r.Class]++
	}
	if classes["m"] != 3*2+2 || classes["r"] != 2*3*2 || classes["n"] != 5 || len(svg.Rects) != 25 {
		t.Errorf("cells %v", classes)
	}
	want := m.Name(m.Groups[0]) + " begins, " + m.Name(m.Groups[4]) + " answers: refused\n1 refused by who began: the order's signature does not hold"
	if got := svg.Rects[4].Title; got != want || !strings.Contains(want, " of <b>&.jsonl begins") {
		t.Errorf("%q, not %q", got, want)
	}
	for _, no := range []string{"<b>", "href", "src=", "<script", "url("} {
		if strings.Contains(text, no) {
			t.Errorf("the page has %s", no)
		}
	}
	if !strings.Contains(text, "8 met, 12 refused") || strings.Count(text, "<td>the order&#39;s signature does not hold</td>") != 13 {
		t.Errorf("tables: %s", text[end:])
	}
}

// A sample has no pair twice, and another seed gives another one.
func TestPairs(t *testing.T) {
	for units := 2; units < 40; units++ {
		all := newPairs(units, 0, "").meetings
		if all != units*(units-1) || newPairs(units, all, "").meetings != all {
			t.Fatalf("%d pairs of %d", all, units)
		}
		first := map[int]int{}
		for _, sample := range []int{0, max(1, all-1), max(1, all/3)} {
			p := newPairs(units, sample, "a")
			seen := map[[2]int]bool{}
			for k := range p.meetings {
				i, j := p.at(k)
				if i < 0 || j < 0 || i >= units || j >= units || i == j || seen[[2]int{i, j}] {
					t.Fatalf("%d of %d units: pair %d is %d, %d", sample, units, k, i, j)
				}
				seen[[2]int{i, j}] = true
				first[i]++
			}
		}
		for i := range units {
			if first[i] == 0 {
				t.Errorf("of %d units number %d never begins", units, i)
			}
		}
	}
	a, b := newPairs(1000, 5, "a"), newPairs(1000, 5, "b")
	ai, aj := a.at(0)
	bi, bj := b.at(0)
	if ai == bi && aj == bj {
		t.Error("two seeds give one sample")
	}
}
