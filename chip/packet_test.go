package chip

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

// TestCRC has the groups whose checksums are known from public documents and captures.
func TestCRC(t *testing.T) {
	for _, group := range []string{
		"04 11 33 43", "04 00 03 40", "04 01 00 c3", "04 03 83 42", "04 05 c3 43", "04 07 40 c2",
		"04 08 60 c0", "04 0f 23 42", "04 ee 31 41", "04 ff 01 42",
		"07 30 00 00 00 03 5d", "07 1b 00 00 00 24 cd", "07 02 80 00 00 09 ad", "07 40 04 00 00 83 87",
		"07 17 80 00 00 39 8d", "07 17 81 00 00 3a 07",
	} {
		g := unhex(t, group)
		body, want := g[:len(g)-2], binary.LittleEndian.Uint16(g[len(g)-2:])
		if got := CRC(body); got != want {
			t.Errorf("CRC(% x) = %04x, want %04x", body, got, want)
		}
		if got := wrap(body[1:]...); !bytes.Equal(got, g) {
			t.Errorf("wrap(% x) = % x, want % x", body[1:], got, g)
		}
	}
}

func TestDamagedGroups(t *testing.T) {
	info := unhex(t, "07 30 00 00 00 03 5d")
	damaged := append([]byte(nil), info...)
	damaged[2] ^= 0x01
	tests := []struct {
		name  string
		group []byte
		want  status
	}{
		{"nothing", nil, crcError},
		{"one byte", info[:1], crcError},
		{"one short", info[:6], crcError},
		{"one long", append(append([]byte(nil), info...), 0), crcError},
		{"bit error", damaged, crcError},
		{"longer than the buffer", wrap(make([]byte, maxGroup-2)...), crcError},
		{"as long as the buffer", wrap(make([]byte, maxGroup-3)...), parseError},
		{"no parameters", wrap(byte(opInfo)), parseError},
		{"half of param2", wrap(byte(opInfo), 0, 0), parseError},
		{"unknown opcode", wrap(0x13, 0, 0, 0), parseError},
	}
	for _, tt := range tests {
		d := New(Options{})
		d.Wake()
		if got, want := d.Exchange(tt.group), wrap(byte(tt.want)); !bytes.Equal(got, want) {
			t.Errorf("%s: % x, want % x", tt.name, got, want)
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
