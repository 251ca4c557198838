package ca

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/birthmark/birthmark/templates"
)

func demoProfile(t testing.TB) string {
	t.Helper()
	text, err := templates.Product("demo-sensor")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTemplatesAreProfiles(t *testing.T) {
	for _, name := range templates.Products() {
		text, err := templates.Product(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParseProfile(text)
		if err != nil || p.Name != name || !bytes.Equal(p.Bytes(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProfileBounds(t *testing.T) {
	demo := demoProfile(t)
	hash := strings.Repeat("5A", 32)
	const base = "036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" // the curve's base point (SEC 2, 2.4.2)
	var nine []string
	for range 9 {
		nine = append(nine, hex.EncodeToString(compressed(&newKey(t).PublicKey)))
	}
	for _, test := range []struct {
		old, new string
		good     bool
	}{
		{"", "", true},
		{"product: 7", "product: 4294967295", true},
		{"product: 7", "product: 4294967296", false},
		{"product: 7", "product: 0", false},
		{"product: 7", "product: -1", false},
		{"product: 7", "product: seven", false},
		{"product: 7 ", "", false},
		{"[7]", "[1, 2, 3, 4, 5, 6, 7, 8]", true},
		{"[7]", "[1, 2, 3, 4, 5, 6, 7, 8, 9]", false},
		{"[7]", "[]", false},
		{"[7]", "[7, 0]", false},
		{"[7]", "[4294967296]", false},
		{"product/1", "product/2", false},
		{"birthmark: product/1", "", false},
		{"demo-sensor\nproduct", strings.Repeat("x", 64) + "\nproduct", true},
		{"demo-sensor\nproduct", strings.Repeat("x", 65) + "\nproduct", false},
		{"demo-sensor\nproduct", "\"\"\nproduct", false},
		{"demo-sensor\nproduct", "Pump_2.b\nproduct", true},
		{"demo-sensor\nproduct", "a*/b\nproduct", false},
		{"demo-sensor\nproduct", "a/b\nproduct", false},
		{"demo-sensor\nproduct", "a b\nproduct", false},
		{"ATECC608", "ATECC508", false},
		{"attestation: none", "attestation: captured", false}, // by whom?
		{"attestation: none", "attestation: captured\n  goods_in: []", false},
		{"attestation: none", "attestation: captured\n  goods_in: [" + base + "]", true},
		{"attestation: none", "attestation: captured\n  goods_in: [" + strings.ToUpper(base) + ", 02" + base[2:] + "]", true},
		{"attestation: none", "attestation: captured\n  goods_in: [" + base + ", " + base + "]", false},
		{"attestation: none", "attestation: captured\n  goods_in: [" + base + "00]", false},
		{"attestation: none", "attestation: captured\n  goods_in: [04" + base[2:] + "]", false},
		{"attestation: none", "attestation: captured\n  goods_in: [02" + strings.Repeat("ff", 32) + "]", false},
		{"attestation: none", "attestation: captured\n  goods_in: [xx" + base[2:] + "]", false},
		{"attestation: none", "attestation: captured\n  goods_in: [" + strings.Join(nine, ", ") + "]", false},
		{"attestation: none", "attestation: captured\n  goods_in: [" + strings.Join(nine[:8], ", ") + "]", true},
		{"attestation: none", "attestation: none\n  goods_in: [" + base + "]", false},
		{"attestation: none", "attestation: Captured\n  goods_in: [" + base + "]", false},
		{"  attestation: none ", "  ", false},
		{`mode: "00"`, `mode: "0"`, false},
		{`mode: "00"`, `mode: "0g"`, false},
		{`mode: "00"`, `mode: "+0"`, false},
		{`options: "0000"`, `options: "000"`, false},
		{`options: "0000"`, `options: "00000"`, false},
		{"- 0081 0013", "- 0081 00130", false},
		{"- 0081 0013", "- 00810013", false},
		{"- 0081 0013", "- 0081  0013", false},
		{"- 0081 0013", "- 0081 0013 0000", false},
		{"- 0081 0013", "- 008x 0013", false},
		{"    - 0081 0013", "    - 0081 0013\n    - 0081 0013", false},
		{"    - 0081 0013 ", "    #", false},
		{"firmware: []", "firmware: [" + hash + ", " + strings.ToLower(hash) + "]", true},
		{"firmware: []", "firmware: [" + hash[2:] + "]", false},
		{"firmware: []", "firmware: [" + hash + "00]", false},
		{"firmware: []", "firmware: [" + hash[2:] + "xx]", false},
		{"firmware: []", "firmware: []\nserial: 1", false},
		{"  type:", "  Type:", false},
		{"firmware: []", "firmware: []\nname: again", false},
		{"firmware: []", "firmware: []\nfirmware: []", false},
		{"firmware: []", "firmware: []\n---\nname: second\n", false},
		{"firmware: []", "firmware: []\n---\n", false},
		{"firmware: []", "firmware: [", false},
		{"firmware: []", "firmware: []\n#" + strings.Repeat(".", maxProfile), false},
	} {
		text := strings.Replace(demo, test.old, test.new, 1)
		if test.old != "" && text == demo {
			t.Fatalf("%q is not in the profile", test.old)
		}
		p, err := ParseProfile([]byte(text))
		if (err == nil) != test.good {
			t.Errorf("%q in place of %q: %v", test.new, test.old, err)
		}
		if !test.good && p != nil {
			t.Errorf("%q in place of %q: a profile beside an error", test.new, test.old)
		}
		if !test.good {
			wantError(t, test.new, err, ErrMalformed)
		}
	}
	for _, text := range []string{"", "\n", "7", "[]", "null", "\x00"} {
		_, err := ParseProfile([]byte(text))
		wantError(t, text, err, ErrMalformed)
	}
}

// The longest profile is as long as the constant says.
func TestProfileSize(t *testing.T) {
	demo := demoProfile(t)
	text := demo + "#" + strings.Repeat(".", maxProfile-len(demo)-1)
	if _, err := ParseProfile([]byte(text)); err != nil {
		t.Error(err)
	}
	_, err := ParseProfile([]byte(text + "."))
	wantError(t, "a byte more", err, ErrMalformed)
}

// goodZone is a chip as the demo profile wants it, put together here from the data sheet's offsets.
func goodZone() (zone [128]byte) {
	for i := range zone[:16] {
		zone[i] = byte(i) // the manufacturer's
	}
	zone[16] = 0xC0
	copy(zone[20:], "\x81\x00\x82\x00\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00\x00\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80")
	copy(zone[52:], "\xFF\xFF\xFF\xFF\x00\x00\x00\x00\xFF\xFF\xFF\xFF\x00\x00\x00\x00")
	zone[88], zone[89] = 0xFF, 0xFE
	copy(zone[96:], "\x13\x00\x13\x00\x1C\x00\x1C\x00\x1C\x00\x1C\x00\x7C\x00\x1C\x00\x3C\x00\x1C\x00\x1C\x00\x1C\x00\x1C\x00\x1C\x00\x1C\x00\x1C\x00")
	return zone
}

func TestCheckConfigurationEveryBit(t *testing.T) {
	p, err := ParseProfile([]byte(demoProfile(t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckConfiguration(goodZone()); err != nil {
		t.Fatal(err)
	}
	// The other bytes are the manufacturer's, the bus address, counters, KDF parameters, user bytes, single slots' locks.
	decided := func(at int) bool {
		return 18 <= at && at < 52 || 68 <= at && at < 72 || at == 86 || at == 87 || 90 <= at
	}
	for bit := range 8 * 128 {
		zone := goodZone()
		zone[bit/8] ^= 1 << (bit % 8)
		err := p.CheckConfiguration(zone)
		if (err != nil) != decided(bit/8) {
			t.Errorf("byte %d, bit %d: %v", bit/8, bit%8, err)
		}
		if err != nil {
			wantError(t, "flipped", err, ErrPolicy)
		}
	}
	open := goodZone()
	open[86], open[87] = 0x55, 0x55 // as delivered
	wantError(t, "both zones open", p.CheckConfiguration(open), ErrPolicy)
}

func TestProfileNumbersAreLittleEndianInTheZone(t *testing.T) {
	text := strings.NewReplacer(`options: "0000"`, `options: "1234"`, "- 0081 0013", "- 5678 9ABC", `mode: "00"`, `mode: "de"`).Replace(demoProfile(t))
	p, err := ParseProfile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	zone := goodZone()
	copy(zone[19:], "\xDE\x78\x56")
	copy(zone[90:], "\x34\x12")
	copy(zone[96:], "\xBC\x9A")
	if err := p.CheckConfiguration(zone); err != nil {
		t.Error(err)
	}
}

func TestCheckFirmware(t *testing.T) {
	text := strings.Replace(demoProfile(t), "firmware: []", "firmware: ["+strings.Repeat("5a", 32)+", "+strings.Repeat("C3", 32)+"]", 1)
	p, err := ParseProfile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, octet := range []byte{0x5A, 0xC3} {
		if err := p.checkFirmware([32]byte(bytes.Repeat([]byte{octet}, 32))); err != nil {
			t.Error(err)
		}
	}
	wantError(t, "an image that is not on the list", p.checkFirmware([32]byte{0x5A}), ErrPolicy)
}
