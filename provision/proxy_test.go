//go:build cgo

package provision

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/creack/pty"
	"github.com/fxamacker/cbor/v2"
	"golang.org/x/term"

	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

// The verbs of docs/wire.md.
const (
	verbHello     = 1
	verbPrepare   = 2
	verbProve     = 3
	verbInstall   = 4
	verbHandshake = 5
	verbSeal      = 6
)

// message is a request or a reply of docs/wire.md, item by item.
type message []cbor.RawMessage

// verb gives what is asked, or answered.
func (m message) verb() int {
	var v int
	if cbor.Unmarshal(m[2], &v) != nil || v >= 0 {
		return v
	}
	return -v
}

// bytes gives item i, which is a byte string.
func (m message) bytes(i int) []byte {
	var b []byte
	if err := cbor.Unmarshal(m[i], &b); err != nil {
		panic(err)
	}
	return b
}

// with is a copy with item i replaced.
func (m message) with(i int, v any) message {
	b, err := cbor.Marshal(v)
	if err != nil {
		panic(err)
	}
	changed := append(message{}, m...)
	changed[i] = b
	return changed
}

// Places of the items of a reply.
const (
	atStatus  = 3
	atChip    = 4
	atResults = 5
)

// refused is the reply with another status and its detail in place of the results.
func (m message) refused(status link.Status, detail int) message {
	return m[:atResults+1].with(atStatus, status).with(atResults, detail)
}

// intruder sits on the wire between a station and a unit, reads everything and passes on what it likes.
type intruder struct {
	request func(q message) message      // nil: as it came
	reply   func(q, r message) []message // nil: as it came
}

// tap puts the intruder in front of a unit. The station sees port; leave ends it, and the unit has its own port again.
func (i intruder) tap(t testing.TB, u *sim.Unit) (port string, leave func()) {
	t.Helper()
	unit, err := link.Open(u.Port(), 115200)
	if err != nil {
		t.Fatal(err)
	}
	station, terminal, err := pty.Open()
	if err == nil {
		_, err = term.MakeRaw(int(terminal.Fd()))
	}
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- i.relay(station, unit) }()
	return terminal.Name(), func() {
		unit.Close()
		terminal.Close() // a terminal that nobody has open any more ends its other end's Read
		if err := <-done; err != nil {
			t.Error(err)
		}
		station.Close()
	}
}

// relay passes one request and its reply on after the other until the station's line ends.
func (i intruder) relay(station io.ReadWriter, unit io.ReadWriter) error {
	requests, replies := bufio.NewReader(station), bufio.NewReader(unit)
	for {
		payload, err := readFrame(requests)
		if err != nil {
			return nil
		}
		var q, r message
		if err := cbor.Unmarshal(payload, &q); err != nil {
			return err
		}
		if i.request != nil {
			q = i.request(q)
		}
		if _, err := unit.Write(frame(q)); err != nil {
			return nil
		}
		if payload, err = readFrame(replies); err != nil {
			return nil
		}
		if err := cbor.Unmarshal(payload, &r); err != nil {
			return err
		}
		answers := []message{r}
		if i.reply != nil {
			answers = i.reply(q, r)
		}
		for _, r := range answers {
			if _, err := station.Write(frame(r)); err != nil {
				return nil
			}
		}
	}
}

// readFrame gives the payload of the next frame of docs/wire.md.
func readFrame(r *bufio.Reader) ([]byte, error) {
	for {
		b, err := r.ReadBytes(0)
		if err != nil {
			return nil, err
		}
		if len(b) == 1 {
			continue // a zero between frames
		}
		var data []byte
		for b = b[:len(b)-1]; len(b) > 0; {
			n := int(b[0])
			if n > len(b) {
				return nil, errors.New("not COBS")
			}
			data = append(data, b[1:n]...)
			if b = b[n:]; n < 0xFF && len(b) > 0 {
				data = append(data, 0)
			}
		}
		if len(data) < 2 || crc(data[:len(data)-2]) != uint16(data[len(data)-1])<<8|uint16(data[len(data)-2]) {
			return nil, errors.New("not a frame")
		}
		return data[:len(data)-2], nil
	}
}

// frame gives the bytes on the wire for a message.
func frame(m message) []byte {
	payload, err := cbor.Marshal(m)
	if err != nil {
		panic(err)
	}
	sum := crc(payload)
	data := append(payload, byte(sum), byte(sum>>8))
	out := []byte{0}
	for _, block := range bytes.Split(data, []byte{0}) {
		for len(block) >= 0xFE {
			out = append(append(out, 0xFF), block[:0xFE]...)
			block = block[0xFE:]
		}
		out = append(append(out, byte(len(block)+1)), block...)
	}
	return append(out, 0)
}

// crc is the CRC-16 of docs/wire.md.
func crc(data []byte) uint16 {
	var sum uint16
	for _, b := range data {
		for bit := range 8 {
			carry := sum>>15 != uint16(b>>bit)&1
			sum <<= 1
			if carry {
				sum ^= 0x8005
			}
		}
	}
	return sum
}
