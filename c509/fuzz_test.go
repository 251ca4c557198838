package c509

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"
)

// FuzzParse wants the same bytes back from everything that parses, also by way of JSON and, in type 3, of DER.
func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(unhex(f, v.C509))
	}
	items := nativeItems()
	items[atExtensions] = "82 3980e7 84 01 480102030405060708 a1 01f6 c16142"
	f.Add(unhex(f, join(items)))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if again, err := c.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("encoded %x, %v\nwant    %x", again, err, b)
		}
		checkJSON(t, c)
		if err := c.WriteText(io.Discard); err != nil {
			t.Fatal(err)
		}
		der, err := c.X509()
		if err != nil {
			return
		}
		convert := FromX509Uncompressed
		if octet := c.PublicKey.Bytes[0]; octet == pointEvenWasFull || octet == pointOddWasFull {
			convert = FromX509
		}
		back, err := convert(der)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back.RawTBS, c.RawTBS) {
			t.Fatalf("from X.509 %x\nwant       %x", back.RawTBS, c.RawTBS)
		}
	})
}

// FuzzX509 wants the same DER back from everything that converts, and C509 that parses.
func FuzzX509(f *testing.F) {
	for _, v := range vectors(f) {
		if v.DER != "" {
			f.Add(unhex(f, v.DER))
		}
	}
	f.Add(opensslCertificate(f))
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := FromX509(der)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		roundTrip(t, der)
		checkJSON(t, c)
	})
}

// FuzzValue reaches the codecs of extensions, which a changed certificate seldom does.
func FuzzValue(f *testing.F) {
	rich, err := FromX509(opensslCertificate(f))
	if err != nil {
		f.Fatal(err)
	}
	addresses := mustParse(f, vectorNamed(f, "A.5.1-brainpoolp384r1-ipaddrblocks-type3").C509)
	web := mustParse(f, vectorNamed(f, "A.4.1-cab-rsa-type3").C509)
	for _, c := range []*Certificate{rich, addresses, web} {
		for _, e := range c.Extensions {
			if e.OID != "" {
				continue
			}
			der, err := valueToDER(e.ID, e.Value, false)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(e.ID, e.Value)
			f.Add(e.ID, der)
		}
	}
	f.Fuzz(func(t *testing.T, id int, b []byte) {
		if _, ok := extensionTypes.id(id); !ok {
			return
		}
		if der, err := valueToDER(id, b, false); err == nil {
			if back, ok := valueFromDER(id, der); !ok || !bytes.Equal(back, b) {
				t.Fatalf("%x became %x and then %x", b, der, back)
			}
		}
		if value, ok := valueFromDER(id, b); ok {
			if back, err := valueToDER(id, value, false); err != nil || !bytes.Equal(back, b) {
				t.Fatalf("%x became %x and then %x, %v", b, value, back, err)
			}
		}
	})
}

// FuzzJSON wants the same certificate back from every JSON that makes one.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(exampleJSON))
	for _, v := range vectors(f) {
		if refused(v) == "" {
			b, err := json.Marshal(mustParse(f, v.C509))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Certificate
		if json.Unmarshal(b, &c) == nil {
			checkJSON(t, &c)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, name := range []string{"A.1.2-rfc7925-type2", "A.1.1-rfc7925-type3", "A.4.1-cab-rsa-type3"} {
		encoded := unhex(b, vectorNamed(b, name).C509)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(encoded); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFromX509(b *testing.B) {
	for _, name := range []string{"A.1.1-rfc7925-type3", "A.4.1-cab-rsa-type3"} {
		der := unhex(b, vectorNamed(b, name).DER)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := FromX509(der); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
