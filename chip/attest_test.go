package chip

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

// field is one part of a digest's message.
type field struct {
	at   int
	data []byte
}

// layOut puts fields where the tables of docs/formats.md, "Attestation", have them; everything else is zero.
func layOut(size int, fields ...field) []byte {
	message := make([]byte, size)
	for _, f := range fields {
		copy(message[f.at:], f.data)
	}
	return message
}

// genKeyTable is the message of GenKey's digest.
func genKeyTable(nonce []byte, mode, slot byte, sn [9]byte, public []byte) []byte {
	return layOut(128, field{0, nonce}, field{32, []byte{0x40, mode, slot}}, field{36, sn[8:]}, field{37, sn[:2]}, field{64, public})
}

// signTable is the message of an internal signature; what it says of the attested slot is given as the zone has it.
func signTable(digest [32]byte, mode, signer byte, slotConfig, keyConfig []byte, flags byte, sn [9]byte, unlocked byte) []byte {
	message := layOut(55, field{0, digest[:]}, field{32, []byte{0x41, mode, signer}}, field{36, slotConfig}, field{38, keyConfig},
		field{40, []byte{flags}}, field{43, sn[8:]}, field{48, sn[:2]}, field{52, []byte{unlocked}})
	if mode&0x40 != 0 {
		copy(message[44:], sn[4:8])
		copy(message[50:], sn[2:4])
	}
	message[53] = mode & 1
	return message
}

// TestAttestation: an internal signature is over what the tables say, recomputed here from nothing of the chip's code.
func TestAttestation(t *testing.T) {
	sn := [9]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0xEE}
	l := product()
	l[3].slot, l[3].key = 0x2001, 0x0033 // lockable, and another key may be made
	h := host{t, New(Options{SerialNumber: sn})}
	h.Wake()
	h.writeConfigWords(h.zone(l))
	h.fresh().want(success, opLock, lockConfig|lockNoCRC, 0)
	for _, slot := range []uint16{0, 1, 3} {
		h.fresh().get(64, opGenKey, genKeyPrivate, slot)
	}
	h.fresh().want(success, opLock, lockData|lockNoCRC, 0)
	attestation := h.get(64, opGenKey, genKeyPublic, 1)
	nonce := bytes.Repeat([]byte{0x5C}, 32)
	attest := func(genKey byte, slot uint16, sign byte) (digest [32]byte, signature []byte) {
		t.Helper()
		public := h.get(64, opGenKey, genKey, slot)
		if !h.valid() {
			t.Fatal("no digest in TempKey")
		}
		digest = sha256.Sum256(genKeyTable(nonce, genKey, byte(slot), sn, public))
		return digest, h.get(64, opSign, sign, 1)
	}
	for _, sign := range []byte{0x00, 0x01, 0x40, 0x41} {
		h.fresh().want(success, opNonce, 0x03, 0, nonce...)
		digest, signature := attest(0x08, 0, sign)
		message := sha256.Sum256(signTable(digest, sign, 1, []byte{0x81, 0x00}, []byte{0x13, 0x00}, 0x50, sn, 1))
		checkSignature(t, attestation, message[:], signature)
		h.want(executionError, opSign, sign, 1) // the digest is used up
	}

	// A random nonce shows in the flags, and so do a new key and a locked slot in the message.
	h.fresh()
	number := h.get(32, opNonce, 0x00, 0, nonce[:20]...)
	value := sha256.Sum256(append(append(number, nonce[:20]...), 0x16, 0x00, 0x00))
	nonce = value[:]
	digest, signature := attest(0x0C, 3, 0x40)
	message := sha256.Sum256(signTable(digest, 0x40, 1, []byte{0x01, 0x20}, []byte{0x33, 0x00}, 0x43, sn, 1))
	checkSignature(t, attestation, message[:], signature)
	h.fresh().want(success, opLock, lockSlot|3<<2|lockNoCRC, 0)
	nonce = bytes.Repeat([]byte{0xC5}, 32)
	h.want(success, opNonce, 0x03, 0, nonce...)
	digest, signature = attest(0x08, 3, 0x40)
	message = sha256.Sum256(signTable(digest, 0x40, 1, []byte{0x01, 0x20}, []byte{0x33, 0x00}, 0x53, sn, 0))
	checkSignature(t, attestation, message[:], signature)
}

// TestInternalSignRefused: an internal signature is made by its own slot alone, over a digest alone.
func TestInternalSignRefused(t *testing.T) {
	h := locked(t, product())
	nonce := make([]byte, 32)
	h.fresh().want(executionError, opGenKey, genKeyDigest, 0) // nothing in TempKey
	h.want(success, opNonce, 0x03, 0, nonce...)
	h.want(executionError, opSign, 0x40, 1) // a nonce is no digest
	h.get(64, opGenKey, genKeyDigest, 0)
	if state := h.get(4, opInfo, infoState, 0); !bytes.Equal(state, []byte{0x50, 0x80, 0, 0}) {
		t.Errorf("state % x", state)
	}
	h.want(executionError, opSign, 0x40, 0) // the identity signs what comes from outside
	h.want(executionError, opSign, signExternal, 1)
	h.get(64, opSign, 0x40, 1)

	h.fresh().get(64, opGenKey, genKeyPrivate, inTempKey)
	h.want(executionError, opGenKey, genKeyDigest, 0) // an ephemeral key is no nonce
	h.want(success, opNonce, 0x03, 0, nonce...)
	h.get(64, opGenKey, genKeyDigest, 0)
	h.want(success, opNonce, 0x03, 0, nonce...) // which takes the digest's place
	h.want(executionError, opSign, 0x40, 1)
}
