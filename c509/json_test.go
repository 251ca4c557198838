package c509

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// checkJSON takes a certificate to JSON and back.
func checkJSON(t testing.TB, c *Certificate) {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var back Certificate
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if !bytes.Equal(back.Raw, c.Raw) || !bytes.Equal(back.RawTBS, c.RawTBS) {
		t.Fatalf("came back as %x\nwant         %x\n%s", back.Raw, c.Raw, b)
	}
}

func TestVectorsJSON(t *testing.T) {
	for _, v := range vectors(t) {
		if refused(v) == "" {
			checkJSON(t, mustParse(t, v.C509))
		}
	}
}

func TestSignedCertificateJSON(t *testing.T) {
	c := unit(t)
	if err := c.Sign(rand.Reader, privateKey(t, draftIssuer)); err != nil {
		t.Fatal(err)
	}
	checkJSON(t, c)
}

const exampleJSON = `{
	"type": 2,
	"serialNumber": "01f50d",
	"signatureAlgorithm": "ecdsa-with-SHA256",
	"issuer": [{"type": "commonName", "text": "RFC test CA"}],
	"notBefore": "2023-01-01T00:00:00Z",
	"notAfter": "2026-01-01T00:00:00Z",
	"subject": [{"type": "commonName", "eui64": "01-23-45-FF-FE-67-89-AB"}],
	"publicKeyAlgorithm": "secp256r1",
	"publicKey": "02b1216ab96e5b3b3340f5bdf02e693f16213a04525ed44450b1019c2dfd3838ab",
	"extensions": [{"id": "keyUsage", "critical": false, "value": ["digitalSignature"]}],
	"signature": "eb0d472731f689bc00f5880b12c68b3f9fd38b23fadfca20950f3f241b60a202579cac28cd3b7494d5fa5d8bbab4600357e550ab9fa9a65d9ba2b3b82e668cc6"
}`

func TestJSONIsReadable(t *testing.T) {
	b, err := json.Marshal(mustParse(t, join(nativeItems())))
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := errors.Join(json.Unmarshal(b, &got), json.Unmarshal([]byte(exampleJSON), &want)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("JSON %s\nwant %s", b, exampleJSON)
	}
}

func TestUnmarshalJSONRefuses(t *testing.T) {
	for _, test := range []struct{ name, from, to string }{
		{"unknown field", `"type": 2`, `"type": 2, "color": 1`},
		{"unknown type", `"type": 2`, `"type": 4`},
		{"odd hexadecimal", `"01f50d"`, `"01f50"`},
		{"unknown algorithm", `"ecdsa-with-SHA256"`, `"ecdsa-with-MD5"`},
		{"unknown key algorithm", `"secp256r1"`, `"secp256k1"`},
		{"unknown attribute type", `"commonName", "text"`, `"nickName", "text"`},
		{"attribute type by number", `"commonName", "text"`, `"1", "text"`},
		{"negative attribute type by number", `"commonName", "text"`, `"-32768", "text"`},
		{"attribute without value", `, "text": "RFC test CA"`, ``},
		{"attribute with two values", `"text": "RFC test CA"`, `"text": "RFC test CA", "hex": "00"`},
		{"unknown field in attribute", `"text": "RFC test CA"`, `"text": "RFC test CA", "x": 1`},
		{"printable emailAddress", `"type": "commonName", "text"`, `"type": "emailAddress", "printable": true, "text"`},
		{"EUI-64 in lower case", `01-23-45-FF-FE-67-89-AB`, `01-23-45-ff-fe-67-89-ab`},
		{"EUI-64 too short", `01-23-45-FF-FE-67-89-AB`, `01-23-45-FF-FE-67-89`},
		{"time with a zone", `2023-01-01T00:00:00Z`, `2023-01-01T00:00:00+00:00`},
		{"time with a fraction", `2023-01-01T00:00:00Z`, `2023-01-01T00:00:00.5Z`},
		{"time before 1970", `2023-01-01T00:00:00Z`, `1969-12-31T23:59:59Z`},
		{"no time", `"2026-01-01T00:00:00Z"`, `""`},
		{"unknown extension", `"keyUsage"`, `"keyAbuse"`},
		{"unknown key usage", `["digitalSignature"]`, `["digitalSignature", "sing"]`},
		{"key usage twice", `["digitalSignature"]`, `["digitalSignature", "digitalSignature"]`},
		{"no key usage", `["digitalSignature"]`, `[]`},
		{"extension without value", `, "value": ["digitalSignature"]`, ``},
		{"extension with value and der", `["digitalSignature"]`, `["digitalSignature"], "der": "00"`},
		{"unknown field in extension", `"critical": false`, `"critical": false, "x": 1`},
		{"object of no known kind", `"keyUsage", "critical": false, "value": ["digitalSignature"]`,
			`"33000", "critical": true, "value": {"bytes": "00"}`},
		{"tag without value", `"keyUsage", "critical": false, "value": ["digitalSignature"]`,
			`"33000", "critical": true, "value": {"tag": 1}`},
		{"bytes that are not hexadecimal", `"keyUsage", "critical": false, "value": ["digitalSignature"]`,
			`"33000", "critical": true, "value": {"hex": "zz"}`},
		{"map with a lone key", `"keyUsage", "critical": false, "value": ["digitalSignature"]`,
			`"33000", "critical": true, "value": {"map": [[1]]}`},
		{"map out of order", `"keyUsage", "critical": false, "value": ["digitalSignature"]`,
			`"33000", "critical": true, "value": {"map": [[2, 0], [1, 0]]}`},
		{"fraction", `"keyUsage", "critical": false, "value": ["digitalSignature"]`,
			`"33000", "critical": true, "value": 1.5`},
		{"2^64", `"keyUsage", "critical": false, "value": ["digitalSignature"]`,
			`"33000", "critical": true, "value": 18446744073709551616`},
		{"short signature", `"signature": "eb`, `"signature": "`},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := strings.Replace(exampleJSON, test.from, test.to, 1)
			if changed == exampleJSON {
				t.Fatal("nothing changed")
			}
			var c Certificate
			err := json.Unmarshal([]byte(changed), &c)
			if err == nil || c.Raw != nil {
				t.Fatalf("taken as %x", c.Raw)
			}
		})
	}
}

func TestPrivateExtensionJSON(t *testing.T) {
	items := nativeItems()
	items[atExtensions] = "82 3980e7 8a 1bffffffffffffffff 3bffffffffffffffff 20 00 420102 6141 f4 f5 f6 a1 01 c16142"
	c := mustParse(t, join(items))
	checkJSON(t, c)
	b, err := c.Extensions[0].MarshalJSON()
	const want = `{"id":"33000","critical":true,"value":[18446744073709551615,-18446744073709551616,-1,0,` +
		`{"hex":"0102"},"A",false,true,null,{"map":[[1,{"tag":1,"value":"B"}]]}]}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v\nwant %s", b, err, want)
	}
}
