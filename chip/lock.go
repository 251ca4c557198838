package chip

const (
	lockConfig = 0x00
	lockData   = 0x01
	lockSlot   = 0x02
	lockNoCRC  = 0x80
)

// lock is the command Lock; no lock is ever opened again. Mode 00 locks the configuration, 01 data and
// OTP, 02 with a slot number in bits 2 to 5 one slot. For the zones param2 is their CRC unless mode bit 7
// says to ignore it; for a slot it is the slot's, or 0. A wrong CRC is an execution error and locks nothing.
func (d *Device) lock(c command) ([]byte, status) {
	zone := c.mode & 0x03
	slot := int(c.mode >> 2 & 0x0F)
	unchecked := c.mode&lockNoCRC != 0
	if c.mode&0x40 != 0 || zone > lockSlot || zone != lockSlot && slot != 0 ||
		unchecked && c.param2 != 0 || len(c.data) != 0 {
		return nil, parseError
	}
	e := d.eeprom
	switch zone {
	case lockConfig:
		if e.stage() != configOpen || !unchecked && c.param2 != CRC(e.image[:configSize]) {
			return nil, executionError
		}
		e.write(atLockConfig, []byte{0x00})
	case lockData:
		if e.stage() != dataOpen || !unchecked && c.param2 != e.dataCRC() {
			return nil, executionError
		}
		e.write(atLockValue, []byte{0x00})
	case lockSlot:
		if e.stage() < slotLockFrom || !e.keyConfig(slot).lockable() || e.slotLocked(slot) ||
			c.param2 != 0 && c.param2 != CRC(e.slot(slot)) {
			return nil, executionError
		}
		at := atSlotLocked + slot/8
		e.write(at, []byte{e.image[at] &^ (1 << (slot % 8))})
	}
	return nil, success
}

// dataCRC covers the slots in order, without those of private keys, and then OTP.
func (e *eeprom) dataCRC() uint16 {
	var summed []byte
	for slot := range slots {
		if !e.keyConfig(slot).private() {
			summed = append(summed, e.slot(slot)...)
		}
	}
	return CRC(append(summed, e.image[otpStart:otpStart+otpSize]...))
}
