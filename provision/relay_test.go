//go:build cgo

package provision

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

// Whatever happens to a message between two units, it ends there, is told, and the next meeting goes well.
func TestRelay(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	one, two, blank := f.unit(sim.Options{}), f.unit(sim.Options{}), f.unit(sim.Options{})
	f.begin(s, one, Seal) // installed
	f.pass(s, two)
	meet := func(one, two string) (*Meeting, error) { return Relay(t.Context(), one, two, 115200, nil) }
	good := func() {
		t.Helper()
		for _, ports := range [][2]string{{one.Port(), two.Port()}, {two.Port(), one.Port()}} {
			m, err := meet(ports[0], ports[1])
			if err != nil || len(m.Messages) != link.Messages {
				t.Fatalf("%+v, %v", m, err)
			}
			for i, message := range m.Messages {
				if message.Number != i+1 || message.Error || message.FromResponder != (i%2 == 1) || message.Size == 0 || message.Took <= 0 || message.Check != 0 {
					t.Errorf("%+v", message)
				}
			}
		}
	}
	good()
	spoil := func(r message) message { return r.with(atResults+1, flipped(r.bytes(atResults+1), 7)) }
	for _, test := range []struct {
		name     string
		liar     intruder // before the first unit
		want     error
		messages int // beside an error message
		refused  bool
	}{
		{"message_3 spoilt", onTurn(2, spoil), ErrRefused, 3, true},
		{"message_2 spoilt on its way in", onRequest(verbHandshake, func(q message) message {
			if q[3][0] == 2 {
				q = q.with(4, flipped(q.bytes(4), 50))
			}
			return q
		}), ErrRefused, 2, true},
		{"message_4 spoilt on its way in", onRequest(verbHandshake, func(q message) message {
			if q[3][0] == 4 {
				q = q.with(4, flipped(q.bytes(4), 5))
			}
			return q
		}), ErrRefused, 4, true},
		{"a chip that fails", onTurn(2, func(r message) message { return r.refused(link.StatusChip, 0) }), ErrRetry, 2, false},
		{"an outcome that there is not", onTurn(0, func(r message) message { return r.with(atResults, 3) }), link.ErrGarbage, 0, false},
	} {
		port, leave := test.liar.tap(t, one)
		m, err := meet(port, two.Port())
		leave()
		if !errors.Is(err, test.want) || m == nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		failures := 0
		for _, message := range m.Messages {
			if message.Error {
				failures++
			}
		}
		if len(m.Messages)-failures != test.messages || (failures > 0) != test.refused {
			t.Errorf("%s: %+v", test.name, m.Messages)
		}
		good()
	}

	if _, err := meet(one.Port(), blank.Port()); !errors.Is(err, ErrNotProvisioned) {
		t.Error(err)
	}
	port, leave := onReply(verbHello, func(_, r message) message { return r.with(atChip, f.inspect(two).Chip) }).tap(t, one)
	if _, err := meet(port, two.Port()); !errors.Is(err, ErrSameUnit) {
		t.Error(err)
	}
	leave()
	if _, err := meet(one.Port(), filepath.Join(f.dir, "nothing")); !errors.Is(err, link.ErrNoPort) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	port, leave = onReply(verbHandshake, func(_, r message) message { cancel(); return r }).tap(t, one)
	if _, err := Relay(ctx, port, two.Port(), 115200, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	leave()
	good()
	port, leave = onReply(verbHandshake, func(_, r message) message { two.Unplug(); return r }).tap(t, one)
	if _, err := meet(port, two.Port()); !errors.Is(err, link.ErrGone) {
		t.Error(err)
	}
	leave()
	f.plug(two)
	good()
	if i := f.inspect(two); *i.Generation != 0 {
		t.Errorf("paired: %+v", i)
	}
}

// Units refuse each other across authorities, whichever of them begins.
func TestRelayStrangers(t *testing.T) {
	f, other := newFactory(t, 10), newFactoryWith(t, 10, ca.InitRequest{RootURI: "pkcs11:object=root", NextURI: "pkcs11:object=next"}, demoProfile(t))
	one, two := f.unit(sim.Options{}), other.unit(sim.Options{})
	f.pass(f.station(), one)
	other.pass(other.station(), two)
	for _, ports := range [][2]string{{one.Port(), two.Port()}, {two.Port(), one.Port()}} {
		m, err := Relay(t.Context(), ports[0], ports[1], 115200, nil)
		if !errors.Is(err, ErrRefused) || len(m.Messages) != 3 || !m.Messages[2].Error || m.Messages[2].Check == 0 {
			t.Errorf("%+v, %v", m, err)
		}
	}
}
