package ca

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// openssl runs the program with input on its stdin, and gives what it says. These tests do without it nowhere: it is the
// foreign judge of the X.509 forms.
func openssl(t testing.TB, input []byte, arguments ...string) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("these tests hold the X.509 forms against openssl: install it (scripts/bootstrap test)")
	}
	c := exec.Command(path, arguments...)
	c.Stdin = bytes.NewReader(input)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("openssl %s: %v", strings.Join(arguments, " "), err)
	}
	return string(out)
}

func writePEM(t testing.TB, folder, name string, der []byte) string {
	t.Helper()
	path := filepath.Join(folder, name)
	writeFile(t, path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return path
}

func TestOpenSSLAcceptsTheChain(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 10)
	issued := w.issue(t, o, newKey(t), 0x021A2B0000000003)
	folder := t.TempDir()
	orderDER, rootDER := o.X509()
	root, order, unit := writePEM(t, folder, "root.pem", rootDER), writePEM(t, folder, "order.pem", orderDER), writePEM(t, folder, "unit.pem", issued.X509)
	for _, year := range []string{"1893456000", "4102444800", "253402214400"} { // 2030, 2100, the last day of 9999
		out := openssl(t, nil, "verify", "-x509_strict", "-check_ss_sig", "-attime", year, "-CAfile", root, "-untrusted", order, unit)
		if !strings.HasSuffix(out, ": OK\n") {
			t.Error(out)
		}
	}
	for file, lines := range map[string][]string{
		root: {"Subject: CN = TEST ACME Root 1", "Issuer: CN = TEST ACME Root 1", "Serial Number: 1 (0x1)", "X509v3 Basic Constraints: critical",
			"CA:TRUE, pathlen:1", "X509v3 Key Usage: critical", "Certificate Sign\n", "Not After : Dec 31 23:59:59 9999 GMT"},
		order: {"Subject: OU = line-1, CN = TEST ACME Order 1", "Issuer: CN = TEST ACME Root 1", "CA:TRUE, pathlen:0", "Certificate Sign\n",
			"Not After : Dec 31 23:59:59 9999 GMT", "X509v3 Authority Key Identifier"},
		unit: {"Subject: CN = 02-1A-2B-00-00-00-00-03", "Issuer: OU = line-1, CN = TEST ACME Order 1", "Digital Signature\n",
			"Not After : Dec 31 23:59:59 9999 GMT", "X509v3 Authority Key Identifier"},
	} {
		text := openssl(t, nil, "x509", "-in", file, "-noout", "-text")
		for _, line := range lines {
			if !strings.Contains(text, line) {
				t.Errorf("%s lacks %q:\n%s", file, line, text)
			}
		}
	}
	// The file carries the bytes of GeneralizedTime that RFC 5280, section 4.1.2.5, has for no expiry.
	for name, der := range map[string][]byte{"root": rootDER, "order": orderDER, "unit": issued.X509} {
		if !bytes.Contains(der, []byte("\x18\x0f99991231235959Z")) {
			t.Errorf("%s: notAfter is not 99991231235959Z", name)
		}
	}
}

func TestX509Verify(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 10)
	unit, err := x509.ParseCertificate(w.issue(t, o, newKey(t), 0x021A2B0000000003).X509)
	if err != nil {
		t.Fatal(err)
	}
	roots, orders := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(o.rootX509)
	orders.AddCert(o.x509)
	chains, err := unit.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: orders, CurrentTime: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil || len(chains) != 1 || len(chains[0]) != 3 {
		t.Errorf("%v, %v", chains, err)
	}
	// Another authority of the same names is another authority.
	other := newWorks(t)
	otherRoots := x509.NewCertPool()
	otherRoots.AddCert(other.authority.roots[0])
	if _, err := unit.Verify(x509.VerifyOptions{Roots: otherRoots, Intermediates: orders, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
		t.Error("another root accepted")
	}
}

func TestX509Fields(t *testing.T) {
	w := newWorks(t)
	o := w.firstOrder(t, 10)
	for name, c := range map[string]*x509.Certificate{"root": o.rootX509, "order": o.x509} {
		wantPath := map[string]int{"root": 1, "order": 0}[name]
		sum := sha256.Sum256(map[string][]byte{"root": sec1(&w.root.PublicKey), "order": sec1(&w.order.PublicKey)}[name])
		if !c.IsCA || c.MaxPathLen != wantPath || c.KeyUsage != x509.KeyUsageCertSign || !bytes.Equal(c.SubjectKeyId, sum[:20]) || c.SignatureAlgorithm != x509.ECDSAWithSHA256 {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if !bytes.Equal(o.x509.AuthorityKeyId, o.rootX509.SubjectKeyId) || !o.x509.NotBefore.Equal(o.Certificate.IssuedAt) {
		t.Errorf("order: %+v", o.x509)
	}
	at := slices.IndexFunc(o.x509.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(rangeOID) })
	if at < 0 || o.x509.Extensions[at].Critical {
		t.Fatalf("extensions %v", o.x509.Extensions)
	}
	const want = "8307" + "48021a2b0000000001" + "48021a2b000000000a" // [7, first, last]
	if got := hex.EncodeToString(o.x509.Extensions[at].Value); got != want {
		t.Errorf("range is %s, want %s", got, want)
	}
	if e, ok := o.Certificate.signed.Extensions.Find(rangeID); !ok || !e.Critical || !bytes.Equal(e.Value, o.x509.Extensions[at].Value) {
		t.Errorf("the C509 certificate has %x", e.Value)
	}
}
