//go:build cgo

package device

import (
	"bytes"
	"testing"
)

func TestExpected(t *testing.T) {
	n := newField(t).node(t, testFirst+1, Wired{})
	serial, code := [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, [4]byte{9, 10, 11, 12}
	otherSerial, otherCode := [8]byte{1, 2, 3, 4, 5, 6, 7, 9}, [4]byte{8, 10, 11, 12}
	for _, c := range []struct {
		expected     Expected
		serial, code bool // whether another one is let in
	}{
		{Expected{Serial: serial[:]}, false, true},
		{Expected{Code: code[:]}, true, false},
		{Expected{Serial: serial[:], Code: code[:]}, false, false},
	} {
		n.options.Policy = c.expected
		n.restart()
		if !n.peer.ask(serial, code) || n.peer.ask(otherSerial, code) != c.serial || n.peer.ask(serial, otherCode) != c.code ||
			n.peer.ask(otherSerial, otherCode) {
			t.Errorf("%+v", c.expected)
		}
	}
	n.options.Policy = Expected{}
	n.restart()
	if n.peer.ask(serial, code) || n.peer.ask([8]byte{}, [4]byte{}) {
		t.Error("nobody is expected, and somebody is let in")
	}
	for _, policy := range []Policy{nil, Expected{Serial: serial[:7]}, Expected{Code: append(code[:], 0)}} {
		if p, err := NewPeer(n.image, n.board(), PeerOptions{Policy: policy}); err == nil {
			p.Close()
			t.Errorf("%+v is a policy", policy)
		}
	}
}

// Windows and holds to the tick, wherever the clock stands.
func TestGesture(t *testing.T) {
	c := twoUnits(t)
	n := c.ends[0]
	n.options.Policy = Gesture{}
	first, second := [4]byte{1}, [4]byte{2}
	for _, start := range []uint32{0, 1<<32 - 1, 1<<32 - 2500, 1<<32 - 30_000, 1<<31 - 2500} {
		now := start
		n.options.Now = start
		n.restart()
		pass := func(milliseconds int) {
			for range milliseconds / 100 {
				now += 100
				n.peer.Tick(now)
			}
		}
		ask := func(code [4]byte, want bool) {
			t.Helper()
			if got := n.peer.ask([8]byte{}, code); got != want {
				t.Errorf("from %d, after %d ms: %t", start, now-start, got)
			}
		}
		// Held since power-up: no press and no release, however long.
		n.peer.Press()
		pass(1000)
		ask(first, false)
		pass(69_000)
		ask(first, false)
		n.peer.Lift()
		pass(100)
		ask(first, false)
		// 60 s after a press, for the first that asks.
		n.peer.Press()
		pass(100)
		n.peer.Lift()
		pass(59_900)
		ask(first, true)
		ask(second, false)
		ask(first, true)
		pass(100)
		ask(first, false)
		// The next press is for another.
		n.peer.Press()
		pass(100)
		n.peer.Lift()
		pass(1000)
		ask(second, true)
		ask(first, false)
		n.peer.Press()
		pass(1000)
		ask(first, true)
	}
	// A release takes 5 s, happens once, and closes the window.
	for _, start := range []uint32{0, 1<<32 - 2500} {
		n.options.Policy = Wired{}
		c.now = start
		for _, n := range c.ends {
			n.options.Now = start
			n.restart()
		}
		if c.ends[0].paired().state == 1 {
			c.heal()
		}
		was := n.paired()
		c.run(200, nil)
		n.options.Policy = Gesture{}
		n.options.Now = c.now
		n.restart()
		n.peer.Press()
		c.run(10_000, nil)
		n.unmoved(was)
		n.peer.Lift()
		c.run(200, nil)
		n.peer.Press()
		c.run(4900, nil)
		n.unmoved(was)
		n.peer.Lift()
		c.run(100, nil)
		n.peer.Press()
		c.run(tick, nil)
		c.run(4950, nil)
		n.unmoved(was)
		c.run(100, nil)
		if p := n.paired(); p.state != 1 || p.generation != was.generation+1 {
			t.Errorf("held for 5 s: %+v", p)
		}
		if n.peer.ask([8]byte{}, first) {
			t.Error("the window of a release is open")
		}
		c.run(20_000, nil)
		if p := n.paired(); p.generation != was.generation+1 {
			t.Errorf("held on: %+v", p)
		}
		n.peer.Lift()
	}
}

// Two people, one after the other: the second press completes the pairing, at whichever unit it is, up to a minute later.
func TestGestureBothEnds(t *testing.T) {
	f := newField(t)
	for _, wait := range []int{0, 300, 5_000, 40_000, 55_000, 61_000} {
		for first := range 2 {
			c := join(t, f.node(t, testFirst+1, Gesture{}), f.node(t, testFirst+2, Gesture{}))
			c.run(200, nil)
			for _, n := range []*node{c.ends[first], c.ends[1-first]} {
				n.peer.Press()
				c.run(200, nil)
				n.peer.Lift()
				if n == c.ends[first] {
					c.run(wait, nil)
				}
			}
			paired := c.run(20_000, c.ready)
			if paired != (wait < 60_000) {
				t.Errorf("second press after %d ms: paired %t, %v, %v", wait, paired, c.ends[0].events, c.ends[1].events)
			}
			if paired {
				c.friends(1, 1)
			}
		}
	}
}

// The unit that was pressed loses its power between the two writes: its peer is bound to it and lets nobody else in; one more
// press at the unit alone completes the pairing.
func TestGesturePowerCut(t *testing.T) {
	f := newField(t)
	c := join(t, f.node(t, testFirst+1, Gesture{}), f.node(t, testFirst+2, Wired{}))
	n := c.ends[0]
	c.run(200, nil)
	n.cut = func() bool { return true }
	n.peer.Press()
	c.run(2000, nil)
	n.cut = nil
	n.options.Now = c.now
	n.restart()
	n.peer.Lift()
	if n.paired().state != 1 || c.ends[1].paired().state != 2 {
		t.Fatalf("%+v, %+v", n.paired(), c.ends[1].paired())
	}
	_ = c.ends[1].peer.Connect()
	c.run(20_000, nil)
	c.ends[1].want(PeerFailed, PeerDeclined)
	if n.paired().state != 1 {
		t.Error("paired without a press")
	}
	was := c.ends[1].paired()
	n.peer.Press()
	c.run(10_000, c.ready)
	c.friends(1, 1)
	c.ends[1].unmoved(was)
	if unit, _ := n.peer.certificates(); !bytes.Equal(was.unit, unit) {
		t.Error("another peer")
	}
}
