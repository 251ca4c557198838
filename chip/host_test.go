package chip

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// host is the other end of the bus in tests: it wakes the chip once and makes and checks groups.
type host struct {
	t testing.TB
	*Device
}

// blank is a chip with factory contents.
func blank(t testing.TB) host {
	h := host{t, New(Options{})}
	h.Wake()
	return h
}

// payload sends one command and returns the checked response's payload.
func (h host) payload(op opcode, mode byte, param2 uint16, data ...byte) []byte {
	h.t.Helper()
	body := binary.LittleEndian.AppendUint16([]byte{byte(op), mode}, param2)
	response := h.Exchange(wrap(append(body, data...)...))
	checkGroup(h.t, response)
	return response[1 : len(response)-2]
}

// get sends a command that must return n bytes.
func (h host) get(n int, op opcode, mode byte, param2 uint16, data ...byte) []byte {
	h.t.Helper()
	p := h.payload(op, mode, param2, data...)
	if len(p) != n {
		h.t.Fatalf("command %02x mode %02x param2 %04x: %d bytes (% x), want %d", op, mode, param2, len(p), p[:1], n)
	}
	return p
}

// want sends a command that must return this status.
func (h host) want(s status, op opcode, mode byte, param2 uint16, data ...byte) {
	h.t.Helper()
	if p := h.payload(op, mode, param2, data...); !bytes.Equal(p, []byte{byte(s)}) {
		h.t.Fatalf("command %02x mode %02x param2 %04x: % x, want status %02x", op, mode, param2, p, byte(s))
	}
}

// fresh drops the watchdog's count, as a host does between commands.
func (h host) fresh() host {
	h.Idle()
	h.Wake()
	return h
}

func checkGroup(t testing.TB, group []byte) {
	t.Helper()
	n := len(group)
	if n < 4 || int(group[0]) != n || binary.LittleEndian.Uint16(group[n-2:]) != CRC(group[:n-2]) {
		t.Fatalf("malformed response % x", group)
	}
}

// layout is a configuration as the line writes it: a SlotConfig and a KeyConfig for each slot.
type layout [slots]struct {
	slot slotConfig
	key  keyConfig
}

// product is the project's own layout.
func product() layout {
	var l layout
	for i := range l {
		l[i].slot, l[i].key = 0x8080, 0x001C // unused
	}
	l[0].slot, l[0].key = 0x0081, 0x0013 // identity: external signatures
	l[1].slot, l[1].key = 0x0082, 0x0013 // attestation: internal signatures
	l[6].slot, l[6].key = 0x8080, 0x007C // IO protection key
	l[8].slot, l[8].key = 0x0000, 0x003C // certificates
	return l
}

// zone is the configuration zone with the layout in it, otherwise as it is now.
func (h host) zone(l layout) []byte {
	z := h.readConfig()
	for i := range l {
		binary.LittleEndian.PutUint16(z[atSlotConfig+2*i:], uint16(l[i].slot))
		binary.LittleEndian.PutUint16(z[atKeyConfig+2*i:], uint16(l[i].key))
	}
	return z
}

func (h host) readConfig() []byte {
	h.t.Helper()
	var z []byte
	for block := range uint16(4) {
		z = append(z, h.get(32, opRead, 0x80, block<<3)...)
	}
	return z
}

// writeConfigWords writes a zone from byte 16 on, without the word of the lock bytes.
func (h host) writeConfigWords(zone []byte) {
	h.t.Helper()
	for at := 16; at < configSize; at += 4 {
		if at != atUserExtra {
			h.fresh().want(success, opWrite, zoneConfig, uint16(at/4), zone[at:at+4]...)
		}
	}
}

// configured is a chip with a layout and the configuration locked.
func configured(t testing.TB, l layout) host {
	h := blank(t)
	h.writeConfigWords(h.zone(l))
	h.fresh().want(success, opLock, lockConfig|lockNoCRC, 0)
	return h.fresh()
}

// locked is a chip with a layout, a private key in each slot for one, and both zones locked.
func locked(t testing.TB, l layout) host {
	h := configured(t, l)
	for i := range uint16(slots) {
		if l[i].key.private() && l[i].key.keyType() == typeP256 {
			h.fresh().get(64, opGenKey, genKeyPrivate, i)
		}
	}
	h.fresh().want(success, opLock, lockData|lockNoCRC, 0)
	return h.fresh()
}
