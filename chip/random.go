package chip

import (
	"bytes"
	"crypto/sha256"
	"io"
)

// draw returns one random number. Until the configuration is locked it is the constant FF FF 00 00
// repeated, which keeps people from making keys with a chip that is not set up.
func (d *Device) draw() ([]byte, status) {
	if d.eeprom.stage() == configOpen {
		return bytes.Repeat([]byte{0xFF, 0xFF, 0x00, 0x00}, 8), success
	}
	number := make([]byte, 32)
	if _, err := io.ReadFull(d.rand, number); err != nil {
		return nil, healthError
	}
	return number, success
}

// random is the command Random: mode 00, or 01 without an update of the seed. It returns 32 bytes.
func (d *Device) random(c command) ([]byte, status) {
	if c.mode > 1 || c.param2 != 0 || len(c.data) != 0 {
		return nil, parseError
	}
	return d.draw()
}

const (
	noncePassThrough = 0x03
	nonceLong        = 0x20   // 64 bytes instead of 32
	nonceMix         = 0x8000 // in param2: TempKey instead of a random number
)

// nonce is the command Nonce. Modes 00 and 01 combine a random number with the host's 20 bytes:
// TempKey = SHA-256(random ‖ input ‖ 16 ‖ mode ‖ 00), and return the random number, or the new TempKey if
// its old value took the random number's place. Mode 03 loads the host's bytes; bits 6 and 7 choose
// where to.
func (d *Device) nonce(c command) ([]byte, status) {
	if c.mode&0x03 == noncePassThrough {
		return d.passThrough(c)
	}
	if c.mode > 1 || c.param2&^nonceMix != 0 || len(c.data) != 20 {
		return nil, parseError
	}
	t := &d.volatile.tempKey
	mix := c.param2 == nonceMix
	number, source := t.value[:32], mixedSource(t.content)
	if mix {
		if !t.data() {
			return nil, executionError
		}
	} else {
		var s status
		if number, s = d.draw(); s != success {
			return nil, s
		}
		source = randomData
	}
	h := sha256.New()
	h.Write(number)
	h.Write(c.data)
	h.Write([]byte{byte(opNonce), c.mode, 0x00})
	value := h.Sum(nil)
	t.load(source, value)
	if mix {
		return value, success
	}
	return number, success
}

func (d *Device) passThrough(c command) ([]byte, status) {
	size := 32
	if c.mode&nonceLong != 0 {
		size = 64
	}
	if c.param2 != 0 || len(c.data) != size {
		return nil, parseError
	}
	switch c.mode &^ nonceLong {
	case 0x03:
		d.volatile.tempKey.load(inputData, c.data)
	case 0x43:
		d.volatile.msgDigBuf.load(inputData, c.data)
	case 0x83: // AltKeyBuf, 32 bytes; only KDF reads it, which this chip lacks
		if size != 32 {
			return nil, parseError
		}
	default:
		return nil, parseError
	}
	return nil, success
}
