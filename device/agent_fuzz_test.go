//go:build cgo

package device

import (
	"bytes"
	"testing"
)

// FuzzAgent gives a unit in each state either raw bytes of the line, or one frame with this payload as the next request after
// a hello. Every answer must be a good frame, and only the two verbs that lock anything may lock.
func FuzzAgent(f *testing.F) {
	const session = 7
	seed := func(verb int, arguments ...any) []byte {
		return encode(f, append([]any{session, 1, verb}, arguments...))
	}
	birth := newFactory(f).birth(f)
	payloads := [][]byte{
		encode(f, []any{session, 0, verbHello}), seed(verbPrepare), seed(verbSeal), seed(99),
		seed(verbProve, testChallenge, testOrderName, 1),
		seed(verbInstall, testChallenge, birth.Anchor, birth.Order, birth.Unit),
		seed(verbInstall, testChallenge, birth.Anchor, birth.Order, make([]byte, 400)),
		seed(verbHandshake, 0, []byte{}), seed(verbHandshake, 3, make([]byte, 400)),
		seed(verbHandshake, 1, append([]byte{0x00, 0x02, 0x58, 32}, append(birth.Key[:32:32], 0x00)...)),
	}
	for state := range states {
		for _, payload := range payloads {
			f.Add(uint8(state), true, payload)
			f.Add(uint8(state), false, frame(payload))
		}
		f.Add(uint8(state), false, bytes.Repeat([]byte{0xff}, 700))
	}

	benches := make([]*bench, len(states)) // a unit that nothing has locked serves again
	f.Fuzz(func(t *testing.T, state uint8, framed bool, data []byte) {
		at := int(state) % len(states)
		if benches[at] == nil {
			benches[at] = keptBench(t)
			states[at](t, benches[at])
		}
		b := benches[at]
		b.powerCycle(t)
		b.session = session - 1
		b.hello(t)
		before := b.zone()
		line := data
		if framed {
			line = frame(data)
		}
		answer := b.unit.Receive(append(bytes.Clone(line), 0))
		for len(answer) > 0 {
			end := bytes.IndexByte(answer, 0) + 1
			r := parseReply(t, answer[:end])
			answer = answer[end:]
			if r.status == statusOK && (r.verb == -verbPrepare || r.verb == -verbSeal || r.verb == -verbInstall) {
				benches[at] = nil
			}
		}
		if after := b.zone(); benches[at] != nil && !bytes.Equal(after, before) {
			t.Errorf("state %d: the configuration %x became %x", at, before, after)
		}
	})
}
