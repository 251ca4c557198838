//go:build cgo

package device

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// pairedUnits are two units of a field after their first meeting.
func pairedUnits(t testing.TB) (*field, *cable) {
	f := newField(t)
	c := join(t, f.node(t, testFirst+1, Wired{}), f.node(t, testFirst+2, Wired{}))
	c.meet(0)
	return f, c
}

// still checks that a unit's pairing is what it was.
func (n *node) unmoved(was pairing) {
	n.t.Helper()
	if p := n.paired(); p.state != was.state || p.generation != was.generation || !bytes.Equal(p.unit, was.unit) {
		n.t.Errorf("%s: the pairing was %d, generation %d, and is %d, %d", n.name, was.state, was.generation, p.state, p.generation)
	}
}

// against lets attacker and victim meet, with either as Initiator, and wants the victim to refuse for this reason.
func against(t *testing.T, attacker, victim *node, reason PeerReason) {
	t.Helper()
	was := victim.paired()
	for initiator, n := range []*node{attacker, victim} {
		c := join(t, attacker, victim)
		c.now = max(attacker.options.Now, victim.options.Now) + 100_000
		for _, n := range c.ends {
			n.options.Now = c.now
			n.events = nil
			n.restart()
		}
		_ = n.peer.Connect()
		c.run(30_000, nil)
		if victim.want(PeerFailed, reason); t.Failed() {
			t.Errorf("initiator %d: %v", initiator, victim.events)
		}
		if victim.peer.State() == PeerOpen || attacker.peer.State() == PeerOpen {
			t.Errorf("initiator %d: a session", initiator)
		}
		victim.unmoved(was)
	}
}

// Threat 19: whatever one unit said in a meeting, said again to the other or to itself, leads nowhere.
func TestPeerlinkReplay(t *testing.T) {
	f := newField(t)
	c := join(t, f.node(t, testFirst+1, Wired{}), f.node(t, testFirst+2, Wired{}))
	c.meet(0)
	first := len(c.said)
	c.talk()
	c.meet(1)
	c.talk()
	recorded := slices.Clone(c.said)
	for _, again := range []bool{false, true} { // in the running session, and after a reset
		for who, n := range c.ends {
			was := n.paired()
			if again {
				n.options.Now = c.now
				n.restart()
			}
			n.events = nil
			for round := range 3 {
				for i, payload := range recorded {
					if c.from[i] == who && round == 0 {
						continue // first what the other said, then everything
					}
					n.peer.frame(payload)
					n.peer.Out()
				}
				c.now += 100_000
				n.peer.Tick(c.now)
				n.peer.Tick(c.now + 1)
			}
			n.collect()
			n.unmoved(was)
			for _, e := range n.events {
				if e.Kind != PeerFailed {
					t.Errorf("end %d, after a reset %t: %v", who, again, e)
				}
			}
			if !again && n.peer.State() != PeerOpen {
				t.Errorf("end %d: the session is gone", who)
			}
		}
	}
	// The Initiator's part of a first meeting, played to another open unit of theirs by somebody who acknowledges what that one says:
	// it judges message_3, which belongs to another ephemeral key.
	fresh := f.node(t, testFirst+9, Wired{})
	played := &foreign{t: t, n: fresh}
	for i, payload := range recorded[:first] {
		if c.from[i] == 0 && payload[0] != 0 {
			played.hand(payload)
		}
	}
	fresh.collect()
	fresh.want(PeerFailed, PeerReason(ErrAuth))
	if fresh.peer.State() == PeerOpen || fresh.paired().state != 1 {
		t.Error("a replay has paired")
	}
}

// Threat 20: a paired unit refuses any genuine peer but its own, and stays paired with it.
func TestStranger(t *testing.T) {
	f, c := pairedUnits(t)
	stranger := f.node(t, testFirst+3, Wired{})
	for _, n := range c.ends {
		against(t, stranger, n, PeerStranger)
		if stranger.paired().state != 1 {
			t.Error("the stranger is paired with somebody who is not with it")
		}
	}
	for _, n := range c.ends {
		n.events = nil
	}
	c.now += 1_000_000
	for _, n := range c.ends {
		n.options.Now = c.now
		n.restart()
	}
	c.meet(0)
	c.talk()
	c.friends(1, 1)
	// As Initiator it refuses before it shows itself: it has sent an error message where message_3 would be.
	c = join(t, c.ends[0], stranger)
	c.now = 5_000_000
	for _, n := range c.ends {
		n.options.Now = c.now
		n.restart()
	}
	_ = c.ends[0].peer.Connect()
	c.run(30_000, nil)
	mine := 0
	for i, p := range c.said {
		if c.from[i] == 0 && p[0] == 4 {
			mine++
			if !bytes.Equal(p[5:], append([]byte{1, 0x67}, "refused"...)) {
				t.Errorf("it says %x to a stranger", p)
			}
		}
	}
	if mine != 1 {
		t.Errorf("%d messages to a stranger", mine)
	}
}

// Threat 21: forged, older and truncated links and lists that a peer carries are refused, the meeting goes on, and good
// ones are taken whatever becomes of it.
func TestTrustUpdateByPeer(t *testing.T) {
	f := newField(t)
	a := f.node(t, testFirst+1, Wired{})
	_, order := a.peer.certificates()
	links := [][]byte{f.link(t, 4, order), f.link(t, 5), f.link(t, 6)}

	// Any number of epochs apart, in both directions, and with both starting.
	for ahead := range 4 {
		for newer := range 2 {
			for initiator := range 3 {
				c := join(t, f.node(t, testFirst+1, Wired{}), f.node(t, testFirst+2, Wired{}))
				_, order1 := c.ends[0].peer.certificates()
				_, order2 := c.ends[1].peer.certificates()
				links[0] = f.link(t, 4, order1, order2)
				for i := range ahead {
					if err := c.ends[newer].peer.take(links[i], false); err != nil {
						t.Fatal(err)
					}
				}
				list := f.list(t, firstEpoch+ahead, 7, nil, nil, testLast)
				if err := c.ends[newer].peer.take(list, true); err != nil {
					t.Fatal(err)
				}
				if initiator == 2 {
					_ = c.ends[1].peer.Connect()
				}
				c.meet(initiator % 2)
				c.friends(1, 1)
				c.talk()
				for _, n := range c.ends {
					if epoch, listEpoch, number := n.peer.version(); epoch != firstEpoch+ahead || listEpoch != epoch || number != 7 {
						t.Errorf("%d ahead: epoch %d, list %d, %d", ahead, epoch, listEpoch, number)
					}
				}
			}
		}
	}

	// Each frame of a link or list has a bit turned over on the way, with its CRC made good: the other end is told of a newer epoch,
	// refuses what came, and all the same the two meet (a link that does not close the old root changes nothing for them).
	for i := range 60 {
		c := join(t, f.node(t, testFirst+1, Wired{}), f.node(t, testFirst+2, Wired{}))
		_, order1 := c.ends[0].peer.certificates()
		_, order2 := c.ends[1].peer.certificates()
		if err := c.ends[i%2].peer.take(f.link(t, 4, order1, order2), false); err != nil {
			t.Fatal(err)
		}
		if err := c.ends[i%2].peer.take(f.list(t, 4, 1, nil, nil, testLast), true); err != nil {
			t.Fatal(err)
		}
		spoilt := false
		c.spoil = func(_, _ int, framed []byte) [][]byte {
			p := unframe(t, framed[1:])
			if p[0] == 2 && int(p[4]>>4) == 1+i%2 && len(p) > 5 {
				p[5+i*7%(len(p)-5)] ^= 1 << (i % 8)
				spoilt = true
				return [][]byte{frame(p)}
			}
			return [][]byte{framed}
		}
		c.meet(0)
		c.talk()
		old := c.ends[1-i%2]
		if epoch, listEpoch, _ := old.peer.version(); !spoilt || epoch != firstEpoch || listEpoch != 0 {
			t.Errorf("a spoilt link (%t): epoch %d, list %d", spoilt, epoch, listEpoch)
		}
	}
}

// Threat 21: a carrier that is not let in has brought its links all the same; its list, it has not.
func TestLinkByStranger(t *testing.T) {
	f, c := pairedUnits(t)
	_, order1 := c.ends[0].peer.certificates()
	_, order2 := c.ends[1].peer.certificates()
	stranger := f.node(t, testFirst+3, Wired{})
	_, order3 := stranger.peer.certificates()
	if err := stranger.peer.take(f.link(t, 4, order1, order2, order3), false); err != nil {
		t.Fatal(err)
	}
	if err := stranger.peer.take(f.list(t, 4, 1, nil, nil, testFirst+2), true); err != nil {
		t.Fatal(err)
	}
	victim := c.ends[0]
	was := victim.paired()
	c2 := join(t, stranger, victim)
	c2.now = 1_000_000
	stranger.options.Now, victim.options.Now = c2.now, c2.now
	stranger.restart()
	victim.restart()
	_ = stranger.peer.Connect()
	c2.run(30_000, nil)
	victim.want(PeerFailed, PeerStranger)
	victim.unmoved(was)
	if epoch, listEpoch, _ := victim.peer.version(); epoch != 4 || listEpoch != 0 {
		t.Errorf("epoch %d, list %d", epoch, listEpoch)
	}
	// The paired units still meet; the one carries the link on to the other.
	c.now, c.ends[1].options.Now = 2_000_000, 2_000_000
	c.ends[1].restart()
	victim.options.Now = c.now
	victim.restart()
	c.meet(1)
	c.friends(1, 1)
	if epoch, _, _ := c.ends[1].peer.version(); epoch != 4 {
		t.Errorf("epoch %d", epoch)
	}
}

// A status list that comes with the peer or is there before decides about the pairing: listed serials are refused, new pairings
// within listed orders and ranges too, and what is paired already goes on unless its serial is listed.
func TestPeerOnStatusList(t *testing.T) {
	f := newField(t)
	lists := map[string]struct {
		list           []byte
		unpaired, pair PeerReason // why a new pairing, and an old one, is refused; 0: it is not
	}{
		"serial": {f.list(t, 3, 1, nil, nil, testFirst+2), 13, 13},
		"order":  {f.list(t, 3, 1, [][2]int{{3, 0x0102}}, nil), 14, 0},
		"range":  {f.list(t, 3, 1, nil, [][2]uint64{{testFirst + 2, testFirst + 3}}), 14, 0},
		"others": {f.list(t, 3, 1, [][2]int{{3, 0x0103}}, [][2]uint64{{testFirst + 3, testFirst + 9}}, testFirst+10), 0, 0},
	}
	for name, l := range lists {
		for carrier := range 2 {
			for initiator := range 2 {
				c := join(t, f.node(t, testFirst+1, Wired{}), f.node(t, testFirst+2, Wired{}))
				judge := c.ends[0]
				open := c.snapshot()
				if err := c.ends[carrier].peer.take(l.list, true); err != nil {
					t.Fatal(err)
				}
				_ = c.ends[initiator].peer.Connect()
				c.run(30_000, nil)
				if l.unpaired == 0 {
					judge.want(PeerReady, 1)
					continue
				}
				what := fmt.Sprintf("%s, carrier %d, initiator %d", name, carrier, initiator)
				// The order is that of both, so the other may have been the first to see it.
				if name != "order" || !judge.has(PeerFailed, PeerDeclined) {
					judge.want(PeerFailed, l.unpaired)
				}
				if t.Failed() || judge.paired().state != 1 || c.ends[1].paired().state != 1 {
					t.Fatalf("%s: %v, %v", what, judge.events, c.ends[1].events)
				}
				c.restore(open)
				c.meet(0)
				if err := c.ends[carrier].peer.take(l.list, true); err != nil {
					t.Fatal(err)
				}
				judge.events = nil
				_ = c.ends[initiator].peer.Connect()
				c.run(30_000, nil)
				if l.pair == 0 {
					judge.want(PeerReady, 0)
					c.talk()
				} else if judge.has(PeerReady, 0) || c.ready() {
					t.Errorf("%s: a session", what)
				} else {
					judge.want(PeerFailed, l.pair)
				}
				c.friends(1, 1)
			}
		}
	}
}

// A link that closes the peer's order stops a paired unit, too.
func TestPeerOfClosedOrder(t *testing.T) {
	f, c := pairedUnits(t)
	_, order := c.ends[1].peer.certificates()
	if err := c.ends[1].peer.take(f.link(t, 4, order), false); err != nil { // not the other's order: each factory run signs anew
		t.Fatal(err)
	}
	was := c.ends[1].paired()
	_ = c.ends[0].peer.Connect()
	c.run(30_000, nil)
	c.ends[1].want(PeerFailed, 12)
	c.ends[1].unmoved(was)
}

// Threat 23: a genuine unit with foreign firmware in the middle at pairing. EXPECTED refuses it by serial and code, GESTURE lets
// one unit in and says which, WIRED is for wires without a middle.
func TestUnitInTheMiddle(t *testing.T) {
	f := newField(t)
	right := f.node(t, testFirst+2, Wired{})
	unit, _ := right.peer.certificates()
	digest := sha256.Sum256(unit)
	for _, policy := range []Policy{Expected{Serial: eui(right.serial)}, Expected{Code: digest[:4]}, Expected{Serial: eui(right.serial), Code: digest[:4]}, Expected{}} {
		victim := f.node(t, testFirst+1, policy)
		middle := f.node(t, testFirst+3, Wired{})
		against(t, middle, victim, PeerNotAllowed)
		c := join(t, right, victim)
		right.options.Now, victim.options.Now = 0, 0
		right.restart()
		victim.restart()
		right.events, victim.events = nil, nil
		_ = right.peer.Connect()
		if paired := c.run(30_000, c.ready); paired != (policy.(Expected).Serial != nil || policy.(Expected).Code != nil) {
			t.Errorf("%+v: paired with the right one: %t", policy, paired)
		}
		if right.paired().state == 2 {
			if err := right.peer.Unpair(); err != nil {
				t.Fatal(err)
			}
		}
	}
	victim := f.node(t, testFirst+1, Gesture{})
	middle := f.node(t, testFirst+3, Wired{})
	c := join(t, middle, victim)
	c.run(100, nil)
	victim.peer.Press()
	c.run(30_000, c.ready)
	serial, code, ok := victim.peer.Met()
	unit, _ = middle.peer.certificates()
	digest = sha256.Sum256(unit)
	if !ok || serial != [8]byte(eui(middle.serial)) || !bytes.Equal(code[:], digest[:4]) {
		t.Errorf("the label it shows is %x, %x", serial, code)
	}
	// Once it is released, the same press lets nobody else in.
	if err := victim.peer.Unpair(); err != nil {
		t.Fatal(err)
	}
	if victim.peer.ask([8]byte(eui(right.serial)), [4]byte{}) {
		t.Error("two pairings for one press")
	}
}

// Threat 28: a store that is blank, torn or bad in both pages is a fault: the unit neither begins nor answers, until it is
// mended.
func TestFaultRefusesAll(t *testing.T) {
	c := twoUnits(t)
	open := c.snapshot()
	for name, spoil := range map[string]func(pages *[3][]byte){
		"blank": func(p *[3][]byte) {
			copy(p[1], bytes.Repeat([]byte{0xff}, 2048))
			copy(p[2], bytes.Repeat([]byte{0xff}, 2048))
		},
		"noise": func(p *[3][]byte) {
			copy(p[1], bytes.Repeat([]byte{0x5a, 0xc3, 0x11}, 600))
			copy(p[2], bytes.Repeat([]byte{0x00, 0xc3, 0x12}, 600))
		},
		"torn": func(p *[3][]byte) {
			for _, page := range p[1:] {
				for i := 0; i < len(page); i += 8 {
					page[i] = 0
				}
			}
		},
	} {
		for who, n := range c.ends {
			c.restore(open)
			spoil(&n.flash.pages)
			n.peer.unit.remap(t)
			if s := n.paired().state; s != 0 {
				t.Fatalf("%s: state %d", name, s)
			}
			pages := slices.Clone(n.flash.pages[1])
			_ = n.peer.Connect()
			c.run(5_000, nil)
			n.want(PeerFailed, PeerReason(ErrState))
			_ = c.ends[1-who].peer.Connect()
			c.run(30_000, nil)
			c.ends[1-who].want(PeerFailed, PeerTimeout)
			if n.paired().state != 0 || !bytes.Equal(pages, n.flash.pages[1]) {
				t.Errorf("%s: the fault has mended itself", name)
			}
		}
	}
}

// Threat 29: a release is good once. Played again it is refused, and so is one for another unit, generation or epoch.
func TestReleaseReplayed(t *testing.T) {
	f, c := pairedUnits(t)
	n := c.ends[0]
	serial := [8]byte(eui(n.serial))
	good := f.release(t, firstEpoch, n.serial, 1)
	for name, bad := range map[string][]byte{
		"another unit":       f.release(t, firstEpoch, n.serial+1, 1),
		"another generation": f.release(t, firstEpoch, n.serial, 2),
		"a root to come":     f.release(t, firstEpoch+1, n.serial, 1),
		"cut":                good[:len(good)-1],
	} {
		if err := n.peer.release(serial, bad); err == nil {
			t.Errorf("%s: released", name)
		}
	}
	n.unmoved(pairing{2, 1, n.paired().unit})
	if err := n.peer.release(serial, good); err != nil {
		t.Fatal(err)
	}
	// The link sees it before the next message, in either direction.
	if err := n.peer.Send([]byte("x")); !errors.Is(err, ErrState) {
		t.Error(err)
	}
	n.collect()
	n.want(PeerReleased, 0)
	c.heal()
	c.friends(3, 1)
	if err := n.peer.release(serial, good); err == nil {
		t.Error("the release is good twice")
	}
	c.talk()
}

// Threat 30: a flood of message_1, from whoever is on the line. A running session lives, pauses grow to a minute, nothing is
// written, and the peer gets in again.
func TestFlood(t *testing.T) {
	f, c := pairedUnits(t)
	victim, friend := c.ends[0], c.ends[1]
	stranger := f.node(t, testFirst+3, Wired{})
	flood := join(t, stranger, victim)
	flood.now = c.now
	stranger.options.Now = c.now
	stranger.restart()
	written := victim.bytes
	commands := victim.wire.commands
	var answered []uint32
	flood.spoil = func(_, from int, framed []byte) [][]byte {
		// The start after an error 3 belongs to the one before it.
		if p := unframe(t, framed[1:]); from == 1 && p[0] == 4 && p[3] == 1 && p[4]>>4 == 1 &&
			(len(answered) == 0 || flood.now-answered[len(answered)-1] > 500) {
			answered = append(answered, flood.now)
		}
		return [][]byte{framed}
	}
	for flood.now < c.now+400_000 {
		_ = stranger.peer.Connect()
		flood.run(tick, nil)
		stranger.events = nil
	}
	if len(answered) < 8 || len(answered) > 20 {
		t.Errorf("%d answers in 400 s", len(answered))
	}
	for i, pause := range []uint32{1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000} {
		if i+1 < len(answered) && answered[i+1]-answered[i] < pause {
			t.Errorf("answer %d after %d ms, not %d", i+1, answered[i+1]-answered[i], pause)
		}
	}
	if victim.bytes != written {
		t.Error("a stranger has the victim write")
	}
	t.Logf("%d answers, %d commands of the chip", len(answered), victim.wire.commands-commands)
	c.now = flood.now
	c.talk()
	// The friend resets and comes back: a minute later at most.
	friend.options.Now = c.now
	friend.restart()
	c.heal()
	c.talk()
	c.friends(1, 1)
	// Raw message_1s by the thousand, before any session and in one.
	for _, restart := range []bool{false, true} {
		if restart {
			victim.options.Now = c.now
			victim.restart()
		}
		before := victim.wire.commands
		for i := range 5000 {
			victim.peer.frame([]byte{1, byte(i >> 7), byte(i<<1 | 1), 0, 0x11, 3, 0, 0, 0, 0, 0})
			victim.peer.frame(slices.Concat([]byte{3, byte(i >> 7), byte(i<<1 | 1), 1, 0x11, 0, 2, 0x58, 0x20}, bytes.Repeat([]byte{byte(i)}, 32), []byte{0}))
			victim.peer.Out()
		}
		if spent := victim.wire.commands - before; spent > 10 {
			t.Errorf("5000 message_1 within a moment make %d commands", spent)
		}
	}
	victim.unmoved(pairing{2, 1, victim.paired().unit})
}

// Forged records, in thousands, and with every number: the session lives and the next true one is taken.
func TestForgedRecords(t *testing.T) {
	_, c := pairedUnits(t)
	c.talk()
	victim := c.ends[0]
	var session []byte
	for i, p := range c.said {
		if c.from[i] == 1 && p[0] == 5 {
			session = p[1:3]
		}
	}
	for i := range 3000 {
		victim.peer.frame(slices.Concat([]byte{5}, session, []byte{byte(i), 0x11, 0, byte(i >> 16), byte(i >> 8), byte(i)}, make([]byte, 12)))
		victim.peer.Out()
		if i%500 == 499 {
			c.talk()
		}
	}
}

// Three ways to replace a unit: by a gesture, by its peer, by a release that the root signed. The new one is let in after each,
// and before it is not.
func TestReplacement(t *testing.T) {
	for _, way := range []string{"gesture", "peer", "release"} {
		f := newField(t)
		old, kept, next := f.node(t, testFirst+1, Wired{}), f.node(t, testFirst+2, Gesture{}), f.node(t, testFirst+3, Wired{})
		kept.options.AllowRelease = way == "peer"
		kept.restart()
		c := join(t, old, kept)
		press := func(c *cable, milliseconds int) {
			kept.peer.Press()
			c.run(milliseconds, nil)
			kept.peer.Lift()
			c.run(2*tick, nil)
		}
		c.run(100, nil)
		press(c, 200)
		c.run(10_000, c.ready)
		c.friends(1, 1)
		c2 := join(t, next, kept)
		c2.now = c.now
		next.options.Now = c.now
		next.restart()
		_ = next.peer.Connect()
		c2.run(10_000, nil)
		kept.want(PeerFailed, PeerStranger)
		c.now = c2.now
		switch way {
		case "gesture":
			press(c, 4900)
			c.friends(1, 1)
			press(c, 5200)
		case "peer":
			if err := old.peer.Unpair(); err != nil {
				t.Fatal(err)
			}
			c.run(1000, nil)
			kept.want(PeerReleased, 0)
		case "release":
			if err := kept.peer.release([8]byte(eui(kept.serial)), f.release(t, firstEpoch, kept.serial, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if p := kept.paired(); p.state != 1 || p.generation != 2 {
			t.Errorf("%s: %+v", way, p)
		}
		c2.now = c.now + 61_000
		next.events, kept.events = nil, nil
		c2.run(61_000, nil)
		press(c2, 200)
		c2.run(60_000, c2.ready)
		c2.friends(1, 3)
		c2.talk()
	}
}

// The board that does not allow it stays paired when its peer goes, and the session ends at both.
func TestReleaseNotAllowed(t *testing.T) {
	_, c := pairedUnits(t)
	if err := c.ends[0].peer.Unpair(); err != nil {
		t.Fatal(err)
	}
	c.run(1000, nil)
	c.ends[1].want(PeerClosed, PeerNotAllowed)
	if a, b := c.ends[0].paired(), c.ends[1].paired(); a.state != 1 || a.generation != 2 || b.state != 2 || b.generation != 1 {
		t.Errorf("%+v, %+v", a, b)
	}
	for _, n := range c.ends {
		if n.peer.State() != PeerIdle || !bytes.Equal(n.peer.secrets(), make([]byte, len(n.peer.secrets()))) {
			t.Errorf("%s keeps something", n.name)
		}
	}
	// They are each other's still: the open one is let in and, as its board allows it, pairs again.
	c.heal()
	c.friends(3, 1)
}

// An application's message of a unit that is not paired is not delivered, and none can be sent.
func TestNoMessageUnpaired(t *testing.T) {
	f := newField(t)
	c := join(t, f.node(t, testFirst+1, Expected{}), f.node(t, testFirst+2, Wired{}))
	for initiator := range 2 {
		for _, n := range c.ends {
			n.events = nil
		}
		_ = c.ends[initiator].peer.Connect()
		c.run(30_000, func() bool {
			for _, n := range c.ends {
				if err := n.peer.Send([]byte("x")); err == nil {
					t.Fatal("sent")
				}
			}
			return false
		})
		c.ends[0].want(PeerFailed, PeerNotAllowed)
		c.ends[1].want(PeerFailed, PeerDeclined)
		for _, n := range c.ends {
			if n.paired().state != 1 || n.peer.State() != PeerIdle || !bytes.Equal(n.peer.secrets(), make([]byte, len(n.peer.secrets()))) {
				t.Errorf("%s: %+v", n.name, n.paired())
			}
		}
		c.run(100_000, nil)
	}
}

// A pairing that was released in flash hears nothing more of its former peer, though their session was open.
func TestReleasedHearsNothing(t *testing.T) {
	f, c := pairedUnits(t)
	n := c.ends[0]
	if err := n.peer.release([8]byte(eui(n.serial)), f.release(t, firstEpoch, n.serial, 1)); err != nil {
		t.Fatal(err)
	}
	n.collect()
	n.events = nil
	if err := c.ends[1].peer.Send([]byte("too late")); err != nil {
		t.Fatal(err)
	}
	c.run(2000, nil)
	n.want(PeerReleased, 0)
	for _, e := range n.events {
		if e.Kind == PeerMessage {
			t.Errorf("it hears %q", e.Message)
		}
	}
}

// A status list that comes over the production line ends a running session with a unit that it revokes, before another message.
func TestRevokedInSession(t *testing.T) {
	f := newField(t)
	a, b := f.node(t, testFirst+1, Wired{}), f.node(t, testFirst+2, Wired{})
	c := join(t, a, b)
	c.meet(0)
	c.talk()
	a.events = nil
	if err := a.peer.take(f.list(t, firstEpoch, 1, nil, nil, b.serial), true); err != nil {
		t.Fatal(err)
	}
	if err := a.peer.Send([]byte("to a revoked unit")); err == nil {
		t.Error("a message goes to a revoked unit")
	}
	c.run(100, nil)
	a.want(PeerClosed, PeerReason(CheckRevoked))
	if a.paired().state != 2 {
		t.Error("and the pairing is gone")
	}
}

// A unit whose board said yes is not told that it said no when the records are lost.
func TestRecordsLost(t *testing.T) {
	c := twoUnits(t)
	c.spoil = func(_, _ int, frame []byte) [][]byte {
		if _, payload := firstFrame(t, frame); payload[0] == 5 {
			return nil
		}
		return [][]byte{frame}
	}
	if err := c.ends[0].peer.Connect(); err != nil {
		t.Fatal(err)
	}
	c.run(60_000, nil)
	c.ends[0].want(PeerFailed, PeerTimeout)
}

// Error 2: a unit of a later make that prefers suite 3 meets one that takes it, without a pause.
func TestPeersNegotiateSuite(t *testing.T) {
	c := twoUnits(t)
	c.ends[1].peer.suites([]byte{3})
	start := c.now
	c.meet(0)
	if c.now-start > 1000 {
		t.Errorf("%d ms", c.now-start)
	}
	c.friends(1, 1)
	c.talk()
	proposals := [][]byte{}
	for _, p := range c.said {
		if p[0] == 3 {
			proposals = append(proposals, p[6:9])
		}
	}
	if len(proposals) != 2 || proposals[0][0] != 2 || !bytes.Equal(proposals[1], []byte{0x82, 2, 3}) {
		t.Errorf("%x", proposals)
	}
}

// What the chip computes for a meeting: 6 operations a side at the first, 4 once paired.
func TestChipOperations(t *testing.T) {
	c := twoUnits(t)
	count := func(initiator int) (operations [2]int) {
		for i, n := range c.ends {
			n.wire.spoil = func(_ int, group []byte, pass func() []byte) []byte {
				switch group[1] {
				case 0x40, 0x41, 0x43, 0x45: // GenKey, Sign, ECDH, Verify
					operations[i]++
				}
				return pass()
			}
		}
		c.meet(initiator)
		return operations
	}
	if got := count(0); got[0] > 6 || got[1] > 6 {
		t.Errorf("first meeting: %d", got)
	}
	for initiator := range 2 {
		if got := count(initiator); got[0] > 4 || got[1] > 4 {
			t.Errorf("paired: %d", got)
		}
	}
}
