//go:build cgo

package device

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/birthmark/birthmark/chip"
	"github.com/fxamacker/cbor/v2"
)

// memoryFlash keeps the rules of struct bm_port: pages erase to FF, each unit is programmed once.
type memoryFlash struct {
	pages [3][]byte
	cut   func() bool // before each byte that changes: the supply fails
	dead  bool
}

var errFlash = errors.New("flash failed")

func newFlash(pageSize int) *memoryFlash {
	f := &memoryFlash{}
	for i := range f.pages {
		f.pages[i] = bytes.Repeat([]byte{0xff}, pageSize)
	}
	return f
}

func (f *memoryFlash) PageSize() int { return len(f.pages[0]) }

func (f *memoryFlash) Read(page, offset int, out []byte) error {
	if f.dead || page >= len(f.pages) || offset+len(out) > f.PageSize() {
		return errFlash
	}
	copy(out, f.pages[page][offset:])
	return nil
}

func (f *memoryFlash) Program(page, offset int, data []byte) error {
	if offset%8 != 0 || len(data)%8 != 0 || offset+len(data) > f.PageSize() {
		return errFlash
	}
	place := f.pages[page][offset:][:len(data)]
	if !bytes.Equal(place, bytes.Repeat([]byte{0xff}, len(data))) {
		return errFlash
	}
	return f.write(place, data, 1)
}

// Erase loses the supply, if it does, at one of eight places.
func (f *memoryFlash) Erase(page int) error {
	return f.write(f.pages[page], bytes.Repeat([]byte{0xff}, f.PageSize()), f.PageSize()/8)
}

func (f *memoryFlash) write(place, data []byte, step int) error {
	for i := 0; i < len(data); i += step {
		f.dead = f.dead || f.cut != nil && f.cut()
		if f.dead {
			return errFlash
		}
		copy(place[i:i+step], data[i:])
	}
	return nil
}

// debugPort closes unless it is stuck.
type debugPort struct{ closed, stuck bool }

func (d *debugPort) Close()       { d.closed = !d.stuck }
func (d *debugPort) Closed() bool { return d.closed }

// wire counts a chip's commands and lets a test answer in the chip's place.
type wire struct {
	chip     *chip.Device
	flash    *memoryFlash // dead when the supply that both have is
	commands int
	probe    *probe
	spoil    func(n int, group []byte, pass func() []byte) []byte // nil: nothing
}

func (w *wire) Wake() []byte {
	if w.flash.dead {
		return nil
	}
	answer := w.chip.Wake()
	w.probe.hear(answer)
	return answer
}

func (w *wire) Idle() { w.chip.Idle() }

func (w *wire) Exchange(group []byte) []byte {
	n := w.commands
	w.commands++
	pass := func() []byte { return w.chip.Exchange(group) }
	if w.spoil != nil {
		return w.spoil(n, group, pass)
	}
	answer := pass()
	w.probe.hear(group, answer)
	return answer
}

// bench is one unit on a test bench, and a station that asks it.
type bench struct {
	*factory
	wire  *wire
	flash *memoryFlash
	debug *debugPort
	cut   func() bool   // asked before each byte that the chip or the flash writes
	bytes int           // that the chip or the flash has written
	spent time.Duration // by the chip's commands, at the data sheet's times
	image Image

	unit     *Unit
	session  uint32
	sequence int // of the next request

	attestation []byte // key of slot 1, as prepare showed it
}

func newBench(t testing.TB) *bench {
	b := keptBench(t)
	t.Cleanup(func() { b.unit.Close() })
	return b
}

// keptBench is a bench whose unit outlives the test.
func keptBench(t testing.TB) *bench {
	b := wired(newFactory(t), 512)
	b.image.Peers = append(b.image.Peers, 1<<31)
	b.start(t)
	return b
}

// wired is a bench with a blank unit that is not started: flash pages of this size, a chip that takes no time, the factory's
// image with its own product as the one peer, and bytes and power that are counted.
func wired(f *factory, pageSize int) *bench {
	b := &bench{factory: f, flash: newFlash(pageSize), debug: &debugPort{}, session: 1}
	cut := func() bool {
		b.bytes++
		return b.cut != nil && b.cut()
	}
	b.flash.cut = cut
	b.wire = &wire{flash: b.flash, probe: f.probe, chip: chip.New(chip.Options{
		Rand:      f.probe,
		TimeScale: 1,
		Sleep:     func(d time.Duration) { b.spent += d },
		Now:       func() time.Time { return time.Time{} },
		Cut:       func(int) bool { return cut() },
	})}
	b.image = Image{
		AnchorHash:   f.anchorHash,
		FirmwareHash: sha256.Sum256([]byte("firmware")),
		Product:      f.product,
		Peers:        []uint32{f.product},
		IOKey:        f.ioKey,
	}
	return b
}

// start is the microcontroller's start-up.
func (b *bench) start(t testing.TB) {
	t.Helper()
	unit, err := NewUnit(b.image, Board{Chip: b.wire, Flash: b.flash, Debug: b.debug})
	if err != nil {
		t.Fatal(err)
	}
	b.unit = unit
}

// powerCycle takes the supply away and gives it back.
func (b *bench) powerCycle(t testing.TB) {
	t.Helper()
	b.unit.Close()
	b.wire.chip.PowerUp()
	b.flash.dead = false
	b.start(t)
}

// verbs of docs/wire.md.
const (
	verbHello     = 1
	verbPrepare   = 2
	verbProve     = 3
	verbInstall   = 4
	verbHandshake = 5
	verbSeal      = 6
	verbLink      = 7
	verbList      = 8
	verbRelease   = 9
)

// statuses of docs/wire.md.
const (
	statusOK = iota
	statusMalformed
	statusSequence
	statusState
	statusChip
	statusConfiguration
	statusRefused
	statusFlash
)

func encode(t testing.TB, v any) []byte {
	t.Helper()
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := mode.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// frame is COBS(payload, CRC) and a zero.
func frame(payload []byte) []byte {
	return cobs(binary.LittleEndian.AppendUint16(bytes.Clone(payload), chip.CRC(payload)))
}

func cobs(content []byte) []byte {
	var framed []byte
	for rest := append(bytes.Clone(content), 0); len(rest) > 0; {
		n := min(bytes.IndexByte(rest, 0), 254)
		framed = append(append(framed, byte(n+1)), rest[:n]...)
		rest = rest[n:]
		if n < 254 {
			rest = rest[1:]
		} else if len(rest) == 1 {
			break // a full block at the end needs no empty one after it
		}
	}
	return append(framed, 0)
}

// unframe undoes frame and holds it against the limits of docs/wire.md.
func unframe(t testing.TB, framed []byte) []byte {
	t.Helper()
	if len(framed) == 0 {
		t.Fatal("no reply")
	}
	var b []byte
	rest := framed[:len(framed)-1]
	for len(rest) > 0 {
		n := int(rest[0])
		if n == 0 || n > len(rest) {
			t.Fatalf("not COBS: %x", framed)
		}
		b = append(b, rest[1:n]...)
		rest = rest[n:]
		if n < 255 && len(rest) > 0 {
			b = append(b, 0)
		}
	}
	if framed[len(framed)-1] != 0 || len(b) < 3 || chip.CRC(b[:len(b)-2]) != binary.LittleEndian.Uint16(b[len(b)-2:]) {
		t.Fatalf("not a good frame: %x", framed)
	}
	payload := b[:len(b)-2]
	if !bytes.Equal(frame(payload), framed) {
		t.Fatalf("%x is framed as %x", payload, framed)
	}
	if len(payload) > 512 {
		t.Fatalf("reply of %d bytes", len(payload))
	}
	return payload
}

// reply is a parsed one.
type reply struct {
	session, sequence uint32
	verb              int
	status            int
	detail            int // of a status that is not 0
	serial            []byte
	results           []cbor.RawMessage
}

func parseReply(t testing.TB, framed []byte) reply {
	t.Helper()
	payload := unframe(t, framed)
	var items []cbor.RawMessage
	var r reply
	if err := cbor.Unmarshal(payload, &items); err != nil || len(items) < 6 {
		t.Fatalf("reply %x: %v", payload, err)
	}
	if again := encode(t, items); !bytes.Equal(again, payload) {
		t.Fatalf("reply %x is not deterministic: %x", payload, again)
	}
	for i, to := range []any{&r.session, &r.sequence, &r.verb, &r.status, &r.serial} {
		decode(t, items[i], to)
	}
	if len(r.serial) != 9 {
		t.Fatalf("serial of %d bytes", len(r.serial))
	}
	r.results = items[5:]
	if r.status != statusOK {
		if len(r.results) != 1 {
			t.Fatalf("status %d with %d results", r.status, len(r.results))
		}
		decode(t, r.results[0], &r.detail)
	}
	return r
}

func decode(t testing.TB, raw cbor.RawMessage, to any) {
	t.Helper()
	if err := cbor.Unmarshal(raw, to); err != nil {
		t.Fatalf("%x: %v", []byte(raw), err)
	}
}

// request is a framed request of the bench's session.
func (b *bench) request(t testing.TB, sequence, verb int, arguments ...any) []byte {
	t.Helper()
	return frame(encode(t, append([]any{b.session, sequence, verb}, arguments...)))
}

// call asks with the next sequence and gives the reply.
func (b *bench) call(t testing.TB, verb int, arguments ...any) reply {
	t.Helper()
	if verb == verbHello {
		b.session++
		b.sequence = 0
	}
	r := parseReply(t, b.unit.Receive(b.request(t, b.sequence, verb, arguments...)))
	if r.session != b.session || int(r.sequence) != b.sequence || r.verb != -verb {
		t.Fatalf("verb %d was answered with %+v", verb, r)
	}
	b.sequence++
	return r
}

// greeting is hello's results.
type greeting struct {
	protocol     int
	revision     []byte
	firmwareHash []byte
	anchorHash   []byte
	product      uint32
	peers        []uint32
	state        int
	locks        []byte
	order        []byte
	unit         []byte
	generation   *uint32
	closed       bool
	options      uint16 // of the chip, 0: left out
}

func (b *bench) hello(t testing.TB) greeting {
	t.Helper()
	r := b.call(t, verbHello)
	var g greeting
	into := []any{&g.protocol, &g.revision, &g.firmwareHash, &g.anchorHash, &g.product, &g.peers, &g.state, &g.locks, &g.order,
		&g.unit, &g.generation, &g.closed}
	if b.image.IOKey {
		into = append(into, &g.options)
	}
	if r.status != statusOK || len(r.results) != len(into) {
		t.Fatalf("hello: %+v", r)
	}
	for i := range into {
		decode(t, r.results[i], into[i])
	}
	return g
}

// key is the identity key, asked of the chip itself.
func (b *bench) key(t testing.TB) []byte {
	t.Helper()
	return b.slotKey(t, 0)
}

func (b *bench) slotKey(t testing.TB, slot byte) []byte {
	t.Helper()
	answer := b.exchange(0x40, 0, slot, 0)
	if len(answer) != 67 {
		t.Fatalf("slot %d has no key: %x", slot, answer)
	}
	return answer[1:65]
}

// zone is the chip's configuration, asked of the chip itself.
func (b *bench) zone() (zone []byte) {
	for block := range byte(4) {
		zone = append(zone, b.exchange(0x02, 0x80, block<<3, 0)[1:33]...)
	}
	return zone
}

// exchange gives the chip a command behind the unit's back.
func (b *bench) exchange(command ...byte) []byte {
	b.wire.chip.Wake()
	defer b.wire.chip.Idle()
	group := append([]byte{byte(len(command) + 3)}, command...)
	return b.wire.chip.Exchange(binary.LittleEndian.AppendUint16(group, chip.CRC(group)))
}
