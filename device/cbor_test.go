//go:build cgo

package device

import (
	"bytes"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

func TestReadHead(t *testing.T) {
	tests := []struct {
		argument uint32
		low      byte // the head's low five bits
		rest     string
	}{
		{0, 0, ""}, {1, 1, ""}, {23, 23, ""},
		{24, 24, "18"}, {255, 24, "ff"},
		{256, 25, "0100"}, {65535, 25, "ffff"},
		{65536, 26, "00010000"}, {1<<32 - 1, 26, "ffffffff"},
	}
	for _, test := range tests {
		for major := range 8 {
			encoded := append([]byte{byte(major<<5) | test.low}, unhex(t, test.rest)...)
			if got, err := readHead(major, encoded); err != nil || got != test.argument {
				t.Errorf("%x: %d, %v", encoded, got, err)
			}
			for other := range 8 {
				if got, err := readHead(other, encoded); other != major && (err == nil || got != 0) {
					t.Errorf("%x as major type %d: %d, %v", encoded, other, got, err)
				}
			}
			for size := range encoded {
				if got, err := readHead(major, encoded[:size]); err == nil || got != 0 {
					t.Errorf("%x cut to %d bytes: %d, %v", encoded, size, got, err)
				}
			}
			if _, err := readHead(major, append(encoded, 0)); err == nil {
				t.Errorf("%x with a byte after it: accepted", encoded)
			}
			want := append(bytes.Clone(encoded), 0x40) // and an empty byte string
			if got, size := write(len(want), []head{{major, test.argument}}, 2, nil); size != len(want) || !bytes.Equal(got[:size], want) {
				t.Errorf("%d, %d: wrote %x (%d)", major, test.argument, got, size)
			}
		}
	}
}

func TestReadHeadRefusals(t *testing.T) {
	for name, encoded := range map[string]string{
		"0 in one byte":          "1800",
		"23 in one byte":         "1817",
		"0 in two bytes":         "190000",
		"255 in two bytes":       "1900ff",
		"0 in four bytes":        "1a00000000",
		"65535 in four bytes":    "1a0000ffff",
		"0 in eight bytes":       "1b0000000000000000",
		"2^32 - 1 in eight":      "1b00000000ffffffff",
		"2^32, larger than ours": "1b0000000100000000",
		"reserved 28":            "1c",
		"reserved 29":            "1d",
		"reserved 30":            "1e",
		"indefinite length":      "1f",
	} {
		for major := range 8 {
			b := unhex(t, encoded)
			b[0] |= byte(major << 5)
			if got, err := readHead(major, b); err == nil || got != 0 {
				t.Errorf("%s, major type %d: %d, %v", name, major, got, err)
			}
		}
	}
}

func TestReadBytes(t *testing.T) {
	for size, h := range map[int]string{0: "40", 23: "57", 24: "5818", 255: "58ff", 256: "590100"} {
		content := bytes.Repeat([]byte{0xa5}, size)
		encoded := append(unhex(t, h), content...)
		if got, err := readBytes(size, encoded); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes: %x, %v", size, got, err)
		}
		for cut := range encoded {
			if _, err := readBytes(size, encoded[:cut]); err == nil {
				t.Errorf("%d bytes cut to %d: accepted", size, cut)
			}
		}
		if _, err := readBytes(size, append(encoded, 0)); err == nil {
			t.Errorf("%d bytes with a byte after them: accepted", size)
		}
		if _, err := readBytes(size+1, append(encoded, 0)); err == nil {
			t.Errorf("%d bytes read as one more: accepted", size)
		}
	}
	if _, err := readBytes(1<<32-1, unhex(t, "5affffffff00")); err == nil {
		t.Error("a string longer than the input: accepted")
	}
}

// A writer one byte short, or with no room at all, says how much it takes and touches nothing beyond.
func TestWriteRoom(t *testing.T) {
	heads := []head{{4, 3}, {0, 1000}, {7, 22}}
	want := unhex(t, "831903e8f6636f6e65")
	for room := range len(want) + 1 {
		got, size := write(room, heads, 3, []byte("one"))
		if size != len(want) || !bytes.Equal(got[:room], want[:room]) || got[room] != 0 {
			t.Errorf("room %d: %x, length %d", room, got, size)
		}
	}
}

func FuzzHead(f *testing.F) {
	for _, seed := range []string{"00", "1818", "390100", "5a00010000", "f6", "1b0000000100000000"} {
		f.Add(unhex(f, seed))
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		for major := range 8 {
			argument, err := readHead(major, encoded)
			if err != nil {
				continue
			}
			again, size := write(len(encoded), []head{{major, argument}}, 2, nil)
			if size != len(encoded)+1 || !bytes.Equal(again[:len(encoded)], encoded) {
				t.Fatalf("%x was read as %d, %d, which is %x", encoded, major, argument, again)
			}
		}
	})
}

// Whole items of every kind, deep ones too; whatever follows stays.
func TestSkipItem(t *testing.T) {
	deep := strings.Repeat("81", 500) + "00"
	for _, encoded := range []string{
		"00", "1818", "1affffffff", "20", "3903e7", "40", "4101", "60", "6161", "80", "820102", "a0", "a10102", "a2010203820405",
		"c100", "d82063613a62", "d820c100", "e0", "f4", "f5", "f6", "f7", "83a0808140", "a1a1010243000000", deep,
	} {
		b := unhex(t, encoded)
		if size, err := skipItem(append(b, 0xff, 0)); err != nil || size != len(b) {
			t.Errorf("%.20s: %d, %v", encoded, size, err)
		}
		for cut := range b {
			if size, err := skipItem(b[:cut]); err == nil {
				t.Errorf("%.20s cut to %d: %d", encoded, cut, size)
			}
		}
	}
	for _, encoded := range []string{
		"", "1817", "5f4100ff", "7fff", "9fff", "bfff", "ff", "f800", "f818", "f820", "f8ff", "f90000", "f93c00", "fa3f800000",
		"fb3ff0000000000000", "1b0000000100000000", "9affffffff", "baffffffff", "9a80000000", "ba80000000", "9a00010000", "5affffffff",
		"da00010000", "a101", "8200", "81" + "9affffffff", "a1" + "9affffffff" + "00",
	} {
		if size, err := skipItem(unhex(t, encoded)); err == nil {
			t.Errorf("%s: %d", encoded, size)
		}
	}
}

// What the library passes over is one item to another decoder too.
func FuzzSkipItem(f *testing.F) {
	for _, seed := range []string{"00", "a10102", "d82063613a62", "9affffffff", "f818", "8183a0f440"} {
		f.Add(unhex(f, seed))
	}
	options := cbor.DecOptions{
		IndefLength: cbor.IndefLengthForbidden, MaxNestedLevels: 65535, MaxArrayElements: 1<<31 - 1, MaxMapPairs: 1<<31 - 1,
	}
	mode, err := options.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		if len(encoded) > 4096 {
			return
		}
		size, err := skipItem(encoded)
		if err != nil {
			return
		}
		if err := mode.Wellformed(encoded[:size]); err != nil {
			t.Fatalf("%x: %v", encoded[:size], err)
		}
	})
}
