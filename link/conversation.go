// Package link carries bytes to and from one unit: a serial port, frames on it, and the conversation of docs/wire.md.
package link

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// What a conversation can come to beside a StatusError, ErrGone and the context's own error.
var (
	ErrSilent      = errors.New("no answer")
	ErrGarbage     = errors.New("the answer cannot be read")
	ErrUnitChanged = errors.New("another unit answers")
)

const (
	tries     = 3
	chunkSize = 512 // bytes of one read
	chunks    = 16  // reads that wait for the next request; what a noisy unit sends beyond stays in the driver
)

// Conversation is the station's side of the talk with one unit. It is for one goroutine; Close alone may be called
// from another.
type Conversation struct {
	port     io.ReadWriteCloser
	received chan []byte
	sending  chan []byte
	lost     chan struct{} // closed when the port failed or was closed, after lostErr is set
	lostErr  error
	lose     sync.Once

	frames   frameReader
	session  uint32
	sequence uint8
	chip     *[9]byte // serial number of the chip, once a unit has answered
	patience float64
	waited   time.Duration
}

// Dial starts a conversation over port and owns it from then on. Close of the port must end its Read. Nothing is sent
// before the first request, which has to be Hello.
func Dial(port io.ReadWriteCloser) *Conversation {
	c := &Conversation{
		port:     port,
		received: make(chan []byte, chunks),
		sending:  make(chan []byte),
		lost:     make(chan struct{}),
		patience: 1,
	}
	go c.read()
	go c.write()
	return c
}

// Close ends the conversation and closes its port; a request under way gives os.ErrClosed.
func (c *Conversation) Close() error {
	c.end(os.ErrClosed)
	return c.port.Close()
}

// SetPatience multiplies the time limits of docs/wire.md by factor; 1 is the default.
func (c *Conversation) SetPatience(factor float64) { c.patience = factor }

// Waited is the time that all requests so far have spent waiting for the unit.
func (c *Conversation) Waited() time.Duration { return c.waited }

func (c *Conversation) end(err error) {
	c.lose.Do(func() {
		c.lostErr = err
		close(c.lost)
	})
}

func (c *Conversation) read() {
	for {
		chunk := make([]byte, chunkSize)
		n, err := c.port.Read(chunk)
		if n > 0 {
			select {
			case c.received <- chunk[:n]:
			case <-c.lost:
				return
			}
		}
		if err != nil {
			c.end(err)
			return
		}
	}
}

// write has a goroutine of its own since a serial port's Write knows no time limit. While it hangs, nothing takes the
// next frame, and the request runs into its own limit.
func (c *Conversation) write() {
	for {
		select {
		case frame := <-c.sending:
			if _, err := c.port.Write(frame); err != nil {
				c.end(err)
				return
			}
		case <-c.lost:
			return
		}
	}
}

// request is one verb of docs/wire.md with its arguments.
type request struct {
	verb      uint8
	name      string
	limit     time.Duration // for one try, from the first byte sent to the last received
	arguments []any
	optional  bool // an answer may leave out the last result
}

// call sends a request, up to three times, and scans the results of the answer into pointers. The same sequence makes
// the unit repeat its answer rather than the deed, so nothing is done twice.
func (c *Conversation) call(ctx context.Context, q request, results ...any) error {
	payload, err := cbor.Marshal(append([]any{c.session, c.sequence, q.verb}, q.arguments...))
	if err == nil && len(payload) > maxRequest {
		err = fmt.Errorf("%d bytes do not fit a request of %d", len(payload), maxRequest)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", q.name, err)
	}
	// What came unasked, noise of a unit that was plugged in, must not run into the answer.
	for range len(c.received) {
		<-c.received
	}
	c.frames.reset()
	answer, err := c.ask(ctx, encodeFrame(payload), q)
	if err == nil {
		c.sequence++
		err = c.accept(answer, q, results)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", q.name, err)
	}
	return nil
}

// ask sends the frame until the unit answers it or the tries are used up.
func (c *Conversation) ask(ctx context.Context, frame []byte, q request) (reply, error) {
	start := time.Now()
	defer func() { c.waited += time.Since(start) }()
	for range tries {
		answer, err := c.try(ctx, frame, q)
		if !errors.Is(err, errLate) {
			return answer, err
		}
	}
	if c.frames.noise() {
		return reply{}, ErrGarbage
	}
	return reply{}, ErrSilent
}

// errLate says that one try has run out of time.
var errLate = errors.New("too late")

// try sends the frame once. The limit is for the whole answer: bytes that trickle in do not prolong it. Answers to
// other requests, of other sessions, and the echo of the request are passed over.
func (c *Conversation) try(ctx context.Context, frame []byte, q request) (reply, error) {
	limit := time.NewTimer(time.Duration(float64(q.limit) * c.patience))
	defer limit.Stop()
	sending := c.sending
	for {
		select {
		case <-ctx.Done():
			return reply{}, ctx.Err()
		case <-c.lost:
			return reply{}, c.lostErr
		case <-limit.C:
			return reply{}, errLate
		case sending <- frame:
			sending = nil // a nil channel is never ready: once is enough
		case chunk := <-c.received:
			for payload := range c.frames.push(chunk) {
				answer, err := parseReply(payload)
				if err == nil && answer.answers(c.session, c.sequence, q.verb) {
					return answer, nil
				}
			}
		}
	}
}

// accept judges an answer to this very request, and takes its results.
func (c *Conversation) accept(answer reply, q request, results []any) error {
	if answer.status != 0 {
		var detail uint32
		if err := scan(answer.results, &detail); err != nil {
			return fmt.Errorf("%w: status %d: %w", ErrGarbage, answer.status, err)
		}
		return &StatusError{Verb: q.name, Status: answer.status, Detail: detail}
	}
	if c.chip != nil && *c.chip != answer.chip {
		return fmt.Errorf("%w: chip %X was %X", ErrUnitChanged, answer.chip, *c.chip)
	}
	if q.optional && len(answer.results) == len(results)-1 {
		results = results[:len(answer.results)]
	}
	if err := scan(answer.results, results...); err != nil {
		return fmt.Errorf("%w: %w", ErrGarbage, err)
	}
	c.chip = &answer.chip
	return nil
}

// newSession draws the number that tells this talk from every other one on the same wire, and starts counting.
func (c *Conversation) newSession() {
	var b [4]byte
	rand.Read(b[:]) // never fails: crypto/rand stops the program instead
	c.session, c.sequence = binary.BigEndian.Uint32(b[:]), 0
}

// reply is an answer as it came: its head, and results that are still encoded.
type reply struct {
	session  uint32
	sequence uint8
	verb     int16 // the request's, negated
	status   Status
	chip     [9]byte
	results  []cbor.RawMessage
}

const replyHead = 5 // items before the results

// parseReply reads the array of a reply, in its one encoding.
func parseReply(payload []byte) (reply, error) {
	var items []cbor.RawMessage
	if err := scan([]cbor.RawMessage{payload}, &items); err != nil {
		return reply{}, err
	}
	if len(items) < replyHead {
		return reply{}, fmt.Errorf("%d items", len(items))
	}
	var r reply
	if err := scan(items[:replyHead], &r.session, &r.sequence, &r.verb, &r.status, &r.chip); err != nil {
		return reply{}, err
	}
	r.results = items[replyHead:]
	return r, nil
}

func (r reply) answers(session uint32, sequence, verb uint8) bool {
	return r.session == session && r.sequence == sequence && r.verb == -int16(verb)
}

// scan decodes each item into the value behind the pointer in its place. Of the encodings of a value it takes the
// deterministic one alone (RFC 8949, section 4.2): what was decoded must encode to the same bytes. That also refuses
// null for a number and strings of another length than the array they go to.
func scan(items []cbor.RawMessage, into ...any) error {
	if len(items) != len(into) {
		return fmt.Errorf("%d items in place of %d", len(items), len(into))
	}
	for i, value := range into {
		if err := cbor.Unmarshal(items[i], value); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
		if again, err := cbor.Marshal(value); err != nil || !bytes.Equal(again, items[i]) {
			return fmt.Errorf("item %d: not the encoding of its value", i)
		}
	}
	return nil
}
