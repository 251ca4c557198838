package chip

import (
	"errors"
	"io"
	"slices"
	"time"
)

// The single-wire interface behind a UART: one symbol for each bit, least significant bit first (public data sheet of the
// ATECC608B-TFLXTLS, section 8). A symbol is a character of 7 bits; on a stream of bytes it is one byte.
const (
	symbolZero = 0x7D
	symbolOne  = 0x7F
	symbolWake = 0x00 // at a lower rate: the wake token
)

const (
	symbolTime  = 9 * time.Second / 230400 // start bit, seven bits, stop bit
	maxLateness = 2 * time.Millisecond     // of the wire, that is made up for
)

// What a group of symbols begins with; other flags are reserved.
const (
	flagCommand  = 0x77 // a command group follows
	flagTransmit = 0x88 // the host asks for the response
	flagIdle     = 0xBB
	flagSleep    = 0xCC
)

// SingleWire is a chip behind its single-wire interface. From when it is made on, the chip must not be used in another way,
// and its commands take their time by being deaf meanwhile: Options.Sleep is not called any more.
type SingleWire struct {
	device *Device
	busy   time.Time // until then it executes a command and hears nothing
	free   time.Time // from then on the wire is, in Serve

	bits   int // of last that have come
	last   byte
	inside bool   // a command group, not a flag
	group  []byte // what has come of it
	answer []byte // what a transmit flag gets, as often as the host asks
}

// NewSingleWire puts a chip on a wire.
func NewSingleWire(d *Device) *SingleWire {
	w := &SingleWire{device: d}
	d.sleep = func(t time.Duration) { w.busy = d.now().Add(t) }
	return w
}

// Serve answers on a line until that ends: nil for its orderly end. Symbols take their time, scaled as the chip's commands.
func (w *SingleWire) Serve(line io.ReadWriter) error {
	together := 4096 // symbols that go out as one
	if w.device.scale > 0 {
		together = 8
	}
	for symbols := make([]byte, 4096); ; {
		n, err := line.Read(symbols)
		w.pace(n)
		for part := range slices.Chunk(w.Receive(symbols[:n]), together) {
			w.pace(len(part))
			if _, err := line.Write(part); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// pace waits until so many symbols are through the wire.
func (w *SingleWire) pace(symbols int) {
	if now := time.Now(); now.Sub(w.free) > maxLateness {
		w.free = now
	}
	w.free = w.free.Add(time.Duration(float64(symbols) * w.device.scale * float64(symbolTime)))
	time.Sleep(time.Until(w.free))
}

// Receive takes symbols from the host and returns those that the chip sends. A host that went on speaking has not listened, so
// only what the last symbol asks for is answered.
func (w *SingleWire) Receive(symbols []byte) (answer []byte) {
	for _, symbol := range symbols {
		answer = nil
		if w.device.now().Before(w.busy) {
			continue
		}
		if b, whole := w.bit(symbol); whole {
			answer = w.hear(b)
		}
	}
	return answer
}

// bit takes one symbol; true with the byte that it completes. The wake token begins anew in whatever state. What is neither
// zero nor one is an illegal token, after which silicon goes to sleep once it has waited for better ones, and this chip at once.
func (w *SingleWire) bit(symbol byte) (byte, bool) {
	switch symbol {
	case symbolZero:
		w.last >>= 1
	case symbolOne:
		w.last = w.last>>1 | 0x80
	case symbolWake:
		w.reset()
		w.answer = w.device.Wake()
		return 0, false
	default:
		w.device.Sleep()
		return 0, false
	}
	if w.device.tick(); !w.device.awake {
		return 0, false // until the wake token
	}
	w.bits = (w.bits + 1) % 8
	return w.last, w.bits == 0
}

func (w *SingleWire) reset() { w.bits, w.inside, w.group, w.answer = 0, false, nil, nil }

// hear takes one byte, a flag's or a group's, and returns the symbols that answer it.
func (w *SingleWire) hear(b byte) []byte {
	if w.inside {
		w.group = append(w.group, b)
		if len(w.group) >= int(w.group[0]) {
			w.answer = w.device.Exchange(w.group)
			w.inside, w.group = false, nil
		}
		return nil
	}
	switch b {
	case flagCommand:
		w.inside = true
	case flagTransmit:
		return symbols(w.answer)
	case flagIdle:
		w.device.Idle()
	case flagSleep:
		w.device.Sleep()
	}
	return nil
}

// symbols is what bytes look like on the wire.
func symbols(group []byte) []byte {
	out := make([]byte, 0, 8*len(group))
	for _, b := range group {
		for range 8 {
			out = append(out, symbolZero|b&1<<1)
			b >>= 1
		}
	}
	return out
}
