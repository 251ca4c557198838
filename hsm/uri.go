package hsm

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// URI names a token, a key inside one, or a key file. Empty fields match anything.
type URI struct {
	Token        string // CK_TOKEN_INFO label
	Manufacturer string // CK_TOKEN_INFO manufacturerID
	Serial       string // CK_TOKEN_INFO serialNumber
	Model        string // CK_TOKEN_INFO model
	Object       string // CKA_LABEL
	ID           []byte // CKA_ID
	ModulePath   string // module-path
	PINFile      string // pin-source, a path; never a PIN
	File         string // key file; then every other field is empty
}

// attribute is one RFC 7512 attribute that is understood.
type attribute struct {
	name  string
	query bool // after the question mark: pk11-query (RFC 7512, section 2.3)
	field func(*URI) *string
}

// attributes are in the order in which String writes them.
var attributes = []attribute{
	{"token", false, func(u *URI) *string { return &u.Token }},
	{"manufacturer", false, func(u *URI) *string { return &u.Manufacturer }},
	{"serial", false, func(u *URI) *string { return &u.Serial }},
	{"model", false, func(u *URI) *string { return &u.Model }},
	{"object", false, func(u *URI) *string { return &u.Object }},
	{"module-path", true, func(u *URI) *string { return &u.ModulePath }},
	{"pin-source", true, func(u *URI) *string { return &u.PINFile }},
}

// ParseURI reads a PKCS#11 URI (RFC 7512, section 2.3), "file:PATH" or a bare path that ends in .key or
// .pem. It is strict where a guess could send a PIN to the wrong token: an attribute that is unknown,
// empty or there twice is an error, and so is slot-id, since slots are renumbered. Of the query it takes
// module-path and pin-source (a file; "|command" is refused); pin-value is refused, since command lines
// and configuration are not secret. No error repeats a value.
func ParseURI(text string) (URI, error) {
	if rest, ok := strings.CutPrefix(text, "pkcs11:"); ok {
		u, err := parsePKCS11(rest)
		if err != nil {
			return URI{}, fmt.Errorf("parse PKCS#11 URI: %w", err)
		}
		return u, nil
	}
	path, isFile := strings.CutPrefix(text, "file:")
	if isFile {
		path = strings.TrimPrefix(path, "//") // RFC 8089: file:///path is file:/path
	}
	switch {
	case !isFile && filepath.Ext(text) != ".key" && filepath.Ext(text) != ".pem":
		return URI{}, errors.New("parse key URI: want pkcs11:..., file:PATH or a path that ends in .key or .pem")
	case path == "" || strings.ContainsRune(path, 0) || strings.HasPrefix(path, "//"),
		!filepath.IsAbs(path) && strings.HasPrefix(text, "file://"):
		return URI{}, errors.New("parse key URI: file: needs a path of this machine")
	}
	return URI{File: path}, nil
}

func parsePKCS11(text string) (URI, error) {
	path, query, hasQuery := strings.Cut(text, "?")
	if hasQuery && query == "" {
		return URI{}, errors.New("nothing after the question mark")
	}
	var u URI
	seen := make(map[string]bool)
	if err := u.parsePart(path, ";", false, seen); err != nil {
		return URI{}, err
	}
	if err := u.parsePart(query, "&", true, seen); err != nil {
		return URI{}, err
	}
	return u, nil
}

// parsePart reads the attributes on one side of the question mark.
func (u *URI) parsePart(text, separator string, query bool, seen map[string]bool) error {
	if text == "" {
		return nil
	}
	for pair := range strings.SplitSeq(text, separator) {
		name, raw, ok := strings.Cut(pair, "=")
		if !ok {
			return errors.New("an attribute has no value")
		}
		if why := refused(name); why != "" {
			return fmt.Errorf("%s is refused: %s", name, why)
		}
		if seen[name] {
			return fmt.Errorf("%s is there twice", name)
		}
		seen[name] = true
		value, err := decode(raw, query)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := u.set(name, value, query); err != nil {
			return err
		}
	}
	return nil
}

// refused says why an attribute of RFC 7512 is not taken, or is empty.
func refused(name string) string {
	switch name {
	case "slot-id":
		return "slot numbers change; name the token by its serial number"
	case "pin-value":
		return "a PIN does not belong into a URI; use pin-source or a PIN option"
	case "module-name":
		return "name the module by its whole path with module-path"
	}
	return ""
}

func (u *URI) set(name, value string, query bool) error {
	if name == "id" && !query {
		u.ID = []byte(value)
		return nil
	}
	if !utf8.ValidString(value) {
		return fmt.Errorf("%s is not UTF-8", name)
	}
	if name == "type" && !query {
		if value != "private" {
			return errors.New("type is not private, the only one that signs")
		}
		return nil
	}
	if name == "pin-source" {
		if path, ok := strings.CutPrefix(value, "file:"); ok {
			value = strings.TrimPrefix(path, "//")
		}
	}
	for _, a := range attributes {
		if a.name != name || a.query != query {
			continue
		}
		if query && !filepath.IsAbs(value) { // both are paths
			return fmt.Errorf("%s is not an absolute path", name)
		}
		*a.field(u) = value
		return nil
	}
	return fmt.Errorf("unknown attribute %q", name)
}

const (
	unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
	pathChars  = unreserved + ":[]@!$'()*+,=&"   // pk11-path-res-avail
	queryChars = unreserved + ":[]@!$'()*+,=/?|" // pk11-query-res-avail
)

// decode undoes percent-encoding and nothing else: a + stays a + (RFC 7512, section 2.3).
func decode(raw string, query bool) (string, error) {
	allowed := pathChars
	if query {
		allowed = queryChars
	}
	if raw == "" {
		return "", errors.New("empty value")
	}
	if strings.ContainsFunc(raw, func(r rune) bool { return !strings.ContainsRune(allowed+"%", r) }) {
		return "", errors.New("a character must be percent-encoded")
	}
	value, err := url.PathUnescape(raw)
	if err != nil {
		return "", errors.New("bad percent-encoding")
	}
	return value, nil
}

// encode percent-encodes every byte of value that is not in plain.
func encode(value, plain string) string {
	var b strings.Builder
	for i := range len(value) {
		if strings.IndexByte(plain, value[i]) >= 0 {
			b.WriteByte(value[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", value[i])
		}
	}
	return b.String()
}

// String writes the URI so that ParseURI reads it back. It has no PIN to show: pin-source is a path.
func (u URI) String() string {
	if u.File != "" {
		return "file:" + u.File
	}
	var path, query []string
	for _, a := range attributes {
		switch value := *a.field(&u); {
		case value == "":
		case a.query:
			query = append(query, a.name+"="+encode(value, unreserved+"/"))
		default:
			path = append(path, a.name+"="+encode(value, unreserved))
		}
	}
	if u.ID != nil {
		path = append(path, "id="+encode(string(u.ID), "")) // every byte, as RFC 7512, section 2.3 advises
	}
	text := "pkcs11:" + strings.Join(path, ";")
	if query != nil {
		text += "?" + strings.Join(query, "&")
	}
	return text
}

// Selector names one key inside a token. Empty fields match anything.
type Selector struct {
	Label  string
	ID     []byte
	Public *ecdsa.PublicKey
}

// Key is the part of the URI that names a key.
func (u URI) Key() Selector { return Selector{Label: u.Object, ID: u.ID} }

func (want Selector) String() string {
	text := "any"
	if want.Label != "" {
		text = strconv.Quote(want.Label)
	}
	if want.ID != nil {
		text += fmt.Sprintf(" id %x", want.ID)
	}
	if want.Public != nil {
		if point, err := want.Public.Bytes(); err == nil {
			text += fmt.Sprintf(" public key %x", point)
		}
	}
	return text
}
