//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/birthmark/birthmark/chip"
)

// drawn gives a chip its random numbers: next, once, if there is one.
type drawn struct{ next []byte }

func (d *drawn) Read(out []byte) (int, error) {
	if d.next != nil {
		n := copy(out, d.next)
		d.next = nil
		return n, nil
	}
	return rand.Read(out)
}

// lockedBench is a bench with a chip of these options that can do ECDH.
func lockedBench(t *testing.T, options chip.Options) *bench {
	b := newBench(t)
	b.wire.chip = chip.New(options)
	b.run(t, 1)
	b.wire.commands = 0
	return b
}

// opcodes notes what the chip is asked from here on.
func (b *bench) opcodes() *[]byte {
	var seen []byte
	b.wire.spoil = func(_ int, group []byte, pass func() []byte) []byte {
		seen = append(seen, group[1])
		return pass()
	}
	return &seen
}

func newPeer(t testing.TB) (key *ecdh.PrivateKey, public []byte) {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key, key.PublicKey().Bytes()[1:]
}

// sharedWith is the secret that the holder of peer has in common with the holder of own, X then Y.
func sharedWith(t testing.TB, peer *ecdh.PrivateKey, own []byte) []byte {
	t.Helper()
	public, err := ecdh.P256().NewPublicKey(append([]byte{4}, own...))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := peer.ECDH(public)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

const executionError = 0x0f

// An Initiator's chip: the ephemeral key outlives what is signed and verified meanwhile, and serves once.
func TestChipECDH(t *testing.T) {
	b := lockedBench(t, chip.Options{})
	p := b.unit.port()
	seen := b.opcodes()
	peer, peerKey := newPeer(t)
	digest := sha256.Sum256([]byte("digest"))

	first, status := p.ephemeral()
	if status != portOK {
		t.Fatalf("ephemeral: %d, chip %02x", status, b.unit.chipStatus())
	}
	second, status := p.ephemeral()
	if status != portOK || bytes.Equal(first, second) {
		t.Fatalf("ephemeral again: %d, %x", status, second)
	}
	identity, status := p.publicKey()
	if status != portOK {
		t.Fatal(status)
	}
	signature, status := p.sign(digest[:])
	if status != portOK || p.verify(identity, digest[:], signature) != portOK {
		t.Fatal("the signature does not hold")
	}
	secret, status := p.ecdh(ownEphemeral, peerKey)
	if status != portOK || !bytes.Equal(secret, sharedWith(t, peer, second)) {
		t.Errorf("ecdh: %d, %x", status, secret)
	}
	if secret, status := p.ecdh(ownEphemeral, peerKey); status != portFailed || b.unit.chipStatus() != executionError ||
		!bytes.Equal(secret, make([]byte, 32)) {
		t.Errorf("ecdh again: %d, chip %02x, %x", status, b.unit.chipStatus(), secret)
	}
	if want := []byte{0x40, 0x40, 0x40, 0x16, 0x41, 0x16, 0x45, 0x43, 0x43}; !slices.Equal(*seen, want) {
		t.Errorf("the chip was asked %x, not %x", *seen, want)
	}
}

// No slot of the policy does ECDH, and the chip is not asked; the ephemeral key stays.
func TestChipIdentityECDH(t *testing.T) {
	b := lockedBench(t, chip.Options{})
	p := b.unit.port()
	peer, peerKey := newPeer(t)
	own, _ := p.ephemeral()
	seen := b.opcodes()
	if _, status := p.ecdh(ownIdentity, peerKey); status != portFailed || len(*seen) != 0 || b.unit.chipStatus() != 0 {
		t.Errorf("%d, chip %02x, asked %x", status, b.unit.chipStatus(), *seen)
	}
	if secret, _ := p.ecdh(ownEphemeral, peerKey); !bytes.Equal(secret, sharedWith(t, peer, own)) {
		t.Error("the ephemeral key is gone")
	}
}

// A minute may pass between message_1 and message_2: the chip idles, and the watchdog does not run.
func TestChipWaits(t *testing.T) {
	now := time.Now()
	b := lockedBench(t, chip.Options{Now: func() time.Time { return now }})
	p := b.unit.port()
	peer, peerKey := newPeer(t)
	own, _ := p.ephemeral()
	now = now.Add(time.Minute)
	if secret, status := p.ecdh(ownEphemeral, peerKey); status != portOK || !bytes.Equal(secret, sharedWith(t, peer, own)) {
		t.Errorf("%d, chip %02x", status, b.unit.chipStatus())
	}
}

// Whatever takes TempKey away, ECDH fails and no other key takes its place.
func TestChipLosesKey(t *testing.T) {
	for name, lose := range map[string]func(b *bench){
		"power":    func(b *bench) { b.wire.chip.PowerUp() },
		"sleep":    func(b *bench) { b.wire.chip.Wake(); b.wire.chip.Sleep() },
		"watchdog": nil,
	} {
		now := time.Now()
		b := lockedBench(t, chip.Options{Now: func() time.Time { return now }})
		p := b.unit.port()
		_, peerKey := newPeer(t)
		if _, status := p.ephemeral(); status != portOK {
			t.Fatal(status)
		}
		if lose == nil { // within one wake period
			b.wire.chip.Wake()
			now = now.Add(2 * time.Second)
		} else {
			lose(b)
		}
		if secret, status := p.ecdh(ownEphemeral, peerKey); status != portFailed || b.unit.chipStatus() != executionError ||
			!bytes.Equal(secret, make([]byte, 32)) {
			t.Errorf("%s: %d, chip %02x, %x", name, status, b.unit.chipStatus(), secret)
		}
	}
}

// handshake makes the calls of an Initiator's handshake, up to the first that fails; secret is nil without the last.
func (p port) handshake(t *testing.T, identity, digest, signature []byte) (good bool, status int, secret []byte) {
	t.Helper()
	peer, peerKey := newPeer(t)
	own, status := p.ephemeral()
	if status == portOK {
		status = p.verify(identity, digest, signature)
	}
	if status == portOK {
		_, status = p.sign(digest)
	}
	if status == portOK {
		secret, status = p.ecdh(ownEphemeral, peerKey)
	}
	return status == portOK && bytes.Equal(secret, sharedWith(t, peer, own)), status, secret
}

// Each fault at each command of a handshake is cured, or at ECDH fails: a secret never belongs to another key than the one told.
func TestChipFaultsInHandshake(t *testing.T) {
	b := lockedBench(t, chip.Options{})
	p := b.unit.port()
	identity, _ := p.publicKey()
	digest := sha256.Sum256([]byte("digest"))
	signature, _ := p.sign(digest[:])
	const commands = 1 + 2 + 2 + 1 // GenKey, Verify, Sign, ECDH
	for _, f := range passing {
		for n := range commands {
			first := b.wire.commands
			executed := false
			b.wire.spoil = func(i int, group []byte, pass func() []byte) []byte {
				if i == first+n {
					return f.spoil(group, func() []byte { executed = true; return pass() })
				}
				return pass()
			}
			good, status, secret := p.handshake(t, identity, digest[:], signature)
			if lost := n == commands-1 && executed; lost {
				if status != portFailed || b.unit.chipStatus() != executionError || !bytes.Equal(secret, make([]byte, 32)) {
					t.Errorf("%s at ECDH: %d, chip %02x, %x", f.name, status, b.unit.chipStatus(), secret)
				}
			} else if !good {
				t.Errorf("%s at command %d: %d", f.name, n, status)
			}
		}
	}
}

// Each call of the bus fails in turn, once and for good.
func TestChipBusFails(t *testing.T) {
	b := lockedBench(t, chip.Options{})
	p := b.unit.port()
	identity, _ := p.publicKey()
	digest := sha256.Sum256([]byte("digest"))
	signature, _ := p.sign(digest[:])

	bus := b.unit.failingBus()
	defer bus.free()
	bus.fail(1<<30, 0)
	if good, status, _ := p.handshake(t, identity, digest[:], signature); !good {
		t.Fatal(status)
	}
	calls := bus.calls()
	if want := 4*3 + 6*2; calls != want { // wake, its answer and idle; what is sent and its answer
		t.Fatalf("%d calls of the bus, not %d", calls, want)
	}
	for n := range calls {
		bus.fail(n, 1)
		good, status, secret := p.handshake(t, identity, digest[:], signature)
		if n == calls-2 { // ECDH's answer
			if status != portFailed || !bytes.Equal(secret, make([]byte, 32)) {
				t.Errorf("call %d fails: %d, %x", n, status, secret)
			}
		} else if !good {
			t.Errorf("call %d fails: %d", n, status)
		}
		bus.fail(n, 1<<30)
		if good, status, secret := p.handshake(t, identity, digest[:], signature); n < calls-1 && // idle says nothing
			(status != portFailed || good || secret != nil && !bytes.Equal(secret, make([]byte, 32))) {
			t.Errorf("from call %d on all fail: %d, %x", n, status, secret)
		}
	}
}

func TestChipWycheproofECDSA(t *testing.T) {
	wycheproofECDSA(t, lockedBench(t, chip.Options{}).unit.port())
}

// wycheproofECDSA holds a port's verify against every vector that its call can carry: signatures of 64 bytes, and those in DER
// whose two numbers have room in them. Other forms of DER never get as far as a port.
func wycheproofECDSA(t *testing.T, p port) {
	t.Helper()
	for name, fixed := range map[string]func(signature []byte) []byte{
		"ecdsa_secp256r1_sha256_p1363_test.json": func(signature []byte) []byte { return signature },
		"ecdsa_secp256r1_sha256_test.json":       fromDER,
	} {
		var file struct {
			TestGroups []struct {
				PublicKey struct{ Uncompressed string }
				Tests     []struct {
					TcID             int
					Msg, Sig, Result string
				}
			}
		}
		readJSON(t, "../testdata/primitives/"+name, &file)
		tested := 0
		for _, group := range file.TestGroups {
			key := unhex(t, group.PublicKey.Uncompressed)[1:]
			for _, test := range group.Tests {
				signature := fixed(unhex(t, test.Sig))
				if len(signature) != 64 {
					continue
				}
				tested++
				want := portRefused
				if test.Result == "valid" {
					want = portOK
				}
				digest := sha256.Sum256(unhex(t, test.Msg))
				if status := p.verify(key, digest[:], signature); status != want {
					t.Errorf("%s, test %d, %s: %d", name, test.TcID, test.Result, status)
				}
			}
		}
		if tested < 200 {
			t.Errorf("%s: only %d signatures that a call can carry", name, tested)
		}
	}
}

// fromDER gives r then s of an ECDSA-Sig-Value (RFC 3279, 2.2.3) of two numbers below 2^256; nil for anything else.
func fromDER(der []byte) []byte {
	var value struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &value); err != nil || len(rest) > 0 {
		return nil
	}
	if again, err := asn1.Marshal(value); err != nil || !bytes.Equal(again, der) {
		return nil
	}
	if value.R.Sign() < 0 || value.S.Sign() < 0 || value.R.BitLen() > 256 || value.S.BitLen() > 256 {
		return nil
	}
	return append(value.R.FillBytes(make([]byte, 32)), value.S.FillBytes(make([]byte, 32))...)
}

// ecdhVector is one whose point is given in full; shared is nil if it is none of the curve.
type ecdhVector struct {
	id                      int
	public, private, shared []byte // X then Y; 32 bytes each
}

func wycheproofECDH(t *testing.T) (vectors []ecdhVector) {
	t.Helper()
	var file struct {
		TestGroups []struct {
			Tests []struct {
				TcID                            int
				Public, Private, Shared, Result string
			}
		}
	}
	readJSON(t, "../testdata/primitives/ecdh_secp256r1_ecpoint_test.json", &file)
	invalid := 0
	for _, test := range file.TestGroups[0].Tests {
		public := unhex(t, test.Public)
		if len(public) != 65 {
			continue // no call can carry it
		}
		private := bytes.TrimLeft(unhex(t, test.Private), "\x00")
		v := ecdhVector{id: test.TcID, public: public[1:], private: append(make([]byte, 32-len(private)), private...)}
		if test.Result == "invalid" {
			invalid++
		} else {
			v.shared = unhex(t, test.Shared)
		}
		vectors = append(vectors, v)
	}
	if len(vectors) != 346 || invalid < 5 {
		t.Errorf("%d points in full in the file, %d of them invalid; not 346 and some", len(vectors), invalid)
	}
	return vectors
}

// The vectors' private keys are what the chip draws for its ephemeral ones.
func TestChipWycheproofECDH(t *testing.T) {
	numbers := &drawn{}
	lockedBench(t, chip.Options{Rand: numbers}).agreesWithWycheproof(t, numbers)
}

// agreesWithWycheproof makes numbers what the chip draws.
func (b *bench) agreesWithWycheproof(t *testing.T, numbers *drawn) {
	t.Helper()
	p := b.unit.port()
	for _, test := range wycheproofECDH(t) {
		numbers.next = test.private
		if _, status := p.ephemeral(); status != portOK {
			t.Fatalf("test %d: %d", test.id, status)
		}
		secret, status := p.ecdh(ownEphemeral, test.public)
		if test.shared == nil {
			if status != portFailed || b.unit.chipStatus() != 0x03 || !bytes.Equal(secret, make([]byte, 32)) {
				t.Errorf("test %d, invalid: %d, chip %02x, %x", test.id, status, b.unit.chipStatus(), secret)
			}
		} else if status != portOK || !bytes.Equal(secret, test.shared) {
			t.Errorf("test %d: %d, %x, not %x", test.id, status, secret, test.shared)
		}
	}
}
