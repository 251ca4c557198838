//go:build cgo

package device

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/birthmark/birthmark/chip"
)

// symbolTime is one character at 230,400 baud: start bit, 7 bits, stop bit.
const symbolTime = 9 * time.Second / 230400

// symbolWire is a wire in simulated time, between a board's UART and a chip that takes its times.
type symbolWire struct {
	chip    *chip.SingleWire
	now     time.Time
	echo    bool          // the board hears itself
	latency time.Duration // before the chip's first symbol
	stalled time.Time     // until then what the chip is sent waits
	waiting []byte
	spoil   func(n int, symbol byte) []byte
	symbols int // that went over the wire, either way
	heard   []heardSymbol
}

type heardSymbol struct {
	at     time.Time
	symbol byte
}

func (w *symbolWire) wake() {
	w.carry(0x00)
	w.now = w.now.Add(1500 * time.Microsecond)
}

func (w *symbolWire) send(symbol byte) { w.carry(symbol) }

func (w *symbolWire) carry(symbol byte) {
	w.now = w.now.Add(symbolTime)
	if w.echo {
		w.heard = append(w.heard, heardSymbol{w.now, symbol})
	}
	w.waiting = append(w.waiting, w.pass([]byte{symbol})...)
	if !w.now.Before(w.stalled) {
		w.answer()
	}
}

// answer lets the chip hear what waits for it.
func (w *symbolWire) answer() {
	at := w.now.Add(w.latency)
	for _, symbol := range w.pass(w.chip.Receive(w.waiting)) {
		at = at.Add(symbolTime)
		w.heard = append(w.heard, heardSymbol{at, symbol})
	}
	w.waiting = nil
}

func (w *symbolWire) pass(symbols []byte) (passed []byte) {
	for _, symbol := range symbols {
		if w.spoil == nil {
			passed = append(passed, symbol)
		} else {
			passed = append(passed, w.spoil(w.symbols, symbol)...)
		}
		w.symbols++
	}
	return passed
}

func (w *symbolWire) receive(milliseconds int) (byte, bool) {
	until := w.now.Add(time.Duration(milliseconds) * time.Millisecond)
	if w.waiting != nil && !until.Before(w.stalled) {
		w.now = w.stalled
		w.answer()
	}
	if len(w.heard) == 0 || w.heard[0].at.After(until) {
		w.now = until
		return 0, false
	}
	first := w.heard[0]
	w.heard = w.heard[1:]
	if first.at.After(w.now) {
		w.now = first.at
	}
	return first.symbol, true
}

// swiBench is a bench whose chip stands behind a single wire and takes its times.
func swiBench(t *testing.T, echo bool) (*bench, *symbolWire) {
	b := newBench(t)
	w := &symbolWire{now: time.Now(), echo: echo}
	b.wire.chip = chip.New(chip.Options{TimeScale: 1, Now: func() time.Time { return w.now }})
	w.chip = chip.NewSingleWire(b.wire.chip)
	bus := b.unit.swiBus(w, echo)
	t.Cleanup(bus.free)
	return b, w
}

// A unit is born over the wire, on a board that hears itself and on one that does not.
func TestSWIJourney(t *testing.T) {
	for _, echo := range []bool{false, true} {
		b, _ := swiBench(t, echo)
		var birth Birth
		if _, r := b.resume(t, &birth); r.status != statusOK {
			t.Fatalf("echo %v: status %d, detail %d", echo, r.status, r.detail)
		}
		b.finished(t, birth)
	}
}

// One symbol that is lost, doubled or damaged, in either direction, is cured; a secret never belongs to another key.
func TestSWISymbols(t *testing.T) {
	faults := map[string]func(symbol byte) []byte{
		"lost":    func(byte) []byte { return nil },
		"doubled": func(s byte) []byte { return []byte{s, s} },
		"turned":  func(s byte) []byte { return []byte{s ^ 0x02} },
		"illegal": func(byte) []byte { return []byte{0x55} },
		"a wake":  func(byte) []byte { return []byte{0x00} },
	}
	b, w := swiBench(t, false)
	b.run(t, 1)
	p := b.unit.port()
	identity, _ := p.publicKey()
	digest := sha256.Sum256([]byte("digest"))
	signature, _ := p.sign(digest[:])

	w.symbols = 0
	if good, status, _ := p.handshake(t, identity, digest[:], signature); !good {
		t.Fatalf("status %d", status)
	}
	total, lost := w.symbols, 0
	for name, f := range faults {
		for n := rand.IntN(37); n < total; n += 37 {
			w.symbols = 0
			w.spoil = func(i int, symbol byte) []byte {
				if i == n {
					return f(symbol)
				}
				return []byte{symbol}
			}
			good, status, secret := p.handshake(t, identity, digest[:], signature)
			w.spoil = nil
			if good {
				continue
			}
			// What becomes of TempKey is the chip's to say: the key is gone where the chip slept or had used it.
			if lost++; status != portFailed || b.unit.chipStatus() != executionError || !bytes.Equal(secret, make([]byte, 32)) {
				t.Fatalf("%s, symbol %d of %d: status %d, chip %02x, secret %x", name, n, total, status, b.unit.chipStatus(), secret)
			}
		}
	}
	if lost == 0 {
		t.Error("no fault reached TempKey")
	}
}

// A command takes its own time: here half of the longest, and what the wire takes.
func TestSWITime(t *testing.T) {
	b := newBench(t)
	w := &symbolWire{now: time.Now()}
	b.wire.chip = chip.New(chip.Options{TimeScale: 0.5, Now: func() time.Time { return w.now }})
	w.chip = chip.NewSingleWire(b.wire.chip)
	bus := b.unit.swiBus(w, false)
	defer bus.free()
	b.run(t, 1)

	digest := sha256.Sum256([]byte("digest"))
	begun := w.now
	w.symbols = 0
	if _, status := b.unit.port().sign(digest[:]); status != portOK {
		t.Fatal(status)
	}
	const chipTime, overhead = (20 + 115) * time.Millisecond / 2, 12 * time.Millisecond
	if took, floor := w.now.Sub(begun), chipTime+time.Duration(w.symbols)*symbolTime; took > floor+overhead {
		t.Errorf("Nonce and Sign took %v, chip and wire %v", took, floor)
	}
}

// An answer that comes later than the driver waits for one, and so more than once, is read once and disturbs nothing.
func TestSWILatency(t *testing.T) {
	for name, slow := range map[string]func(w *symbolWire){
		"3 ms": func(w *symbolWire) { w.latency = 3 * time.Millisecond },
		"5 ms": func(w *symbolWire) { w.latency = 5 * time.Millisecond },
		"stalls of 30 ms": func(w *symbolWire) {
			w.spoil = func(n int, symbol byte) []byte {
				if n%1000 == 0 {
					w.stalled = w.now.Add(30 * time.Millisecond)
				}
				return []byte{symbol}
			}
		},
	} {
		b, w := swiBench(t, false)
		b.run(t, 1)
		p := b.unit.port()
		identity, _ := p.publicKey()
		digest := sha256.Sum256([]byte("digest"))
		signature, _ := p.sign(digest[:])
		slow(w)
		if good, status, _ := p.handshake(t, identity, digest[:], signature); !good {
			t.Errorf("%s: status %d, chip %02x", name, status, b.unit.chipStatus())
		}
	}
}

// A line without a chip, one that babbles, and one that is heard although the driver was told otherwise, end in time.
func TestSWINobody(t *testing.T) {
	for name, disturb := range map[string]func(w *symbolWire){
		"silence": func(w *symbolWire) { w.spoil = func(int, byte) []byte { return nil } },
		"echo":    func(w *symbolWire) { w.echo = true },
		"babble": func(w *symbolWire) {
			for i := range 1 << 20 {
				w.heard = append(w.heard, heardSymbol{w.now.Add(time.Duration(i) * symbolTime), 0x7F})
			}
		},
	} {
		b, w := swiBench(t, false)
		disturb(w)
		begun := w.now
		if _, status := b.unit.port().publicKey(); status != portFailed || b.unit.chipStatus() != 0 {
			t.Errorf("%s: status %d, chip %02x", name, status, b.unit.chipStatus())
		}
		if took := w.now.Sub(begun); took > time.Second {
			t.Errorf("%s: given up after %v", name, took)
		}
	}
}
