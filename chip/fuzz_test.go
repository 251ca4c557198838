package chip

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// FuzzParse: a group that is taken apart is the one that is put together of its parts.
func FuzzParse(f *testing.F) {
	f.Add(unhex(f, "07 30 00 00 00 03 5d"))
	f.Add(unhex(f, "04 11 33 43"))
	f.Add(wrap(append([]byte{byte(opNonce), 0x03, 0, 0}, make([]byte, 32)...)...))
	f.Fuzz(func(t *testing.T, group []byte) {
		c, s := parse(group)
		if s != success {
			return
		}
		body := binary.LittleEndian.AppendUint16([]byte{byte(c.opcode), c.mode}, c.param2)
		if got := wrap(append(body, c.data...)...); !bytes.Equal(got, group) {
			t.Errorf("% x was put together as % x", group, got)
		}
	})
}

// FuzzExchange runs scripts of commands, whole and damaged, from each lock state. Every response is well
// formed, no lock ever opens, the manufacturer's bytes never change, and no private key leaves the chip.
func FuzzExchange(f *testing.F) {
	l := product()
	l[2].slot, l[2].key = 0x2085, 0x0033
	l[3].slot, l[3].key = 0x008C, 0x0073
	l[5].slot, l[5].key = 0x0080, 0x0018
	l[9].slot, l[9].key = 0x1000, 0x0012
	l[10].slot, l[10].key = 0x0000, 0x0010
	open := blank(f)
	open.writeConfigWords(open.zone(l))
	images := [3][imageSize]byte{
		configOpen: open.eeprom.image,
		dataOpen:   configured(f, l).eeprom.image,
		dataLocked: locked(f, l).eeprom.image,
	}

	// One step is an opcode's number, mode, param2, a count of data and the data; see step.
	f.Add(byte(0), []byte{3, 0x80, 0, 0, 0, 7, 4, 2, 0, 0, 3, 0x81, 0, 0, 0, 8, 0x80, 2, 0, 0})
	f.Add(byte(1), []byte{7, 4, 2, 0, 0, 3, 0x81, 0, 0, 0, 2, 3, 0, 0, 32})
	f.Add(byte(2), []byte{2, 3, 0, 0, 32, 7, 4, 0xFF, 0xFF, 0, 9, 13, 0, 0, 255, 0xFF, 3, 1, 2, 3})
	f.Fuzz(func(t *testing.T, stage byte, script []byte) {
		var seed [32]byte
		copy(seed[:], script)
		d := newDevice(&eeprom{image: images[stage%3]}, Options{Rand: rand.NewChaCha8(seed)})
		d.Wake()
		for len(script) > 0 {
			before := d.eeprom.image
			keys := d.privateKeys()
			var response []byte
			response, script = step(t, d, script)
			if response != nil {
				checkGroup(t, response)
			}
			checkLocks(t, &before, &d.eeprom.image)
			for _, key := range append(keys, d.privateKeys()...) {
				for i := range len(key) - 8 {
					if bytes.Contains(response, key[i:i+8]) {
						t.Fatalf("response % x has bytes of a private key", response)
					}
				}
			}
		}
	})
}

// step executes the first step of a script and returns its response and the rest.
func step(t *testing.T, d *Device, script []byte) (response, rest []byte) {
	opcodes := []opcode{opRead, opWrite, opNonce, opLock, opRandom, opCounter, opInfo, opGenKey, opSign, opECDH,
		opVerify, opAES, opGenDig, opMAC, opSelfTest, 0x47}
	take := func(n int) []byte {
		b := make([]byte, n) // zeros where the script ends
		copy(b, script)
		script = script[min(n, len(script)):]
		return b
	}
	switch kind := take(1)[0]; kind {
	case 0xFF: // a group as it is
		n := int(take(1)[0])
		return d.Exchange(take(n)), script
	case 0xFE:
		d.Sleep()
		return d.Wake(), script
	case 0xFD:
		d.Idle()
		return d.Wake(), script
	default:
		head := take(4)
		var data []byte
		if n := int(head[3]); n == 255 {
			data = generator(t)
		} else {
			data = take(n)
		}
		body := append([]byte{byte(opcodes[int(kind)%len(opcodes)])}, head[:3]...)
		return d.Exchange(wrap(append(body, data...)...)), script
	}
}

// privateKeys returns the keys that must not leave the chip.
func (d *Device) privateKeys() [][]byte {
	var keys [][]byte
	if t := d.volatile.tempKey; t.content == privateKey {
		keys = append(keys, t.value[:scalarSize])
	}
	for slot := range slots {
		if key, ok := d.eeprom.privateKey(slot); ok && d.eeprom.privateSlot(slot) {
			keys = append(keys, key.Bytes())
		}
	}
	return keys
}

func checkLocks(t *testing.T, before, after *[imageSize]byte) {
	for _, at := range []int{atLockValue, atLockConfig} {
		if before[at] != unlocked && after[at] == unlocked {
			t.Fatalf("lock byte %d opened", at)
		}
	}
	for _, at := range []int{atSlotLocked, atSlotLocked + 1} {
		if after[at]&^before[at] != 0 {
			t.Fatalf("SlotLocked byte %d went from %02x to %02x", at, before[at], after[at])
		}
	}
	if !bytes.Equal(before[:writableFrom], after[:writableFrom]) {
		t.Fatal("the manufacturer's bytes changed")
	}
	if before[atLockConfig] == unlocked {
		return
	}
	if !bytes.Equal(before[writableFrom:atCounter], after[writableFrom:atCounter]) ||
		!bytes.Equal(before[atKeyConfig:configSize], after[atKeyConfig:configSize]) {
		t.Fatal("a locked configuration changed")
	}
	for _, at := range []int{atCounter, atCounter + 8} {
		if decodeCounter(after[at:]) < decodeCounter(before[at:]) {
			t.Fatal("a counter went back")
		}
	}
}
