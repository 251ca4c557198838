package c509

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"
)

func TestVectorsX509(t *testing.T) {
	converted := 0
	for _, v := range vectors(t) {
		if v.DER == "" {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			der, want := unhex(t, v.DER), unhex(t, v.C509)
			convert := FromX509
			if mustParse(t, v.C509).PublicKey.Bytes[0] == pointUncompressed {
				convert = FromX509Uncompressed
			}
			c, err := convert(der)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := c.Encode(); err != nil || !bytes.Equal(got, want) || !bytes.Equal(c.Raw, want) {
				t.Fatalf("encoded %x, %v\nwant    %x", got, err, want)
			}
			if parsed := mustParse(t, v.C509); !bytes.Equal(parsed.RawTBS, c.RawTBS) {
				t.Fatalf("RawTBS %x\nwant   %x", c.RawTBS, parsed.RawTBS)
			}
			if back, err := mustParse(t, v.C509).X509(); err != nil || !bytes.Equal(back, der) {
				t.Fatalf("X509 %x, %v\nwant %x", back, err, der)
			}
		})
		converted++
	}
	if converted != 8 {
		t.Errorf("%d vectors converted, want 8", converted)
	}
}

// opensslCertificate returns the DER that openssl-extensions.cnf describes.
func opensslCertificate(t testing.TB) []byte {
	t.Helper()
	file, err := os.ReadFile("testdata/openssl-extensions.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(file)
	return block.Bytes
}

// TestEveryExtension takes a certificate that OpenSSL made, with nearly every extension of the registry, there
// and back. The vectors have the others: IP address blocks, CRL distribution points and basicConstraints.
func TestEveryExtension(t *testing.T) {
	c := roundTrip(t, opensslCertificate(t))
	want := []struct{ name, value string }{
		{"subjectAltName", `[1, "a@b.c", 2, "example.com", 4, [-4, "UK", 1, "My Name"], 6, "urn:x", 7, h'c0000201', ` +
			`8, h'2a0304', -3, h'001122334455', -2, "Ã¼@x", 0, [h'2a0304', h'0c04736f6d65']]`},
		{"issuerAltName", `[6, "http://a.b/"]`},
		{"nameConstraints", `[[7, h'c000020018', 2, "example.com", 4, [-4, "UK", 1, "My Name"]], ` +
			`[1, "x.org", 7, h'20010db800000000000000000000000020']]`},
		{"policyMappings", `[h'2a03', 1, h'2a04', h'2a05']`},
		{"policyConstraints", `[3, 0]`},
		{"inhibitAnyPolicy", `2`},
		{"freshestCRL", `[[["http://a/1", "http://a/2"], 6, [-4, "UK", 8, "org"]], ["http://a/3", null, null]]`},
		{"subjectInfoAccess", `[10, "rsync://m", h'2b06010505073063', "rsync://n"]`},
		{"id-pkix-ocsp-nocheck", `null`},
		{"id-pe-tlsfeature", `[5, 17]`},
		{"certificatePolicies", `[h'2a03', [], h'2b0508', [1, "http://cps/", 2, "Erklärung"]]`},
		{"id-pe-autonomousSysIds", `[64496, [4, 11], 1040]`},
		{"extKeyUsage", `[1, h'2a0304', 9]`},
		{"authorityKeyIdentifier", `h'4b9a12c20b3951adaee3cabd7d5e4459cd41f756'`},
		{"subjectKeyIdentifier", `h'4b9a12c20b3951adaee3cabd7d5e4459cd41f756'`},
	}
	if len(c.Extensions) != len(want) {
		t.Fatalf("%d extensions, want %d", len(c.Extensions), len(want))
	}
	for i, e := range c.Extensions {
		if e.OID != "" || e.name() != want[i].name || e.valueText() != want[i].value {
			t.Errorf("extension %d: %s: %s\nwant %s: %s", i, e.name(), e.valueText(), want[i].name, want[i].value)
		}
	}
	key, err := c.Key()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.VerifySignature(key); err != nil {
		t.Error(err)
	}
}

// roundTrip converts a certificate to type 3 and back, in memory, through its encoding and through JSON.
func roundTrip(t testing.TB, der []byte) *Certificate {
	t.Helper()
	c, err := FromX509(der)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := Parse(c.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := parsed.X509(); err != nil || !bytes.Equal(back, der) {
		t.Fatalf("X509 %x, %v\nwant %x", back, err, der)
	}
	checkJSON(t, c)
	return parsed
}

// The values below have no encoding under the extension's number, so they travel under its OID.
func TestExtensionValuesWithoutOwnEncoding(t *testing.T) {
	for _, test := range []struct {
		name, oid string
		der       string
	}{
		{"keyUsage of no bits", "2.5.29.15", "030100"},
		{"keyUsage with trailing zeros", "2.5.29.15", "03020080"},
		{"keyUsage of ten bits", "2.5.29.15", "030306 0040"},
		{"basicConstraints with FALSE", "2.5.29.19", "3003010100"},
		{"basicConstraints with pathLen alone", "2.5.29.19", "3003020100"},
		{"SKI with something after it", "2.5.29.14", "0401000500"},
		{"AKI without keyIdentifier", "2.5.29.35", "3003820105"},
		{"AKI with serial only beside it", "2.5.29.35", "3006800100820105"},
		{"SAN with x400Address", "2.5.29.17", "3004a3023000"},
		{"SAN of nothing", "2.5.29.17", "3000"},
		{"SAN with text beyond ASCII", "2.5.29.17", "30048202c3a4"},
		{"CRL distribution point without name", "2.5.29.31", "300430028100"},
		{"CRL name relative to issuer", "2.5.29.31", "30063004a002a100"},
		{"CRL point in a directory", "2.5.29.31", "300c300aa008a006a4043002 3100"},
		{"policy with noticeRef", "2.5.29.32",
			"3023 3021 06022a03 301b 3019 06082b06010505070202 300d 300b 0c0141 3006 020101 020102"},
		{"explicitText as VisibleString", "2.5.29.32", "3019 3017 06022a03 3011 300f 06082b06010505070202 3003 1a0141"},
		{"name constraint with minimum", "2.5.29.30", "300aa0083006820161800101"},
		{"name constraint with a scattered mask", "2.5.29.30", "300ea00c300a8708c0000200ff00ff00"},
		{"negative inhibitAnyPolicy", "2.5.29.54", "0201ff"},
		{"AS identifiers with rdi", "1.3.6.1.5.5.7.1.8", "3004a1020500"},
		{"AS identifiers falling", "1.3.6.1.5.5.7.1.8", "300aa0083006 020102 020101"},
		{"BIT STRING with unused bits set", "1.3.6.1.5.5.7.1.7", "300c300a 04020001 3004 0302 01c1"},
		{"OCSP no check with a value", "1.3.6.1.5.5.7.48.1.5", "0101ff"},
		{"nonsense", "2.5.29.37", "ff"},
		{"nothing", "2.5.29.37", ""},
		{"unknown", "1.3.6.1.4.1.99999.1", "0500"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, critical := range []bool{false, true} {
				c := mustParse(t, join(reencodedItems()))
				c.Extensions = Extensions{{OID: test.oid, Critical: critical, Value: unhex(t, test.der)}}
				der, err := c.X509()
				if err != nil {
					t.Fatal(err)
				}
				back := roundTrip(t, der)
				if e := back.Extensions[0]; e.OID != test.oid || e.Critical != critical {
					t.Errorf("came back as %+v", e)
				}
			}
		})
	}
}

// issue makes an X.509 certificate with the standard library's encoder.
func issue(t testing.TB, template *x509.Certificate, pub crypto.PublicKey, signer crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func template() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: new(big.Int).Lsh(big.NewInt(0x81), 8*15), // its top bit set: DER puts a zero before it
		Subject:      pkix.Name{CommonName: "TEST root", Organization: []string{"Birthmark"}},
		NotBefore:    time.Unix(1_750_000_000, 0),
		NotAfter:     time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC), // the first GeneralizedTime
		KeyUsage:     x509.KeyUsageCertSign,
		IsCA:         true, BasicConstraintsValid: true,
	}
}

func TestAlgorithms(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecKey := func(curve elliptic.Curve) *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	for _, test := range []struct {
		key       crypto.Signer
		algorithm x509.SignatureAlgorithm
		want      SignatureAlgorithm
	}{
		{ecKey(elliptic.P256()), x509.ECDSAWithSHA256, ECDSAWithSHA256},
		{ecKey(elliptic.P384()), x509.ECDSAWithSHA384, ECDSAWithSHA384},
		{ecKey(elliptic.P521()), x509.ECDSAWithSHA512, ECDSAWithSHA512},
		{edKey, x509.PureEd25519, Ed25519},
		{rsaKey, x509.SHA256WithRSA, SHA256WithRSA},
		{rsaKey, x509.SHA384WithRSA, SHA384WithRSA},
		{rsaKey, x509.SHA512WithRSA, SHA512WithRSA},
		{rsaKey, x509.SHA256WithRSAPSS, SHA256WithPSS},
		{rsaKey, x509.SHA384WithRSAPSS, SHA384WithPSS},
		{rsaKey, x509.SHA512WithRSAPSS, SHA512WithPSS},
	} {
		t.Run(test.algorithm.String(), func(t *testing.T) {
			template := template()
			template.SignatureAlgorithm = test.algorithm
			c := roundTrip(t, issue(t, template, test.key.Public(), test.key))
			if c.SignatureAlgorithm != test.want {
				t.Errorf("algorithm %s, want %s", c.SignatureAlgorithm, test.want)
			}
			key, err := c.Key()
			if err != nil || !key.(interface{ Equal(crypto.PublicKey) bool }).Equal(test.key.Public()) {
				t.Fatalf("key %v, %v", key, err)
			}
			if err := c.VerifySignature(key); err != nil {
				t.Error(err)
			}
			for _, other := range []crypto.PublicKey{&ecKey(elliptic.P256()).PublicKey, edKey.Public().(ed25519.PublicKey)[:31]} {
				if err := c.VerifySignature(other); !errors.Is(err, ErrSignature) {
					t.Errorf("with %T: %v, want ErrSignature", other, err)
				}
			}
			c.Signature[len(c.Signature)-1] ^= 1
			if err := c.VerifySignature(key); !errors.Is(err, ErrSignature) {
				t.Errorf("changed signature: %v, want ErrSignature", err)
			}
		})
	}
}

func TestRSAExponent(t *testing.T) {
	signer := privateKey(t, draftIssuer)
	modulus := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 2048), big.NewInt(1))
	c := roundTrip(t, issue(t, template(), &rsa.PublicKey{N: modulus, E: 3}, signer))
	if !bytes.Equal(c.PublicKey.Exponent, []byte{3}) || !bytes.Equal(c.PublicKey.Bytes, modulus.Bytes()) {
		t.Errorf("key %x", c.PublicKey)
	}
	if key, err := c.Key(); err != nil || key.(*rsa.PublicKey).E != 3 {
		t.Errorf("key %v, %v", key, err)
	}
	c.PublicKey.Exponent = []byte{1, 0, 0, 0, 0}
	if _, err := c.Key(); !errors.Is(err, ErrUnsupported) {
		t.Errorf("exponent 2^32: %v, want ErrUnsupported", err)
	}
	c.PublicKey.Exponent = []byte(defaultExponent)
	if _, err := c.Encode(); !errors.Is(err, ErrMalformed) {
		t.Errorf("exponent 65537 written out: %v, want ErrMalformed", err)
	}
}

func TestFromX509Refuses(t *testing.T) {
	signer := privateKey(t, draftIssuer)
	der := func(change func(*x509.Certificate)) []byte {
		template := template()
		change(template)
		return issue(t, template, signer.Public(), signer)
	}
	good := der(func(*x509.Certificate) {})
	replaced := func(from, to string) []byte {
		changed := bytes.Replace(good, unhex(t, from), unhex(t, to), 1)
		if bytes.Equal(changed, good) {
			t.Fatalf("%s not found", from)
		}
		return changed
	}
	for _, test := range []struct {
		name string
		der  []byte
		want error
	}{
		{"nothing", nil, ErrMalformed},
		{"trailing byte", append(bytes.Clone(good), 0), ErrMalformed},
		{"truncated", good[:len(good)-1], ErrMalformed},
		{"version 2", replaced("a003020102", "a003020101"), ErrUnsupported},
		{"extension with an endless object identifier", der(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: append(asn1.ObjectIdentifier{1, 2}, make([]int, maxOID)...)}}
		}), ErrUnsupported},
		{"two attributes in one name component", der(func(c *x509.Certificate) {
			c.RawSubject = unhex(t, "3016 3114 3008 06035504030c0141 3008 06035504040c0142")
		}), ErrUnsupported},
		{"before 1970", der(func(c *x509.Certificate) { c.NotBefore = time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC) }),
			ErrUnsupported},
		{"algorithms that differ", replaced("300a06082a8648ce3d040302 30", "300a06082a8648ce3d040303 30"), ErrMalformed},
		{"unknown key algorithm", replaced("06082a8648ce3d030107", "06082a8648ce3d030109"), ErrUnsupported},
		{"extension twice", der(func(c *x509.Certificate) {
			e := pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}
			c.ExtraExtensions = []pkix.Extension{e, e}
		}), ErrMalformed},
		{"critical FALSE written out", replaced("301d0603551d0e0416", "30200603551d0e0101000416"), ErrMalformed},
		{"BOOLEAN of another true", replaced("0101ff", "010101"), ErrMalformed},
		{"negative serial", replaced("0211008100", "0211ff8100"), ErrUnsupported},
	} {
		t.Run(test.name, func(t *testing.T) {
			if c, err := FromX509(test.der); !errors.Is(err, test.want) || c != nil {
				t.Errorf("err = %v, want %v", err, test.want)
			}
		})
	}
}

func TestX509Refuses(t *testing.T) {
	if _, err := mustParse(t, join(nativeItems())).X509(); !errors.Is(err, ErrUnsupported) {
		t.Errorf("type 2: %v, want ErrUnsupported", err)
	}
	items := reencodedItems()
	items[atKey] = "5821fe" + strings.Repeat("ff", 32) // above the field's prime
	c := mustParse(t, join(items))
	if _, err := c.X509(); !errors.Is(err, ErrMalformed) {
		t.Errorf("no point: %v, want ErrMalformed", err)
	}
	if _, err := c.Key(); !errors.Is(err, ErrMalformed) {
		t.Errorf("no point: %v, want ErrMalformed", err)
	}
	items = reencodedItems()
	items[atKeyAlgorithm] = "1818"
	if _, err := mustParse(t, join(items)).X509(); !errors.Is(err, ErrUnsupported) {
		t.Errorf("compressed brainpoolP256r1: %v, want ErrUnsupported", err)
	}
}

// The compressed forms that X.509 itself may have keep their octet (section 3.2.1).
func TestPointCompressedInX509(t *testing.T) {
	for _, octet := range []string{"02", "03"} {
		items := reencodedItems()
		items[atKey] = "5821" + octet + point
		der, err := mustParse(t, join(items)).X509()
		if err != nil {
			t.Fatal(err)
		}
		if c := roundTrip(t, der); !bytes.Equal(c.PublicKey.Bytes, unhex(t, octet+point)) {
			t.Errorf("point %x", c.PublicKey.Bytes)
		}
	}
}

func TestNamesFromX509(t *testing.T) {
	for _, test := range []struct{ name, der, want string }{
		{"text", "310a3008 0603550403 0c0141", "6141"},
		{"hexadecimal", "310d300b 0603550403 0c04 61623031", "42ab01"},
		{"upper-case hexadecimal", "310d300b 0603550403 0c04 41623031", "6441623031"},
		{"odd digits", "310c300a 0603550403 0c03 616230", "63616230"},
		{"EUI-64", "3120301e 0603550403 0c17 30312d32332d34352d36372d38392d41422d43442d4546",
			"d830480123456789abcdef"},
		{"MAC address", "3120301e 0603550403 0c17 30312d32332d34352d46462d46452d41422d43442d4546", "d83046012345abcdef"},
		{"EUI-64 in lower case", "3120301e 0603550403 0c17 30312d32332d34352d36372d38392d61622d63642d6566",
			"7730312d32332d34352d36372d38392d61622d63642d6566"},
		{"printable", "310a3008 0603550403 130141", "82206141"},
		{"printable hexadecimal", "310b3009 0603550403 13023031", "82204101"},
		{"nothing", "", "80"},
		{"empty text", "31093007 0603550403 0c00", "60"},
		{"domain component", "3111300f 060a0992268993f22c640119 160161", "82166161"},
		{"domain component as UTF-8", "3111300f 060a0992268993f22c640119 0c0161", "824a0992268993f22c640119430c0161"},
		{"TeletexString", "310a3008 0603550403 140141", "8243550403431401 41"},
		{"PrintableString with @", "310a3008 0603550403 130140", "8243550403431301 40"},
		{"unknown attribute", "310a3008 06032a0304 0c0141", "82432a0304430c0141"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := template()
			rdns := unhex(t, test.der)
			c.RawSubject = append([]byte{0x30, byte(len(rdns))}, rdns...)
			signer := privateKey(t, draftIssuer)
			converted := roundTrip(t, issue(t, c, signer.Public(), signer))
			var w writer
			w.name(converted.Subject)
			if !bytes.Equal(w.buf, unhex(t, test.want)) || converted.Issuer != nil {
				t.Errorf("name %x, want %s", w.buf, test.want)
			}
		})
	}
}
