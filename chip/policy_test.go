package chip

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestWritePolicies(t *testing.T) {
	var want [slots]status
	l := product()
	for wc := range want {
		l[wc].slot, l[wc].key = slotConfig(wc<<12), 0x003C
		want[wc] = executionError
	}
	want[0], want[1] = success, success
	h := locked(t, l)
	for wc := range want {
		h.fresh().want(want[wc], opWrite, zoneBlock|zoneData, uint16(wc)<<3, make([]byte, 32)...)
	}
}

// TestPartialBlock: a block at the end of a slot stops there.
func TestPartialBlock(t *testing.T) {
	l := product()
	l[9], l[10] = l[8], l[8]
	h := locked(t, l)
	h.want(success, opWrite, zoneBlock|zoneData, 10<<3, bytes.Repeat([]byte{0x10}, 32)...)
	h.want(success, opWrite, zoneBlock|zoneData, 2<<8|9<<3, bytes.Repeat([]byte{0x09}, 32)...)
	if got := h.get(4, opRead, zoneData, 2<<8|9<<3|1); !bytes.Equal(got, bytes.Repeat([]byte{0x09}, 4)) {
		t.Errorf("end of slot 9: % x", got)
	}
	if got := h.get(4, opRead, zoneData, 10<<3); !bytes.Equal(got, bytes.Repeat([]byte{0x10}, 4)) {
		t.Errorf("slot 10 begins with % x", got)
	}
	h.want(parseError, opRead, zoneData, 2<<8|9<<3|2)
}

// TestSlotLockedBits: in the open configuration Write takes ChipOptions and never opens a slot's lock.
func TestSlotLockedBits(t *testing.T) {
	h := blank(t)
	h.want(success, opWrite, zoneConfig, atSlotLocked/4, 0xFE, 0xFF, 0x34, 0x12)
	h.want(success, opWrite, zoneConfig, atSlotLocked/4, 0xFF, 0x7F, 0x00, 0x00)
	if got := h.get(4, opRead, zoneConfig, atSlotLocked/4); !bytes.Equal(got, []byte{0xFE, 0x7F, 0, 0}) {
		t.Errorf("SlotLocked and ChipOptions are % x", got)
	}
}

func TestDataLockChecksum(t *testing.T) {
	l := product()
	h := configured(t, l)
	h.get(64, opGenKey, genKeyPrivate, 0)
	otp, certificate := bytes.Repeat([]byte{0x0F}, 32), bytes.Repeat([]byte{0xCE}, 32)
	h.want(success, opWrite, zoneBlock|zoneOTP, 0, otp...)
	h.want(success, opWrite, zoneBlock|zoneData, 8<<3, certificate...)

	// What the host knows: slots 2 to 15 in order, without the private keys in 0 and 1, then OTP.
	known := bytes.Repeat([]byte{erased}, 6*36+416+7*72+64)
	copy(known[6*36:], certificate)
	copy(known[6*36+416+7*72:], otp)
	h.fresh().want(executionError, opLock, lockData, CRC(known)+1)
	h.want(success, opLock, lockData, CRC(known))
	h.want(executionError, opLock, lockData, CRC(known))
}

// TestRequireRandom: a slot with ReqRandom works only after a random nonce.
func TestRequireRandom(t *testing.T) {
	l := product()
	l[0].key = 0x0053
	l[9].slot, l[9].key = 0x0000, 0x0050
	h := configured(t, l)
	h.get(64, opGenKey, genKeyPrivate, 0)
	h.storePublic(9, generator(t))
	h.want(success, opLock, lockData|lockNoCRC, 0)
	block, signature := make([]byte, 32), make([]byte, 64)

	h.fresh().want(success, opNonce, 0x43, 0, block...)
	h.want(executionError, opSign, signExternal|fromMsgDigBuf, 0)
	h.want(success, opNonce, 0x03, 0, block...)
	h.want(executionError, opSign, signExternal|fromMsgDigBuf, 0)
	h.want(executionError, opSign, signExternal, 0)
	h.want(executionError, opVerify, verifyStored, 9, signature...)

	h.fresh().get(32, opNonce, 0x00, 0, block[:20]...)
	h.get(64, opSign, signExternal|fromMsgDigBuf, 0)
	if h.valid() {
		t.Error("Sign did not use up the nonce")
	}
	h.get(32, opNonce, 0x00, 0, block[:20]...)
	h.want(miscompare, opVerify, verifyStored, 9, signature...)
	h.fresh().get(32, opNonce, 0x00, 0, block[:20]...)
	h.get(64, opSign, signExternal, 0)
}

// TestAuthorisation: this chip cannot authorise, so keys that want it do nothing.
func TestAuthorisation(t *testing.T) {
	for name, bit := range map[string]keyConfig{"ReqAuth": 0x0080, "PersistentDisable": 0x1000} {
		l := product()
		l[0].key |= bit
		h := configured(t, l)
		h.want(executionError, opGenKey, genKeyPrivate, 0)
		h.want(success, opLock, lockData|lockNoCRC, 0)
		h.want(success, opNonce, 0x03, 0, make([]byte, 32)...)
		if p := h.payload(opSign, signExternal, 0); !bytes.Equal(p, []byte{byte(executionError)}) {
			t.Errorf("%s: Sign gives % x", name, p)
		}
	}
}

// TestLimitedUse: Counter0 stops a key at the limit in the count match slot; a refused command costs
// nothing.
func TestLimitedUse(t *testing.T) {
	l := product()
	l[0].slot |= 0x0020
	h := blank(t)
	zone := h.zone(l)
	zone[atCountMatch] = 0x81 // slot 8
	h.writeConfigWords(zone)
	h.fresh().want(success, opLock, lockConfig|lockNoCRC, 0)
	h.get(64, opGenKey, genKeyPrivate, 0)
	h.want(success, opLock, lockData|lockNoCRC, 0)
	limit := func(first, second uint32) {
		t.Helper()
		block := binary.LittleEndian.AppendUint32(nil, first)
		block = binary.LittleEndian.AppendUint32(block, second)
		h.fresh().want(success, opWrite, zoneBlock|zoneData, 8<<3, append(block, make([]byte, 24)...)...)
		h.want(success, opNonce, 0x03, 0, make([]byte, 32)...)
	}

	limit(32, 32)
	for range 32 {
		h.fresh().get(64, opSign, signExternal, 0)
		h.want(executionError, opSign, signExternal, 0) // no message: costs nothing
		h.want(success, opNonce, 0x03, 0, make([]byte, 32)...)
	}
	h.want(executionError, opSign, signExternal, 0)
	if !h.valid() {
		t.Error("a Sign without uses took the message")
	}
	if got := h.get(4, opCounter, 0, 0); !bytes.Equal(got, []byte{32, 0, 0, 0}) {
		t.Errorf("Counter0 is % x", got)
	}
	limit(64, 96)
	h.want(executionError, opSign, signExternal, 0)
	limit(64, 64)
	h.get(64, opSign, signExternal, 0)

	// Without count match the counter's own end is the limit.
	h.eeprom.image[atCountMatch] = 0
	encodeCounter(h.eeprom.image[atCounter:], maxCount-1)
	h.fresh().want(success, opNonce, 0x03, 0, make([]byte, 32)...)
	h.get(64, opSign, signExternal, 0)
	h.want(success, opNonce, 0x03, 0, make([]byte, 32)...)
	h.want(executionError, opSign, signExternal, 0)
}

// TestPublicKeyValidation: a public key that needs validation cannot be used before, and each Write takes
// the validation back.
func TestPublicKeyValidation(t *testing.T) {
	l := product()
	l[9].slot, l[9].key = 0x0000, 0x0012
	l[10].slot, l[10].key = 0x1000, 0x0012
	h := locked(t, l)
	message := make([]byte, 32)
	for _, slot := range []uint16{9, 10} {
		h.fresh().storePublic(slot, generator(t))
		if got := h.payload(opInfo, infoKeyValid, slot); got[0] != 0 {
			t.Errorf("slot %d: a written key is valid", slot)
		}
		h.want(success, opNonce, 0x03, 0, message...)
		h.want(executionError, opVerify, verifyStored, slot, make([]byte, 64)...)

		// Verify's validate mode, which this chip lacks, would set the mark.
		h.eeprom.image[slotStart(int(slot))] = markValid
		if got := h.payload(opInfo, infoKeyValid, slot); got[0] != 1 {
			t.Errorf("slot %d: a validated key is not valid", slot)
		}
		h.want(miscompare, opVerify, verifyStored, slot, make([]byte, 64)...)
	}
	h.fresh().want(executionError, opWrite, zoneBlock|zoneData, 1<<8|10<<3, message...)
	h.want(success, opWrite, zoneBlock|zoneData, 1<<8|9<<3, message...)
	if got := h.get(4, opRead, zoneData, 9<<3); got[0]&markMask != markInvalid {
		t.Errorf("a Write behind the mark left it at % x", got)
	}
	h.want(success, opNonce, 0x03, 0, message...)
	h.eeprom.image[slotStart(9)] = markValid
	h.want(invalidStoredPoint, opVerify, verifyStored, 9, make([]byte, 64)...)
}

// TestECDHToSlot: a key whose SlotConfig says so leaves its secret in the next slot and nowhere else.
func TestECDHToSlot(t *testing.T) {
	l := product()
	l[2].slot, l[2].key = 0x008C, 0x0013
	l[3].slot, l[3].key = 0x0000, 0x003C // readable, so that the test can see it
	l[5].slot, l[5].key = 0x008C, 0x0013 // odd: the slot behind it is no place for a secret
	h := locked(t, l)
	public := h.get(64, opGenKey, genKeyPublic, 2)
	for _, mode := range []byte{ecdhPerSlot, ecdhToNextSlot} {
		peer, s := h.drawKey()
		if s != success {
			t.Fatal(s)
		}
		h.fresh().want(success, opECDH, mode, 2, publicBytes(peer)...)
		if got := h.get(32, opRead, zoneBlock|zoneData, 3<<3); !bytes.Equal(got, agreed(t, peer, public)) {
			t.Errorf("mode %02x: slot 3 holds % x", mode, got)
		}
	}
	h.fresh().want(executionError, opECDH, ecdhOutputBuffer, 2, generator(t)...)
	h.want(executionError, opECDH, ecdhKeepInRAM, 2, generator(t)...)
	h.want(executionError, opECDH, ecdhToNextSlot, 5, generator(t)...)
	h.want(success, opLock, lockSlot|3<<2, 0)
	h.want(executionError, opECDH, ecdhToNextSlot, 2, generator(t)...)
}

func TestCounter(t *testing.T) {
	h := configured(t, product())
	read := func() uint32 { return binary.LittleEndian.Uint32(h.fresh().get(4, opCounter, 0, 1)) }
	for want := range uint32(70) {
		if got := read(); got != want {
			t.Fatalf("counter is %d, want %d", got, want)
		}
		if got := binary.LittleEndian.Uint32(h.get(4, opCounter, 1, 1)); got != want+1 {
			t.Fatalf("counter counts to %d, want %d", got, want+1)
		}
	}
	encodeCounter(h.eeprom.image[atCounter+8:], maxCount-1)
	h.get(4, opCounter, 1, 1)
	if got := read(); got != maxCount {
		t.Errorf("counter is %d, want its maximum", got)
	}
	h.want(executionError, opCounter, 1, 1)
	if got := h.get(4, opCounter, 0, 0); !bytes.Equal(got, make([]byte, 4)) {
		t.Errorf("the other counter is % x", got)
	}
}

func TestCounterEncoding(t *testing.T) {
	var b [8]byte
	encodeCounter(b[:], 0)
	if want := unhex(t, "ffffffff 00000000"); !bytes.Equal(b[:], want) {
		t.Errorf("zero is % x, want % x", b, want)
	}
	seen := map[[8]byte]bool{}
	for value := uint32(0); value <= maxCount; value += 1 + value/5000*31 { // all up to 5000, then steps
		encodeCounter(b[:], value)
		if got := decodeCounter(b[:]); got != value || seen[b] {
			t.Fatalf("%d is encoded as % x and read as %d", value, b, got)
		}
		seen[b] = true
	}
	encodeCounter(b[:], maxCount)
	if got := decodeCounter(b[:]); got != maxCount {
		t.Errorf("the maximum is read as %d", got)
	}
}
