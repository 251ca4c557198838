package chip

import (
	"crypto/rand"
	"testing"
)

// TestStages tries every command in every lock state: 03 where the bytes alone decide, 0F where the
// locks do.
func TestStages(t *testing.T) {
	l := product()
	l[2].slot, l[2].key = 0x0085, 0x0013 // a private key for Sign and ECDH
	l[3].slot, l[3].key = 0x2081, 0x0033 // a private key that GenKey may replace for ever
	l[5].slot, l[5].key = 0x0080, 0x0018 // an AES key
	l[9].slot, l[9].key = 0x0000, 0x0010 // a public key
	l[10].slot, l[10].key = 0x1000, 0x003C
	l[11].slot, l[11].key = 0x4400, 0x003C // written encrypted, under slot 4
	l[12].slot, l[12].key = 0x0090, 0x001C // NoMac

	block, word := make([]byte, 32), make([]byte, 4)
	const ok, no, bad = success, executionError, parseError
	tests := []struct {
		name   string
		op     opcode
		mode   byte
		param2 uint16
		data   []byte
		want   [3]status // configuration open, data open, all locked
	}{
		{"Info revision", opInfo, infoRevision, 0, nil, [3]status{ok, ok, ok}},
		{"Info key valid", opInfo, infoKeyValid, 2, nil, [3]status{no, ok, ok}},
		{"Info key valid, no key slot", opInfo, infoKeyValid, 8, nil, [3]status{no, no, no}},
		{"Info key valid, no slot", opInfo, infoKeyValid, 16, nil, [3]status{bad, bad, bad}},
		{"Info state", opInfo, infoState, 0, nil, [3]status{ok, ok, ok}},
		{"Info GPIO", opInfo, 0x03, 0, nil, [3]status{bad, bad, bad}},
		{"Info with data", opInfo, infoRevision, 0, word, [3]status{bad, bad, bad}},
		{"Random", opRandom, 0, 0, nil, [3]status{ok, ok, ok}},
		{"Random, bad mode", opRandom, 2, 0, nil, [3]status{bad, bad, bad}},
		{"Nonce random", opNonce, 0x00, 0, block[:20], [3]status{ok, ok, ok}},
		{"Nonce random, short", opNonce, 0x00, 0, block[:19], [3]status{bad, bad, bad}},
		{"Nonce random to MsgDigBuf", opNonce, 0x40, 0, block[:20], [3]status{bad, bad, bad}},
		{"Nonce mode 02", opNonce, 0x02, 0, block[:20], [3]status{bad, bad, bad}},
		{"Nonce mixed", opNonce, 0x00, nonceMix, block[:20], [3]status{ok, ok, ok}}, // TempKey is loaded
		{"Nonce 32", opNonce, 0x03, 0, block, [3]status{ok, ok, ok}},
		{"Nonce 32, short", opNonce, 0x03, 0, block[:31], [3]status{bad, bad, bad}},
		{"Nonce 32, param2", opNonce, 0x03, nonceMix, block, [3]status{bad, bad, bad}},
		{"Nonce 64", opNonce, 0x23, 0, make([]byte, 64), [3]status{ok, ok, ok}},
		{"Nonce 64, short", opNonce, 0x23, 0, block, [3]status{bad, bad, bad}},
		{"Nonce to MsgDigBuf", opNonce, 0x43, 0, block, [3]status{ok, ok, ok}},
		{"Nonce 64 to MsgDigBuf", opNonce, 0x63, 0, make([]byte, 64), [3]status{ok, ok, ok}},
		{"Nonce to AltKeyBuf", opNonce, 0x83, 0, block, [3]status{ok, ok, ok}},
		{"Nonce 64 to AltKeyBuf", opNonce, 0xA3, 0, make([]byte, 64), [3]status{bad, bad, bad}},
		{"Nonce to nowhere", opNonce, 0xC3, 0, block, [3]status{bad, bad, bad}},
		{"GenKey", opGenKey, genKeyPrivate, 2, nil, [3]status{no, ok, no}},
		{"GenKey, always allowed", opGenKey, genKeyPrivate, 3, nil, [3]status{no, ok, ok}},
		{"GenKey, no key slot", opGenKey, genKeyPrivate, 8, nil, [3]status{no, no, no}},
		{"GenKey, no slot", opGenKey, genKeyPrivate, 16, nil, [3]status{bad, bad, bad}},
		{"GenKey ephemeral", opGenKey, genKeyPrivate, inTempKey, nil, [3]status{no, ok, ok}},
		{"GenKey public", opGenKey, genKeyPublic, 2, nil, [3]status{no, ok, ok}},
		{"GenKey public of TempKey", opGenKey, genKeyPublic, inTempKey, nil, [3]status{bad, bad, bad}},
		{"GenKey digest", opGenKey, 0x08, 2, nil, [3]status{no, ok, ok}},
		{"GenKey digest of a new key", opGenKey, 0x0C, 2, nil, [3]status{no, ok, no}},
		{"GenKey digest of TempKey", opGenKey, 0x0C, inTempKey, nil, [3]status{bad, bad, bad}},
		{"GenKey digest of a public key", opGenKey, 0x10, 9, make([]byte, 3), [3]status{no, ok, ok}},
		{"GenKey digest of a public key, no key slot", opGenKey, 0x10, 8, make([]byte, 3), [3]status{no, no, no}},
		{"GenKey digest of a public key, small slot", opGenKey, 0x10, 2, make([]byte, 3), [3]status{bad, bad, bad}},
		{"GenKey digest of a public key, short", opGenKey, 0x10, 9, nil, [3]status{bad, bad, bad}},
		{"GenKey with MAC", opGenKey, 0x20, 2, nil, [3]status{bad, bad, bad}},
		{"GenKey with data", opGenKey, genKeyPublic, 2, word, [3]status{bad, bad, bad}},
		{"Sign external", opSign, 0x80, 2, nil, [3]status{no, no, ok}},
		{"Sign external from MsgDigBuf", opSign, 0xA0, 2, nil, [3]status{no, no, ok}},
		{"Sign external, internal key", opSign, 0x80, 1, nil, [3]status{no, no, no}},
		{"Sign external, no key slot", opSign, 0x80, 8, nil, [3]status{no, no, no}},
		{"Sign internal, no digest", opSign, 0x00, 1, nil, [3]status{no, no, no}},
		{"Sign internal from MsgDigBuf", opSign, 0x60, 1, nil, [3]status{bad, bad, bad}},
		{"Sign, bad mode", opSign, 0x90, 2, nil, [3]status{bad, bad, bad}},
		{"Sign external with serial", opSign, 0xC0, 2, nil, [3]status{bad, bad, bad}},
		{"Sign, no slot", opSign, 0x80, 16, nil, [3]status{bad, bad, bad}},
		{"Sign with data", opSign, 0x80, 2, word, [3]status{bad, bad, bad}},
		{"Verify stored", opVerify, 0x00, 9, make([]byte, 64), [3]status{no, no, miscompare}},
		{"Verify stored, no key slot", opVerify, 0x00, 8, make([]byte, 64), [3]status{no, no, no}},
		{"Verify stored, small slot", opVerify, 0x00, 0, make([]byte, 64), [3]status{bad, bad, bad}},
		{"Verify stored, short", opVerify, 0x00, 9, make([]byte, 63), [3]status{bad, bad, bad}},
		{"Verify external", opVerify, 0x02, 4, append(make([]byte, 64), generator(t)...), [3]status{no, no, miscompare}},
		{"Verify external, no curve", opVerify, 0x02, 0, make([]byte, 128), [3]status{bad, bad, bad}},
		{"Verify external, no point", opVerify, 0x02, 4, make([]byte, 128), [3]status{no, no, invalidPoint}},
		{"Verify validate, no digest", opVerify, 0x03, 9, make([]byte, 83), [3]status{no, no, no}},
		{"Verify validate, short", opVerify, 0x03, 9, make([]byte, 82), [3]status{bad, bad, bad}},
		{"Verify validate, small slot", opVerify, 0x03, 7, make([]byte, 83), [3]status{bad, bad, bad}},
		{"Verify validate from MsgDigBuf", opVerify, 0x23, 9, make([]byte, 83), [3]status{bad, bad, bad}},
		{"Verify with MAC", opVerify, 0x82, 4, make([]byte, 128), [3]status{bad, bad, bad}},
		{"GenDig configuration", opGenDig, 0, 3, nil, [3]status{ok, ok, ok}},
		{"GenDig configuration, past its end", opGenDig, 0, 4, nil, [3]status{bad, bad, bad}},
		{"GenDig OTP", opGenDig, 1, 1, nil, [3]status{no, no, ok}},
		{"GenDig OTP, past its end", opGenDig, 1, 2, nil, [3]status{bad, bad, bad}},
		{"GenDig slot", opGenDig, 2, 6, nil, [3]status{no, no, no}}, // wants a random nonce
		{"GenDig another slot", opGenDig, 2, 4, nil, [3]status{no, no, ok}},
		{"GenDig private key", opGenDig, 2, 2, nil, [3]status{no, no, no}},
		{"GenDig slot, no slot", opGenDig, 2, 16, nil, [3]status{bad, bad, bad}},
		{"GenDig slot, with other data", opGenDig, 2, 4, word, [3]status{no, no, no}},
		{"GenDig NoMac", opGenDig, 2, 12, word, [3]status{no, no, ok}},
		{"GenDig NoMac, without other data", opGenDig, 2, 12, nil, [3]status{no, no, no}},
		{"GenDig host's value", opGenDig, 3, 0, block, [3]status{bad, bad, bad}},
		{"GenDig counter", opGenDig, 4, 1, nil, [3]status{no, no, ok}},
		{"GenDig counter 2", opGenDig, 4, 2, nil, [3]status{bad, bad, bad}},
		{"GenDig key configuration", opGenDig, 5, 0, nil, [3]status{bad, bad, bad}},
		{"MAC", opMAC, 0x00, 4, block, [3]status{no, no, ok}},
		{"MAC, private key", opMAC, 0x00, 2, block, [3]status{no, no, no}},
		{"MAC, NoMac", opMAC, 0x00, 12, block, [3]status{no, no, no}},
		{"MAC, short", opMAC, 0x00, 4, block[:31], [3]status{bad, bad, bad}},
		{"MAC, TempKey second", opMAC, 0x05, 4, nil, [3]status{no, no, ok}},
		{"MAC, TempKey second, not random", opMAC, 0x01, 4, nil, [3]status{no, no, no}},
		{"MAC, TempKey second, with data", opMAC, 0x05, 4, block, [3]status{bad, bad, bad}},
		{"MAC, TempKey first", opMAC, 0x06, 2, block, [3]status{no, no, ok}},
		{"MAC, TempKey twice", opMAC, 0x07, 4, nil, [3]status{bad, bad, bad}},
		{"MAC, source of nothing", opMAC, 0x04, 4, block, [3]status{bad, bad, bad}},
		{"MAC, OTP", opMAC, 0x10, 4, block, [3]status{bad, bad, bad}},
		{"MAC, no slot", opMAC, 0x00, 16, block, [3]status{bad, bad, bad}},
		{"SelfTest", opSelfTest, 0x3B, 0, nil, [3]status{ok, ok, ok}},
		{"SelfTest, bad mode", opSelfTest, 0x40, 0, nil, [3]status{bad, bad, bad}},
		{"SelfTest, param2", opSelfTest, 0x01, 1, nil, [3]status{bad, bad, bad}},
		{"SelfTest with data", opSelfTest, 0x01, 0, word, [3]status{bad, bad, bad}},
		{"ECDH", opECDH, 0x00, 2, generator(t), [3]status{no, no, ok}},
		{"ECDH to the bus", opECDH, 0x0C, 2, generator(t), [3]status{no, no, ok}},
		{"ECDH to TempKey", opECDH, 0x08, 2, generator(t), [3]status{no, no, ok}},
		{"ECDH to a slot", opECDH, 0x04, 2, generator(t), [3]status{no, no, no}},
		{"ECDH encrypted, no IO key", opECDH, 0x0E, 2, generator(t), [3]status{no, no, no}},
		{"ECDH, key without ECDH", opECDH, 0x0C, 0, generator(t), [3]status{no, no, no}},
		{"ECDH from TempKey, none there", opECDH, 0x0D, 0, generator(t), [3]status{no, no, no}},
		{"ECDH from TempKey to a slot", opECDH, 0x05, 2, generator(t), [3]status{bad, bad, bad}},
		{"ECDH, no point", opECDH, 0x0C, 2, make([]byte, 64), [3]status{no, no, invalidPoint}},
		{"ECDH, short", opECDH, 0x0C, 2, make([]byte, 63), [3]status{bad, bad, bad}},
		{"ECDH, no slot", opECDH, 0x0C, 16, generator(t), [3]status{bad, bad, bad}},
		{"ECDH encrypted to TempKey", opECDH, 0x0A, 2, generator(t), [3]status{bad, bad, bad}},
		{"AES, slot", opAES, 0x00, 5, block[:16], [3]status{no, no, ok}},
		{"AES, third key of a slot of two", opAES, 0x80, 5, block[:16], [3]status{bad, bad, bad}},
		{"AES, no key slot", opAES, 0x00, 8, block[:16], [3]status{no, no, no}},
		{"AES, TempKey", opAES, 0x40, inTempKey, block[:16], [3]status{no, ok, ok}},
		{"AES, fourth key of 32 bytes", opAES, 0xC0, inTempKey, block[:16], [3]status{no, no, no}},
		{"AES multiply", opAES, aesMultiply, 0, block, [3]status{ok, ok, ok}},
		{"AES multiply, short", opAES, aesMultiply, 0, block[:16], [3]status{bad, bad, bad}},
		{"AES mode 02", opAES, 0x02, 5, block[:16], [3]status{bad, bad, bad}},
		{"AES, short", opAES, 0x00, 5, block[:15], [3]status{bad, bad, bad}},
		{"Read configuration", opRead, 0x80, 0, nil, [3]status{ok, ok, ok}},
		{"Read configuration, past its end", opRead, 0x80, 4 << 3, nil, [3]status{bad, bad, bad}},
		{"Read configuration, crooked block", opRead, 0x80, 1, nil, [3]status{bad, bad, bad}},
		{"Read OTP", opRead, 0x81, 0, nil, [3]status{no, no, ok}},
		{"Read OTP, past its end", opRead, 0x01, 2 << 3, nil, [3]status{bad, bad, bad}},
		{"Read slot", opRead, 0x82, 8 << 3, nil, [3]status{no, no, ok}},
		{"Read slot, last word", opRead, 0x02, 12<<8 | 8<<3 | 7, nil, [3]status{no, no, ok}},
		{"Read slot, over its end", opRead, 0x82, 2<<8 | 9<<3, nil, [3]status{bad, bad, bad}},
		{"Read private key", opRead, 0x82, 2 << 3, nil, [3]status{no, no, no}},
		{"Read secret", opRead, 0x82, 6 << 3, nil, [3]status{no, no, no}},
		{"Read zone 3", opRead, 0x83, 0, nil, [3]status{bad, bad, bad}},
		{"Read encrypted", opRead, 0xC2, 8 << 3, nil, [3]status{bad, bad, bad}},
		{"Read slot, address bit 7", opRead, 0x02, 0x80, nil, [3]status{bad, bad, bad}},
		{"Write serial number", opWrite, 0x00, 0, word, [3]status{bad, bad, bad}},
		{"Write first block", opWrite, 0x80, 0, block, [3]status{bad, bad, bad}},
		{"Write lock bytes", opWrite, 0x00, atUserExtra / 4, word, [3]status{bad, bad, bad}},
		{"Write block with lock bytes", opWrite, 0x80, 2 << 3, block, [3]status{bad, bad, bad}},
		{"Write configuration", opWrite, 0x00, atCounter / 4, []byte{255, 255, 255, 255}, [3]status{ok, no, no}},
		{"Write configuration encrypted", opWrite, 0x40, atCounter / 4, make([]byte, 36), [3]status{bad, bad, bad}},
		{"Write OTP", opWrite, 0x81, 0, block, [3]status{no, ok, no}},
		{"Write OTP, word", opWrite, 0x01, 0, word, [3]status{no, no, no}},
		{"Write slot", opWrite, 0x82, 8 << 3, block, [3]status{no, ok, ok}},
		{"Write slot, word", opWrite, 0x02, 8 << 3, word, [3]status{no, no, ok}},
		{"Write slot, only while invalid", opWrite, 0x82, 10 << 3, block, [3]status{no, ok, ok}},
		{"Write slot, never", opWrite, 0x82, 6 << 3, block, [3]status{no, ok, no}},
		{"Write secret, word", opWrite, 0x02, 5 << 3, word, [3]status{no, no, no}},
		{"Write private key", opWrite, 0x82, 2 << 3, block, [3]status{no, no, no}},
		{"Write slot encrypted", opWrite, 0xC2, 8 << 3, make([]byte, 64), [3]status{no, no, no}},
		{"Write slot in clear where it is written encrypted", opWrite, 0x82, 11 << 3, block, [3]status{no, ok, no}},
		{"Write slot encrypted, no digest", opWrite, 0xC2, 11 << 3, make([]byte, 64), [3]status{no, no, no}},
		{"Write word encrypted", opWrite, 0x42, 11 << 3, make([]byte, 36), [3]status{no, no, no}},
		{"Write slot, short", opWrite, 0x82, 8 << 3, block[:31], [3]status{bad, bad, bad}},
		{"Write slot, past its end", opWrite, 0x82, 13<<8 | 8<<3, block, [3]status{bad, bad, bad}},
		{"Counter read", opCounter, 0, 1, nil, [3]status{no, ok, ok}},
		{"Counter up", opCounter, 1, 1, nil, [3]status{no, ok, ok}},
		{"Counter 2", opCounter, 0, 2, nil, [3]status{bad, bad, bad}},
		{"Counter mode 02", opCounter, 2, 0, nil, [3]status{bad, bad, bad}},
		{"Lock slot", opLock, 0x82 | 8<<2, 0, nil, [3]status{no, no, ok}},
		{"Lock slot without bit 7", opLock, 0x02 | 10<<2, 0, nil, [3]status{no, no, ok}},
		{"Lock slot, not lockable", opLock, 0x82 | 9<<2, 0, nil, [3]status{no, no, no}},
		{"Lock slot, wrong checksum", opLock, 0x02 | 8<<2, 1, nil, [3]status{no, no, no}},
		{"Lock slot, ignored checksum", opLock, 0x82 | 8<<2, 1, nil, [3]status{bad, bad, bad}},
		{"Lock configuration, wrong checksum", opLock, lockConfig, 0, nil, [3]status{no, no, no}},
		{"Lock configuration with slot", opLock, 0x84, 0, nil, [3]status{bad, bad, bad}},
		{"Lock configuration, ignored checksum", opLock, 0x80, 1, nil, [3]status{bad, bad, bad}},
		{"Lock zone 3", opLock, 0x83, 0, nil, [3]status{bad, bad, bad}},
		{"Lock, bit 6", opLock, 0xC0, 0, nil, [3]status{bad, bad, bad}},
		{"Lock configuration", opLock, 0x80, 0, nil, [3]status{ok, no, no}},
		{"Lock data", opLock, 0x81, 0, nil, [3]status{no, ok, no}},
	}
	for stage := configOpen; stage <= dataLocked; stage++ {
		for _, tt := range tests {
			h := atStage(t, l, stage)
			h.want(ok, opNonce, 0x43, 0, block...)
			h.want(ok, opNonce, 0x03, 0, block...)
			p := h.payload(tt.op, tt.mode, tt.param2, tt.data...)
			got := success
			if len(p) == 1 {
				got = status(p[0])
			}
			if got != tt.want[stage] {
				t.Errorf("%s at stage %d: status %02x, want %02x", tt.name, stage, byte(got), byte(tt.want[stage]))
			}
		}
	}
}

// atStage is a chip with the layout whose keys are in place as far as the stage allows.
func atStage(t *testing.T, l layout, to stage) host {
	h := blank(t)
	h.writeConfigWords(h.zone(l))
	if to == configOpen {
		return h.fresh()
	}
	h.fresh().want(success, opLock, lockConfig|lockNoCRC, 0)
	for _, slot := range []uint16{0, 1, 2, 3} {
		h.fresh().get(64, opGenKey, genKeyPrivate, slot)
	}
	h.fresh().storePublic(9, generator(t))
	if to == dataLocked {
		h.fresh().want(success, opLock, lockData|lockNoCRC, 0)
	}
	return h.fresh()
}

// storePublic writes X ‖ Y as a public key: 4 pad, X, 4 pad, Y, in three blocks.
func (h host) storePublic(slot uint16, public []byte) {
	h.t.Helper()
	var stored [96]byte
	copy(stored[padSize:], public[:32])
	copy(stored[padSize+32+padSize:], public[32:])
	for block := range uint16(3) {
		h.want(success, opWrite, zoneBlock|zoneData, block<<8|slot<<3, stored[32*block:32*block+32]...)
	}
}

// generator is the curve's base point, X ‖ Y (SEC 2, section 2.4.2).
func generator(t testing.TB) []byte {
	return unhex(t, "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"+
		"4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
}

func TestRandomUntilLocked(t *testing.T) {
	h := blank(t)
	constant := unhex(t, "ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000")
	if got := h.get(32, opRandom, 0, 0); string(got) != string(constant) {
		t.Errorf("open configuration: % x", got)
	}
	h.want(success, opLock, lockConfig|lockNoCRC, 0)
	a, b := h.get(32, opRandom, 0, 0), h.get(32, opRandom, 0, 0)
	if string(a) == string(b) || string(a) == string(constant) {
		t.Errorf("locked configuration: % x and % x", a, b)
	}
}

func TestSerialNumber(t *testing.T) {
	a, b := blank(t).readConfig(), blank(t).readConfig()
	if a[0] != 0x01 || a[1] != 0x23 || a[12] != 0xEE || string(a[:13]) == string(b[:13]) {
		t.Errorf("serial numbers % x and % x", a[:13], b[:13])
	}
	var own [9]byte
	rand.Read(own[:])
	h := host{t, New(Options{SerialNumber: own})}
	h.Wake()
	z := h.readConfig()
	if got := append(z[:4:4], z[8:13]...); string(got) != string(own[:]) {
		t.Errorf("serial number % x, want % x", got, own)
	}
}
