package c509

import (
	"bytes"
	"errors"
	"testing"
)

// checkValue converts a value both ways; both are in hexadecimal.
func checkValue(t *testing.T, id int, value, der string) {
	t.Helper()
	got, err := valueToDER(id, unhex(t, value), true)
	if err != nil || !bytes.Equal(got, unhex(t, der)) {
		t.Errorf("extension %d: DER %x, %v, want %s", id, got, err, der)
	}
	back, ok := valueFromDER(id, unhex(t, der))
	if !ok || !bytes.Equal(back, unhex(t, value)) {
		t.Errorf("extension %d: CBOR %x, %v, want %s", id, back, ok, value)
	}
}

func TestKeyUsageBits(t *testing.T) {
	// RFC 5280, section 4.2.1.3, numbers the bits from the most significant one.
	for i, der := range []string{"03020780", "03020640", "03020520", "03020410", "03020308", "03020204", "03020102",
		"03020001", "0303070080"} {
		usage := KeyUsage(1) << i
		e := usage.Extension(false)
		got, err := valueToDER(e.ID, e.Value, true)
		if err != nil || !bytes.Equal(got, unhex(t, der)) {
			t.Errorf("%s: %x, %v, want %s", usage, got, err, der)
		}
		c := &Certificate{Extensions: Extensions{e}}
		if back, ok := c.KeyUsage(); !ok || back != usage {
			t.Errorf("%s came back as %s, %v", usage, back, ok)
		}
	}
	if got := (KeyCertSign | CRLSign).String(); got != "keyCertSign, cRLSign" {
		t.Errorf("keyCertSign and cRLSign are shown as %q", got)
	}
	if _, ok := (&Certificate{}).KeyUsage(); ok {
		t.Error("a certificate without keyUsage has one")
	}
}

func TestBasicConstraints(t *testing.T) {
	for _, test := range []struct {
		basic BasicConstraints
		value string
		der   string
		text  string
	}{
		{BasicConstraints{PathLen: -1}, "21", "3000", "not a CA"},
		{BasicConstraints{CA: true, PathLen: -1}, "20", "30030101ff", "CA"},
		{BasicConstraints{CA: true}, "00", "30060101ff020100", "CA, path length 0"},
		{BasicConstraints{CA: true, PathLen: 300}, "19012c", "30070101ff0202012c", "CA, path length 300"},
	} {
		e := test.basic.Extension(true)
		if !bytes.Equal(e.Value, unhex(t, test.value)) || !e.Critical {
			t.Errorf("%s: value %x, want %s", test.basic, e.Value, test.value)
		}
		checkValue(t, e.ID, test.value, test.der)
		back, ok := (&Certificate{Extensions: Extensions{e}}).BasicConstraints()
		if !ok || back != test.basic || back.String() != test.text {
			t.Errorf("%s came back as %s, %v", test.text, back, ok)
		}
	}
	for _, e := range []Extensions{nil, {{ID: basicConstraintsID, Value: []byte{0x22}}}, {{ID: basicConstraintsID}}} {
		if basic, ok := (&Certificate{Extensions: e}).BasicConstraints(); ok {
			t.Errorf("%v has basicConstraints %s", e, basic)
		}
	}
}

func TestValues(t *testing.T) {
	for _, test := range []struct {
		name       string
		id         int
		value, der string
	}{
		{"AKI of three parts", 7, "83 41aa 82 04 6141 42 8001",
			"301a 8001aa a110 a40e 300c 310a 3008 0603550403 0c0141 8203 008001"},
		{"nothing but excluded", 26, "82 f6 82 02 6161", "3007 a105 3003 820161"},
		{"policyConstraints without the first", 28, "82 f6 05", "3003 810105"},
		{"policyConstraints without both", 28, "82 f6 f6", "3000"},
		{"inherited addresses", 32, "83 01 f6 f6", "3008 3006 04020001 0500"},
		{"the address of no bits", 32, "83 02 01 81 01", "300c 300a 0403000201 3003 030100"},
		{"inherited AS numbers", 33, "f6", "3004 a002 0500"},
		{"no TLS feature", 38, "80", "3000"},
		{"reasons of no bits", 5, "81 83 6161 00 f6", "300c 300a a005 a003 860161 810100"},
	} {
		t.Run(test.name, func(t *testing.T) { checkValue(t, test.id, test.value, test.der) })
	}
}

// In type 2 a name inside an extension has no PrintableString, either.
func TestNestedNameInNativeCertificate(t *testing.T) {
	value := unhex(t, "82 04 82 27 6141")
	if _, err := valueToDER(3, value, false); err != nil {
		t.Errorf("type 3: %v", err)
	}
	if _, err := valueToDER(3, value, true); !errors.Is(err, ErrMalformed) {
		t.Errorf("type 2: %v, want ErrMalformed", err)
	}
}

func TestFind(t *testing.T) {
	x := Extensions{{OID: "1.2.3"}, {ID: 33000, Value: []byte{0xf6}}}
	if e, ok := x.Find(33000); !ok || !bytes.Equal(e.Value, []byte{0xf6}) {
		t.Errorf("found %v, %v", e, ok)
	}
	if e, ok := x.Find(0); ok {
		t.Errorf("found %v under no number", e)
	}
}
