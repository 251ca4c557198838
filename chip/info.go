package chip

const (
	infoRevision = 0x00
	infoKeyValid = 0x01
	infoState    = 0x02
)

// info is the command Info; it returns 4 bytes. Mode 00 is the revision, 01 whether the slot in param2
// holds a key that can be used, 02 the flags of TempKey. Modes 03 (no pin in the I2C part) and 04 are
// parse errors.
func (d *Device) info(c command) ([]byte, status) {
	if len(c.data) != 0 {
		return nil, parseError
	}
	switch c.mode {
	case infoRevision:
		return append([]byte(nil), d.eeprom.image[atRevision:atRevision+4]...), success
	case infoKeyValid:
		return d.keyValid(c.param2)
	case infoState:
		return d.state(), success
	}
	return nil, parseError
}

const selfTests = 0x3F // bits of SelfTest's mode

// selfTest is the command SelfTest; it returns a map of what failed, one byte: nothing ever does.
func (d *Device) selfTest(c command) ([]byte, status) {
	if c.mode&^selfTests != 0 || c.param2 != 0 || len(c.data) != 0 {
		return nil, parseError
	}
	return []byte{0x00}, success
}

// keyValid answers for P-256 keys; other slots have no notion of validity, and before the configuration
// lock no slot has a type.
func (d *Device) keyValid(param2 uint16) ([]byte, status) {
	if param2 >= slots {
		return nil, parseError
	}
	slot := int(param2)
	k := d.eeprom.keyConfig(slot)
	if d.eeprom.stage() == configOpen || k.keyType() != typeP256 {
		return nil, executionError
	}
	valid := d.eeprom.publicValid(slot)
	if k.private() {
		_, valid = d.eeprom.privateKey(slot)
	}
	answer := make([]byte, 4)
	if valid {
		answer[0] = 1
	}
	return answer, success
}

// state packs the flags: byte 0 has TempKey's, byte 1 TempKey.Valid in bit 7. The others tell of authorisation, which
// this chip does not have.
func (d *Device) state() []byte {
	answer := make([]byte, 4)
	t := &d.volatile.tempKey
	answer[0] = t.flagByte()
	if t.content != empty {
		answer[1] |= 1 << 7
	}
	return answer
}
