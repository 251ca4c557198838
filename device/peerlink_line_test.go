//go:build cgo

package device

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// snapshot is what two units keep without a supply; restore gives it back to them.
type snapshot [2][3][]byte

func (c *cable) snapshot() (s snapshot) {
	for i, n := range c.ends {
		for page := range n.flash.pages {
			s[i][page] = bytes.Clone(n.flash.pages[page])
		}
	}
	return s
}

func (c *cable) restore(s snapshot) {
	c.t.Helper()
	c.spoil, c.seen, c.said, c.from = nil, 0, nil, nil
	for i, n := range c.ends {
		for page := range n.flash.pages {
			n.flash.pages[page] = bytes.Clone(s[i][page])
		}
		n.cut, n.wire.spoil, n.failing, n.events = nil, nil, nil, nil
		n.peer.Lift()
		n.options.Now = c.now
		n.restart()
	}
}

// heal lets the units connect, now the one and now the other, as their products would, until they are ready.
func (c *cable) heal() {
	c.t.Helper()
	for i := range 20 {
		_ = c.ends[i%2].peer.Connect()
		if c.run(30_000, c.ready) {
			return
		}
	}
	c.t.Fatalf("split for good: %v and %v, pairings %+v and %+v", c.ends[0].events, c.ends[1].events, c.ends[0].paired(),
		c.ends[1].paired())
}

var spoils = map[string]func(frame []byte) [][]byte{
	"lost":     func([]byte) [][]byte { return nil },
	"doubled":  func(f []byte) [][]byte { return [][]byte{f, f} },
	"cut":      func(f []byte) [][]byte { return [][]byte{f[:len(f)/2], {0}} },
	"one end":  func(f []byte) [][]byte { return [][]byte{f[:len(f)-1]} },
	"bit":      func(f []byte) [][]byte { g := bytes.Clone(f); g[len(g)/2] ^= 0x20; return [][]byte{g} },
	"in noise": func(f []byte) [][]byte { return [][]byte{{0x55, 0xaa, 0}, f, bytes.Repeat([]byte{0xff}, 300), {0}} },
}

// Each frame of a first meeting, an exchange of messages and a second meeting is lost, doubled or garbled in turn, and nothing
// is different but the time it takes.
func TestPeerlinkLoss(t *testing.T) {
	c := twoUnits(t)
	open := c.snapshot()
	story := func() {
		c.meet(0)
		c.talk()
		c.meet(1)
		c.talk()
	}
	story()
	frames := c.seen
	if frames < 40 {
		t.Fatalf("%d frames", frames)
	}
	for name, spoil := range spoils {
		for i := range frames {
			c.restore(open)
			c.spoil = func(n, _ int, frame []byte) [][]byte {
				if n == i {
					return spoil(frame)
				}
				return [][]byte{frame}
			}
			story()
			if c.friends(1, 1); t.Failed() {
				t.Fatalf("frame %d %s", i, name)
			}
		}
	}
}

// A line that loses every third frame.
func TestPeerlinkBadLine(t *testing.T) {
	c := twoUnits(t)
	open := c.snapshot()
	for phase := range 3 {
		c.restore(open)
		c.spoil = func(n, _ int, frame []byte) [][]byte {
			if n%3 == phase {
				return nil
			}
			return [][]byte{frame}
		}
		c.heal()
		c.friends(1, 1)
	}
}

// A frame is acknowledged as often as it comes, and a message is sent three times in the same bytes, a second apart.
func TestPeerlinkTries(t *testing.T) {
	c := twoUnits(t)
	a, b := c.ends[0], c.ends[1]
	b.off = true
	var at []uint32
	c.spoil = func(_, _ int, frame []byte) [][]byte { at = append(at, c.now); return nil }
	if err := a.peer.Connect(); err != nil || !errors.Is(a.peer.Connect(), ErrState) {
		t.Error(err)
	}
	c.run(20_000, nil)
	if len(c.said) != 3 || !bytes.Equal(c.said[0], c.said[1]) || !bytes.Equal(c.said[0], c.said[2]) {
		t.Errorf("said %x", c.said)
	}
	if len(at) != 3 || at[1]-at[0] < 1000 || at[1]-at[0] > 1000+2*tick || at[2]-at[1] != at[1]-at[0] {
		t.Errorf("at %d", at)
	}
	a.want(PeerFailed, PeerTimeout)
	if a.peer.State() != PeerIdle {
		t.Error("not idle")
	}
	b.off, c.spoil = false, nil
	c.meet(0)
	// A message that nobody acknowledges; the session is there for the next one.
	c.spoil = spoilAll
	if err := a.peer.Send([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	c.run(5_000, nil)
	a.want(PeerUndelivered, 0)
	c.spoil = nil
	c.talk()
}

func spoilAll(int, int, []byte) [][]byte { return nil }

// Both start at once, whatever is lost on the way: one pairing, and the larger G_X was the Initiator's.
func TestBothStart(t *testing.T) {
	c := twoUnits(t)
	open := c.snapshot()
	frames, roles := 60, [2]int{}
	for i := -1; i < frames; i++ {
		c.restore(open)
		c.spoil = func(n, _ int, frame []byte) [][]byte {
			if n == i {
				return nil
			}
			return [][]byte{frame}
		}
		for _, n := range c.ends {
			if err := n.peer.Connect(); err != nil {
				t.Fatal(err)
			}
		}
		if !c.run(60_000, c.ready) {
			t.Fatalf("frame %d lost: %v, %v", i, c.ends[0].events, c.ends[1].events)
		}
		if i < 0 {
			frames = c.seen
		}
		c.friends(1, 1)
		var first [2][]byte
		second := -1
		for k, p := range c.said {
			if p[0] == 3 && first[c.from[k]] == nil {
				first[c.from[k]] = p[9:41]
			}
			if p[0] == 4 && second < 0 {
				second = c.from[k]
			}
		}
		if first[0] != nil && first[1] != nil {
			if bytes.Compare(first[second], first[1-second]) > 0 {
				t.Errorf("frame %d lost: the larger G_X answered", i)
			}
			roles[second]++
		}
		c.talk()
	}
	if roles[0] == 0 || roles[1] == 0 {
		t.Errorf("the roles fell as %v", roles)
	}
}

// Power fails at either unit, at every byte that it writes and after every frame. When it is back they meet again, and
// are paired with each other: no person is needed, and nobody is bound to a unit that is not bound to him.
func TestPeerlinkPowerCut(t *testing.T) {
	c := twoUnits(t)
	open := c.snapshot()
	cut := func(name string, who int, arm func()) (happened bool) {
		t.Helper()
		c.restore(open)
		n := c.ends[who]
		arm()
		_ = c.ends[0].peer.Connect()
		c.run(3_000, func() bool { happened = happened || n.flash.dead || n.off; n.off = happened; return happened })
		if !happened {
			return false
		}
		n.cut, c.spoil = nil, nil
		c.run(2_000, nil)
		n.options.Now = c.now
		n.restart()
		if s := n.paired().state; s != 1 && s != 2 {
			t.Fatalf("%s: state %d", name, s)
		}
		c.heal()
		c.friends(1, 1)
		c.talk()
		return true
	}
	for who, n := range c.ends {
		written := 0
		for at := 0; cut("write", who, func() {
			left := at
			n.cut = func() bool { left--; return left < 0 }
		}); at++ {
			written++
		}
		if written < 150 {
			t.Errorf("end %d: %d bytes written", who, written)
		}
		frames := 0
		for at := 0; cut("frame", who, func() {
			c.spoil = func(i, _ int, frame []byte) [][]byte {
				if i == at {
					n.off = true
				}
				return [][]byte{frame}
			}
		}); at++ {
			frames++
		}
		if frames < 20 {
			t.Errorf("end %d: %d frames", who, frames)
		}
	}
}

// Whichever call of chip or flash fails, once or for good while the units meet: no pairing that the other end has not asked for
// appears, none is lost, and when all works again they meet.
func TestPeerlinkPortFails(t *testing.T) {
	c := twoUnits(t)
	open := c.snapshot()
	c.meet(0)
	paired := c.snapshot()
	for _, before := range []snapshot{open, paired} {
		for who, n := range c.ends {
			for _, part := range []string{"chip", "read", "program", "erase"} {
				for at := 0; ; at++ {
					if part == "read" && at > 40 {
						at += 17 // every eighteenth of a thousand and more
					}
					c.restore(before)
					was := n.paired()
					calls := 0
					fails := func() bool { calls++; return calls > at }
					if part == "chip" {
						n.wire.spoil = func(_ int, _ []byte, pass func() []byte) []byte {
							if fails() {
								return nil
							}
							return pass()
						}
					} else {
						n.failing = func(call string) bool { return call == part && fails() }
					}
					_ = c.ends[0].peer.Connect()
					c.run(15_000, c.ready)
					n.wire.spoil, n.failing = nil, nil
					if calls <= at {
						break
					}
					if p := n.paired(); p.state == 0 || was.state == 2 && (p.state != 2 || p.generation != was.generation) {
						t.Fatalf("end %d, %s call %d: %+v", who, part, at, p)
					}
					c.quiet()
					c.heal()
					c.friends(1, 1)
				}
			}
		}
	}
}

// A record that flash does not take is no pairing, at either end.
func TestPairingNotWritten(t *testing.T) {
	for who := range 2 {
		c := twoUnits(t)
		n := c.ends[who]
		n.failing = func(call string) bool { return call == "program" }
		_ = c.ends[0].peer.Connect()
		c.run(15_000, nil)
		n.want(PeerFailed, PeerReason(ErrPort))
		if n.paired().state != 1 || c.ready() {
			t.Errorf("end %d: %+v", who, n.paired())
		}
	}
}

// What one unit says reaches it again: an echo, from the first frame or from a later one on.
func TestEcho(t *testing.T) {
	f := newField(t)
	a := f.node(t, testFirst+1, Wired{})
	c := join(t, a, a)
	c.ends[1] = f.node(t, testFirst+2, Wired{})
	c.ends[1].off = true
	c.spoil = func(_, from int, frame []byte) [][]byte {
		a.peer.Receive(frame)
		return nil
	}
	_ = a.peer.Connect()
	c.run(30_000, nil)
	a.want(PeerFailed, PeerReason(15))
	if a.paired().state != 1 || a.paired().generation != 0 {
		t.Errorf("%+v", a.paired())
	}
}

// The clock wraps, and time passes without a tick for as long as it may.
func TestPeerlinkClockWraps(t *testing.T) {
	c := twoUnits(t)
	open := c.snapshot()
	for _, start := range []uint32{1<<32 - 1, 1<<32 - 1000, 1<<32 - 4000, 1<<31 - 2000} {
		c.now = start
		c.restore(open)
		c.ends[1].off = true
		_ = c.ends[0].peer.Connect()
		c.run(3_000+5*tick, nil)
		c.ends[0].want(PeerFailed, PeerTimeout)
		if got := len(c.said); got != 3 {
			t.Errorf("from %d: said %d", start, got)
		}
		c.ends[1].off = false
		c.meet(0)
	}
}

// A session is over when its unit comes up anew; the other end learns it from the silence and they meet again.
func TestSessionLost(t *testing.T) {
	c := twoUnits(t)
	c.meet(0)
	a, b := c.ends[0], c.ends[1]
	b.options.Now = c.now
	b.restart()
	if err := a.peer.Send([]byte("is anybody there")); err != nil {
		t.Fatal(err)
	}
	c.run(5_000, nil)
	a.want(PeerUndelivered, 0)
	if len(b.events) > 0 && slices.ContainsFunc(b.events, func(e PeerEvent) bool { return e.Kind == PeerMessage }) {
		t.Error("a message without a session")
	}
	c.meet(0)
	a.want(PeerClosed, 0)
	c.talk()
}
