//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"math/big"
	"slices"
	"testing"
)

var (
	testChallenge = bytes.Repeat([]byte{0xc5}, 32)
	testOrderName = []byte{1, 3, 1, 2}
)

// step is one stage of the journey. It returns a reply that is not good instead of failing.
type step func(t testing.TB, b *bench) reply

func prepareStep(t testing.TB, b *bench) reply {
	t.Helper()
	r := b.call(t, verbPrepare)
	if r.status == statusOK {
		var zone []byte
		decode(t, r.results[0], &zone)
		decode(t, r.results[1], &b.attestation)
		if len(zone) != 128 || zone[86] != 0 || zone[87] != 0 || len(r.results) != 2 {
			t.Fatalf("prepared with the configuration %x", zone)
		}
	}
	return r
}

// proveStep verifies the possession statement and the chip's own, and keeps the unit's key for its certificate.
func proveStep(t testing.TB, b *bench) reply {
	t.Helper()
	r := b.call(t, verbProve, testChallenge, testOrderName, 1)
	if r.status == statusOK {
		var key, attestation, signature []byte
		decode(t, r.results[0], &key)
		decode(t, r.results[1], &attestation)
		decode(t, r.results[2], &signature)
		if len(r.results) != 3 {
			t.Fatalf("prove gives %x", r.results)
		}
		digest := verifyStatement(t, key, signature, "birthmark possession 1", testChallenge, testOrderName, r.serial,
			b.image.FirmwareHash[:], 1, key)
		verifyAttestation(t, b.slotKey(t, 1), attestation, digest, r.serial, key)
		b.unitItems = b.unitItems.with(itemKey, compress(key))
	}
	return r
}

// installStep asks for the certificates of the factory, made for this unit by now, and verifies the installed statement.
func installStep(t testing.TB, b *bench) reply {
	t.Helper()
	birth := b.birth(t)
	return b.installed(t, birth, b.call(t, verbInstall, testChallenge, birth.Anchor, birth.Order, birth.Unit))
}

func (b *bench) installed(t testing.TB, birth Birth, r reply) reply {
	t.Helper()
	if r.status == statusOK {
		var signature []byte
		decode(t, r.results[0], &signature)
		anchor, order, unit := sha256.Sum256(birth.Anchor), sha256.Sum256(birth.Order), sha256.Sum256(birth.Unit)
		verifyStatement(t, b.key(t), signature, "birthmark installed 1", testChallenge, r.serial, anchor[:], order[:], unit[:])
		if len(r.results) != 1 {
			t.Fatalf("install gives %x", r.results)
		}
	}
	return r
}

func sealStep(t testing.TB, b *bench) reply {
	t.Helper()
	r := b.call(t, verbSeal)
	if r.status == statusOK {
		var locks []byte
		var generation *uint32
		var closed bool
		decode(t, r.results[0], &locks)
		decode(t, r.results[1], &generation)
		decode(t, r.results[2], &closed)
		if !bytes.Equal(locks, []byte{0, 0, 0xff, 0xfe}) || generation == nil || *generation != 0 || !closed ||
			len(r.results) != 3 {
			t.Fatalf("sealed with locks %x, generation %v, closed %t", locks, generation, closed)
		}
	}
	return r
}

var journey = []step{prepareStep, proveStep, installStep, sealStep}

// run takes the first steps of the journey, each of which must succeed.
func (b *bench) run(t testing.TB, steps int) {
	t.Helper()
	b.hello(t)
	for i, s := range journey[:steps] {
		if r := s(t, b); r.status != statusOK {
			t.Fatalf("step %d: status %d, detail %d", i, r.status, r.detail)
		}
	}
}

func verifyStatement(t testing.TB, key, signature []byte, items ...any) (digest [32]byte) {
	t.Helper()
	digest = sha256.Sum256(encode(t, items))
	if !signed(t, key, signature, digest) {
		t.Fatalf("statement %v: the signature does not hold", items[0])
	}
	return digest
}

func signed(t testing.TB, key, signature []byte, digest [32]byte) bool {
	t.Helper()
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, key...))
	if err != nil || len(signature) != 64 {
		t.Fatalf("key %x, signature %x: %v", key, signature, err)
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return ecdsa.Verify(public, digest[:], r, s)
}

// verifyAttestation puts the chip's message together from docs/formats.md, "Attestation", for the policy that every unit's chip has.
func verifyAttestation(t testing.TB, by, signature []byte, nonce [32]byte, sn, key []byte) {
	t.Helper()
	of := func(parts ...[]byte) [32]byte { return sha256.Sum256(bytes.Join(parts, nil)) }
	first := of(nonce[:], []byte{0x40, 0x08, 0, 0, sn[8], sn[0], sn[1]}, make([]byte, 25), key)
	second := of(first[:], []byte{0x41, 0x40, 1, 0}, []byte{0x81, 0x00, 0x13, 0x00, 0x50, 0, 0}, sn[8:], sn[4:8], sn[:4], []byte{1, 0, 0})
	if !signed(t, by, signature, second) {
		t.Fatal("the attestation does not hold")
	}
}

func TestJourney(t *testing.T) {
	b := newBench(t)
	expect := func(state int, locks string, certified, paired, closed bool) {
		t.Helper()
		g := b.hello(t)
		if g.protocol != 1 || !bytes.Equal(g.revision, []byte{0, 0, 0x60, 2}) || g.product != b.product ||
			!bytes.Equal(g.firmwareHash, b.image.FirmwareHash[:]) || !bytes.Equal(g.anchorHash, b.anchorHash[:]) ||
			!slices.Equal(g.peers, b.image.Peers) {
			t.Errorf("hello: %+v", g)
		}
		if g.state != state || string(g.locks) != locks || g.closed != closed || (g.generation != nil) != paired ||
			(len(g.order) > 0) != certified || (len(g.unit) > 0) != certified {
			t.Errorf("state %d: hello: %+v", state, g)
		}
	}
	steps := func(s step) {
		t.Helper()
		if r := s(t, b); r.status != statusOK {
			t.Fatalf("status %d, detail %d", r.status, r.detail)
		}
	}
	expect(0, "\x55\x55\xff\xff", false, false, false)
	steps(prepareStep)
	expect(1, "\x00\x00\xff\xff", false, false, false)
	steps(proveStep)
	steps(installStep)
	expect(2, "\x00\x00\xff\xff", true, false, false)
	steps(sealStep)
	expect(3, "\x00\x00\xff\xfe", true, true, true)
	b.powerCycle(t)
	expect(3, "\x00\x00\xff\xfe", true, true, true)

	g := b.hello(t)
	if err := b.judge(Birth{Anchor: b.anchor, Order: g.order, Unit: g.unit, Key: b.key(t)}); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(b.attestation, b.slotKey(t, 1)) || bytes.Equal(b.attestation, b.key(t)) {
		t.Errorf("prepare showed %x as attestation key, the identity key is %x", b.attestation, b.key(t))
	}
}

func TestNewUnitRefuses(t *testing.T) {
	b := newBench(t)
	good := Board{Chip: b.wire, Flash: b.flash, Debug: b.debug}
	peers := func(n int) Image { image := b.image; image.Peers = make([]uint32, n); return image }
	for _, c := range []struct {
		image Image
		board Board
	}{
		{peers(0), good}, {peers(9), good},
		{b.image, Board{Flash: b.flash, Debug: b.debug}},
		{b.image, Board{Chip: b.wire, Debug: b.debug}},
		{b.image, Board{Chip: b.wire, Flash: b.flash}},
		{b.image, Board{Chip: b.wire, Flash: newFlash(0), Debug: b.debug}},
		{b.image, Board{Chip: b.wire, Flash: newFlash(1004), Debug: b.debug}},
	} {
		if unit, err := NewUnit(c.image, c.board); err == nil {
			unit.Close()
			t.Errorf("%+v, %+v: no error", c.image, c.board)
		}
	}
}
