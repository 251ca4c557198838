package chip

// Bits of param1 in Read and Write.
const (
	zoneConfig = 0x00
	zoneOTP    = 0x01
	zoneData   = 0x02
	zoneMask   = 0x03
	zoneSealed = 0x40 // Write: encrypted, with a MAC
	zoneBlock  = 0x80 // 32 bytes instead of 4
)

const (
	wordSize  = 4
	blockSize = 32
	macSize   = 32
)

// place is where a Read or Write begins, and how much of its zone or slot lies from there on.
type place struct {
	slot   int // data zone only
	offset int // in the image
	room   int // bytes, more than 0
}

// locate decodes an address: block, then word of 4 bytes in bits 0 to 2; in the data zone the block begins
// at bit 8 and the slot at bit 3. It is false for what is not there, and for blocks not at their start.
func locate(mode byte, address uint16) (place, bool) {
	word := int(address & 7)
	block := int(address >> 3)
	p := place{}
	size := 0
	switch mode & zoneMask {
	case zoneConfig:
		size = configSize
	case zoneOTP:
		p.offset, size = otpStart, otpSize
	case zoneData:
		if address&0x80 != 0 {
			return place{}, false
		}
		p.slot, block = block&0x0F, int(address>>8)
		p.offset, size = slotStart(p.slot), slotSize(p.slot)
	}
	skip := block*blockSize + word*wordSize
	if skip >= size || mode&zoneBlock != 0 && word != 0 {
		return place{}, false
	}
	p.offset += skip
	p.room = size - skip
	return p, true
}

func unit(mode byte) int {
	if mode&zoneBlock != 0 {
		return blockSize
	}
	return wordSize
}

// read is the command Read; it returns 4 or 32 bytes. The configuration can always be read, OTP and slots
// from the data lock on, and of these only what is neither secret nor a private key.
func (d *Device) read(c command) ([]byte, status) {
	size := unit(c.mode)
	p, ok := locate(c.mode, c.param2)
	if c.mode&^(zoneMask|zoneBlock) != 0 || !ok || size > p.room || len(c.data) != 0 {
		return nil, parseError
	}
	e := d.eeprom
	zone := c.mode & zoneMask
	if zone != zoneConfig && e.stage() != dataLocked {
		return nil, executionError
	}
	if zone == zoneData {
		sc := e.slotConfig(p.slot)
		if e.keyConfig(p.slot).private() || sc.secret() || sc.encryptRead() {
			return nil, executionError
		}
	}
	return append([]byte(nil), e.image[p.offset:p.offset+size]...), success
}

// write is the command Write, of 4 or 32 bytes; in a slot's last block what lies past the slot's end is
// dropped. The configuration is writable until it is locked, except for bytes 0 to 15 and 84 to 87; OTP
// and slots in whole blocks until the data lock, slots after it as SlotConfig says: in clear, or
// encrypted and followed by a MAC, which mode bit 6 and the size say, or the size alone.
func (d *Device) write(c command) ([]byte, status) {
	size := unit(c.mode)
	want := size
	sealed := c.mode&zoneSealed != 0 || c.mode&zoneMask == zoneData && len(c.data) == blockSize+macSize
	if sealed {
		want += macSize
	}
	p, ok := locate(c.mode, c.param2)
	if c.mode&^(zoneMask|zoneSealed|zoneBlock) != 0 || !ok || len(c.data) != want {
		return nil, parseError
	}
	switch c.mode & zoneMask {
	case zoneConfig:
		if sealed || p.offset < writableFrom || p.offset < atSlotLocked && p.offset+size > atUserExtra {
			return nil, parseError
		}
		return nil, d.writeConfig(p.offset, c.data)
	case zoneOTP:
		if d.eeprom.stage() != dataOpen || size != blockSize || sealed {
			return nil, executionError
		}
		d.eeprom.write(p.offset, c.data)
		return nil, success
	default:
		if sealed {
			return nil, d.writeSealed(p, c)
		}
		if !d.eeprom.slotWritable(p.slot, size) {
			return nil, executionError
		}
		d.writeSlot(p, c.data)
		return nil, success
	}
}

// writeSealed writes a whole block that comes encrypted, as the data lock makes slots want whose WriteConfig says so.
func (d *Device) writeSealed(p place, c command) status {
	e := d.eeprom
	if len(c.data) != blockSize+macSize || e.stage() != dataLocked || e.keyConfig(p.slot).private() || e.slotLocked(p.slot) ||
		!e.slotConfig(p.slot).writeEncrypted() {
		return executionError
	}
	block := d.unseal(p.slot, c)
	if block == nil {
		return wrongWriteMAC
	}
	d.writeSlot(p, block)
	return success
}

func (d *Device) writeConfig(offset int, data []byte) status {
	e := d.eeprom
	if e.stage() != configOpen {
		return executionError
	}
	next := append([]byte(nil), data...)
	for i := range next {
		if at := offset + i; at == atSlotLocked || at == atSlotLocked+1 {
			next[i] &= e.image[at] // locks only close
		}
	}
	e.write(offset, next)
	return success
}

// Public keys that need validation carry the result in the first four bits of the slot.
const (
	markValid   = 0x50
	markInvalid = 0xA0
	markMask    = 0xF0
)

// publicValid says that the slot's public key was validated.
func (e *eeprom) publicValid(slot int) bool { return e.slot(slot)[0]&markMask == markValid }

// writeSlot stores data, and before anything else takes back a public key's validation.
func (d *Device) writeSlot(p place, data []byte) {
	e := d.eeprom
	next := append([]byte(nil), data[:min(len(data), p.room)]...)
	if e.keyConfig(p.slot).validatedPublic() {
		start := slotStart(p.slot)
		e.write(start, []byte{e.image[start]&^markMask | markInvalid})
		if p.offset == start {
			next[0] = next[0]&^markMask | markInvalid
		}
	}
	e.write(p.offset, next)
}
