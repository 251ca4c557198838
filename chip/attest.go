package chip

import (
	"crypto/sha256"
	"encoding/binary"
)

// What an internal signature attests is a digest that the chip made itself, in TempKey: here GenKey's, over a public key.

// Bits of the flags that go with TempKey (Info, mode 02, and the message of Sign). Bits 0 to 3 are the slot that a digest
// speaks of.
const (
	flagInput  = 0x10 // SourceFlag: the host's value, not a random nonce
	flagGenKey = 0x40 // GenKeyData: a digest of GenKey
)

// serialNumber is SN[0..8].
func (e *eeprom) serialNumber() (sn [9]byte) {
	copy(sn[:4], e.image[0:4])
	copy(sn[4:], e.image[8:13])
	return sn
}

// digestPublic replaces TempKey by GenKey's digest of a public key: SHA-256 of 128 bytes, TempKey ‖ 40 ‖ head (mode, KeyID) ‖
// SN[8] ‖ SN[0..1] ‖ 25 zeros ‖ X ‖ Y. Where the old value came from stays known.
func (d *Device) digestPublic(head [3]byte, slot int, public []byte) {
	sn := d.eeprom.serialNumber()
	t := &d.volatile.tempKey
	message := append([]byte{}, t.value[:32]...)
	message = append(append(message, byte(opGenKey)), head[:]...)
	message = append(message, sn[8], sn[0], sn[1])
	message = append(message, make([]byte, 25)...)
	digest := sha256.Sum256(append(message, public...))
	t.load(t.content, digest[:])
	t.flags = flagGenKey | byte(slot)
}

// internalMessage is what Sign signs in its internal modes: SHA-256 of 55 bytes, TempKey ‖ 41 ‖ mode ‖ KeyID of the signing
// key ‖ SlotConfig ‖ KeyConfig ‖ TempKey's flags ‖ 00 00 ‖ SN[8] ‖ SN[4..7] ‖ SN[0..1] ‖ SN[2..3] ‖ SlotLocked ‖ invalidate ‖ 00.
// Configuration and lock are those of the slot that the digest speaks of. Without mode bit 6 the middle of the serial number
// is zeros.
func (d *Device) internalMessage(mode byte, signing int) [32]byte {
	e, t := d.eeprom, &d.volatile.tempKey
	sn := e.serialNumber()
	attested := int(t.flags & 0x0F)
	message := append([]byte{}, t.value[:32]...)
	message = append(message, byte(opSign), mode, byte(signing), 0)
	message = binary.LittleEndian.AppendUint16(message, uint16(e.slotConfig(attested)))
	message = binary.LittleEndian.AppendUint16(message, uint16(e.keyConfig(attested)))
	message = append(message, t.flagByte(), 0, 0, sn[8])
	var middle [9]byte
	if mode&signSerial != 0 {
		middle = sn
	}
	message = append(message, middle[4:8]...)
	message = append(message, sn[0], sn[1], middle[2], middle[3])
	unlocked := byte(1)
	if e.slotLocked(attested) {
		unlocked = 0
	}
	message = append(message, unlocked, mode&signInvalidate, 0)
	return sha256.Sum256(message)
}
