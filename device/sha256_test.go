//go:build cgo

package device

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"strconv"
	"strings"
	"testing"
)

// nist reads the "name = value" and "[name = value]" lines of a CAVS response file, in their order.
func nist(t *testing.T, name string) [][2]string {
	t.Helper()
	file, err := os.Open("../testdata/primitives/nist/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var lines [][2]string
	for s := bufio.NewScanner(file); s.Scan(); {
		if key, value, found := strings.Cut(strings.Trim(s.Text(), "[] "), " = "); found {
			lines = append(lines, [2]string{key, value})
		}
	}
	return lines
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSHA256ShortMessages(t *testing.T) {
	var bits, tested int
	var message []byte
	for _, line := range nist(t, "SHA256ShortMsg.rsp") {
		switch line[0] {
		case "Len":
			bits, _ = strconv.Atoi(line[1])
		case "Msg":
			message = unhex(t, line[1])[:bits/8]
		case "MD":
			tested++
			for cut := range len(message) + 1 { // in one update or in two, wherever it is cut
				if got := sha256Of(message[:cut], message[cut:]); !bytes.Equal(got[:], unhex(t, line[1])) {
					t.Fatalf("%d bits cut at byte %d: %x, not %s", bits, cut, got, line[1])
				}
			}
		}
	}
	if tested != 65 {
		t.Errorf("%d messages in the file, not 65", tested)
	}
}

// The Monte Carlo test of the SHA validation system (SHAVS), section 6.4.
func TestSHA256Monte(t *testing.T) {
	var seed []byte
	tested := 0
	for _, line := range nist(t, "SHA256Monte.rsp") {
		switch line[0] {
		case "Seed":
			seed = unhex(t, line[1])
		case "MD":
			a, b, c := seed, seed, seed
			for range 1000 {
				digest := sha256Of(a, b, c)
				a, b, c = b, c, digest[:]
			}
			seed = c
			tested++
			if !bytes.Equal(seed, unhex(t, line[1])) {
				t.Fatalf("round %d: %x, not %s", tested, seed, line[1])
			}
		}
	}
	if tested != 100 {
		t.Errorf("%d rounds in the file, not 100", tested)
	}
}

// The CRC of a command is in the ATECC608's documentation: Info, mode 0 (07 30 00 00 00) ends in 03 5D.
func TestCRC16(t *testing.T) {
	for text, want := range map[string]uint16{
		"":           0,
		"00":         0,
		"0730000000": 0x5d03, // sent low byte first
		"0411":       0x4333, // the reply to a wake, 04 11 33 43
	} {
		if got := crc16Of(unhex(t, text)); got != want {
			t.Errorf("%s: %04x, not %04x", text, got, want)
		}
	}
}
