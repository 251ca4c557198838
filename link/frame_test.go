package link

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// count gives the bytes first, first + 1 ... last.
func count(first, last int) []byte {
	var b []byte
	for i := first; i <= last; i++ {
		b = append(b, byte(i))
	}
	return b
}

// The examples of the Wikipedia article "Consistent Overhead Byte Stuffing" (encoding examples 1 to 11), without the
// delimiter.
func TestCOBSExamples(t *testing.T) {
	for _, test := range []struct{ name, data, encoded string }{
		{"1", "00", "0101"},
		{"2", "0000", "010101"},
		{"3", "001100", "01021101"},
		{"4", "11220033", "0311220233"},
		{"5", "11223344", "0511223344"},
		{"6", "11000000", "0211010101"},
		{"7", hex.EncodeToString(count(0x01, 0xFE)), "ff" + hex.EncodeToString(count(0x01, 0xFE))},
		{"8", hex.EncodeToString(count(0x00, 0xFE)), "01ff" + hex.EncodeToString(count(0x01, 0xFE))},
		{"9", hex.EncodeToString(count(0x01, 0xFF)), "ff" + hex.EncodeToString(count(0x01, 0xFE)) + "02ff"},
		{"10", hex.EncodeToString(count(0x02, 0xFF)) + "00", "ff" + hex.EncodeToString(count(0x02, 0xFF)) + "0101"},
		{"11", hex.EncodeToString(count(0x03, 0xFF)) + "0001", "fe" + hex.EncodeToString(count(0x03, 0xFF)) + "0201"},
	} {
		t.Run(test.name, func(t *testing.T) {
			data, encoded := unhex(t, test.data), unhex(t, test.encoded)
			if got := appendCOBS(nil, data); !bytes.Equal(got, encoded) {
				t.Errorf("encoded %x, want %x", got, encoded)
			}
			if got, err := decodeCOBS(encoded); err != nil || !bytes.Equal(got, data) {
				t.Errorf("decoded %x, %v, want %x", got, err, data)
			}
		})
	}
}

func TestCOBSRefuses(t *testing.T) {
	full := hex.EncodeToString(count(0x01, 0xFE))
	for _, test := range []struct{ name, encoded string }{
		{"nothing", ""},
		{"zero code", "00"},
		{"zero in a block", "03110022"},
		{"block past the end", "031122" + "0211" + "05"},
		{"code alone", "02"},
		{"empty block after a full last one", "ff" + full + "01"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := decodeCOBS(unhex(t, test.encoded)); err == nil {
				t.Errorf("decoded %x", got)
			}
		})
	}
}

// Packets printed in Microchip's ATECC data sheets: the answer to wake, and Info with mode 0.
func TestCRC(t *testing.T) {
	for _, test := range []struct {
		data string
		crc  uint16
	}{
		{"0411", 0x4333},
		{"0400", 0x4003},
		{"0730000000", 0x5D03},
		{"", 0},
	} {
		if got := crc16(unhex(t, test.data)); got != test.crc {
			t.Errorf("crc of %s is %04x, want %04x", test.data, got, test.crc)
		}
	}
}

// The example of docs/wire.md: hello and the reply to a seal, each as payload and as frame.
func TestDocumentedFrames(t *testing.T) {
	page, err := os.ReadFile("../docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	chip := [9]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0xEE}
	locks := Locks{0x00, 0x00, 0xFF, 0xFE}
	want := "```\n"
	for _, items := range [][]any{
		{0x12345678, 0, 1},
		{0x12345678, 5, -6, 0, chip, locks, 0, true},
	} {
		payload, err := cbor.Marshal(items)
		if err != nil {
			t.Fatal(err)
		}
		frame := encodeFrame(payload)
		if items[2] != 1 {
			frame = frame[1:] // a unit sends no zero before it
		}
		want += fmt.Sprintf("%X\n%X\n", payload, frame)
	}
	if want += "```\n"; !bytes.Contains(page, []byte(want)) {
		t.Errorf("docs/wire.md has no\n%s", want)
	}
}

func TestFrameReader(t *testing.T) {
	first, second := []byte("first"), bytes.Repeat([]byte{0, 7}, maxReply/2)
	tooLong := bytes.Repeat([]byte{9}, maxReply+1)
	damaged := encodeFrame(first)
	damaged[3] ^= 0x10
	for _, test := range []struct {
		name   string
		stream []byte
		want   [][]byte
		noise  bool
	}{
		{"one", encodeFrame(first), [][]byte{first}, false},
		{"two", slices.Concat(encodeFrame(first), encodeFrame(second)), [][]byte{first, second}, false},
		{"noise, then a frame", slices.Concat([]byte("boot"), encodeFrame(first)), [][]byte{first}, true},
		{"damaged, then good", slices.Concat(damaged, encodeFrame(first)), [][]byte{first}, true},
		{"half a frame, then a frame", slices.Concat(encodeFrame(second)[:100], encodeFrame(first)), [][]byte{first}, true},
		{"too long, then good", slices.Concat(encodeFrame(tooLong), encodeFrame(second)), [][]byte{second}, true},
		{"endless, then good", slices.Concat(bytes.Repeat([]byte{1}, 100_000), encodeFrame(first)), [][]byte{first}, true},
		{"zeros", make([]byte, 1000), nil, false},
		{"crc alone", encodeFrame(nil), [][]byte{{}}, false},
		{"one byte", []byte{0, 2, 5, 0}, nil, true},
		{"unfinished", encodeFrame(first)[:4], nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for size := 1; size <= len(test.stream); size = size*3 + 1 {
				var r frameReader
				var got [][]byte
				for chunk := range slices.Chunk(test.stream, size) {
					for payload := range r.push(chunk) {
						got = append(got, payload)
					}
					if cap(r.partial) > 4*maxEncoded {
						t.Fatalf("holds %d bytes", cap(r.partial))
					}
				}
				if !slices.EqualFunc(got, test.want, bytes.Equal) || r.noise() != test.noise {
					t.Fatalf("chunks of %d: got %x, noise %v", size, got, r.noise())
				}
			}
		})
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(encodeFrame([]byte("hello")))
	f.Add(encodeFrame(count(0, 255)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := DecodeFrame(trimZeros(encodeFrame(b))); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x comes back as %x, %v", b, got, err)
		}
		if payload, err := DecodeFrame(b); err == nil && !bytes.Equal(trimZeros(encodeFrame(payload)), b) {
			t.Fatalf("%x is a second encoding of %x", b, payload)
		}
	})
}

// trimZeros takes the delimiters off a frame.
func trimZeros(frame []byte) []byte { return frame[1 : len(frame)-1] }

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
