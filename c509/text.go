package c509

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteText writes the certificate for people, one aligned line for each field. Text from the certificate is
// quoted where it could move a terminal's cursor. Size, hash and code are those of Raw.
func (c *Certificate) WriteText(w io.Writer) error {
	var b bytes.Buffer
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s", label)
		fmt.Fprintf(&b, format+"\n", args...)
	}
	kind := "natively signed"
	if c.Type == X509 {
		kind = "re-encoded X.509"
	}
	line("type", "%d, %s", c.Type, kind)
	line("serial", "%x", c.SerialNumber)
	if c.Issuer == nil {
		line("issuer", "identical to subject")
	} else {
		line("issuer", "%s", c.Issuer)
	}
	line("not before", "%s", formatTime(c.NotBefore))
	if c.NotAfter == NoExpiry {
		line("not after", "no expiry")
	} else {
		line("not after", "%s", formatTime(c.NotAfter))
	}
	line("subject", "%s", c.Subject)
	line("key", "%s %x", c.PublicKeyAlgorithm, c.PublicKey.Bytes)
	if c.PublicKey.Exponent != nil {
		line("exponent", "%x", c.PublicKey.Exponent)
	}
	for _, e := range c.Extensions {
		critical := ""
		if e.Critical {
			critical = " (critical)"
		}
		line("extension", "%s%s: %s", e.name(), critical, e.valueText())
	}
	line("signature", "%s %x", c.SignatureAlgorithm, c.Signature)
	line("size", "%d bytes", len(c.Raw))
	line("sha-256", "%x", c.Fingerprint())
	line("code", "CERT %s", c.Code())
	_, err := w.Write(b.Bytes())
	return err
}

// valueText shows keyUsage and basicConstraints in words and others in diagnostic notation.
func (e Extension) valueText() string {
	if e.OID != "" {
		return fmt.Sprintf("%x", e.Value)
	}
	alone := &Certificate{Extensions: Extensions{e}}
	if usage, ok := alone.KeyUsage(); ok {
		return usage.String()
	}
	if basic, ok := alone.BasicConstraints(); ok {
		return basic.String()
	}
	var b strings.Builder
	r := &reader{rest: e.Value}
	r.diagnose(&b, maxDepth)
	if err := r.end(); err != nil {
		return err.Error()
	}
	return b.String()
}

// String returns "not a CA", "CA" or "CA, path length 0".
func (b BasicConstraints) String() string {
	switch {
	case !b.CA:
		return "not a CA"
	case b.PathLen < 0:
		return "CA"
	}
	return fmt.Sprintf("CA, path length %d", b.PathLen)
}

// diagnose writes an item in diagnostic notation (RFC 8949, section 8).
func (r *reader) diagnose(b *strings.Builder, depth int) {
	if depth == 0 {
		r.unsupported("nested deeper than %d", maxDepth)
		return
	}
	list := func(open, closing string, n, group int) {
		b.WriteString(open)
		for i := 0; i < n && r.err == nil; i++ {
			switch {
			case i%group != 0:
				b.WriteString(": ")
			case i > 0:
				b.WriteString(", ")
			}
			r.diagnose(b, depth-1)
		}
		b.WriteString(closing)
	}
	switch r.peek() {
	case majorBytes:
		fmt.Fprintf(b, "h'%x'", r.bytes())
	case majorText:
		b.WriteString(strconv.Quote(r.text()))
	case majorArray:
		list("[", "]", r.array(), 1)
	case majorMap:
		_, n := r.head()
		list("{", "}", 2*r.count(n, 2), 2)
	case majorTag:
		_, tag := r.head()
		list(strconv.FormatUint(tag, 10)+"(", ")", 1, 1)
	default:
		if r.null() {
			b.WriteString("null")
			return
		}
		fmt.Fprint(b, r.json(depth))
	}
}
