package hsm

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	for _, c := range []struct {
		text string
		want URI
	}{
		{"pkcs11:", URI{}},
		{"pkcs11:token=factory-a;object=order", URI{Token: "factory-a", Object: "order"}},
		{"pkcs11:serial=01;manufacturer=A%20B;model=v2;type=private;id=%00%ff%3B",
			URI{Serial: "01", Manufacturer: "A B", Model: "v2", ID: []byte{0, 0xff, ';'}}},
		{"pkcs11:token=a+b&c?pin-source=file:/run/pin+1&module-path=/usr/lib/x.so",
			URI{Token: "a+b&c", PINFile: "/run/pin+1", ModulePath: "/usr/lib/x.so"}},
		{"pkcs11:object=x?pin-source=/run/pin", URI{Object: "x", PINFile: "/run/pin"}},
		{"pkcs11:token=%C3%A4", URI{Token: "ä"}},
		{"file:keys/order.key", URI{File: "keys/order.key"}},
		{"file:///keys/order", URI{File: "/keys/order"}},
		{"order.key", URI{File: "order.key"}},
		{"/a b/order.pem", URI{File: "/a b/order.pem"}},
	} {
		got, err := ParseURI(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		} else if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: have %+v, want %+v", c.text, got, c.want)
		}
	}
}

func TestParseURIRefuses(t *testing.T) {
	for text, why := range map[string]string{
		"":                                     "want pkcs11:",
		"order":                                "want pkcs11:",
		"PKCS11:token=a":                       "want pkcs11:",
		"pkcs11:token=a;token=a":               "token is there twice",
		"pkcs11:token=":                        "empty value",
		"pkcs11:token":                         "no value",
		"pkcs11:token=a;":                      "no value",
		"pkcs11:token=a?":                      "nothing after",
		"pkcs11:slot-id=1":                     "slot numbers change",
		"pkcs11:token=a?pin-value=secret1":     "does not belong into a URI",
		"pkcs11:pin-value=secret1":             "does not belong into a URI",
		"pkcs11:token=a?module-name=x":         "module-path",
		"pkcs11:token=a?module-path=x.so":      "not an absolute path",
		"pkcs11:token=a?pin-source=%7Ccat%20x": "not an absolute path",
		"pkcs11:token=a?pin-source=|cat":       "not an absolute path",
		"pkcs11:type=cert":                     "not private",
		"pkcs11:colour=red":                    "unknown attribute",
		"pkcs11:module-path=x.so":              "unknown attribute",
		"pkcs11:token=a?object=b":              "unknown attribute",
		"pkcs11:token=a?id=%01":                "unknown attribute",
		"pkcs11:token=a b":                     "percent-encoded",
		"pkcs11:token=a/b":                     "percent-encoded",
		"pkcs11:token=a#b":                     "percent-encoded",
		"pkcs11:token=%4":                      "bad percent-encoding",
		"pkcs11:token=%zz":                     "bad percent-encoding",
		"pkcs11:token=%ff":                     "not UTF-8",
		"file:":                                "needs a path",
		"file://host/order.key":                "needs a path",
		"file:////order.key":                   "needs a path",
		"//a.key":                              "needs a path",
		"a\x00.key":                            "needs a path",
	} {
		_, err := ParseURI(text)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: have error %v, want %q", text, err, why)
		}
		if err != nil && strings.Contains(err.Error(), "secret1") {
			t.Errorf("%q: the error shows a PIN: %v", text, err)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	for _, seed := range []string{"pkcs11:token=a+b;object=%41;id=%00%01?module-path=/x.so&pin-source=file:///p", "file:/a.key", "a.pem"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseURI(text)
		if err != nil {
			return
		}
		canonical := u.String()
		again, err := ParseURI(canonical)
		if err != nil {
			t.Fatalf("%q came out as %q: %v", text, canonical, err)
		}
		if !reflect.DeepEqual(again, u) || again.String() != canonical {
			t.Fatalf("%q came out as %q and came back as %+v, not %+v", text, canonical, again, u)
		}
	})
}
