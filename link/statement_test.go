package link

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// The statements are put together by hand; the CBOR library says what they should be.
func TestStatements(t *testing.T) {
	challenge, firmware := [32]byte(count(1, 32)), [32]byte(count(101, 132))
	order, chip, key := count(1, 4), [9]byte(count(11, 19)), [64]byte(count(150, 213))
	anchor, orderCertificate, unitCertificate := count(0, 97), count(0, 154), count(0, 134)
	hash := func(b []byte) [32]byte { return sha256.Sum256(b) }
	for _, test := range []struct {
		name string
		got  []byte
		want []any
	}{
		{"possession", PossessionStatement(challenge, order, chip, firmware, key),
			[]any{"birthmark possession 1", challenge, order, chip, firmware, 1, key}},
		{"installed", InstalledStatement(challenge, chip, anchor, orderCertificate, unitCertificate),
			[]any{"birthmark installed 1", challenge, chip, hash(anchor), hash(orderCertificate), hash(unitCertificate)}},
	} {
		want, err := cbor.Marshal(test.want)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(test.got, want) {
			t.Errorf("%s: %x, want %x", test.name, test.got, want)
		}
	}
}
