package chip

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
)

// Further flags of a digest in TempKey, beside those of attest.go.
const (
	flagGenDig = 0x20 // over the slot in bits 0 to 3
	flagNoMAC  = 0x80 // over a key that MAC must not use
)

const genDigCounter = 0x04 // beside Write's zones

// genDig is the command GenDig: it replaces the value in TempKey by SHA-256 of 96 bytes, value ‖ 15 ‖ zone ‖ KeyID ‖ SN[8] ‖
// SN[0..1] ‖ 25 zeros ‖ TempKey. The value is the first 32 bytes of a slot, or a block of configuration or OTP; for a counter it
// is zeros, and the count stands behind one of the 25 zeros. For a slot with NoMac the host gives the four bytes from 15 to
// KeyID. Modes 03 (the host's value) and 05 are parse errors.
func (d *Device) genDig(c command) ([]byte, status) {
	e, t := d.eeprom, &d.volatile.tempKey
	sn := e.serialNumber()
	head := binary.LittleEndian.AppendUint16([]byte{byte(opGenDig), c.mode}, c.param2)
	var value [32]byte
	var behind [25]byte
	flags := byte(0)
	n := int(c.param2)
	switch {
	case c.mode == zoneConfig && n < configSize/blockSize && len(c.data) == 0:
		copy(value[:], e.image[n*blockSize:])
	case c.mode == zoneOTP && n < otpSize/blockSize && len(c.data) == 0:
		copy(value[:], e.image[otpStart+n*blockSize:])
	case c.mode == genDigCounter && n < 2 && len(c.data) == 0:
		binary.LittleEndian.PutUint32(behind[1:], e.count(n))
	case c.mode == zoneData && n < slots && (len(c.data) == 0 || len(c.data) == len(head)):
		noMAC := e.slotConfig(n).noMAC()
		if e.keyConfig(n).private() || noMAC != (len(c.data) > 0) || !d.keyReady(n) {
			return nil, executionError
		}
		flags = flagGenDig | byte(n)
		if noMAC {
			head, flags = c.data, flags|flagNoMAC
		}
		copy(value[:], e.slot(n))
	default:
		return nil, parseError
	}
	if c.mode != zoneConfig && e.stage() != dataLocked || !t.data() || flags != 0 && !e.use(n) {
		return nil, executionError
	}
	message := append(value[:], head...)
	message = append(message, sn[8], sn[0], sn[1])
	message = append(message, behind[:]...)
	digest := sha256.Sum256(append(message, t.value[:32]...))
	t.load(t.content, digest[:])
	t.flags = flags
	return nil, success
}

// keyReady says whether the nonce in TempKey is random, if the slot wants one.
func (d *Device) keyReady(slot int) bool {
	return !d.eeprom.keyConfig(slot).requireRandom() || d.volatile.tempKey.content == randomData
}

// Mode bits of MAC.
const (
	macTempKeySecond = 0x01 // TempKey in the host's place
	macTempKeyFirst  = 0x02 // TempKey in the slot's place
	macInput         = 0x04 // TempKey.SourceFlag, where TempKey is used
	macSerial        = 0x40 // the whole serial number
)

// mac is the command MAC: SHA-256 of 88 bytes, 32 of the slot or of TempKey ‖ the host's 32 or TempKey's ‖ 08 ‖ mode ‖ KeyID ‖
// 11 zeros ‖ SN[8] ‖ SN[4..7] ‖ SN[0..1] ‖ SN[2..3]; it returns it. Without mode bit 6 the middle of the serial number is zeros.
// TempKey is used up. The modes that put OTP where the zeros are ended with the ATECC508A.
func (d *Device) mac(c command) ([]byte, status) {
	second, first := c.mode&macTempKeySecond != 0, c.mode&macTempKeyFirst != 0
	input := c.mode&macInput != 0
	if c.mode&^(macTempKeySecond|macTempKeyFirst|macInput|macSerial) != 0 || first && second || input && !first && !second ||
		c.param2 >= slots || second != (len(c.data) == 0) || !second && len(c.data) != 32 {
		return nil, parseError
	}
	e, t := d.eeprom, &d.volatile.tempKey
	slot := int(c.param2)
	if e.stage() != dataLocked || !first && (e.keyConfig(slot).private() || e.slotConfig(slot).noMAC() || !d.keyReady(slot)) ||
		(first || second) && (!t.data() || t.flags&flagNoMAC != 0 || input != (t.content == inputData)) ||
		!first && !e.use(slot) {
		return nil, executionError
	}
	message := make([]byte, 0, 88)
	if first {
		message = append(message, t.value[:32]...)
	} else {
		message = append(message, e.slot(slot)[:32]...)
	}
	if second {
		message = append(message, t.value[:32]...)
	} else {
		message = append(message, c.data...)
	}
	if first || second {
		t.take()
	}
	sn := e.serialNumber()
	var middle [9]byte
	if c.mode&macSerial != 0 {
		middle = sn
	}
	message = append(message, byte(opMAC), c.mode, byte(slot), 0)
	message = append(message, make([]byte, 11)...)
	message = append(message, sn[8])
	message = append(message, middle[4:8]...)
	message = append(message, sn[0], sn[1], middle[2], middle[3])
	digest := sha256.Sum256(message)
	return digest[:], success
}

// unseal decrypts a block that is written encrypted: cipher ‖ MAC, with a digest of GenDig over the slot's write key in TempKey.
// The cipher is the block XOR TempKey, the MAC SHA-256 of TempKey ‖ 12 ‖ mode ‖ address ‖ SN[8] ‖ SN[0..1] ‖ 25 zeros ‖ block.
// TempKey is used up. Nil if the block is not to be written.
func (d *Device) unseal(slot int, c command) []byte {
	t := &d.volatile.tempKey
	key := byte(d.eeprom.slotConfig(slot) >> 8 & 0x0F)
	if !t.data() || t.flags&^flagNoMAC != flagGenDig|key {
		return nil
	}
	pad := t.take()
	block := make([]byte, blockSize)
	subtle.XORBytes(block, c.data[:blockSize], pad[:])
	sn := d.eeprom.serialNumber()
	message := append(pad[:], byte(opWrite), c.mode)
	message = binary.LittleEndian.AppendUint16(message, c.param2)
	message = append(message, sn[8], sn[0], sn[1])
	message = append(message, make([]byte, 25)...)
	mac := sha256.Sum256(append(message, block...))
	if subtle.ConstantTimeCompare(mac[:], c.data[blockSize:]) == 0 {
		return nil
	}
	return block
}
