package chip

import (
	"crypto/aes"
	"encoding/binary"
)

const (
	aesEncrypt  = 0x00
	aesDecrypt  = 0x01
	aesMultiply = 0x03
)

// aes is the command AES on one block of 16 bytes. Modes 00 and 01 encrypt and decrypt (FIPS 197, 128-bit
// key) with the 16-byte key number bits 6 and 7 of the slot param2, or of TempKey if it is FFFF; mode 03
// returns the product of two blocks in GCM's field (NIST SP 800-38D, section 6.3). Without AES_Enable in
// the configuration it is a parse error. TempKey stays as it is.
func (d *Device) aes(c command) ([]byte, status) {
	e := d.eeprom
	if e.image[atAESEnable]&1 == 0 {
		return nil, parseError
	}
	if c.mode == aesMultiply {
		if c.param2 != 0 || len(c.data) != 2*aes.BlockSize {
			return nil, parseError
		}
		return multiply(c.data[:aes.BlockSize], c.data[aes.BlockSize:]), success
	}
	operation := c.mode & 0x3F
	start := int(c.mode>>6) * aes.BlockSize
	if operation > aesDecrypt || len(c.data) != aes.BlockSize || c.param2 >= slots && c.param2 != inTempKey {
		return nil, parseError
	}
	var key []byte
	var s status
	if c.param2 == inTempKey {
		key, s = d.tempAESKey(start)
	} else {
		key, s = d.slotAESKey(int(c.param2), start)
	}
	if s != success {
		return nil, s
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, executionError
	}
	out := make([]byte, aes.BlockSize)
	if operation == aesEncrypt {
		block.Encrypt(out, c.data)
	} else {
		block.Decrypt(out, c.data)
	}
	return out, success
}

func (d *Device) tempAESKey(start int) ([]byte, status) {
	t := &d.volatile.tempKey
	if d.eeprom.stage() < tempKeyAESFrom || !t.data() || start+16 > t.size {
		return nil, executionError
	}
	return t.value[start : start+16], success
}

func (d *Device) slotAESKey(slot, start int) ([]byte, status) {
	e := d.eeprom
	if start+16 > slotSize(slot) {
		return nil, parseError
	}
	k := e.keyConfig(slot)
	if e.stage() != dataLocked || k.keyType() != typeAES || k.private() || !e.use(slot) {
		return nil, executionError
	}
	return e.slot(slot)[start : start+16], success
}

// multiply returns x · y in GF(2^128) with GCM's order of bits: the first bit is the coefficient of 1.
func multiply(x, y []byte) []byte {
	high, low := binary.BigEndian.Uint64(y), binary.BigEndian.Uint64(y[8:])
	var sumHigh, sumLow uint64
	for i := range 128 {
		if x[i/8]>>(7-i%8)&1 != 0 {
			sumHigh ^= high
			sumLow ^= low
		}
		carry := low & 1
		low = low>>1 | high<<63
		high = high>>1 ^ carry*0xE1<<56
	}
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, sumHigh), sumLow)
}
