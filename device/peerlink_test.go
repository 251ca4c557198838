//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// field is an authority with roots from epoch 3 on, and what it signs for units in the field.
type field struct {
	*factory
	roots []*ecdsa.PrivateKey
}

const firstEpoch = 3

func newField(t testing.TB) *field {
	f := &field{factory: newFactory(t)}
	for range 7 {
		f.roots = append(f.roots, newKey(t))
	}
	f.root, f.anchor = f.roots[0], f.anchorOf(t, firstEpoch)
	f.anchorHash = sha256.Sum256(f.anchor)
	return f
}

// anchorOf is what units keep of a root: name, key, SHA-256 of the next root's key.
func (f *field) anchorOf(t testing.TB, epoch int) []byte {
	next := sha256.Sum256(publicKey(t, f.roots[epoch-firstEpoch+1]))
	return slices.Concat([]byte{1, byte(epoch)}, publicKey(t, f.roots[epoch-firstEpoch]), next[:])
}

// link leads from the epoch before to this one and closes it but for these orders.
func (f *field) link(t testing.TB, epoch int, orders ...[]byte) []byte {
	payload := f.anchorOf(t, epoch)
	hashes := make([][]byte, 0, len(orders))
	for _, order := range orders {
		h := sha256.Sum256(order)
		hashes = append(hashes, h[:12])
	}
	slices.SortFunc(hashes, bytes.Compare)
	return object(t, f.roots[epoch-firstEpoch], "birthmark link 1", slices.Concat(append([][]byte{payload}, hashes...)...))
}

// list is a status list without a common prefix. orders are (epoch, number), ranges first and last.
func (f *field) list(t testing.TB, epoch int, number uint32, orders [][2]int, ranges [][2]uint64, serials ...uint64) []byte {
	p := []byte{1, byte(epoch)}
	p = binary.BigEndian.AppendUint32(p, number)
	p = append(p, 0, byte(len(orders)), byte(len(ranges)))
	for _, o := range orders {
		p = append(p, byte(o[0]), byte(o[1]>>8), byte(o[1]))
	}
	for _, r := range ranges {
		p = append(append(p, eui(r[0])...), eui(r[1])...)
	}
	for _, s := range serials {
		p = append(p, eui(s)...)
	}
	return object(t, f.roots[epoch-firstEpoch], "birthmark list 1", p)
}

func (f *field) release(t testing.TB, epoch int, serial uint64, generation uint32) []byte {
	p := append([]byte{1, byte(epoch)}, eui(serial)...)
	return object(t, f.roots[epoch-firstEpoch], "birthmark release 1", binary.BigEndian.AppendUint32(p, generation))
}

// node is a sealed unit of a field with its peer link.
type node struct {
	*bench
	t       testing.TB
	name    string
	serial  uint64
	peer    *Peer
	options PeerOptions
	events  []PeerEvent
	off     bool                   // without a supply
	failing func(call string) bool // whether this call of the flash fails: read, program, erase
}

// failingFlash is a node's flash with the calls that fail.
type failingFlash struct{ n *node }

func (f failingFlash) fails(call string) bool { return f.n.failing != nil && f.n.failing(call) }
func (f failingFlash) PageSize() int          { return f.n.flash.PageSize() }

func (f failingFlash) Read(page, offset int, out []byte) error {
	if f.fails("read") {
		return errFlash
	}
	return f.n.flash.Read(page, offset, out)
}

func (f failingFlash) Program(page, offset int, data []byte) error {
	if f.fails("program") {
		return errFlash
	}
	return f.n.flash.Program(page, offset, data)
}

func (f failingFlash) Erase(page int) error {
	if f.fails("erase") {
		return errFlash
	}
	return f.n.flash.Erase(page)
}

func (f *field) node(t testing.TB, serial uint64, policy Policy) *node {
	t.Helper()
	n := f.keptNode(t, serial, policy)
	t.Cleanup(n.close)
	return n
}

// keptNode is a node that outlives the test, until close.
func (f *field) keptNode(t testing.TB, serial uint64, policy Policy) *node {
	t.Helper()
	own := *f.factory
	own.unitItems = own.unitItems.with(itemSerial, eui(serial)).with(itemSubject, eui(serial))
	b := wired(&own, 2048)
	b.start(t)
	b.run(t, 4)
	n := &node{bench: b, t: t, name: fmt.Sprintf("%x", serial&0xfff), serial: serial, options: PeerOptions{Policy: policy}}
	n.power()
	return n
}

func (n *node) board() Board { return Board{Chip: n.wire, Flash: failingFlash{n}, Debug: n.debug} }

// power starts the unit's peer link, as its supply comes up.
func (n *node) power() {
	n.t.Helper()
	peer, err := NewPeer(n.image, n.board(), n.options)
	if err != nil {
		n.t.Fatal(err)
	}
	n.peer, n.off = peer, false
}

// restart takes the supply away and gives it back.
func (n *node) restart() {
	n.t.Helper()
	n.peer.Close()
	n.wire.chip.PowerUp()
	n.flash.dead = false
	n.power()
}

func (n *node) close() {
	n.peer.Close()
	n.unit.Close()
}

func (n *node) paired() pairing {
	n.t.Helper()
	return n.peer.pairing()
}

// has reports whether such an event has come, and forgets all up to it.
func (n *node) has(kind PeerEventKind, reason PeerReason) bool {
	for i, e := range n.events {
		if e.Kind == kind && e.Reason == reason {
			n.events = n.events[i+1:]
			return true
		}
	}
	return false
}

func (n *node) want(kind PeerEventKind, reason PeerReason) {
	n.t.Helper()
	if events := n.events; !n.has(kind, reason) {
		n.t.Errorf("%s: events %v, want %v %d", n.name, events, kind, reason)
	}
}

// cable is a serial line between two units, in simulated time.
type cable struct {
	t     testing.TB
	ends  [2]*node
	now   uint32
	spoil func(i, from int, frame []byte) [][]byte // what becomes of the i-th frame; nil: it arrives
	seen  int                                      // frames
	said  [][]byte                                 // payloads of all frames, in order
	from  []int
}

const tick = 50 // milliseconds

func join(t testing.TB, a, b *node) *cable { return &cable{t: t, ends: [2]*node{a, b}} }

// run lets time pass until done says so, at most so many milliseconds; it reports whether done did.
func (c *cable) run(milliseconds int, done func() bool) bool {
	for end := c.now + uint32(milliseconds); int32(end-c.now) > 0; {
		c.now += tick
		for _, n := range c.ends {
			if !n.off {
				n.peer.Tick(c.now)
			}
		}
		for c.carry() {
		}
		for _, n := range c.ends {
			n.collect()
		}
		if done != nil && done() {
			return true
		}
	}
	return done == nil
}

func (n *node) collect() {
	if n.flash.dead {
		n.off = true
	}
	if !n.off {
		n.events = append(n.events, n.peer.Events()...)
	}
}

// carry takes to the other end what each has said, frame by frame. It reports whether there was anything.
func (c *cable) carry() bool {
	moved := false
	for from, n := range c.ends {
		if n.off || n.flash.dead {
			continue
		}
		line := n.peer.Out()
		for len(line) > 0 {
			framed, payload := firstFrame(c.t, line)
			line = line[len(framed):]
			moved = true
			frames := [][]byte{framed}
			c.said, c.from = append(c.said, payload), append(c.from, from)
			if c.spoil != nil {
				frames = c.spoil(c.seen, from, framed)
			}
			c.seen++
			for _, f := range frames {
				if other := c.ends[1-from]; !other.off {
					other.peer.Receive(f)
				}
			}
		}
	}
	return moved
}

// firstFrame gives the first frame of a line, with the zero that goes before it, and its payload.
func firstFrame(t testing.TB, line []byte) (framed, payload []byte) {
	t.Helper()
	end := bytes.IndexByte(line[1:], 0) + 2
	if line[0] != 0 || end == 1 {
		t.Fatalf("%x on the line", line)
	}
	return line[:end], unframe(t, line[1:end])
}

// meet lets one end connect until both are ready.
func (c *cable) meet(initiator int) {
	c.t.Helper()
	if err := c.ends[initiator].peer.Connect(); err != nil {
		c.t.Fatal(err)
	}
	if !c.run(60_000, c.ready) {
		c.t.Fatalf("no session: %v and %v", c.ends[0].events, c.ends[1].events)
	}
}

func (c *cable) ready() bool {
	for _, n := range c.ends {
		if n.off || n.peer.State() != PeerOpen {
			return false
		}
	}
	return true
}

// quiet lets time pass until nothing goes on at either end.
func (c *cable) quiet() {
	c.t.Helper()
	idle := func() bool {
		for _, n := range c.ends {
			if s := n.peer.State(); s == PeerMeeting || s == PeerSending {
				return false
			}
		}
		return true
	}
	if !c.run(120_000, idle) {
		c.t.Fatal("it goes on for ever")
	}
}

// talk sends a message each way and wants it at the other end, once.
func (c *cable) talk() {
	c.t.Helper()
	for from, n := range c.ends {
		other := c.ends[1-from]
		other.events = nil
		text := []byte(fmt.Sprintf("from %s at %d", n.name, c.now))
		if err := n.peer.Send(text); err != nil {
			c.t.Fatal(err)
		}
		c.run(5_000, c.ready)
		if len(other.events) != 1 || !bytes.Equal(other.events[0].Message, text) {
			c.t.Errorf("%s got %v, want %q", other.name, other.events, text)
		}
	}
}

// friends checks that the units are paired with each other at these generations.
func (c *cable) friends(generations ...uint32) {
	c.t.Helper()
	for i, n := range c.ends {
		p := n.paired()
		unit, _ := c.ends[1-i].peer.certificates()
		if p.state != 2 || !bytes.Equal(p.unit, unit) || len(generations) == 2 && p.generation != generations[i] {
			c.t.Errorf("%s: state %d, generation %d", n.name, p.state, p.generation)
		}
	}
}

// twoUnits are open, on a wire that they trust.
func twoUnits(t testing.TB) *cable {
	f := newField(t)
	return join(t, f.node(t, testFirst+1, Wired{}), f.node(t, testFirst+2, Wired{}))
}

func TestPeersMeet(t *testing.T) {
	c := twoUnits(t)
	a, b := c.ends[0], c.ends[1]
	if a.peer.State() != PeerIdle || a.peer.Unpair() == nil || !errors.Is(a.peer.Send(nil), ErrState) {
		t.Error("a unit that has met nobody is paired")
	}
	c.meet(0)
	a.want(PeerReady, 1)
	b.want(PeerReady, 1)
	c.friends(1, 1)
	c.talk()
	for i, n := range c.ends {
		other := c.ends[1-i]
		serial, code, ok := n.peer.Met()
		unit, _ := other.peer.certificates()
		digest := sha256.Sum256(unit)
		if !ok || serial != [8]byte(eui(other.serial)) || !bytes.Equal(code[:], digest[:4]) {
			t.Errorf("%s met %x, %x", n.name, serial, code)
		}
	}
	for _, size := range []int{0, 1, 95, 96, 97, 207, 208, 546, 547} {
		text := bytes.Repeat([]byte{byte(size)}, size)
		b.events = nil
		if err := a.peer.Send(text); err != nil {
			t.Fatal(err)
		}
		if size == 547 && (a.peer.State() != PeerSending || !errors.Is(a.peer.Send(text), ErrState)) {
			t.Error("two messages at a time")
		}
		c.run(1000, c.ready)
		if len(b.events) != 1 || !bytes.Equal(b.events[0].Message, text) {
			t.Errorf("%d bytes: %v", size, b.events)
		}
	}
	if err := a.peer.Send(make([]byte, 548)); !errors.Is(err, ErrSpace) {
		t.Error(err)
	}
	// Again, in each role and with a unit that comes up anew; nothing is written.
	for i, n := range []*node{a, b, a, b} {
		if i >= 2 {
			n.restart()
			if serial, _, ok := n.peer.Met(); !ok || serial != [8]byte(eui(c.ends[1-i%2].serial)) {
				t.Errorf("%s does not know its peer when it comes up", n.name)
			}
		}
		pages := b.flash.pages[1]
		before := bytes.Clone(pages)
		c.said = nil
		c.meet(i % 2)
		n.want(PeerReady, 0)
		c.talk()
		c.friends(1, 1)
		if !bytes.Equal(pages, before) {
			t.Error("a meeting of friends has written")
		}
		for _, frame := range c.said {
			if bytes.Contains(frame, []byte{0xa1, 0x18, 0x19}) {
				t.Error("a certificate in clear")
			}
		}
	}
}

// The example of docs/peerlink.md: its payloads are those bytes on the line, and a unit as Responder says just that.
func TestPeerlinkExample(t *testing.T) {
	document, err := os.ReadFile("../docs/peerlink.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(document), "## Example")
	_, example, _ = strings.Cut(example, "```\n")
	example, _, ok := strings.Cut(example, "```")
	if !ok {
		t.Fatal("no example")
	}
	n := newField(t).node(t, testFirst+1, Wired{})
	var session []byte // that the unit draws in place of the example's
	var said [][]byte
	lines := strings.Split(strings.TrimSpace(example), "\n")
	for i := 0; i+2 < len(lines); i += 3 {
		payload, line := unhex(t, strings.TrimSpace(lines[i+1])), unhex(t, strings.TrimSpace(lines[i+2]))
		if !bytes.Equal(frame(payload), line) {
			t.Errorf("%s: %x is %x on the line", lines[i], payload, frame(payload))
		}
		if payload[0] == 1 {
			payload[5] = firstEpoch
		}
		if strings.HasPrefix(lines[i], "->") {
			if payload[0] == 0 {
				copy(payload[1:], session)
			}
			n.peer.Receive(frame(payload))
			for line := n.peer.Out(); len(line) > 0; {
				framed, payload := firstFrame(t, line)
				line, said = line[len(framed):], append(said, payload)
			}
			continue
		}
		if len(said) == 0 {
			t.Fatalf("%s: the unit says nothing", lines[i])
		}
		if payload[0] == 1 {
			session = said[0][1:3]
			copy(payload[1:], session)
		}
		if !bytes.Equal(said[0], payload) {
			t.Errorf("%s: the unit says %x", lines[i], said[0])
		}
		said = said[1:]
	}
	want := slices.Concat([]byte{4}, session, []byte{1, 0x14})
	if len(said) != 1 || !bytes.Equal(said[0][:5], want) {
		t.Errorf("message_2: %x, want %x", said, want)
	}
}
