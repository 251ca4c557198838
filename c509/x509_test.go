package c509

import (
	"bytes"
	"testing"
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
