package chip

import "encoding/binary"

// The EEPROM as one image: configuration, OTP and the sixteen slots, one after the other.
const (
	slots      = 16
	configSize = 128
	otpStart   = configSize
	otpSize    = 64
	dataStart  = otpStart + otpSize
	dataSize   = 8*36 + 416 + 7*72
	imageSize  = dataStart + dataSize // 1400 bytes
)

// Offsets in the configuration zone.
const (
	atRevision    = 4
	atAESEnable   = 13 // bit 0
	atI2CEnable   = 14 // bit 0
	atI2CAddress  = 16
	atCountMatch  = 18
	atChipMode    = 19 // bit 2 long watchdog, bits 3 to 7 clock divider
	atSlotConfig  = 20 // 16 times 2 bytes, low byte first
	atCounter     = 52 // 2 times 8 bytes
	atKDFIVString = 73
	atUserExtra   = 84 // with UserExtraAdd in 85: for UpdateExtra alone
	atLockValue   = 86 // data and OTP zones
	atLockConfig  = 87
	atSlotLocked  = 88 // 2 bytes, low byte first; a bit that is 0 means locked
	atChipOptions = 90 // 2 bytes, low byte first
	atKeyConfig   = 96 // 16 times 2 bytes, low byte first

	writableFrom = 16   // what lies before is the manufacturer's
	unlocked     = 0x55 // of the two lock bytes; any other value is locked
)

// slotSize is the size of a slot in bytes.
func slotSize(slot int) int {
	switch {
	case slot < 8:
		return 36
	case slot == 8:
		return 416
	default:
		return 72
	}
}

// slotStart is the offset of a slot in the image.
func slotStart(slot int) int {
	start := dataStart
	for i := range slot {
		start += slotSize(i)
	}
	return start
}

// factory is the EEPROM as the manufacturer delivers it: nothing locked, no keys, counters at zero.
func factory(serial [9]byte) [imageSize]byte {
	var image [imageSize]byte
	copy(image[0:], serial[:4])
	copy(image[atRevision:], []byte{0x00, 0x00, 0x60, 0x02})
	copy(image[8:], serial[4:])
	image[atAESEnable] = 1
	image[atI2CEnable] = 1
	image[atI2CAddress] = 0xC0
	for slot := range slots {
		binary.LittleEndian.PutUint16(image[atSlotConfig+2*slot:], factorySlotConfig)
		binary.LittleEndian.PutUint16(image[atKeyConfig+2*slot:], factoryKeyConfig)
	}
	for i := range 2 {
		encodeCounter(image[atCounter+8*i:], 0)
	}
	copy(image[atKDFIVString:], []byte{0x69, 0x76})
	image[atLockValue] = unlocked
	image[atLockConfig] = unlocked
	binary.LittleEndian.PutUint16(image[atSlotLocked:], 0xFFFF)
	for i := otpStart; i < imageSize; i++ {
		image[i] = erased
	}
	return image
}

// slotConfig is one word of SlotConfig.
type slotConfig uint16

// For a private key the ReadKey field is four permissions.
func (c slotConfig) externalSign() bool { return c&0x0001 != 0 }
func (c slotConfig) internalSign() bool { return c&0x0002 != 0 }
func (c slotConfig) ecdh() bool         { return c&0x0004 != 0 }
func (c slotConfig) ecdhToSlot() bool   { return c&0x0008 != 0 }
func (c slotConfig) noMAC() bool        { return c&0x0010 != 0 }
func (c slotConfig) limitedUse() bool   { return c&0x0020 != 0 }
func (c slotConfig) encryptRead() bool  { return c&0x0040 != 0 }
func (c slotConfig) secret() bool       { return c&0x0080 != 0 }

// keyConfig is one word of KeyConfig.
type keyConfig uint16

const (
	typeP256 = 4
	typeAES  = 6
)

func (c keyConfig) private() bool           { return c&0x0001 != 0 }
func (c keyConfig) publicInfo() bool        { return c&0x0002 != 0 }
func (c keyConfig) keyType() int            { return int(c >> 2 & 7) }
func (c keyConfig) lockable() bool          { return c&0x0020 != 0 }
func (c keyConfig) requireRandom() bool     { return c&0x0040 != 0 }
func (c keyConfig) requireAuth() bool       { return c&0x0080 != 0 }
func (c keyConfig) persistentDisable() bool { return c&0x1000 != 0 }

// validatedPublic says that the slot holds a public key which must be validated before it is used.
func (c keyConfig) validatedPublic() bool {
	return c.keyType() == typeP256 && !c.private() && c.publicInfo()
}

func (e *eeprom) word(at int) uint16 { return binary.LittleEndian.Uint16(e.image[at:]) }

func (e *eeprom) slotConfig(slot int) slotConfig { return slotConfig(e.word(atSlotConfig + 2*slot)) }
func (e *eeprom) keyConfig(slot int) keyConfig   { return keyConfig(e.word(atKeyConfig + 2*slot)) }
func (e *eeprom) slotLocked(slot int) bool       { return e.word(atSlotLocked)>>slot&1 == 0 }

// slot returns the slot's contents; they alias the image and are for reading only.
func (e *eeprom) slot(slot int) []byte {
	start := slotStart(slot)
	return e.image[start : start+slotSize(slot)]
}

// stage is how far the locks have been closed. It only ever grows.
type stage int

const (
	configOpen stage = iota
	dataOpen         // configuration locked
	dataLocked       // configuration, data and OTP locked: every policy applies
)

func (e *eeprom) stage() stage {
	switch {
	case e.image[atLockConfig] == unlocked:
		return configOpen
	case e.image[atLockValue] == unlocked:
		return dataOpen
	default:
		return dataLocked
	}
}
