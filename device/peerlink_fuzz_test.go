//go:build cgo

package device

import (
	"bytes"
	"testing"
)

// peerStates bring the second unit of a cable into each state in which a frame may find it. What it waits for has been said and
// is lost.
var peerStates = map[string]func(c *cable){
	"open": func(*cable) {},
	"paired": func(c *cable) {
		c.meet(0)
		c.ends[1].options.Now = c.now
		c.ends[1].restart()
	},
	"session": func(c *cable) { c.meet(0) },
	"connecting": func(c *cable) {
		_ = c.ends[1].peer.Connect()
		c.spoil = spoilAll
		c.run(2*tick, nil)
	},
	"waits for message_1": func(c *cable) { c.stop(0, 3, 0) },
	"waits for message_2": func(c *cable) { c.stop(1, 3, 1) },
	"waits for message_3": func(c *cable) { c.stop(0, 4, 0) },
	"waits for message_4": func(c *cable) { c.stop(1, 4, 1) },
	"is asked to pair":    func(c *cable) { c.stop(0, 5, 0) },
	"has asked to pair":   func(c *cable) { c.stop(1, 5, 1) },
	"waits in a session": func(c *cable) {
		c.meet(0)
		c.stop(0, 4, 0)
	},
}

// stop lets the first or second unit connect, up to the first frame of this type that this end sends.
func (c *cable) stop(initiator int, kind byte, from int) {
	c.t.Helper()
	stopped := false
	c.spoil = func(_, by int, framed []byte) [][]byte {
		if by == from && unframe(c.t, framed[1:])[0] == kind {
			stopped = true
		}
		if stopped && by == 0 {
			return nil
		}
		return [][]byte{framed}
	}
	if err := c.ends[initiator].peer.Connect(); err != nil {
		c.t.Fatal(err)
	}
	if !c.run(5_000, func() bool { return stopped }) {
		c.t.Fatalf("no frame of type %d", kind)
	}
}

// everyFrame gives a unit in each state what the data says, as frames, and checks what no frame without a key may change.
func everyFrame(t *testing.T, c *cable, open snapshot, name string, data []byte) {
	t.Helper()
	c.t = t
	for _, n := range c.ends {
		n.t = t
	}
	c.restore(open)
	peerStates[name](c)
	c.spoil = nil
	n := c.ends[1]
	was, inSession := n.paired(), n.peer.State() == PeerOpen || n.peer.State() == PeerSending
	written := n.bytes
	for len(data) > 0 {
		// One frame: its size, then its payload; a session of FFFF stands for the one that was heard last.
		size := min(int(data[0]), len(data)-1)
		payload := bytes.Clone(data[1 : 1+size])
		data = data[1+size:]
		if size >= 3 && payload[1] == 0xff && payload[2] == 0xff {
			for i := len(c.said) - 1; i >= 0; i-- {
				if c.from[i] == 0 && c.said[i][0] != 0 {
					copy(payload[1:3], c.said[i][1:3])
					break
				}
			}
		}
		if size == 0 {
			c.now += 500
			n.peer.Tick(c.now)
		}
		n.peer.frame(payload)
		n.peer.Out()
	}
	n.unmoved(was)
	if n.bytes != written {
		t.Errorf("%s: the unit has written", name)
	}
	if now := n.peer.State() == PeerOpen || n.peer.State() == PeerSending; now != inSession {
		t.Errorf("%s: a session before: %t, and now: %t", name, inSession, now)
	}
	if inSession {
		c.quiet()
		c.talk()
	}
}

func newFuzzCable(t testing.TB) (*cable, snapshot) {
	f := newField(t)
	c := join(t, f.keptNode(t, testFirst+1, Wired{}), f.keptNode(t, testFirst+2, Wired{}))
	return c, c.snapshot()
}

// frames joins payloads as everyFrame reads them.
func frames(payloads ...[]byte) (data []byte) {
	for _, p := range payloads {
		data = append(append(data, byte(len(p))), p...)
	}
	return data
}

// Every type of frame, whole and broken, in every state.
func TestEveryFrameInEveryState(t *testing.T) {
	c, open := newFuzzCable(t)
	defer c.ends[0].close()
	defer c.ends[1].close()
	for name := range peerStates {
		for kind := range byte(8) {
			for _, session := range []byte{0x01, 0xff} {
				for _, number := range []byte{0, 1, 2, 3, 0xff} {
					var data []byte
					for _, part := range []byte{0x00, 0x01, 0x10, 0x11, 0x12, 0x21, 0x22, 0x55, 0x16, 0x66, 0xff} {
						for _, size := range []int{0, 1, 6, 37, 112, 113} {
							data = append(data, frames(append([]byte{kind, session, session, number, part}, bytes.Repeat([]byte{0x58}, size)...))...)
						}
					}
					everyFrame(t, c, open, name, data)
				}
			}
		}
		if t.Failed() {
			return
		}
	}
}

func FuzzPeerlink(f *testing.F) {
	var names []string
	for name := range peerStates {
		names = append(names, name)
	}
	trust := []byte{1, 1, 1, 0, 0x11, 3, 0, 0, 0, 0, 0}
	message1 := append([]byte{3, 1, 1, 1, 0x11, 0, 2, 0x58, 0x20}, append(make([]byte, 32), 0)...)
	for _, name := range names {
		f.Add(name, frames(trust, message1, nil, trust))
		f.Add(name, frames([]byte{4, 0xff, 0xff, 2, 0x11, 3, 0xf5}, []byte{0, 0xff, 0xff, 0, 0x11}))
		f.Add(name, frames([]byte{5, 0xff, 0xff, 4, 0x11, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}))
	}
	c, open := newFuzzCable(f)
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if peerStates[name] == nil || len(data) > 4096 {
			return
		}
		everyFrame(t, c, open, name, data)
	})
}
