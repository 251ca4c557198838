package link

import (
	"bufio"
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// fakeUnit speaks the unit's side of the frames and nothing more: what it answers is the test's business.
type fakeUnit struct {
	t        *testing.T
	line     io.ReadWriteCloser
	mu       sync.Mutex
	payloads [][]byte // of every request, as it came
	// answer gives the bytes to send for the n-th request, from 0, and whether to hang up after them.
	answer func(n int, q []cbor.RawMessage) (bytes []byte, hangUp bool)
}

// dialFake starts a fake unit on a pipe and a hurried conversation with it.
func dialFake(t *testing.T, answer func(n int, q []cbor.RawMessage) ([]byte, bool)) (*Conversation, *fakeUnit) {
	t.Helper()
	station, unit := net.Pipe()
	f := &fakeUnit{t: t, line: unit, answer: answer}
	done := make(chan struct{})
	go func() { defer close(done); f.serve() }()
	c := Dial(station)
	c.SetPatience(0.05) // hello: helloLimit a try
	t.Cleanup(func() {
		c.Close()
		unit.Close()
		<-done
	})
	return c, f
}

func (f *fakeUnit) serve() {
	defer f.line.Close()
	// A reader of its own: the station's takes no frame that is longer than a reply.
	for frames := bufio.NewReader(f.line); ; {
		frame, err := frames.ReadBytes(0)
		if err != nil {
			return
		}
		if len(frame) > 1 { // a zero before each frame ends what was begun
			payload, err := DecodeFrame(frame[:len(frame)-1])
			if err != nil {
				f.t.Errorf("frame %x: %v", frame, err)
				return
			}
			var q []cbor.RawMessage
			if err := cbor.Unmarshal(payload, &q); err != nil {
				f.t.Errorf("request %x: %v", payload, err)
				return
			}
			f.mu.Lock()
			n := len(f.payloads)
			f.payloads = append(f.payloads, payload)
			f.mu.Unlock()
			bytes, hangUp := f.answer(n, q)
			if _, err := f.line.Write(bytes); err != nil || hangUp {
				return
			}
		}
	}
}

func (f *fakeUnit) requests() [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.payloads)
}

const helloLimit = 100 * time.Millisecond

var (
	fakeChip  = [9]byte{0x01, 0x23, 1, 2, 3, 4, 5, 6, 0xEE}
	otherChip = [9]byte{0x01, 0x23, 9, 9, 9, 9, 9, 9, 0xEE}
)

// verbOf gives the verb of a request.
func verbOf(q []cbor.RawMessage) int {
	var verb int
	if cbor.Unmarshal(q[2], &verb) != nil {
		return 0
	}
	return verb
}

// replyTo gives the payload of an answer with status and results.
func replyTo(q []cbor.RawMessage, chip [9]byte, status int, results ...any) []byte {
	return encode(append([]any{q[0], q[1], -verbOf(q), status, chip}, results...))
}

func encode(v any) []byte {
	b, err := cbor.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// goodResults gives results of the right shape for each verb.
func goodResults(verb int) []any {
	generation := uint32(0)
	switch verb {
	case 1:
		return []any{1, [4]byte{0, 0, 0x60, 3}, [32]byte{1}, [32]byte{2}, 70000, []int{1, 70000}, 2, [4]byte{0, 0, 0xFF, 0xFF},
			count(0, 149), count(0, 130), &generation, false}
	case 2:
		return []any{[128]byte(count(0, 127)), [64]byte(count(3, 66))}
	case 3:
		return []any{[64]byte(count(1, 64)), [64]byte(count(4, 67)), [64]byte(count(65, 128))}
	case 4:
		return []any{[64]byte(count(2, 65))}
	case 5:
		return []any{0, count(0, 199), 0}
	case 6:
		return []any{[4]byte{0, 0, 0xFF, 0xFE}, 0, true}
	case 7, 8:
		return []any{3, 2, 70000}
	case 9:
		return []any{70001}
	}
	return nil
}

// good answers every request as a healthy unit does.
func good(_ int, q []cbor.RawMessage) ([]byte, bool) {
	return encodeFrame(replyTo(q, fakeChip, 0, goodResults(verbOf(q))...)), false
}

// verbs calls each verb of a conversation that has said hello, in the order of the line.
var verbs = []struct {
	name string
	call func(context.Context, *Conversation) error
}{
	{"hello", func(ctx context.Context, c *Conversation) error { _, err := c.Hello(ctx); return err }},
	{"prepare", func(ctx context.Context, c *Conversation) error { _, err := c.Prepare(ctx); return err }},
	{"prove", func(ctx context.Context, c *Conversation) error {
		_, err := c.Prove(ctx, [32]byte{1}, count(1, 4))
		return err
	}},
	{"install", func(ctx context.Context, c *Conversation) error {
		_, err := c.Install(ctx, [32]byte{1}, count(0, 97), count(0, 154), count(0, 134))
		return err
	}},
	{"handshake", func(ctx context.Context, c *Conversation) error {
		_, err := c.Handshake(ctx, 1, count(1, 37))
		return err
	}},
	{"seal", func(ctx context.Context, c *Conversation) error { _, err := c.Seal(ctx); return err }},
	{"link", func(ctx context.Context, c *Conversation) error { _, err := c.Link(ctx, count(0, 97)); return err }},
	{"list", func(ctx context.Context, c *Conversation) error { _, err := c.List(ctx, count(0, 99)); return err }},
	{"release", func(ctx context.Context, c *Conversation) error { _, err := c.Release(ctx, count(0, 86)); return err }},
}
