package chip

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"math/big"
	"path/filepath"
	"testing"
)

// TestProduct takes one chip through the life that the project gives it: configuration, keys, locks,
// certificates, seal, and a power cycle that must change nothing.
func TestProduct(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chip")
	d, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := host{t, d}
	h.Wake()

	want := h.zone(product())
	h.writeConfigWords(want)
	if got := h.fresh().readConfig(); !bytes.Equal(got, want) {
		t.Fatalf("configuration reads back as % x, want % x", got, want)
	}
	h.want(executionError, opGenKey, genKeyPrivate, 0)
	h.want(executionError, opLock, lockConfig, CRC(want)^1)
	h.want(success, opLock, lockConfig, CRC(want))

	identity := h.fresh().get(64, opGenKey, genKeyPrivate, 0)
	h.fresh().get(64, opGenKey, genKeyPrivate, 1)
	h.fresh().want(executionError, opSign, signExternal, 0)
	h.want(success, opLock, lockData|lockNoCRC, 0)
	h.fresh().want(executionError, opGenKey, genKeyPrivate, 0)
	if got := h.get(64, opGenKey, genKeyPublic, 0); !bytes.Equal(got, identity) {
		t.Fatal("slot 0 has another public key after the data lock")
	}

	digest := sha256.Sum256([]byte("possession"))
	for mode, load := range map[byte]byte{signExternal: 0x03, signExternal | fromMsgDigBuf: 0x43} {
		h.fresh().want(success, opNonce, load, 0, digest[:]...)
		checkSignature(t, identity, digest[:], h.get(64, opSign, mode, 0))
		h.want(executionError, opSign, mode, 0) // the message is used up
	}
	h.fresh().want(success, opNonce, 0x03, 0, digest[:]...)
	h.want(executionError, opSign, signExternal, 1) // attestation signs nothing from outside
	h.want(executionError, opSign, 0x00, 1)         // and there is no digest of GenKey

	peer, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ephemeral := h.fresh().get(64, opGenKey, genKeyPrivate, inTempKey)
	h.fresh() // idle keeps the key
	secret := h.get(32, opECDH, ecdhFromTempKey|ecdhOutputBuffer, 0, publicBytes(peer)...)
	if !bytes.Equal(secret, agreed(t, peer, ephemeral)) {
		t.Fatal("the chip's ECDH secret is not crypto/ecdh's")
	}
	h.want(executionError, opECDH, ecdhFromTempKey|ecdhOutputBuffer, 0, publicBytes(peer)...)
	h.want(executionError, opECDH, ecdhOutputBuffer, 0, publicBytes(peer)...) // no ECDH with the identity

	certificates := bytes.Repeat([]byte("certificates"), 35)[:416]
	for block := range uint16(13) {
		h.fresh().want(success, opWrite, zoneBlock|zoneData, block<<8|8<<3, certificates[32*block:32*block+32]...)
	}
	if got := h.readSlot8(); !bytes.Equal(got, certificates) {
		t.Fatal("slot 8 does not read back")
	}
	h.fresh().want(success, opLock, lockSlot|8<<2|lockNoCRC, 0)
	h.want(executionError, opLock, lockSlot|8<<2|lockNoCRC, 0)
	h.want(executionError, opWrite, zoneBlock|zoneData, 8<<3, certificates[:32]...)
	h.want(executionError, opWrite, zoneData, 8<<3, certificates[:4]...)
	for _, slot := range []uint16{0, 1, 6, 15} {
		h.want(executionError, opRead, zoneData, slot<<3)
	}

	before := h.fresh().readConfig()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = Open(path, Options{SerialNumber: [9]byte{1}}); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	h = host{t, d}
	h.Wake()
	if got := h.readConfig(); !bytes.Equal(got, before) {
		t.Fatal("the configuration changed over a power cycle")
	}
	if got := h.readSlot8(); !bytes.Equal(got, certificates) {
		t.Fatal("slot 8 changed over a power cycle")
	}
	if got := h.fresh().get(64, opGenKey, genKeyPublic, 0); !bytes.Equal(got, identity) {
		t.Fatal("slot 0 changed over a power cycle")
	}
	h.fresh().want(success, opNonce, 0x03, 0, digest[:]...)
	checkSignature(t, identity, digest[:], h.get(64, opSign, signExternal, 0))
}

func (h host) readSlot8() []byte {
	h.t.Helper()
	var out []byte
	for block := range uint16(13) {
		out = append(out, h.get(32, opRead, zoneBlock|zoneData, block<<8|8<<3)...)
	}
	return out
}

func checkSignature(t testing.TB, public, digest, signature []byte) {
	t.Helper()
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, public...))
	if err != nil {
		t.Fatal(err)
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(key, digest, r, s) {
		t.Fatal("crypto/ecdsa refuses the chip's signature")
	}
}

func agreed(t testing.TB, key *ecdh.PrivateKey, public []byte) []byte {
	t.Helper()
	point, err := ecdh.P256().NewPublicKey(append([]byte{4}, public...))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := key.ECDH(point)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}
