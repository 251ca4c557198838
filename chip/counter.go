package chip

import (
	"encoding/binary"
	"math/bits"
)

const maxCount = 2097151 // 65,535 * 32 + 31

// counter is the command Counter: mode 00 reads, 01 counts one up; param2 is 0 or 1. It returns the value
// in 4 bytes, low byte first. At the maximum it refuses to count.
func (d *Device) counter(c command) ([]byte, status) {
	if c.mode > 1 || c.param2 > 1 || len(c.data) != 0 {
		return nil, parseError
	}
	if d.eeprom.stage() < counterFrom {
		return nil, executionError
	}
	n := int(c.param2)
	if c.mode == 1 && !d.eeprom.countUp(n) {
		return nil, executionError
	}
	return binary.LittleEndian.AppendUint32(nil, d.eeprom.count(n)), success
}

// A counter is 8 bytes, each number high byte first: two thermometers of 16 bits, in which each count
// clears the highest bit that is set, then for each the number of times that it was filled again. The
// thermometers take turns, 16 counts each, so one stands still while the other is renewed.
//
//	thermometer A(2) thermometer B(2) turns A(2) turns B(2)
//
// This meets all that is documented: zero is FFFFFFFF 00000000, the maximum is 2,097,151, and power lost
// at any byte loses no count.

// decodeCounter reads the value. B's turn begins when A has run out. It ends when A is full again, but A
// is only renewed while B shows its last bit, and then B still counts.
func decodeCounter(b []byte) uint32 {
	a, z := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if a == 0 || z == 1 {
		return 32*uint32(binary.BigEndian.Uint16(b[6:])) + 16 + uint32(bits.LeadingZeros16(z))
	}
	return 32*uint32(binary.BigEndian.Uint16(b[4:])) + uint32(bits.LeadingZeros16(a))
}

// encodeCounter writes the value, at most maxCount, into 8 bytes.
func encodeCounter(b []byte, value uint32) {
	thermometer := func(value uint32) (level, turns uint16) {
		return uint16(0xFFFF >> min(value%32, 16)), uint16(value / 32)
	}
	a, turnsA := thermometer(value)
	z, turnsB := uint16(0xFFFF), uint16(0)
	if value >= 16 {
		z, turnsB = thermometer(value - 16)
	}
	binary.BigEndian.PutUint16(b, a)
	binary.BigEndian.PutUint16(b[2:], z)
	binary.BigEndian.PutUint16(b[4:], turnsA)
	binary.BigEndian.PutUint16(b[6:], turnsB)
}

// count reads a counter. What the line wrote there need not be a counter's encoding: more is the maximum.
func (e *eeprom) count(n int) uint32 { return min(decodeCounter(e.image[atCounter+8*n:]), maxCount) }

// countUp adds one to a counter; false if it is at its maximum. The thermometer that takes over is
// written before the last bit of the other is cleared, so at each byte the value is the old or the new.
func (e *eeprom) countUp(n int) bool {
	value := e.count(n)
	if value >= maxCount {
		return false
	}
	at := atCounter + 8*n
	var next [8]byte
	encodeCounter(next[:], value+1)
	first, last := 0, 2 // A is renewed, then B's last bit cleared
	if value%32 < 16 {
		first, last = 2, 0
	}
	e.write(at+4, next[4:])
	e.write(at+first, next[first:first+2])
	e.write(at+last, next[last:last+2])
	return true
}

// countUse counts one use of a key whose use is limited; false if none is left.
func (e *eeprom) countUse() bool {
	limit := uint32(maxCount)
	if slot, enabled := countMatch(e.image[atCountMatch]); enabled {
		stored := e.slot(slot)
		limit = binary.LittleEndian.Uint32(stored)
		if binary.LittleEndian.Uint32(stored[4:]) != limit {
			return false
		}
	}
	return e.count(0) < limit && e.countUp(0)
}
