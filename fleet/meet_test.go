//go:build cgo

package fleet

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

// factory seals units of one order, with keys in memory.
type factory struct {
	order *ca.Order
	key   *ecdsa.PrivateKey
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newFactory(t *testing.T) factory {
	t.Helper()
	m := newMaker(t)
	return factory{m.order, m.key}
}

// unit makes a new unit and seals it.
func (f factory) unit(t *testing.T, dir string, index int) (path string) {
	t.Helper()
	path, h, talk := f.start(t, dir, index)
	defer talk.Close()
	prepared, err := talk.Prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name := f.order.Certificate.Name
	proof, err := talk.Prove(t.Context(), [32]byte{}, name[:])
	if err != nil {
		t.Fatal(err)
	}
	draft, err := ca.Check(f.order, &ca.Bundle{Anchor: f.order.Anchor}, ca.Candidate{Key: proof.Key, Firmware: h.Firmware, Anchor: h.AnchorHash, Product: h.Product,
		Configuration: prepared.Configuration}, true, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issued, err := draft.Sign(rand.Reader, f.key, f.order.Certificate.Range.First+ca.EUI64(index-1), time.Now(), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := talk.Install(t.Context(), [32]byte{}, f.order.Anchor[:], f.order.Certificate.Raw, issued.Certificate.Raw); err != nil {
		t.Fatal(err)
	}
	if _, err := talk.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return path
}

// start makes a new unit and greets it. It is unplugged when the conversation's test helper ends.
func (f factory) start(t *testing.T, dir string, index int) (string, link.Hello, *served) {
	t.Helper()
	u, err := sim.Start(sim.Options{Dir: dir, Index: index, Image: device.Image{
		AnchorHash: f.order.Anchor.Hash(), Product: f.order.Profile.Product, Peers: f.order.Profile.Peers,
	}})
	if err != nil {
		t.Fatal(err)
	}
	port, err := link.Open(u.Port(), 115200)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{link.Dial(port), u, t}
	h, err := s.Hello(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return u.Port(), h, s
}

// served is a unit under power, and what is said to it.
type served struct {
	*link.Conversation
	unit *sim.Unit
	t    *testing.T
}

func (s *served) Close() {
	s.Conversation.Close()
	if err := s.unit.Close(); err != nil {
		s.t.Error(err)
	}
}

// meet lets the units meet and wants this error.
func meet(t *testing.T, r MeetRequest, want error) *Meeting {
	t.Helper()
	if r.Policy == "" {
		r.Policy = Expected
	}
	m, err := Meet(r)
	if !errors.Is(err, want) || (want == nil) != (err == nil) {
		t.Errorf("%+v: %v, want %v", r, err, want)
	}
	return m
}

// Units pair in each policy and either order, are then known to each other, and what they say is not on the line.
func TestMeet(t *testing.T) {
	f := newFactory(t)
	for _, policy := range []Policy{Expected, Wired, Gesture} {
		dir := t.TempDir()
		a, b := f.unit(t, dir, 1), f.unit(t, dir, 2)
		for turn, units := range [][2]string{{a, b}, {b, a}, {a, b}} {
			const text = "the text that they say"
			m := meet(t, MeetRequest{Units: units, Policy: policy, Text: text}, nil)
			if m == nil {
				t.FailNow()
			}
			if m.New != (turn == 0) || len(m.Texts) != 2 {
				t.Errorf("%s, turn %d: new %v, %d texts", policy, turn, m.New, len(m.Texts))
			}
			for i, p := range m.Parties {
				if p.After.State != device.PairingPaired || p.After.Generation != 1 || !bytes.Equal(p.After.Peer, m.Parties[1-i].Unit.Raw) {
					t.Errorf("%s, turn %d, %s: %+v", policy, turn, p.Name, p.After)
				}
			}
			for _, said := range m.Texts {
				if said.Sent != text || said.Came != text || bytes.Contains(said.Record, []byte(text)) || len(said.Record) != len(text)+13 {
					t.Errorf("%s, turn %d: %+v", policy, turn, said)
				}
			}
			var names []string
			for _, said := range m.Messages {
				names = append(names, said.Name)
			}
			want := "trust trust message_1 message_2 message_3 message_4 record record record record"
			if got := strings.Join(names, " "); got != want && policy != Gesture { // there both begin
				t.Errorf("%s, turn %d: %s", policy, turn, got)
			}
		}
	}
}

// Who has all of a unit but its key is refused as that unit, whoever begins, whether it is known or not; and with the key it
// would not have been.
func TestImpostors(t *testing.T) {
	f := newFactory(t)
	dir := t.TempDir()
	victim, peer := f.unit(t, dir, 1), f.unit(t, dir, 2)
	for _, state := range []device.PairingState{device.PairingOpen, device.PairingPaired} {
		if state == device.PairingPaired {
			meet(t, MeetRequest{Units: [2]string{victim, peer}}, nil)
		}
		for _, kind := range []Impostor{SelfMade, Copied} {
			for _, policy := range []Policy{Expected, Wired, Gesture} {
				unmoved(t, meet(t, MeetRequest{Units: [2]string{victim, peer}, Impostor: kind, Policy: policy}, ErrNotGenuine), 0, state)

				// He begins. Nobody is told what he is.
				path, remove, err := kind.make(peer)
				if err != nil {
					t.Fatal(err)
				}
				want := ErrNotGenuine
				if kind == SelfMade && state == device.PairingPaired {
					want = ErrNotPaired
				}
				unmoved(t, meet(t, MeetRequest{Units: [2]string{path, victim}, Policy: policy}, want), 1, state)
				if err := remove(); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the impostor's files are there: %v", err)
				}
			}
		}
		twin := filepath.Join(t.TempDir(), "twin")
		ally := filepath.Join(t.TempDir(), "ally")
		if err := errors.Join(sim.Copy(peer, twin), sim.Copy(victim, ally)); err != nil {
			t.Fatal(err)
		}
		meet(t, MeetRequest{Units: [2]string{ally, twin}}, nil)
	}
}

// unmoved: the meeting came as far as message_2 at least, the victim is what it was, and nobody got a text.
func unmoved(t *testing.T, m *Meeting, victim int, state device.PairingState) {
	t.Helper()
	if m == nil {
		t.FailNow()
	}
	p := m.Parties[victim]
	if p.Before.State != state || p.After.State != state || p.After.Generation != p.Before.Generation || len(m.Texts) > 0 || m.New {
		t.Errorf("%s: %+v, then %+v, %d texts", p.Name, p.Before, p.After, len(m.Texts))
	}
	if !slices.ContainsFunc(m.Messages, func(said Message) bool { return said.Name == "message_2" }) {
		t.Errorf("no message_2 in %+v", m.Messages)
	}
}

// A paired unit refuses every other one, with each policy, until its button was held.
func TestStranger(t *testing.T) {
	f := newFactory(t)
	dir := t.TempDir()
	a, b, c := f.unit(t, dir, 1), f.unit(t, dir, 2), f.unit(t, dir, 3)
	meet(t, MeetRequest{Units: [2]string{a, b}}, nil)
	for _, policy := range []Policy{Expected, Wired, Gesture} {
		unmoved(t, meet(t, MeetRequest{Units: [2]string{a, c}, Policy: policy}, ErrNotPaired), 0, device.PairingPaired)
		unmoved(t, meet(t, MeetRequest{Units: [2]string{c, a}, Policy: policy}, ErrNotPaired), 1, device.PairingPaired)
	}
	m := meet(t, MeetRequest{Units: [2]string{c, a}, Hold: a}, nil)
	if m == nil || m.Parties[1].After.Generation != 3 || m.Parties[0].After.Generation != 1 {
		t.Fatalf("%+v", m)
	}
	unmoved(t, meet(t, MeetRequest{Units: [2]string{b, a}}, ErrNotPaired), 1, device.PairingPaired)

	// Of another manufacturer: neither takes the other for genuine.
	other := newFactory(t).unit(t, t.TempDir(), 1)
	unmoved(t, meet(t, MeetRequest{Units: [2]string{b, other}, Hold: b, Policy: Wired}, ErrNotGenuine), 1, device.PairingOpen)
}

func TestMeetRefuses(t *testing.T) {
	f := newFactory(t)
	dir := t.TempDir()
	a, b := f.unit(t, dir, 1), f.unit(t, dir, 2)
	blank, _, talk := f.start(t, dir, 3)
	missing := filepath.Join(dir, "unit-04")
	for name, test := range map[string]struct {
		request MeetRequest
		want    error
	}{
		"itself":            {MeetRequest{Units: [2]string{a, filepath.Join(dir, ".", "..", filepath.Base(dir), "unit-01")}}, ErrSameUnit},
		"no such unit":      {MeetRequest{Units: [2]string{a, missing}}, os.ErrNotExist},
		"nobody's impostor": {MeetRequest{Units: [2]string{a, missing}, Impostor: Copied}, os.ErrNotExist},
		"served":            {MeetRequest{Units: [2]string{a, blank}}, syscall.EAGAIN},
		"policy":            {MeetRequest{Units: [2]string{a, b}, Policy: "any"}, ErrRange},
		"impostor":          {MeetRequest{Units: [2]string{a, b}, Impostor: "any"}, ErrRange},
		"another's button":  {MeetRequest{Units: [2]string{a, b}, Hold: blank}, ErrRange},
		"long text":         {MeetRequest{Units: [2]string{a, b}, Text: strings.Repeat("x", maxText+1)}, ErrRange},
	} {
		if m := meet(t, test.request, test.want); m != nil {
			t.Errorf("%s: a meeting %+v", name, m)
		}
	}
	if _, err := os.Stat(missing + ".eeprom"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a unit was made: %v", err)
	}
	talk.Close()
	meet(t, MeetRequest{Units: [2]string{a, blank}}, ErrNotProvisioned)
	meet(t, MeetRequest{Units: [2]string{blank, a}}, ErrNotProvisioned)
	meet(t, MeetRequest{Units: [2]string{a, blank}, Impostor: SelfMade}, ErrNotProvisioned)
	meet(t, MeetRequest{Units: [2]string{a, b}, Text: strings.Repeat("x", maxText)}, nil)

	// Its record of who its peer is has gone.
	flash, err := os.OpenFile(a+".flash", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer flash.Close()
	if _, err := flash.WriteAt(bytes.Repeat([]byte{0xFF}, 4096), 2048); err != nil {
		t.Fatal(err)
	}
	meet(t, MeetRequest{Units: [2]string{a, b}, Policy: Wired}, ErrFault)
	meet(t, MeetRequest{Units: [2]string{b, a}, Policy: Wired, Hold: a}, ErrFault)
}
