package c509

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// nativeItems are the eleven items of Appendix A.1.2, in hexadecimal.
func nativeItems() []string {
	return []string{"02", "4301f50d", "00", "6b52464320746573742043 41", "1a63b0cd00", "1a6955b900",
		"d8304601 23456789ab", "01", "582102b1216ab96e5b3b3340f5bdf02e693f16213a04525ed44450b1019c2dfd3838ab", "01",
		"5840eb0d472731f689bc00f5880b12c68b3f9fd38b23fadfca20950f3f241b60a202" +
			"579cac28cd3b7494d5fa5d8bbab4600357e550ab9fa9a65d9ba2b3b82e668cc6"}
}

// reencodedItems are those of Appendix A.1.1.
func reencodedItems() []string {
	items := nativeItems()
	items[0] = "03"
	items[8] = "5821feb1216ab96e5b3b3340f5bdf02e693f16213a04525ed44450b1019c2dfd3838ab"
	items[10] = "5840d4320b1d6849e309219d30037e138166f2508247dddae76cceea55053c108e90" +
		"d551f6d60106f1abb484cfbe6256c178e4ac3314ea19191e8b607da5ae3bda16"
	return items
}

func join(items []string) string { return "8b" + strings.Join(items, "") }

func TestItemsAreTheDraftsExamples(t *testing.T) {
	for name, items := range map[string][]string{
		"A.1.2-rfc7925-type2": nativeItems(), "A.1.1-rfc7925-type3": reencodedItems(),
	} {
		if !bytes.Equal(unhex(t, join(items)), unhex(t, vectorNamed(t, name).C509)) {
			t.Errorf("items are not those of %s", name)
		}
	}
}

// Items of a certificate by position.
const (
	atType = iota
	atSerial
	atSignatureAlgorithm
	atIssuer
	atNotBefore
	atNotAfter
	atSubject
	atKeyAlgorithm
	atKey
	atExtensions
	atSignature
)

const point = "b1216ab96e5b3b3340f5bdf02e693f16213a04525ed44450b1019c2dfd3838ab" // x of the example's key

func TestParseNativeRefusesOneChange(t *testing.T) {
	for _, test := range []struct {
		name string
		at   int
		item string
		want error
	}{
		{"type in two bytes", atType, "1802", ErrMalformed},
		{"type as text", atType, "6132", ErrMalformed},
		{"reserved type", atType, "01", ErrUnsupported},
		{"unknown type", atType, "04", ErrUnsupported},
		{"negative type", atType, "22", ErrUnsupported},

		{"empty serial", atSerial, "40", ErrMalformed},
		{"serial with leading zero", atSerial, "440001f50d", ErrMalformed},
		{"serial as integer", atSerial, "1a0001f50d", ErrMalformed},
		{"serial as tagged bignum", atSerial, "c24301f50d", ErrMalformed},
		{"serial with long head", atSerial, "580301f50d", ErrMalformed},
		{"serial of indefinite length", atSerial, "5f4301f50dff", ErrMalformed},

		{"unknown signature algorithm", atSignatureAlgorithm, "06", ErrUnsupported},
		{"signature algorithm by OID", atSignatureAlgorithm, "482a8648ce3d040302", ErrUnsupported},
		{"signature algorithm -2^64", atSignatureAlgorithm, "3bffffffffffffffff", ErrMalformed},
		{"signature algorithm 2^32", atSignatureAlgorithm, "1b0000000100000000", ErrUnsupported},

		{"issuer identical to subject", atIssuer, "d830460123456789ab", ErrMalformed},
		{"issuer undefined", atIssuer, "f7", ErrMalformed},
		{"single common name in array", atIssuer, "8201 6141", ErrMalformed},
		{"type without value", atIssuer, "8108", ErrMalformed},
		{"negative attribute type", atIssuer, "82276141", ErrMalformed},
		{"unassigned attribute type", atIssuer, "82176141", ErrUnsupported},
		{"private negative attribute type", atIssuer, "82398000 6141", ErrUnsupported},
		{"attribute by OID", atIssuer, "82 43550403 43 0c0141", ErrMalformed},
		{"country of three letters", atIssuer, "820463555341", ErrMalformed},
		{"country in other letters", atIssuer, "820463c3a441", ErrMalformed},
		{"serialNumber with @", atIssuer, "82036140", ErrMalformed},
		{"emailAddress beyond ASCII", atIssuer, "820062c3a4", ErrMalformed},
		{"text that is not UTF-8", atIssuer, "61ff", ErrMalformed},
		{"text in chunks", atIssuer, "7f6141ff", ErrMalformed},
		{"other tag", atIssuer, "c06141", ErrUnsupported},
		{"tag in three bytes", atIssuer, "d90030460123456789ab", ErrMalformed},
		{"EUI of 7 bytes", atIssuer, "d83047 01020304050607", ErrMalformed},
		{"EUI of 8 bytes with FF-FE", atIssuer, "d83048 012345fffe6789ab", ErrMalformed},
		{"EUI as text", atIssuer, "d8306161", ErrMalformed},

		{"notBefore tagged", atNotBefore, "c11a63b0cd00", ErrMalformed},
		{"notBefore negative", atNotBefore, "20", ErrMalformed},
		{"notBefore null", atNotBefore, "f6", ErrMalformed},
		{"notBefore a float", atNotBefore, "fb41d8ec3340000000", ErrMalformed},
		{"notBefore in nine bytes", atNotBefore, "1b0000000063b0cd00", ErrMalformed},
		{"notBefore in the year 10000", atNotBefore, "1b0000003afff44180", ErrMalformed},
		{"notAfter 9999 as integer", atNotAfter, "1b0000003afff4417f", ErrMalformed},
		{"notAfter in the year 10000", atNotAfter, "1b0000003afff44180", ErrMalformed},
		{"notAfter undefined", atNotAfter, "f7", ErrMalformed},

		{"subject null", atSubject, "f6", ErrMalformed},
		{"subject an integer", atSubject, "01", ErrMalformed},

		{"unknown key algorithm", atKeyAlgorithm, "04", ErrUnsupported},
		{"key algorithm by OID and parameters", atKeyAlgorithm, "82472a8648ce3d020140", ErrUnsupported},
		{"RSA key with a leading zero", atKeyAlgorithm, "00 420001", ErrMalformed}, // the old key follows
		{"key of 32 bytes", atKey, "5820" + point, ErrMalformed},
		{"key of no bytes", atKey, "40", ErrMalformed},
		{"key with first octet FD", atKey, "5821fd" + point, ErrMalformed},
		{"key with first octet FE", atKey, "5821fe" + point, ErrMalformed},
		{"key with first octet 00", atKey, "582100" + point, ErrMalformed},
		{"compressed form, first octet 04", atKey, "582104" + point, ErrMalformed},
		{"key with an exponent", atKey, "82 582102" + point + "43010001", ErrMalformed},

		{"keyUsage 0", atExtensions, "00", ErrMalformed},
		{"keyUsage of ten bits", atExtensions, "190200", ErrMalformed},
		{"lone keyUsage in array", atExtensions, "820201", ErrMalformed},
		{"lone critical keyUsage in array", atExtensions, "822101", ErrMalformed},
		{"negative keyUsage", atExtensions, "84 2120 0421", ErrMalformed},
		{"extension 0", atExtensions, "820001", ErrUnsupported},
		{"extension without value", atExtensions, "8102", ErrMalformed},
		{"extension by OID", atExtensions, "82 43551d0e 40", ErrMalformed},
		{"extension twice", atExtensions, "84 0421 0421", ErrMalformed},
		{"extension twice, once critical", atExtensions, "84 0421 2321", ErrMalformed},
		{"unassigned extension", atExtensions, "820a40", ErrUnsupported},
		{"removed extension", atExtensions, "82181880", ErrUnsupported},
		{"basicConstraints -3", atExtensions, "820422", ErrMalformed},
		{"SKI as text", atExtensions, "820160", ErrMalformed},
		{"single DNS name in array", atExtensions, "8203820261 61", ErrMalformed},
		{"single purpose in array", atExtensions, "82088101", ErrMalformed},
		{"registered purpose by OID", atExtensions, "82 08 48 2b06010505070301", ErrMalformed},
		{"private extension undefined", atExtensions, "82 3980e7 f7", ErrUnsupported},
		{"private extension a float", atExtensions, "82 3980e7 f90000", ErrUnsupported},
		{"private extension a short bignum", atExtensions, "82 3980e7 c24101", ErrMalformed},
		{"private extension with long head", atExtensions, "82 3980e7 811801", ErrMalformed},
		{"private extension, map out of order", atExtensions, "82 3980e7 a2 02f6 01f6", ErrMalformed},
		{"private extension, map with a key twice", atExtensions, "82 3980e7 a2 01f6 01f6", ErrMalformed},
		{"private extension nested too deep", atExtensions,
			"82 3980e7" + strings.Repeat("81", maxDepth) + "80", ErrUnsupported},

		{"signature of 63 bytes", atSignature, "583f" + strings.Repeat("11", 63), ErrMalformed},
		{"signature of 65 bytes", atSignature, "5841" + strings.Repeat("11", 65), ErrMalformed},
		{"signature empty", atSignature, "40", ErrMalformed},
		{"signature in DER", atSignature, "5846" + strings.Repeat("11", 70), ErrMalformed},
		{"signature an array", atSignature, "80", ErrMalformed},
		{"signature longer than the input", atSignature, "5bffffffffffffffff00", ErrMalformed},
		{"a byte after the signature", atSignature, nativeItems()[atSignature] + "00", ErrMalformed},
		{"a twelfth item", atSignature, nativeItems()[atSignature] + "f6", ErrMalformed},
	} {
		items := nativeItems()
		items[test.at] = test.item
		checkRefused(t, test.name, join(items), test.want)
	}
}

func TestParseReencodedRefusesOneChange(t *testing.T) {
	for _, test := range []struct {
		name string
		at   int
		item string
		want error
	}{
		{"hexadecimal digits as text", atIssuer, "6430316162", ErrMalformed},
		{"EUI-64 as text", atIssuer, "77 30312d32332d34352d36372d38392d41422d43442d4546", ErrMalformed},
		{"empty bytes", atIssuer, "40", ErrMalformed},
		{"bytes in country that are three letters", atIssuer, "820442abcd", ErrMalformed},
		{"private attribute type", atIssuer, "8219800061 41", ErrUnsupported},
		{"emailAddress as PrintableString cannot be; domainComponent", atIssuer, "82 35 6141", ErrMalformed},
		{"PrintableString with @", atIssuer, "82 27 6140", ErrMalformed},
		{"registered attribute by OID", atIssuer, "82 43550403 43 0c0141", ErrMalformed},
		{"attribute by OID, not DER", atIssuer, "82 4103 43 0c0241", ErrMalformed},
		{"attribute by OID, text", atIssuer, "82 4103 61 41", ErrMalformed},
		{"OID with a leading 80", atIssuer, "82 43800103 43 0c0141", ErrMalformed},
		{"OID of 65 bytes", atIssuer, "82 5841" + strings.Repeat("2a", 65) + "43 0c0141", ErrUnsupported},
		{"OID of no bytes", atIssuer, "82 40 43 0c0141", ErrMalformed},
		{"key with first octet 05", atKey, "582105" + point, ErrMalformed},
		{"registered extension by OID", atExtensions, "82 43551d0f 4403020780", ErrMalformed},
		{"extension twice, once by OID", atExtensions, "84 0201 43551d0f 43030100", ErrMalformed},
		{"critical by OID in an array of two", atExtensions, "82 4103 82 4040", ErrMalformed},
		{"private extension", atExtensions, "82 1980e8 00", ErrUnsupported},
		{"other name with its own form", atExtensions,
			"82 03 82 00 82 48 2b06010505070809 43 0c0178", ErrMalformed},
		{"otherName that is not DER", atExtensions, "82 03 82 00 82 4103 410c", ErrMalformed},
		{"address that is no BIT STRING", atExtensions, "82 1820 83 01 f6 81 4109", ErrMalformed},
		{"general name 3", atExtensions, "82 03 82 03 40", ErrUnsupported},
		{"policy qualifier 3", atExtensions, "82 06 82 00 82 03 6141", ErrUnsupported},
		{"access method 4", atExtensions, "82 09 82 04 6141", ErrUnsupported},
		{"distribution point alone in array", atExtensions, "82 05 81 83 6141 f6 f6", ErrMalformed},
		{"no distribution point", atExtensions, "82 05 80", ErrMalformed},
		{"mask of 33 bits", atExtensions, "82 181a 82 82 07 45 c000020021 f6", ErrMalformed},
		{"AS numbers falling", atExtensions, "82 1821 82 0220", ErrMalformed},
	} {
		items := reencodedItems()
		items[test.at] = test.item
		checkRefused(t, test.name, join(items), test.want)
	}
}

func checkRefused(t *testing.T, name, encoded string, want error) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		c, err := Parse(unhex(t, encoded))
		if !errors.Is(err, want) || c != nil {
			t.Fatalf("err = %v, want %v", err, want)
		}
		other := ErrMalformed
		if want == ErrMalformed {
			other = ErrUnsupported
		}
		if errors.Is(err, other) {
			t.Fatalf("err = %v is both", err)
		}
	})
}

func TestParseTakes(t *testing.T) {
	for _, test := range []struct {
		name string
		at   int
		item string
	}{
		{"issuer null", atIssuer, "f6"},
		{"issuer without attributes", atIssuer, "80"},
		{"several attributes", atIssuer, "86 04625553 08614f 016141"},
		{"two common names", atIssuer, "84 016141 016142"},
		{"text that looks like hexadecimal", atIssuer, "6430316162"},
		{"bytes", atIssuer, "46000100000009"},
		{"no bytes", atIssuer, "40"},
		{"EUI-64 that is no MAC address", atIssuer, "d830480102030405060708"},
		{"private attribute type", atIssuer, "8219800061 41"},
		{"no expiry", atNotAfter, "f6"},
		{"notBefore 0", atNotBefore, "00"},
		{"odd y", atKey, "582103" + point},
		{"uncompressed", atKey, "584104" + point + point},
		{"no extensions", atExtensions, "80"},
		{"critical digitalSignature", atExtensions, "20"},
		{"critical keyCertSign", atExtensions, "381f"},
		{"order's extensions", atExtensions, "86 21 1820 2300 3980e7 83 01 480102030405060708 4801020304050607ff"},
		{"private map", atExtensions, "82 3980e7 a2 01f6 02a0"},
		{"private bignum", atExtensions, "82 3980e7 c249010000000000000000"},
		{"private tag and booleans", atExtensions, "82 3980e7 d8ff 82f4f5"},
		{"draft's example, section 3.3.1", atExtensions, "88 23 20 02 17 08 820309 03 6b6578616d706c652e636f6d"},
		{"signature of P-521", atSignature, "5884" + strings.Repeat("11", 132)},
	} {
		t.Run(test.name, func(t *testing.T) {
			items := nativeItems()
			items[test.at] = test.item
			b := unhex(t, join(items))
			c, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := c.Encode(); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("encoded %x, %v\nwant    %x", again, err, b)
			}
			checkJSON(t, c)
		})
	}
}

func TestParseEveryTruncation(t *testing.T) {
	for _, v := range vectors(t) {
		b := unhex(t, v.C509)
		for n := range b {
			if _, err := Parse(b[:n]); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("%s cut to %d bytes: %v", v.Name, n, err)
			}
		}
	}
}

func TestParseKeepsItsOwnCopy(t *testing.T) {
	b := unhex(t, join(nativeItems()))
	c, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if again, err := c.Encode(); err != nil || !bytes.Equal(again, c.Raw) || bytes.Equal(again, b) {
		t.Fatalf("certificate changed with the caller's bytes: %x, %v", again, err)
	}
}

func TestEncodeRefusesFields(t *testing.T) {
	for name, change := range map[string]func(*Certificate){
		"nil serial":             func(c *Certificate) { c.SerialNumber = nil },
		"no key":                 func(c *Certificate) { c.PublicKey = PublicKey{} },
		"no signature":           func(c *Certificate) { c.Signature = nil },
		"kind of value":          func(c *Certificate) { c.Subject[0].Value.Kind = 9 },
		"short EUI-64":           func(c *Certificate) { c.Subject[0].Value.Data = "123" },
		"text not UTF-8":         func(c *Certificate) { c.Subject = Name{{Type: CommonName, Value: Value{Text, "\xff"}}} },
		"OID and type":           func(c *Certificate) { c.Subject[0].OID = "1.2.3" },
		"two items in extension": func(c *Certificate) { c.Extensions[0].Value = []byte{1, 1} },
		"no item in extension":   func(c *Certificate) { c.Extensions[0].Value = nil },
		"keyUsage none":          func(c *Certificate) { c.Extensions = Extensions{KeyUsage(0).Extension(true)} },
	} {
		c := mustParse(t, join(nativeItems()))
		change(c)
		if b, err := c.Encode(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %x, %v, want ErrMalformed", name, b, err)
		}
	}
}

func TestFingerprint(t *testing.T) {
	c := mustParse(t, join(nativeItems()))
	// sha256sum of Appendix A.1.2.
	const want = "3d32f40d1de1d17e607e1cdee3ea172be6154151c8a7f29b5ba37475ebc17068"
	sum := c.Fingerprint()
	if !bytes.Equal(sum[:], unhex(t, want)) {
		t.Errorf("fingerprint %x, want %s", sum, want)
	}
	if got := c.Code(); got != strings.ToUpper(want[:4]+"-"+want[4:8]) {
		t.Errorf("code %s", got)
	}
}

func TestChain(t *testing.T) {
	b := unhex(t, vectorNamed(t, "A.1.5-C509CertData").C509)
	one, err := ParseChain(b)
	if err != nil || len(one) != 1 {
		t.Fatalf("%d certificates, %v", len(one), err)
	}
	if again, err := EncodeChain(one); err != nil || !bytes.Equal(again, b) {
		t.Fatalf("encoded %x, %v", again, err)
	}
	two := slices.Concat([]byte{0x82}, b, b)
	chain, err := ParseChain(two)
	if err != nil || len(chain) != 2 {
		t.Fatalf("%d certificates, %v", len(chain), err)
	}
	if again, err := EncodeChain(chain); err != nil || !bytes.Equal(again, two) {
		t.Fatalf("encoded %x, %v", again, err)
	}
	for name, bad := range map[string][]byte{
		"none":          {0x80},
		"one in array":  slices.Concat([]byte{0x81}, b),
		"three of two":  slices.Concat([]byte{0x83}, b, b),
		"trailing byte": slices.Concat(b, []byte{0}),
		"not wrapped":   b[2:],
		"empty":         {},
		"empty string":  {0x40},
	} {
		if chain, err := ParseChain(bad); !errors.Is(err, ErrMalformed) || chain != nil {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	if _, err := EncodeChain(nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("no certificate: %v, want ErrMalformed", err)
	}
}
