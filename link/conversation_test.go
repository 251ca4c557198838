package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

func TestConversation(t *testing.T) {
	c, unit := dialFake(t, good)
	ctx := t.Context()
	h, err := c.Hello(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := Hello{Chip: fakeChip, Revision: [4]byte{0, 0, 0x60, 3}, Firmware: [32]byte{1}, AnchorHash: [32]byte{2}, Product: 70000,
		Peers: []uint32{1, 70000}, State: Installed, Locks: Locks{0, 0, 0xFF, 0xFF}, OrderCertificate: count(0, 149),
		UnitCertificate: count(0, 130), Generation: new(uint32)}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("hello %+v", h)
	}
	if p, err := c.Prepare(ctx); err != nil || p != (Preparation{[128]byte(count(0, 127)), [64]byte(count(3, 66))}) {
		t.Errorf("prepare %x, %v", p, err)
	}
	challenge, anchor, order, certificate := [32]byte(count(7, 38)), count(0, 97), count(0, 154), count(0, 134)
	proof, err := c.Prove(ctx, challenge, []byte{0, 1, 0, 9})
	if err != nil || proof != (Proof{[64]byte(count(1, 64)), [64]byte(count(4, 67)), [64]byte(count(65, 128))}) {
		t.Errorf("prove %x, %v", proof, err)
	}
	if signature, err := c.Install(ctx, challenge, anchor, order, certificate); err != nil || signature != [64]byte(count(2, 65)) {
		t.Errorf("install %x, %v", signature, err)
	}
	sealed, err := c.Seal(ctx)
	if err != nil || sealed != (Seal{Locks{0, 0, 0xFF, 0xFE}, 0, true}) {
		t.Errorf("seal %+v, %v", sealed, err)
	}

	object := count(0, 556)
	if trust, err := c.Link(ctx, object); err != nil || trust != (Trust{3, 2, 70000}) {
		t.Errorf("link %+v, %v", trust, err)
	}
	if trust, err := c.List(ctx, object[:512]); err != nil || trust != (Trust{3, 2, 70000}) {
		t.Errorf("list %+v, %v", trust, err)
	}
	if generation, err := c.Release(ctx, object[:87]); err != nil || generation != 70001 {
		t.Errorf("release %d, %v", generation, err)
	}

	for i, arguments := range [][]any{{0, 1}, {1, 2}, {2, 3, challenge, []byte{0, 1, 0, 9}, 1}, {3, 4, challenge, anchor, order, certificate}, {4, 6},
		{5, 7, object}, {6, 8, object[:512]}, {7, 9, object[:87]}} {
		if want := encode(append([]any{c.session}, arguments...)); !bytes.Equal(unit.requests()[i], want) {
			t.Errorf("request %d is %x, want %x", i, unit.requests()[i], want)
		}
	}
	first := c.session
	if _, err := c.Hello(ctx); err != nil || c.session == first {
		t.Errorf("second hello: session %d after %d, %v", c.session, first, err)
	}
	if c.Waited() <= 0 {
		t.Error("waited for nothing")
	}
}

// A unit says what options it gives its chip unless they are 0.
func TestChipOptions(t *testing.T) {
	c, _ := dialFake(t, func(_ int, q []cbor.RawMessage) ([]byte, bool) {
		return encodeFrame(replyTo(q, fakeChip, 0, append(goodResults(1), 0x6102)...)), false
	})
	if h, err := c.Hello(t.Context()); err != nil || h.ChipOptions != 0x6102 || h.DebugClosed {
		t.Errorf("%+v, %v", h, err)
	}
}

// TestLine has the unit's first answers spoiled in every way a line and a hostile unit know.
func TestLine(t *testing.T) {
	alter := func(item int, value any) func([]cbor.RawMessage, []byte) []byte {
		return func(_ []cbor.RawMessage, payload []byte) []byte {
			var items []cbor.RawMessage
			if err := cbor.Unmarshal(payload, &items); err != nil {
				panic(err)
			}
			items[item] = encode(value)
			return encodeFrame(encode(items))
		}
	}
	flip := func(_ []cbor.RawMessage, payload []byte) []byte {
		frame := encodeFrame(payload)
		frame[len(frame)/2] ^= 0x08
		return frame
	}
	for _, test := range []struct {
		name  string
		times int // how many answers are spoiled; 3 are all of them
		spoil func(q []cbor.RawMessage, payload []byte) []byte
		want  error
	}{
		{"silent once", 1, func([]cbor.RawMessage, []byte) []byte { return nil }, nil},
		{"silent twice", 2, func([]cbor.RawMessage, []byte) []byte { return nil }, nil},
		{"silent", 3, func([]cbor.RawMessage, []byte) []byte { return nil }, ErrSilent},
		{"wrong crc twice", 2, flip, nil},
		{"wrong crc", 3, flip, ErrGarbage},
		{"noise", 3, func([]cbor.RawMessage, []byte) []byte { return []byte("U-Boot 2023.01\r\n") }, ErrGarbage},
		{"other session", 3, alter(0, 1), ErrSilent},
		{"other sequence", 3, alter(1, 1), ErrSilent},
		{"other verb", 3, alter(2, -2), ErrSilent},
		{"the request's own verb", 3, alter(2, 1), ErrSilent},
		{"session too large", 3, alter(0, uint64(1)<<32), ErrSilent},
		{"no array", 3, func([]cbor.RawMessage, []byte) []byte { return encodeFrame([]byte{0x01}) }, ErrSilent},
		{"short array", 3, func(q []cbor.RawMessage, _ []byte) []byte { return encodeFrame(encode(q)) }, ErrSilent},
		{"zeros", 3, func([]cbor.RawMessage, []byte) []byte { return make([]byte, 2000) }, ErrSilent},
		{"too long", 3, func(_ []cbor.RawMessage, payload []byte) []byte {
			return encodeFrame(append(payload, make([]byte, maxReply)...))
		}, ErrGarbage},
		{"noise ended by a zero before the answer", 1, func(_ []cbor.RawMessage, payload []byte) []byte {
			return slices.Concat([]byte{0xF8, 0xFF, 0}, encodeFrame(payload))
		}, nil},
		{"echo before the answer", 1, func(q []cbor.RawMessage, payload []byte) []byte {
			return slices.Concat(encodeFrame(encode(q)), encodeFrame(payload))
		}, nil},
		{"twice", 1, func(_ []cbor.RawMessage, payload []byte) []byte {
			return slices.Concat(encodeFrame(payload), encodeFrame(payload))
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, unit := dialFake(t, func(n int, q []cbor.RawMessage) ([]byte, bool) {
				payload := replyTo(q, fakeChip, 0, goodResults(verbOf(q))...)
				if n < test.times {
					return test.spoil(q, payload), false
				}
				return encodeFrame(payload), false
			})
			_, err := c.Hello(t.Context())
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			requests := unit.requests()
			if test.want != nil && len(requests) != tries {
				t.Errorf("asked %d times", len(requests))
			}
			for _, again := range requests {
				if !bytes.Equal(again, requests[0]) {
					t.Errorf("asked %x, then %x", requests[0], again)
				}
			}
			if test.want == nil {
				if _, err := c.Prepare(t.Context()); err != nil {
					t.Errorf("next request: %v", err)
				}
			}
		})
	}
}

// A unit that sends for ever, or one byte now and then, costs the three time limits and no more.
func TestEndless(t *testing.T) {
	for _, test := range []struct {
		name  string
		bytes []byte
		pause time.Duration
	}{
		{"dribble", []byte{0x11}, 2 * time.Millisecond},
		{"flood", bytes.Repeat([]byte{0x11}, 4096), 0},
		{"frames", slices.Repeat(encodeFrame(encode([]any{1, 2, -1, 0, fakeChip})), 100), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var unit *fakeUnit
			c, unit := dialFake(t, func(int, []cbor.RawMessage) ([]byte, bool) {
				for {
					if _, err := unit.line.Write(test.bytes); err != nil {
						return nil, true
					}
					time.Sleep(test.pause)
				}
			})
			start := time.Now()
			_, err := c.Hello(t.Context())
			if took := time.Since(start); !errors.Is(err, ErrGarbage) && !errors.Is(err, ErrSilent) || took > 10*time.Second {
				t.Fatalf("%v after %v", err, took)
			}
			if c.Waited() < tries*helloLimit {
				t.Errorf("waited %v", c.Waited())
			}
		})
	}
}

// Noise that came before the request does not run into the answer.
func TestUnasked(t *testing.T) {
	c, unit := dialFake(t, good)
	if _, err := unit.line.Write([]byte("boot")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond) // until it is among the received
	if _, err := c.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(unit.requests()); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestMalformedResults(t *testing.T) {
	for verb, results := range map[int][][]any{
		1: {nil, {1, 2}, change(1, 0, 2), change(1, 1, [5]byte{}), change(1, 1, [3]byte{}), change(1, 2, "text"), change(1, 4, uint64(1)<<32),
			change(1, 4, nil), change(1, 4, 1.0), change(1, 5, []int{}), change(1, 5, nil), change(1, 5, []int{1, 2, 3, 4, 5, 6, 7, 8, 9}),
			change(1, 6, 5), change(1, 6, -1), change(1, 8, nil), change(1, 8, make([]byte, 156)), change(1, 9, make([]byte, 136)),
			change(1, 10, false), change(1, 11, nil), change(1, 11, 1),
			append(goodResults(1), 0), append(goodResults(1), nil), append(goodResults(1), 65536), append(goodResults(1), 0x6102, 1), goodResults(1)[:11],
			change(1, 0, cbor.RawMessage{0x18, 0x01}), change(1, 5, cbor.RawMessage{0x9F, 0x01, 0xFF})},
		2: {nil, {[128]byte{}}, change(2, 0, [127]byte{}), change(2, 1, [65]byte{}), {[128]byte{}, [64]byte{}, 1}},
		3: {change(3, 1, nil), change(3, 1, [63]byte{}), change(3, 0, [63]byte{}), change(3, 2, nil)},
		4: {{[63]byte{}}, {nil}},
		5: {change(5, 0, 1), change(5, 0, 3), change(5, 0, nil), change(5, 1, nil), change(5, 1, []byte{}), change(5, 2, 256), {0, count(0, 9)}},
		6: {change(6, 1, nil), change(6, 2, 0)},
		7: {nil, {1, 2}, {1, 2, 3, 4}, change(7, 0, -1), change(7, 1, nil), change(7, 2, uint64(1)<<32)},
		8: {{1, 2}, change(8, 2, nil)},
		9: {nil, {nil}, {-1}, {1, 2}},
	} {
		for _, bad := range results {
			c, _ := dialFake(t, func(n int, q []cbor.RawMessage) ([]byte, bool) {
				if verbOf(q) != verb {
					return good(n, q)
				}
				return encodeFrame(replyTo(q, fakeChip, 0, bad...)), false
			})
			_, err := c.Hello(t.Context())
			for _, v := range verbs {
				if err == nil {
					err = v.call(t.Context(), c)
				}
			}
			if !errors.Is(err, ErrGarbage) {
				t.Errorf("verb %d with results %v: %v", verb, bad, err)
			}
		}
	}
}

// change gives the good results of a verb with one replaced.
func change(verb, item int, value any) []any {
	results := goodResults(verb)
	results[item] = value
	return results
}

func TestStatus(t *testing.T) {
	for _, test := range []struct {
		status Status
		detail uint32
		want   string
	}{
		{StatusMalformed, 0, "prepare: the unit cannot read the request"},
		{StatusSequence, 0, "prepare: the unit does not know this session"},
		{StatusState, 3, "prepare: the unit does not do this when it is sealed"},
		{StatusState, 300, "prepare: the unit does not do this when it is in state 255"},
		{StatusChip, 0, "prepare: the unit's chip does not answer"},
		{StatusChip, 0x0F, "prepare: the unit's chip failed with status 0x0f"},
		{StatusConfiguration, 0, "prepare: the unit's chip is locked with another configuration, or with a key that the unit does not have"},
		{StatusRefused, 8, "prepare: the unit refuses: the serial number is outside the order's range"},
		{StatusRefused, 99, "prepare: the unit refuses: unknown check 99"},
		{StatusFlash, 0, "prepare: the unit's flash does not hold what was written"},
		{200, 1, "prepare: the unit answers with unknown status 200, detail 1"},
	} {
		c, unit := dialFake(t, func(n int, q []cbor.RawMessage) ([]byte, bool) {
			if n != 1 {
				return good(n, q)
			}
			return encodeFrame(replyTo(q, fakeChip, int(test.status), test.detail)), false
		})
		if _, err := c.Hello(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := c.Prepare(t.Context())
		var status *StatusError
		if !errors.As(err, &status) || *status != (StatusError{"prepare", test.status, test.detail}) || err.Error() != test.want {
			t.Errorf("status %d: %v", test.status, err)
		}
		if _, err := c.Prepare(t.Context()); err != nil || len(unit.requests()) != 3 {
			t.Errorf("after status %d: %v, %d requests", test.status, err, len(unit.requests()))
		}
	}
	seen := make(map[string]bool)
	for check := Check(1); check <= 18; check++ {
		sentence := check.String()
		if seen[sentence] || strings.Contains(sentence, "unknown") {
			t.Errorf("check %d: %s", check, sentence)
		}
		seen[sentence] = true
	}
	bare, _ := dialFake(t, func(_ int, q []cbor.RawMessage) ([]byte, bool) {
		return encodeFrame(replyTo(q, fakeChip, int(StatusChip))), false
	})
	if _, err := bare.Hello(t.Context()); !errors.Is(err, ErrGarbage) {
		t.Errorf("status without its detail: %v", err)
	}
}

// Each message may be answered in the ways of docs/wire.md, verb 5, and no others.
func TestTurns(t *testing.T) {
	some, none := count(0, 9), []byte{}
	for number, want := range [][]Turn{
		{{GoOn, some, 0}, {Failed, none, 0}},
		{{GoOn, some, 0}, {Failed, some, 0}, {Failed, none, 0}},
		{{GoOn, some, CheckHeld}, {Failed, some, 4}, {Failed, none, 0}},
		{{Complete, some, CheckHeld}, {Failed, some, 4}, {Failed, none, 0}},
		{{Complete, none, 0}, {Failed, some, 0}, {Failed, none, 0}},
	} {
		for outcome := GoOn; outcome <= Failed; outcome++ {
			for _, message := range [][]byte{some, none} {
				for _, check := range []Check{0, 4, CheckHeld} {
					turn := Turn{outcome, message, check}
					c, _ := dialFake(t, func(n int, q []cbor.RawMessage) ([]byte, bool) {
						if n == 0 {
							return good(n, q)
						}
						return encodeFrame(replyTo(q, fakeChip, 0, turn.Outcome, turn.Message, turn.Check)), false
					})
					if _, err := c.Hello(t.Context()); err != nil {
						t.Fatal(err)
					}
					got, err := c.Handshake(t.Context(), number, some[:min(number, 1)])
					allowed := slices.ContainsFunc(want, func(w Turn) bool {
						return w.Outcome == turn.Outcome && len(w.Message) == len(turn.Message)
					}) || outcome == Failed
					if (err == nil) != allowed || err == nil && !reflect.DeepEqual(got, turn) || err != nil && !errors.Is(err, ErrGarbage) {
						t.Errorf("message_%d, %+v: %+v, %v", number, turn, got, err)
					}
				}
			}
		}
	}
}

func TestUnitChanged(t *testing.T) {
	c, _ := dialFake(t, func(n int, q []cbor.RawMessage) ([]byte, bool) {
		if n == 0 {
			return good(n, q)
		}
		return encodeFrame(replyTo(q, otherChip, 0, goodResults(verbOf(q))...)), false
	})
	if _, err := c.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, v := range verbs {
		if err := v.call(t.Context(), c); !errors.Is(err, ErrUnitChanged) || !strings.HasPrefix(err.Error(), v.name+": ") {
			t.Errorf("%s: %v", v.name, err)
		}
	}
}

// The unit is unplugged while it works on each verb.
func TestGone(t *testing.T) {
	for i, v := range verbs {
		c, _ := dialFake(t, func(n int, q []cbor.RawMessage) ([]byte, bool) {
			if n == i {
				return []byte{1, 2, 3}, true
			}
			return good(n, q)
		})
		for j, earlier := range verbs[:i] {
			if err := earlier.call(t.Context(), c); err != nil {
				t.Fatalf("%s, step %d: %v", v.name, j, err)
			}
		}
		for range 2 {
			if err := v.call(t.Context(), c); !errors.Is(err, io.EOF) {
				t.Errorf("%s: %v", v.name, err)
			}
		}
	}
}

func TestCancel(t *testing.T) {
	c, _ := dialFake(t, func(int, []cbor.RawMessage) ([]byte, bool) { return nil, false })
	c.SetPatience(100)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	start := time.Now()
	if _, err := c.Hello(ctx); !errors.Is(err, context.Canceled) || time.Since(start) > time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	time.AfterFunc(20*time.Millisecond, func() { c.Close() })
	if _, err := c.Hello(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestRequestTooLong(t *testing.T) {
	c, unit := dialFake(t, good)
	if _, err := c.Install(t.Context(), [32]byte{}, nil, make([]byte, maxRequest), nil); err == nil {
		t.Error("sent")
	}
	if n := len(unit.requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// deafPort takes no bytes and gives none, like a USB device whose firmware hangs.
type deafPort struct{ closed chan struct{} }

func (p deafPort) Read([]byte) (int, error)  { <-p.closed; return 0, os.ErrClosed }
func (p deafPort) Write([]byte) (int, error) { <-p.closed; return 0, os.ErrClosed }
func (p deafPort) Close() error              { close(p.closed); return nil }

func TestWriteHangs(t *testing.T) {
	c := Dial(deafPort{make(chan struct{})})
	c.SetPatience(0.01)
	for range 2 {
		if _, err := c.Hello(t.Context()); !errors.Is(err, ErrSilent) {
			t.Errorf("got %v", err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestLocks(t *testing.T) {
	locks := Locks{0x55, 0, 0xFF, 0xFE}
	if locks.Data() || !locks.Configuration() || !locks.Slot(8) || locks.Slot(0) || locks.Slot(15) {
		t.Errorf("%x: data %v, configuration %v, slot 8 %v", locks, locks.Data(), locks.Configuration(), locks.Slot(8))
	}
}

func FuzzReply(f *testing.F) {
	q := []cbor.RawMessage{encode(uint32(7)), encode(3), encode(1)}
	for _, v := range []int{1, 2, 3, 4, 5, 6} {
		f.Add(replyTo(q, fakeChip, 0, goodResults(v)...))
	}
	f.Add(replyTo(q, fakeChip, 6, 8))
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := parseReply(payload)
		if err != nil {
			return
		}
		again := []any{r.session, r.sequence, r.verb, r.status, r.chip}
		for _, result := range r.results {
			again = append(again, result)
		}
		if !bytes.Equal(encode(again), payload) {
			t.Fatalf("%x is %+v", payload, r)
		}
	})
}
