//go:build cgo

package provision

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

// atSlot0 is where a simulated chip's file has the identity key, after four bytes of zeros (docs/formats.md).
const atSlot0 = 128 + 64 + 4

// keyInside is the identity key of a simulated unit, which no real chip gives away.
func (f *factory) keyInside(u *sim.Unit) *ecdsa.PrivateKey {
	f.t.Helper()
	image, err := os.ReadFile(u.Port() + ".eeprom")
	if err != nil {
		f.t.Fatal(err)
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), image[atSlot0:][:32])
	if err != nil {
		f.t.Fatal(err)
	}
	return key
}

// otherFirmware answers the handshake in a unit's place, with this key, and accepts every certificate that it is shown.
// certificates are what it shows; nil: those that the unit is given.
func (f *factory) otherFirmware(key func() *ecdsa.PrivateKey, certificates *ledger.Entry) intruder {
	var shown ledger.Entry
	var h *device.Handshake
	order := f.order.Certificate
	answer := func(number int, received []byte) (link.Outcome, []byte, error) {
		if number == 1 {
			u, err := ca.ParseUnitCertificate(shown.Certificate)
			if err != nil {
				return 0, nil, err
			}
			h, err = device.NewHandshake(device.Responder, device.HandshakeConfig{
				Identity: key(), ID: ca.IDCred(u, order), Credential: u.Raw, Resolve: acceptAnybody,
				Methods: 1 << 0, Suites: []byte{2, 3}, Connection: []byte{0x00},
			})
			if err != nil {
				return 0, nil, err
			}
			f.t.Cleanup(h.Close)
		}
		if err := h.Read(received); err != nil {
			return link.Failed, h.ErrorMessage(), nil
		}
		sent, err := h.Write()
		return link.Outcome(number / 3), sent, err
	}
	return intruder{reply: func(q, r message) []message {
		switch q.verb() {
		case verbInstall:
			shown.Certificate = q.bytes(6)
			if certificates != nil {
				shown = *certificates
			}
		case verbHandshake:
			var number int
			if err := cbor.Unmarshal(q[3], &number); err != nil {
				f.t.Error(err)
			}
			outcome, sent, err := answer(number, q.bytes(4))
			if err != nil {
				f.t.Error(err)
			}
			r = append(r[:atResults:atResults], nil, nil, nil).with(atStatus, 0).with(atResults, outcome).with(atResults+1, append([]byte{}, sent...)).with(atResults+2, 0)
		}
		return []message{r}
	}}
}

// acceptAnybody believes the unit certificate that is shown.
func acceptAnybody(_ int, id []byte) (credential []byte, key [64]byte, err error) {
	var shown map[int][][]byte
	if err := cbor.Unmarshal(id, &shown); err != nil {
		return nil, key, err
	}
	c, err := ca.ParseUnitCertificate(shown[25][0])
	if err != nil {
		return nil, key, err
	}
	public, err := c.Key.Bytes()
	return c.Raw, [64]byte(public[1:]), err
}

// onTurn changes the reply to one EDHOC message.
func onTurn(number int, change func(r message) message) intruder {
	return onReply(verbHandshake, func(q, r message) message {
		if q[3][0] == byte(number) {
			r = change(r)
		}
		return r
	})
}

// A unit that accepts whoever comes passes for a good one until the false peers come, and is then set aside without a receipt.
func TestFalsePeers(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	u := f.unit(sim.Options{})
	lax := f.otherFirmware(func() *ecdsa.PrivateKey { return f.keyInside(u) }, nil)
	f.failBehind(lax, s, u, Handshake, ErrSetAside)
	if e := f.entry(u); e.State != ledger.Committed {
		t.Errorf("the book has it %v", e.State)
	}
	if i := f.inspect(u); i.State != link.Installed {
		t.Errorf("the unit is %v", i.State)
	}

	// No unit of the order is finished yet, so the next is tried as well; the one after it is not.
	second := f.unit(sim.Options{})
	f.failBehind(f.otherFirmware(func() *ecdsa.PrivateKey { return f.keyInside(second) }, nil), s, second, Handshake, ErrSetAside)
	if r := f.pass(s, f.unit(sim.Options{})); r.FalsePeers != "refused" || r.Handshake != "edhoc" {
		t.Errorf("third unit: %+v", r)
	}
	if r := f.pass(s, f.unit(sim.Options{})); r.FalsePeers != "" || r.Handshake != "edhoc" {
		t.Errorf("fourth unit: %+v", r)
	}
	// What is not tried is not seen.
	fifth := f.unit(sim.Options{})
	port, leave := f.otherFirmware(func() *ecdsa.PrivateKey { return f.keyInside(fifth) }, nil).tap(t, fifth)
	defer leave()
	if r := run(t.Context(), s, port)[0]; r.Err != nil {
		t.Error(r.Err)
	}
	if r := f.pass(s, u); r.FalsePeers != "refused" {
		t.Errorf("the order's first serial number: %+v", r)
	}
	first := uint64(f.order.Certificate.Range.First)
	for serial, want := range map[uint64]bool{first: true, first + 1: false, first + 99: false, first + 100: true, first + 101: false, first + 1000: true} {
		r := recorded{Entry: ledger.Entry{Reservation: ledger.Reservation{Serial: serial}}}
		if got, err := (&unit{station: s}).spotChecked(t.Context(), r); err != nil || got != want {
			t.Errorf("serial number %x: %v, %v", serial, got, err)
		}
	}
}

// One run has one station certificate, whatever the number of units and lanes, and a key that does not sign it stops stage 9
// and nothing else.
func TestBadge(t *testing.T) {
	f := newFactory(t, 10)
	s := &Station{Order: f.order, Bundle: &f.authority.Bundle, Key: f.key, Book: f.book, Test: true, Now: f.station().Now, Baud: 115200}
	ports := []string{f.unit(sim.Options{}).Port(), f.unit(sim.Options{}).Port(), f.unit(sim.Options{}).Port()}
	before := f.key.signatures.Load()
	for _, r := range run(t.Context(), s, ports...) {
		if r.Err != nil {
			t.Errorf("%v: %v", r.Stage, r.Err)
		}
	}
	if n := f.key.signatures.Load() - before; n != 4 {
		t.Errorf("%d signatures for three units and a station", n)
	}

	u := f.unit(sim.Options{})
	s = &Station{Order: f.order, Bundle: &f.authority.Bundle, Key: f.key, Book: f.book, Test: true, Now: s.Now, Baud: 115200}
	s.Watch = func(e Event) {
		if e.Stage == Handshake {
			f.key.spoil = func([]byte) ([]byte, error) { return nil, errToken }
		}
	}
	f.fail(s, u.Port(), Handshake, ErrKey, errToken)
	s.Watch, f.key.spoil = nil, nil
	f.pass(s, u)
	f.audit(f.units...)
}

// What is inspected proves its key, if it is one that can.
func TestInspectProves(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	u := f.unit(sim.Options{})
	if i := f.inspect(u); i.Proven {
		t.Error("a blank unit has proven a key")
	}
	f.begin(s, u, Seal)
	if i := f.inspect(u); !i.Proven || i.State != link.Installed {
		t.Errorf("an installed unit: %+v", i)
	}
	f.pass(s, u)
	if i := f.inspect(u); !i.Proven {
		t.Errorf("a sealed unit: %+v", i)
	}
	for name, test := range map[string]struct {
		liar intruder
		want error
	}{
		"a spoilt message_2": {onTurn(1, func(r message) message { return r.with(atResults+1, flipped(r.bytes(atResults+1), 100)) }), ErrSetAside},
		"a refusal":          {onTurn(1, func(r message) message { return r.with(atResults, link.Failed) }), ErrRetry},
		"a chip that fails":  {onTurn(1, func(r message) message { return r.refused(link.StatusChip, 0) }), ErrRetry},
		"a lost line":        {onTurn(3, func(r message) message { return r.refused(link.StatusSequence, 0) }), ErrRetry},
	} {
		port, leave := test.liar.tap(t, u)
		if _, err := Inspect(t.Context(), port, 115200); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		leave()
	}
}

// handshakeOf is what a unit's receipt in the book says of stage 9.
func (f *factory) handshakeOf(u *sim.Unit) string {
	f.t.Helper()
	var r Receipt
	if err := json.Unmarshal(f.entry(u).Details, &r); err != nil {
		f.t.Fatal(err)
	}
	return r.Handshake
}

// otherUnit is a finished unit of the order.
func (f *factory) otherUnit() *ledger.Entry {
	f.t.Helper()
	u := f.unit(sim.Options{})
	f.pass(f.station(), u)
	e := f.entry(u)
	return &e
}
