//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"testing"
)

// foreign is the other side as somebody builds it from docs/peerlink.md alone, with whatever certificate and key he has. It
// believes everybody.
type foreign struct {
	t           testing.TB
	n           *node // at the other end of the line
	key         *ecdsa.PrivateKey
	unit, order []byte
	byHash      bool
	credential  []byte // in place of unit, where what is shown is not what is proven
	suites      []byte
	mute        func(payload []byte) bool // parts that are taken and not acknowledged

	session, theirs []byte
	number          byte
	partial         []byte
	handshake       *Handshake
	records         *Session
	heard           []message
}

// message is one that came, whole.
type message struct {
	kind  byte
	bytes []byte
}

// newForeign has a certificate of this serial number from the field's order key, over a key in software.
func (f *field) newForeign(t testing.TB, n *node, serial uint64) *foreign {
	key := newKey(t)
	items := f.unitItems.with(itemSerial, eui(serial)).with(itemSubject, eui(serial)).with(itemKey, compress(publicKey(t, key)))
	_, order := n.peer.certificates()
	return &foreign{t: t, n: n, key: key, unit: items.sign(t, f.order), order: order, suites: []byte{2, 3}}
}

// begin draws a session number of its own.
func (m *foreign) begin() {
	m.session = make([]byte, 2)
	rand.Read(m.session)
	m.session[1] |= 1
	m.theirs, m.number, m.partial, m.heard = nil, 0, nil, nil
}

// say sends a message in parts of 112 bytes and hears all that it is answered.
func (m *foreign) say(kind byte, text []byte) {
	n := (len(text) + 111) / 112
	for k := 1; k <= n; k++ {
		part := text[(k-1)*112 : min(k*112, len(text))]
		m.hand(slices.Concat([]byte{kind}, m.session, []byte{m.number, byte(k<<4 | n)}, part))
	}
	m.number++
}

func (m *foreign) hand(payload []byte) {
	m.n.peer.Receive(append([]byte{0}, frame(payload)...))
	m.hear()
}

// hear takes what the unit says, acknowledging each part.
func (m *foreign) hear() {
	for line := m.n.peer.Out(); len(line) > 0; {
		framed, p := firstFrame(m.t, line)
		line = line[len(framed):]
		if p[0] == 0 {
			continue
		}
		m.partial = append(m.partial, p[5:]...)
		if m.theirs == nil {
			m.theirs = p[1:3]
		}
		if p[4]>>4 == p[4]&15 {
			m.heard = append(m.heard, message{p[0], m.partial})
			m.partial = nil
		}
		if m.mute != nil && m.mute(p) {
			continue
		}
		m.n.peer.Receive(frame(append([]byte{0}, p[1:5]...)))
		line = append(line, m.n.peer.Out()...)
	}
}

// last is the newest message of this kind, nil if there is none.
func (m *foreign) last(kind byte) []byte {
	for _, h := range slices.Backward(m.heard) {
		if h.kind == kind {
			return bytes.Clone(h.bytes)
		}
	}
	return nil
}

// start makes an EDHOC handshake with what there is to show.
func (m *foreign) start(role Role) {
	m.t.Helper()
	id := slices.Concat([]byte{0xa1, 0x18, 0x19, 0x82, 0x58, byte(len(m.unit))}, m.unit, []byte{0x58, byte(len(m.order))}, m.order)
	if m.byHash {
		digest := sha256.Sum256(m.unit)
		id = append([]byte{0xa1, 0x16, 0x82, 0x2e, 0x48}, digest[:8]...)
	}
	credential := m.credential
	if credential == nil {
		credential = m.unit
	}
	h, err := NewHandshake(role, HandshakeConfig{
		Identity: m.key, ID: id, Credential: credential, Methods: 1, Suites: m.suites, Connection: []byte{0},
		Resolve: func(attempt int, id []byte) (credential []byte, key [64]byte, err error) {
			unit, _ := m.n.peer.certificates()
			c, err := parseUnit(unit)
			if err != nil || attempt > 0 {
				return nil, key, ErrAuth
			}
			full, err := recoverKey(c.key)
			copy(key[:], full)
			return unit, key, err
		},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.handshake = h
	m.t.Cleanup(h.Close)
}

func (m *foreign) write() []byte {
	m.t.Helper()
	b, err := m.handshake.Write()
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

// initiate makes a handshake as Initiator. It reports whether the unit has sent message_4.
func (m *foreign) initiate() bool {
	m.t.Helper()
	m.begin()
	m.say(1, []byte{firstEpoch, 0, 0, 0, 0, 0})
	m.start(Initiator)
	m.say(3, m.write())
	if m.handshake.Read(m.last(4)) != nil {
		return false
	}
	m.heard = nil
	m.say(4, m.write())
	return m.open()
}

// respond lets the unit begin, and makes the handshake as Responder.
func (m *foreign) respond() bool {
	m.t.Helper()
	m.begin()
	if err := m.n.peer.Connect(); err != nil {
		m.t.Fatal(err)
	}
	m.tick(1)
	m.say(1, []byte{firstEpoch, 0, 0, 0, 0, 0})
	m.start(Responder)
	if err := m.handshake.Read(m.last(3)); err != nil {
		m.say(4, m.handshake.ErrorMessage())
		return false
	}
	m.say(4, m.write())
	if m.handshake.Read(m.last(4)) != nil {
		return false
	}
	m.heard = nil
	m.say(4, m.write())
	s, err := m.handshake.Session()
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(s.Close)
	m.records = s
	return true
}

func (m *foreign) open() bool {
	m.t.Helper()
	if m.handshake.Read(m.last(4)) != nil {
		return false
	}
	s, err := m.handshake.Session()
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(s.Close)
	m.records = s
	m.heard = nil
	return true
}

func (m *foreign) seal(kind byte, content ...byte) {
	m.t.Helper()
	record, err := m.records.Seal(append([]byte{kind}, content...))
	if err != nil {
		m.t.Fatal(err)
	}
	m.say(5, record)
}

// unseal opens the newest record.
func (m *foreign) unseal() []byte {
	m.t.Helper()
	text, err := m.records.Open(m.last(5))
	if err != nil {
		m.t.Fatalf("%v: %v", m.heard, err)
	}
	return text
}

func (m *foreign) tick(milliseconds uint32) {
	m.n.options.Now += milliseconds
	m.n.peer.Tick(m.n.options.Now)
	m.hear()
}

// A side that was built from the document pairs, in both roles, comes back by hash and by value, and exchanges messages.
func TestForeignPeer(t *testing.T) {
	for role := range 2 {
		f := newField(t)
		n := f.node(t, testFirst+1, Wired{})
		m := f.newForeign(t, n, testFirst+2)
		if role == 0 {
			if !m.initiate() {
				t.Fatalf("%v", m.heard)
			}
			m.seal(2)
			if got := m.unseal(); !bytes.Equal(got, []byte{3}) {
				t.Fatalf("asked to pair it says %x", got)
			}
		} else {
			if !m.respond() {
				t.Fatalf("%v", m.heard)
			}
			if got := m.unseal(); !bytes.Equal(got, []byte{2}) {
				t.Fatalf("it says %x", got)
			}
			m.seal(3)
		}
		n.collect()
		n.want(PeerReady, 1)
		if p := n.paired(); p.state != 2 || !bytes.Equal(p.unit, m.unit) {
			t.Fatalf("%+v", p)
		}
		for _, m.byHash = range []bool{true, false} {
			if !m.initiate() {
				t.Fatalf("by hash %t: %v", m.byHash, m.heard)
			}
			m.seal(2)
			if got := m.unseal(); !bytes.Equal(got, []byte{3}) {
				t.Errorf("it says %x", got)
			}
			n.collect()
			n.want(PeerReady, 0)
			m.seal(0, []byte("hello")...)
			n.collect()
			if last := n.events[len(n.events)-1]; string(last.Message) != "hello" {
				t.Errorf("%v", n.events)
			}
			if err := n.peer.Send([]byte("hello you")); err != nil {
				t.Fatal(err)
			}
			m.hear()
			if got := m.unseal(); string(got) != "\x00hello you" {
				t.Errorf("%q", got)
			}
		}
	}
}

// A Responder that goes on before it has acknowledged message_3 cannot pass over the Initiator's own pair_allowed.
func TestMessage4TooEarly(t *testing.T) {
	f := newField(t)
	n := f.node(t, testFirst+1, Expected{})
	m := f.newForeign(t, n, testFirst+2)
	m.mute = func(p []byte) bool { return p[0] == 4 && p[4]>>4 == p[4]&15 }
	if !m.respond() {
		t.Fatalf("%v", m.heard)
	}
	m.seal(3)
	if p := n.paired(); p.state != 1 {
		t.Errorf("%+v", p)
	}
	n.collect()
	if n.has(PeerReady, 0) || n.has(PeerReady, 1) {
		t.Errorf("%v", n.events)
	}
}

// Threat 19: who is not a unit with its own key is refused, in either role, by an open unit that trusts its wire and by a
// paired one whose peer's certificate he shows.
func TestImpostors(t *testing.T) {
	f := newField(t)
	victim := f.node(t, testFirst+1, Wired{})
	genuine := f.node(t, testFirst+2, Wired{})
	other := newField(t)
	refuse := func(name string, reason PeerReason, change func(m *foreign)) {
		t.Helper()
		for role := range 2 {
			was := victim.paired()
			victim.options.Now += 100_000
			victim.restart()
			victim.events = nil
			m := f.newForeign(t, victim, testFirst+2)
			change(m)
			if role == 0 && m.initiate() || role == 1 && m.respond() && m.last(5) != nil {
				t.Errorf("%s, role %d: a session", name, role)
			}
			victim.collect()
			if victim.want(PeerFailed, reason); victim.peer.State() != PeerIdle {
				t.Errorf("%s, role %d: state %d", name, role, victim.peer.State())
			}
			if got := m.last(4); !bytes.Equal(got, append([]byte{1, 0x67}, "refused"...)) {
				t.Errorf("%s, role %d: it says %x", name, role, got)
			}
			victim.unmoved(was)
		}
	}
	theirs := func(n *node) func(m *foreign) {
		return func(m *foreign) { m.unit, m.order = n.peer.certificates() }
	}
	selfMade := func(m *foreign) {
		m.order = other.orderItems.sign(t, other.root)
		m.unit = f.unitItems.with(itemKey, compress(publicKey(t, m.key))).sign(t, other.order)
	}
	refuse("another authority's certificates", PeerReason(CheckOrderSignature), selfMade)
	refuse("a certificate that the order did not sign", PeerReason(CheckUnitSignature), func(m *foreign) {
		m.unit = f.unitItems.with(itemKey, compress(publicKey(t, m.key))).sign(t, m.key)
	})
	refuse("outside the range", PeerReason(CheckSerial), func(m *foreign) { *m = *f.newForeign(t, victim, testLast+1) })
	refuse("a genuine certificate without its key", PeerReason(ErrAuth), theirs(genuine))
	mirror := func(m *foreign) { m.credential = m.unit; theirs(victim)(m) }
	refuse("the own certificate", 15, mirror)

	c := join(t, victim, genuine)
	c.now = victim.options.Now + 100_000
	c.meet(0)
	victim.options.Now = c.now
	refuse("the peer's certificate without its key", PeerReason(ErrAuth), theirs(genuine))
	refuse("the peer's hash without its key", PeerReason(ErrAuth), func(m *foreign) { theirs(genuine)(m); m.byHash = true })
	refuse("the own certificate, paired", PeerStranger, mirror)
	refuse("another authority's, paired", PeerStranger, selfMade)
	refuse("a genuine stranger", PeerStranger, func(m *foreign) { *m = *f.newForeign(t, victim, testFirst+3) })
}

// Who claims to be paired with an open unit gets nowhere: the unit's own board is asked.
func TestClaimedPairing(t *testing.T) {
	f := newField(t)
	n := f.node(t, testFirst+1, Expected{})
	m := f.newForeign(t, n, testFirst+2)
	if !m.initiate() {
		t.Fatal("no session")
	}
	for _, kind := range []byte{3, 0, 5, 9} { // paired, a message, release, nothing known
		m.seal(kind)
	}
	m.seal(2)
	if got := m.unseal(); !bytes.Equal(got, []byte{4}) {
		t.Errorf("asked to pair it says %x", got)
	}
	n.collect()
	if len(n.events) != 1 || n.paired().state != 1 {
		t.Errorf("%v, %+v", n.events, n.paired())
	}
	n.want(PeerFailed, PeerNotAllowed)
	// As Initiator the unit does not even ask, and an answer to what it has not asked changes nothing.
	n.options.Now += 100_000
	if n.restart(); !m.respond() {
		t.Fatal("no session")
	}
	if got := m.unseal(); !bytes.Equal(got, []byte{4}) {
		t.Errorf("it says %x", got)
	}
	m.seal(3)
	if n.paired().state != 1 {
		t.Error("paired")
	}
}

// Errors 2 and 3 without end: four starts, then it is over; as Responder three are free and the fourth makes a pause.
func TestErrorsWithoutEnd(t *testing.T) {
	f := newField(t)
	for name, messages := range map[string][2][]byte{"error 3": {{3, 0xf5}, {3, 0xf5}}, "error 2": {{2, 3}, {2, 2}}} {
		n := f.node(t, testFirst+1, Wired{})
		m := f.newForeign(t, n, testFirst+2)
		m.begin()
		_ = n.peer.Connect()
		starts := 0
		for range 10 {
			m.session, m.theirs = []byte{byte(starts), 1}, nil
			m.tick(1)
			m.number = 0
			m.say(1, []byte{firstEpoch, 0, 0, 0, 0, 0})
			if m.last(3) == nil {
				break
			}
			m.heard = nil
			m.say(4, messages[starts%2])
			starts++
		}
		n.collect()
		if starts != 4 || len(n.events) != 1 {
			t.Errorf("%s: %d starts, %v", name, starts, n.events)
		}
	}
	n := f.node(t, testFirst+1, Wired{})
	m := f.newForeign(t, n, testFirst+2)
	answers := 0
	for range 10 {
		m.begin()
		m.say(1, []byte{firstEpoch, 0, 0, 0, 0, 0})
		m.start(Initiator)
		m.say(3, m.write())
		if m.last(4) != nil {
			answers++
		}
		m.say(4, []byte{3, 0xf5})
	}
	if answers != 4 {
		t.Errorf("%d message_2 without a pause", answers)
	}
}

// Whoever draws the session of the meeting before begins one all the same.
func TestSessionDrawnAgain(t *testing.T) {
	f := newField(t)
	n := f.node(t, testFirst+1, Wired{})
	m := f.newForeign(t, n, testFirst+2)
	if !m.initiate() {
		t.Fatal("no session")
	}
	m.seal(2)
	session := m.session
	m.begin()
	m.session = session
	m.say(1, []byte{firstEpoch, 0, 0, 0, 0, 0})
	if m.last(1) == nil {
		t.Error("no answer")
	}
}

// A peer that falls silent or says what is known already costs ten seconds, and nothing of the handshake is left.
func TestSilentPeer(t *testing.T) {
	f := newField(t)
	n := f.node(t, testFirst+1, Wired{})
	_, order := n.peer.certificates()
	link := f.link(t, 4, order)
	for name, say := range map[string]func(m *foreign){
		"silent after trust": func(m *foreign) {},
		"silent after message_1": func(m *foreign) {
			m.start(Initiator)
			m.say(3, m.write())
		},
		"a known link": func(m *foreign) { m.say(2, link) },
	} {
		n.options.Now += 100_000
		n.restart()
		if err := n.peer.take(link, false); err != nil {
			t.Fatal(err)
		}
		m := f.newForeign(t, n, testFirst+2)
		m.begin()
		m.say(1, []byte{4, 0, 0, 0, 0, 0})
		say(m)
		for i := range 99 {
			if m.tick(100); name == "a known link" && i%40 == 0 {
				m.say(2, link)
			}
		}
		if n.collect(); len(n.events) > 0 {
			t.Errorf("%s: %v", name, n.events)
		}
		m.tick(200)
		n.collect()
		n.want(PeerFailed, PeerTimeout)
		if secrets := n.peer.secrets(); !bytes.Equal(secrets, make([]byte, len(secrets))) {
			t.Errorf("%s: something is kept", name)
		}
	}
}

// A timer starts with the tick after what set it: what the chip took in between does not count.
func TestTimerStarts(t *testing.T) {
	f := newField(t)
	n := f.node(t, testFirst+1, Wired{})
	_ = n.peer.Connect()
	n.peer.Tick(100)
	if len(n.peer.Out()) == 0 {
		t.Error("it does not begin")
	}
	for _, step := range []struct {
		now  uint32
		says bool
	}{{5100, false}, {6000, false}, {6099, false}, {6100, true}} {
		n.peer.Tick(step.now)
		if said := len(n.peer.Out()) > 0; said != step.says {
			t.Errorf("at %d: %t", step.now, said)
		}
	}
}

// The pause after failed meetings is not cut short by a meeting of the unit's own.
func TestPauseOutlivesConnect(t *testing.T) {
	f := newField(t)
	n := f.node(t, testFirst+1, Expected{})
	m := f.newForeign(t, n, testFirst+2)
	for _, pause := range []uint32{1000, 2000, 4000, 8000} {
		if !m.initiate() {
			t.Fatalf("before the pause of %d", pause)
		}
		m.seal(4)
		m.tick(1)
		if m.tick(pause - 100); m.initiateTrust() {
			t.Errorf("it answers within %d ms", pause)
		}
		if pause < 8000 {
			m.tick(200)
		}
	}
	_ = n.peer.Connect()
	m.n.peer.Tick(n.options.Now)
	m.n.peer.Out()
	for range 40 {
		n.options.Now += 100
		n.peer.Tick(n.options.Now)
		n.peer.Out()
	}
	if n.peer.State() != PeerIdle {
		t.Fatal("not over")
	}
	if m.initiateTrust() {
		t.Error("the pause is gone")
	}
	m.tick(8000)
	if !m.initiateTrust() {
		t.Error("the pause stays for ever")
	}
}

// initiateTrust says trust, and reports whether it is answered.
func (m *foreign) initiateTrust() bool {
	m.begin()
	m.say(1, []byte{firstEpoch, 0, 0, 0, 0, 0})
	return m.last(1) != nil
}
