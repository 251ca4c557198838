package chip

import "crypto/sha256"

const otherDataSize = 19 // bytes of an internal signature's message that the chip which checks it does not know

// digestStored is GenKey's mode 10: the digest of the public key in a slot goes to TempKey. The host's three bytes stand in
// place of mode and KeyID, so that it is the digest which the chip with the private key made.
func (d *Device) digestStored(c command) ([]byte, status) {
	if c.param2 < 8 || c.param2 >= slots || len(c.data) != 3 { // slots below 8 have no room for a public key
		return nil, parseError
	}
	e, slot := d.eeprom, int(c.param2)
	k := e.keyConfig(slot)
	if e.stage() == configOpen || k.keyType() != typeP256 || k.private() || !d.volatile.tempKey.data() {
		return nil, executionError
	}
	d.digestPublic([3]byte(c.data), slot, e.publicKey(slot))
	return nil, success
}

// publicKey is X ‖ Y of the public key in a slot, whatever it is worth.
func (e *eeprom) publicKey(slot int) []byte {
	stored := e.slot(slot)
	return append(append([]byte{}, stored[padSize:padSize+32]...), stored[padSize+32+padSize:][:32]...)
}

// validate is the command Verify in modes 03 and 07: the public key in a slot is marked valid, or invalid again, by an internal
// signature over its digest, which GenKey has left in TempKey. The key that checks it is in the slot that SlotConfig's ReadKey names.
// The message is TempKey ‖ 41 ‖ other[0..9] ‖ SN[8] ‖ other[10..13] ‖ SN[0..1] ‖ other[14..18]; the digest is used up.
func (d *Device) validate(c command) status {
	if c.param2 < 8 || c.param2 >= slots || len(c.data) != 64+otherDataSize {
		return parseError
	}
	e, t := d.eeprom, &d.volatile.tempKey
	slot, other := int(c.param2), c.data[64:]
	parent := int(e.slotConfig(slot) & 0x0F)
	invalidate := byte(c.mode >> 2 & 1)
	if e.stage() != dataLocked || !e.keyConfig(slot).validatedPublic() || e.slotLocked(slot) ||
		!t.data() || t.flags != flagGenKey|byte(slot) || other[otherInvalidate] != invalidate || !e.verifies(parent) {
		return executionError
	}
	key, ok := point(e.publicKey(parent))
	if !ok {
		return invalidStoredPoint
	}
	if !d.keyReady(parent) || !e.use(parent) {
		return executionError
	}
	sn := e.serialNumber()
	digest := t.take()
	message := append(digest[:], byte(opSign))
	message = append(message, other[:10]...)
	message = append(message, sn[8])
	message = append(message, other[10:14]...)
	message = append(message, sn[0], sn[1])
	message = append(message, other[14:]...)
	if s := check(key, sha256.Sum256(message), c.data[:64]); s != success {
		return s
	}
	mark := byte(markValid)
	if invalidate != 0 {
		mark = markInvalid
	}
	at := slotStart(slot)
	e.write(at, []byte{e.image[at]&^markMask | mark})
	return success
}

// otherInvalidate is where a message says what it is for, among what the host gives of it.
const otherInvalidate = 17

// verifies says that the slot holds a public key which may check signatures.
func (e *eeprom) verifies(slot int) bool {
	k := e.keyConfig(slot)
	return slot >= 8 && k.keyType() == typeP256 && !k.private() && (!k.validatedPublic() || e.publicValid(slot))
}
