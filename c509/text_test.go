package c509

import (
	"errors"
	"strings"
	"testing"
)

func text(t *testing.T, c *Certificate) string {
	t.Helper()
	var b strings.Builder
	if err := c.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWriteText(t *testing.T) {
	items := nativeItems()
	items[atNotAfter] = "f6"
	items[atExtensions] = "86 21 1820 2300 3980e7 84 01 480102030405060708 a1 01f6 c16142"
	const want = `type        2, natively signed
serial      01f50d
issuer      RFC test CA
not before  2023-01-01T00:00:00Z
not after   no expiry
subject     01-23-45-FF-FE-67-89-AB
key         secp256r1 02b1216ab96e5b3b3340f5bdf02e693f16213a04525ed44450b1019c2dfd3838ab
extension   keyUsage (critical): keyCertSign
extension   basicConstraints (critical): CA, path length 0
extension   33000 (critical): [1, h'0102030405060708', {1: null}, 1("B")]
signature   ecdsa-with-SHA256 eb0d472731f689bc00f5880b12c68b3f9fd38b23fadfca20950f3f241b60a202579cac28cd3b7494d5fa5d8bbab4600357e550ab9fa9a65d9ba2b3b82e668cc6
size        162 bytes
`
	got := text(t, mustParse(t, join(items)))
	if !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWriteTextReencoded(t *testing.T) {
	got := text(t, mustParse(t, vectorNamed(t, "A.2.1-ieee8021ar-type3").C509))
	for _, want := range []string{
		"type        3, re-encoded X.509\n",
		"issuer      countryName=US, stateOrProvinceName=CA, organizationName=Example Inc, " +
			"organizationalUnitName=certification, commonName=802.1AR CA\n",
		"extension   basicConstraints: not a CA\n",
		"extension   keyUsage (critical): digitalSignature, keyEncipherment\n",
		"extension   subjectAltName: [-1, [h'2b06010401b43b0a01', h'01020304']]\n",
		"size        276 bytes\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
}

func TestWriteTextQuotesWhatMovesTheCursor(t *testing.T) {
	c := mustParse(t, join(nativeItems()))
	c.Issuer = Name{{Type: CommonName, Value: Value{Text, "a\x1b[2Jb"}}, {Type: 8, Value: Value{Text, "c\nd"}}}
	got := text(t, c)
	if !strings.Contains(got, `issuer      commonName="a\x1b[2Jb", organizationName="c\nd"`+"\n") {
		t.Errorf("control characters got through: %q", got)
	}
}

type full struct{}

var errFull = errors.New("disk is full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteTextReportsTheWriter(t *testing.T) {
	if err := mustParse(t, join(nativeItems())).WriteText(full{}); !errors.Is(err, errFull) {
		t.Errorf("err = %v", err)
	}
}
