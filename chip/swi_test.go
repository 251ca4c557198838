package chip

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// swi is a host on a single wire.
type swi struct {
	t testing.TB
	*SingleWire
}

// send sends bytes as symbols and returns what came back as bytes.
func (h swi) send(message ...byte) []byte {
	h.t.Helper()
	return h.bytes(h.Receive(symbols(message)))
}

func (h swi) bytes(heard []byte) []byte {
	h.t.Helper()
	out := make([]byte, len(heard)/8)
	for i, s := range heard {
		if s != symbolOne && s != symbolZero || len(heard)%8 != 0 {
			h.t.Fatalf("the chip sends % x", heard)
		}
		out[i/8] |= s >> 1 & 1 << (i % 8)
	}
	return out
}

func (h swi) wake() { h.Receive([]byte{symbolWake}) }

// want asks for the response.
func (h swi) want(group string) {
	h.t.Helper()
	if got := h.send(flagTransmit); !bytes.Equal(got, unhex(h.t, group)) {
		h.t.Fatalf("the answer is % x, want %s", got, group)
	}
}

const (
	awake    = "04 11 33 43"
	revision = "07 00 00 60 02 80 38"
)

var infoCommand = append([]byte{flagCommand}, wrap(byte(opInfo), 0, 0, 0)...)

// The symbols of a flag, written out.
func TestSymbols(t *testing.T) {
	if got := symbols([]byte{flagTransmit, 0x04}); !bytes.Equal(got, unhex(t, "7d7d7d7f7d7d7d7f 7d7d7f7d7d7d7d7d")) {
		t.Errorf("% x", got)
	}
}

func TestSingleWire(t *testing.T) {
	h := swi{t, NewSingleWire(New(Options{}))}
	h.want("") // asleep
	h.wake()
	h.want(awake)
	h.want(awake) // as often as the host asks
	h.send(infoCommand...)
	h.want(revision)
	h.want(revision)

	h.send(flagCommand, 7, byte(opInfo), 0, 0, 0, 0, 0)
	h.want("04 FF 01 42")
	h.send(0x00, 0x42) // reserved flags
	h.want("04 FF 01 42")

	h.send(append([]byte{flagCommand}, wrap(append([]byte{byte(opNonce), 0x03, 0, 0}, make([]byte, 32)...)...)...)...)
	h.want("04 00 03 40")
	for _, end := range []struct {
		flag    byte
		tempKey byte
	}{{flagIdle, 0x80}, {flagSleep, 0x00}} {
		h.send(end.flag)
		h.want("")
		h.send(infoCommand...)
		h.want("")
		h.wake()
		h.want(awake)
		h.send(append([]byte{flagCommand}, wrap(byte(opInfo), infoState, 0, 0)...)...)
		if got := h.send(flagTransmit); len(got) != 7 || got[2]&0x80 != end.tempKey {
			t.Errorf("flag %02x: state % x", end.flag, got)
		}
	}
}

// The wake token begins anew wherever the host lost its way; an illegal token puts the chip to sleep.
func TestSingleWireLost(t *testing.T) {
	whole := symbols(infoCommand)
	for cut := range len(whole) {
		h := swi{t, NewSingleWire(New(Options{}))}
		h.wake()
		h.Receive(whole[:cut])
		h.wake()
		h.want(awake)
		h.send(infoCommand...)
		h.want(revision)

		h.Receive(whole[:cut])
		h.Receive([]byte{0x55})
		h.want("")
		h.Receive(whole)
		h.want("")
		h.wake()
		h.want(awake)
	}
}

// A host that speaks on does not hear the answer.
func TestSingleWireSpokenOver(t *testing.T) {
	h := swi{t, NewSingleWire(New(Options{}))}
	h.wake()
	if got := h.send(flagTransmit, flagTransmit, flagTransmit); !bytes.Equal(got, unhex(t, awake)) {
		t.Errorf("% x", got)
	}
	if got := h.Receive(append(symbols([]byte{flagTransmit}), symbolOne)); len(got) != 0 {
		t.Errorf("% x", got)
	}
}

// While it executes the chip hears nothing: no flag, no wake token. Its time passes once, for the watchdog too.
func TestSingleWireBusy(t *testing.T) {
	c := &clock{}
	h := swi{t, NewSingleWire(New(Options{TimeScale: 1, Now: c.now}))}
	h.wake()
	h.send(infoCommand...)
	for range 5 {
		h.want("")
		h.wake()
		h.Receive([]byte{0x55})
		h.send(flagIdle)
		c.sleep(time.Millisecond)
	}
	h.want(revision)

	// Info takes 5 ms of 1300; the answer is not there at once, and after the last not at all.
	h.send(flagIdle)
	h.wake()
	for range 259 {
		h.send(infoCommand...)
		c.sleep(5 * time.Millisecond)
		h.want(revision)
	}
	h.send(infoCommand...)
	h.want("04 EE 31 41")
	c.sleep(5 * time.Millisecond)
	h.want("")
}

func TestSingleWireServe(t *testing.T) {
	const scale = 100 // of 1, 8 and 32 symbols of 39 us
	host, line := net.Pipe()
	done := make(chan error)
	go func() { done <- NewSingleWire(New(Options{TimeScale: scale})).Serve(line) }()
	start := time.Now()
	host.Write([]byte{symbolWake})
	host.Write(symbols([]byte{flagTransmit}))
	heard := make([]byte, 4*8)
	if n, err := io.ReadFull(host, heard); err != nil || !bytes.Equal(heard, symbols(unhex(t, awake))) {
		t.Errorf("% x, %v", heard[:n], err)
	}
	if took := time.Since(start); took < 41*scale*symbolTime-maxLateness {
		t.Errorf("the symbols take %v", took)
	}
	host.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// FuzzSingleWire: whatever a host sends, the chip answers in whole groups, and after the wake token it listens.
func FuzzSingleWire(f *testing.F) {
	f.Add(append([]byte{symbolWake}, symbols(append(infoCommand, flagTransmit))...))
	f.Add([]byte{symbolOne, symbolZero, 0x55, symbolWake})
	f.Fuzz(func(t *testing.T, stream []byte) {
		h := swi{t, NewSingleWire(New(Options{}))}
		for _, symbol := range stream {
			if answer := h.bytes(h.Receive([]byte{symbol})); len(answer) > 0 {
				checkGroup(t, answer)
			}
		}
		h.wake()
		h.want(awake)
	})
}
