//go:build cgo

package provision

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

// onReply changes the replies to one verb.
func onReply(verb int, change func(q, r message) message) intruder {
	return intruder{reply: func(q, r message) []message {
		if r.verb() == verb {
			r = change(q, r)
		}
		return []message{r}
	}}
}

// onRequest changes the requests of one verb.
func onRequest(verb int, change func(q message) message) intruder {
	return intruder{request: func(q message) message {
		if q.verb() == verb {
			q = change(q)
		}
		return q
	}}
}

// flipped turns a bit of byte n of a byte string over.
func flipped(b []byte, n int) []byte {
	b[n] ^= 1
	return b
}

// statementBy signs a statement as a unit does, r then s.
func statementBy(key *ecdsa.PrivateKey, statement []byte) (signature [64]byte) {
	digest := sha256.Sum256(statement)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		panic(err)
	}
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature
}

// point gives X then Y.
func point(key *ecdsa.PrivateKey) [64]byte {
	b, err := key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return [64]byte(b[1:])
}

// A unit that lies, or somebody on its wire who does: what the station says, and how far the book has come by then. The same
// unit without the lie is provisioned afterwards.
func TestLies(t *testing.T) {
	t.Parallel()
	f := newFactory(t, 100)
	s := f.station()
	thief := newKey(t)
	stranger := newFactory(t, 1)
	otherOrder, _ := f.newOrder(ca.OrderRequest{Count: 1})
	otherChip := [9]byte{0x01, 0x23, 9, 9, 9, 9, 9, 9, 0xEE}
	zone := func(change func([]byte)) intruder {
		return onReply(verbPrepare, func(_, r message) message {
			b := r.bytes(atResults)
			change(b)
			return r.with(atResults, b)
		})
	}
	result := func(verb, i int, v any) intruder {
		return onReply(verb, func(_, r message) message { return r.with(atResults+i, v) })
	}
	for _, test := range []struct {
		name  string
		liar  intruder
		stage Stage
		want  []error
		has   ledger.State
	}{
		{"another protocol", result(verbHello, 0, 2), Hello, []error{ErrRetry, link.ErrGarbage}, 0},
		{"a foreign configuration", result(verbHello, 6, link.Foreign), Hello, []error{ErrSetAside}, 0},
		{"another chip's revision", result(verbHello, 1, [4]byte{0, 0, 0x50, 0}), Hello, []error{ErrSetAside}, 0},
		{"another root", result(verbHello, 3, [32]byte{1}), Hello, []error{ErrSetAside, ca.ErrOtherRoot}, 0},
		{"another product", result(verbHello, 4, 8), Hello, []error{ErrSetAside, ca.ErrOtherRoot}, 0},
		{"certificates that are none", onReply(verbHello, func(_, r message) message {
			return r.with(atResults+8, []byte{1}).with(atResults+9, []byte{1})
		}), Hello, []error{ErrSetAside, ca.ErrMalformed}, 0},
		{"sealed without a certificate", result(verbHello, 6, link.Sealed), Hello, []error{ErrSetAside}, 0},

		{"an identity key slot that can be read", zone(func(z []byte) { z[20] &^= 0x80 }), Prepare, []error{ErrSetAside, ca.ErrPolicy}, 0},
		{"an identity key slot that can be written", zone(func(z []byte) { z[21] |= 0x20 }), Prepare, []error{ErrSetAside, ca.ErrPolicy}, 0},
		{"an open data zone", zone(func(z []byte) { z[86] = 0x55 }), Prepare, []error{ErrSetAside, ca.ErrPolicy}, 0},
		{"an open configuration", zone(func(z []byte) { z[87] = 0x55 }), Prepare, []error{ErrSetAside, ca.ErrPolicy}, 0},
		{"another chip's configuration", zone(func(z []byte) { z[2] ^= 1 }), Prepare, []error{ErrSetAside}, 0},
		{"another chip from here on", onReply(verbPrepare, func(_, r message) message { return r.with(atChip, otherChip) }), Prepare, []error{ErrRetry, link.ErrUnitChanged}, 0},
		{"a chip that fails", onReply(verbPrepare, func(_, r message) message { return r.refused(link.StatusChip, 0x0F) }), Prepare, []error{ErrRetry}, 0},
		{"a chip configured otherwise", onReply(verbPrepare, func(_, r message) message { return r.refused(link.StatusConfiguration, 0) }), Prepare, []error{ErrSetAside}, 0},

		{"a key without a proof", onReply(verbProve, func(_, r message) message { return r.with(atResults, point(thief)) }), Prove, []error{ErrSetAside}, 0},
		{"a key that is no point", onReply(verbProve, func(_, r message) message { return r.with(atResults, flipped(r.bytes(atResults), 5)) }), Prove, []error{ErrSetAside}, 0},
		{"a proof with a bit turned over", onReply(verbProve, func(_, r message) message { return r.with(atResults+2, flipped(r.bytes(atResults+2), 40)) }), Prove, []error{ErrSetAside}, 0},
		{"a proof of zeros", result(verbProve, 2, [64]byte{}), Prove, []error{ErrSetAside}, 0},
		{"a proof for another challenge", onRequest(verbProve, func(q message) message { return q.with(3, [32]byte{1}) }), Prove, []error{ErrSetAside}, 0},
		{"a proof for another order", onRequest(verbProve, func(q message) message { return q.with(4, otherOrder.Certificate.Name) }), Prove, []error{ErrSetAside}, 0},
		{"a proof by other firmware", result(verbHello, 2, [32]byte{1}), Prove, []error{ErrSetAside}, 0},
		{"a restart", onReply(verbProve, func(_, r message) message { return r.refused(link.StatusSequence, 0) }), Prove, []error{ErrRetry}, 0},

		{"another anchor on its way in", onRequest(verbInstall, func(q message) message { return q.with(4, stranger.order.Anchor) }), Install, []error{ErrSetAside}, ledger.Committed},
		{"another order on its way in", onRequest(verbInstall, func(q message) message { return q.with(5, otherOrder.Certificate.Raw) }), Install, []error{ErrSetAside}, ledger.Committed},
		{"a certificate spoilt on its way in", onRequest(verbInstall, func(q message) message { return q.with(6, flipped(q.bytes(6), 100)) }), Install, []error{ErrSetAside}, ledger.Committed},
		{"a signature of another key over what is stored", onReply(verbInstall, func(q, r message) message {
			statement := link.InstalledStatement([32]byte(q.bytes(3)), [9]byte(r.bytes(atChip)), q.bytes(4), q.bytes(5), q.bytes(6))
			return r.with(atResults, statementBy(thief, statement))
		}), Install, []error{ErrSetAside}, ledger.Committed},
		{"a signature over other bytes", onRequest(verbInstall, func(q message) message { return q.with(3, [32]byte{1}) }), Install, []error{ErrSetAside}, ledger.Committed},
		{"flash that fails", onReply(verbInstall, func(_, r message) message { return r.refused(link.StatusFlash, 0) }), Install, []error{ErrRetry}, ledger.Committed},

		{"certificates of another unit", f.otherFirmware(func() *ecdsa.PrivateKey { return thief }, f.otherUnit()), Handshake, []error{ErrSetAside}, ledger.Committed},
		{"its certificate without its key", f.otherFirmware(func() *ecdsa.PrivateKey { return thief }, nil), Handshake, []error{ErrSetAside}, ledger.Committed},
		{"no message_2", onTurn(1, func(r message) message { return r.with(atResults+1, []byte{}) }), Handshake, []error{ErrRetry, link.ErrGarbage}, ledger.Committed},
		{"a message_2 with a bit turned over", onTurn(1, func(r message) message { return r.with(atResults+1, flipped(r.bytes(atResults+1), 50)) }), Handshake, []error{ErrSetAside}, ledger.Committed},
		{"a unit that refuses message_1", onTurn(1, func(r message) message { return r.with(atResults, link.Failed) }), Handshake, []error{ErrRetry}, ledger.Committed},
		{"a message_1 of another method", onRequest(verbHandshake, func(q message) message { return q.with(4, flipped(q.bytes(4), 0)) }), Handshake, []error{ErrRetry}, ledger.Committed},
		{"a unit that refuses the station", onTurn(3, func(r message) message { return r.with(atResults, link.Failed).with(atResults+2, 4) }), Handshake, []error{ErrSetAside}, ledger.Committed},
		{"a unit that refuses message_3", onTurn(3, func(r message) message { return r.with(atResults, link.Failed) }), Handshake, []error{ErrRetry}, ledger.Committed},
		{"a message_4 with a bit turned over", onTurn(3, func(r message) message { return r.with(atResults+1, flipped(r.bytes(atResults+1), 3)) }), Handshake, []error{ErrSetAside}, ledger.Committed},
		{"an outcome that there is not", onTurn(3, func(r message) message { return r.with(atResults, 3) }), Handshake, []error{ErrRetry, link.ErrGarbage}, ledger.Committed},
		{"a chip that fails in the handshake", onTurn(3, func(r message) message { return r.refused(link.StatusChip, 0xEE) }), Handshake, []error{ErrRetry}, ledger.Committed},

		{"an open certificate slot", result(verbSeal, 0, link.Locks{0, 0, 0xFF, 0xFF}), Seal, []error{ErrSetAside}, ledger.Committed},
		{"another slot locked as well", result(verbSeal, 0, link.Locks{0, 0, 0xFE, 0xFE}), Seal, []error{ErrSetAside}, ledger.Committed},
		{"a pairing before its first", result(verbSeal, 1, 1), Seal, []error{ErrSetAside}, ledger.Committed},
		{"an open debug port", result(verbSeal, 2, false), Seal, []error{ErrSetAside}, ledger.Committed},
	} {
		t.Run(test.name, func(t *testing.T) {
			f.in(t)
			u := f.unit(sim.Options{})
			signatures := f.key.signatures.Load()
			f.failBehind(test.liar, s, u, test.stage, test.want...)
			had := f.entry(u)
			if signed := f.key.signatures.Load() - signatures; had.State != test.has || signed != 0 && test.has == 0 {
				t.Fatalf("the book has it %v, %d signatures", had.State, signed)
			}
			f.finish(u, had)
		})
	}
	report, err := VerifyBook(t.Context(), f.book, &f.authority.Bundle)
	if err != nil || report.Orders[0].Issued != report.Orders[0].Closed || report.Orders[0].Reserved != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// failBehind is fail for a unit that an intruder is in front of.
func (f *factory) failBehind(i intruder, s *Station, u *sim.Unit, stage Stage, want ...error) Result {
	f.t.Helper()
	port, leave := i.tap(f.t, u)
	defer leave()
	return f.fail(s, port, stage, want...)
}

// Somebody who puts a key of his own in the place of the unit's gets a certificate that the unit refuses to carry.
func TestKeySwapped(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	u := f.unit(sim.Options{})
	thief := newKey(t)
	swap := onReply(verbProve, func(q, r message) message {
		statement := link.PossessionStatement([32]byte(q.bytes(3)), q.bytes(4), [9]byte(r.bytes(atChip)), f.image().FirmwareHash, point(thief))
		return r.with(atResults, point(thief)).with(atResults+2, statementBy(thief, statement))
	})
	r := f.failBehind(swap, s, u, Install, ErrSetAside)
	var status *link.StatusError
	if !errors.As(r.Err, &status) || status.Status != link.StatusRefused || status.Detail != 9 {
		t.Error(r.Err)
	}
	// The chip now has two keys, as far as the book knows: nobody but a person finds out which is the right one.
	f.fail(s, u.Port(), Reserve, ErrSetAside, ledger.ErrConflict)
	f.pass(s, f.unit(sim.Options{}))
}

// Replies that come twice, late or before they are asked for change nothing.
func TestReplay(t *testing.T) {
	f := newFactory(t, 10)
	u := f.unit(sim.Options{})
	var past []message
	port, leave := intruder{reply: func(_, r message) []message {
		all := append(append([]message{}, past...), r, r)
		past = append(past, r)
		return all
	}}.tap(t, u)
	defer leave()
	if r := run(t.Context(), f.station(), port)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
}

// What a sealed unit says of itself is compared with the book before it gets its receipt.
func TestSealedLies(t *testing.T) {
	f := newFactory(t, 10)
	s := f.station()
	other, _ := f.newOrder(ca.OrderRequest{Count: 1})
	u := f.unit(sim.Options{})
	lie := func(i int, v any) intruder {
		return onReply(verbHello, func(_, r message) message { return r.with(atResults+i, v) })
	}
	// It is sealed, and its receipt is not written.
	f.failBehind(onReply(verbSeal, func(_, r message) message { return r.refused(link.StatusChip, 0) }), s, u, Seal, ErrRetry)
	had := f.entry(u)
	for _, test := range []struct {
		name string
		liar intruder
		want []error
	}{
		{"an open certificate slot", lie(7, link.Locks{0, 0, 0xFF, 0xFF}), []error{ErrSetAside}},
		{"another order's certificate", lie(8, other.Certificate.Raw), []error{ErrSetAside}},
		{"no certificate", onReply(verbHello, func(_, r message) message { return r.with(atResults+8, []byte{}).with(atResults+9, []byte{}) }), []error{ErrSetAside}},
		{"a certificate with a bit turned over", onReply(verbHello, func(_, r message) message { return r.with(atResults+9, flipped(r.bytes(atResults+9), 100)) }), []error{ErrSetAside}},
		{"no pairing record", lie(10, nil), []error{ErrSetAside}},
		{"a pairing before its first", lie(10, 1), []error{ErrSetAside}},
		{"an open debug port", lie(11, false), []error{ErrSetAside}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f.in(t)
			f.failBehind(test.liar, s, u, Hello, test.want...)
		})
	}
	f.failBehind(onTurn(1, func(r message) message { return r.with(atResults+1, flipped(r.bytes(atResults+1), 50)) }), s, u, Handshake, ErrSetAside)
	f.finish(u, had)
	f.audit(u)
	if proven := f.handshakeOf(u); proven != "message_2" {
		t.Errorf("the receipt says %q", proven)
	}
}
