package c509

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// certificateJSON is the JSON form of a certificate. It holds everything, so that the certificate comes back
// byte for byte; registry values are shown by their registered identifiers.
type certificateJSON struct {
	Type               int                `json:"type"`
	SerialNumber       hexBytes           `json:"serialNumber"`
	SignatureAlgorithm SignatureAlgorithm `json:"signatureAlgorithm"`
	Issuer             Name               `json:"issuer"` // null: identical to subject
	NotBefore          string             `json:"notBefore"`
	NotAfter           *string            `json:"notAfter"` // null: no expiry
	Subject            Name               `json:"subject"`
	PublicKeyAlgorithm PublicKeyAlgorithm `json:"publicKeyAlgorithm"`
	PublicKey          hexBytes           `json:"publicKey"`
	PublicKeyExponent  hexBytes           `json:"publicKeyExponent,omitempty"` // RSA, other than 65537
	Extensions         Extensions         `json:"extensions"`
	Signature          hexBytes           `json:"signature"`
}

// hexBytes is a hexadecimal string in JSON.
type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.AppendDecode(hexBytes{}, text)
	return err
}

// MarshalJSON returns the whole certificate in readable form: hexadecimal bytes, RFC 3339 times, registered
// identifiers for algorithms, attributes and extensions. Errors are those of Encode.
func (c *Certificate) MarshalJSON() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	form := certificateJSON{
		Type:               c.Type,
		SerialNumber:       c.SerialNumber,
		SignatureAlgorithm: c.SignatureAlgorithm,
		Issuer:             c.Issuer,
		NotBefore:          formatTime(c.NotBefore),
		Subject:            append(Name{}, c.Subject...), // an empty one is [], not null
		PublicKeyAlgorithm: c.PublicKeyAlgorithm,
		PublicKey:          c.PublicKey.Bytes,
		PublicKeyExponent:  c.PublicKey.Exponent,
		Extensions:         append(Extensions{}, c.Extensions...),
		Signature:          c.Signature,
	}
	if c.NotAfter != NoExpiry {
		notAfter := formatTime(c.NotAfter)
		form.NotAfter = &notAfter
	}
	return json.Marshal(form)
}

// UnmarshalJSON reads what MarshalJSON wrote, and sets Raw and RawTBS. Unknown fields are refused, and whatever
// has no encoding (ErrMalformed, ErrUnsupported).
func (c *Certificate) UnmarshalJSON(b []byte) error {
	var form certificateJSON
	if err := decodeStrict(b, &form); err != nil {
		return err
	}
	notBefore, err := parseTime(form.NotBefore)
	if err != nil {
		return err
	}
	notAfter := NoExpiry
	if form.NotAfter != nil {
		if notAfter, err = parseTime(*form.NotAfter); err != nil {
			return err
		}
	}
	encoded, err := (&Certificate{
		Type:               form.Type,
		SerialNumber:       form.SerialNumber,
		SignatureAlgorithm: form.SignatureAlgorithm,
		Issuer:             form.Issuer,
		NotBefore:          notBefore,
		NotAfter:           notAfter,
		Subject:            form.Subject,
		PublicKeyAlgorithm: form.PublicKeyAlgorithm,
		PublicKey:          PublicKey{Bytes: form.PublicKey, Exponent: form.PublicKeyExponent},
		Extensions:         form.Extensions,
		Signature:          form.Signature,
	}).Encode()
	if err != nil {
		return err
	}
	parsed, err := Parse(encoded)
	if err != nil {
		return err
	}
	*c = *parsed
	return nil
}

// decodeStrict refuses unknown fields and trailing values. Numbers stay as they are written.
func decodeStrict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows the JSON value", ErrMalformed)
	}
	return nil
}

func formatTime(posix uint64) string { return time.Unix(int64(posix), 0).UTC().Format(time.RFC3339) }

// parseTime takes the one form that formatTime gives.
func parseTime(s string) (uint64, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Unix() < 0 || formatTime(uint64(t.Unix())) != s {
		return 0, fmt.Errorf("%w: time %q, want the form 2006-01-02T15:04:05Z from 1970 on", ErrMalformed, s)
	}
	return uint64(t.Unix()), nil
}

// MarshalText returns the registered identifier.
func (a SignatureAlgorithm) MarshalText() ([]byte, error) {
	e, err := a.entry()
	return []byte(e.name), err
}

// UnmarshalText reads what MarshalText wrote; the error wraps ErrUnsupported.
func (a *SignatureAlgorithm) UnmarshalText(text []byte) error {
	e, err := algorithmByName(signatureAlgorithms, string(text))
	*a = SignatureAlgorithm(e.id)
	return err
}

// MarshalText returns the name that String returns for a registered algorithm.
func (a PublicKeyAlgorithm) MarshalText() ([]byte, error) {
	e, err := a.entry()
	return []byte(e.name), err
}

// UnmarshalText reads what MarshalText wrote; the error wraps ErrUnsupported.
func (a *PublicKeyAlgorithm) UnmarshalText(text []byte) error {
	e, err := algorithmByName(publicKeyAlgorithms, string(text))
	*a = PublicKeyAlgorithm(e.id)
	return err
}

// attributeJSON has exactly one of the last four fields.
type attributeJSON struct {
	Type      string    `json:"type"` // identifier, number of private use, or OID with DER
	Printable bool      `json:"printable,omitempty"`
	Text      *string   `json:"text,omitempty"`
	Hex       *hexBytes `json:"hex,omitempty"`
	EUI64     *string   `json:"eui64,omitempty"`
	DER       *hexBytes `json:"der,omitempty"`
}

// MarshalJSON shows the attribute's type by name and its value as text, hex, eui64 or der.
func (a Attribute) MarshalJSON() ([]byte, error) {
	form := attributeJSON{Type: a.typeName(), Printable: a.Type < 0}
	text, data := a.Value.String(), hexBytes(a.Value.Data)
	switch {
	case a.OID != "":
		form.DER = &data
	case a.Value.Kind == Bytes:
		form.Hex = &data
	case a.Value.Kind == EUI64:
		form.EUI64 = &text
	default:
		form.Text = &text
	}
	return json.Marshal(form)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (a *Attribute) UnmarshalJSON(b []byte) error {
	var form attributeJSON
	if err := decodeStrict(b, &form); err != nil {
		return err
	}
	read := Attribute{OID: form.Type}
	var err error
	if form.DER == nil {
		read.OID = ""
		read.Type, err = rdnAttributes.number(form.Type)
	}
	if form.Printable {
		read.Type = -read.Type
	}
	values := 0
	if form.Text != nil {
		read.Value = Value{Text, *form.Text}
		values++
	}
	for _, data := range []*hexBytes{form.Hex, form.DER} {
		if data != nil {
			read.Value = Value{Bytes, string(*data)}
			values++
		}
	}
	if form.EUI64 != nil {
		octets, hexErr := hex.DecodeString(strings.ReplaceAll(*form.EUI64, "-", ""))
		read.Value = Value{EUI64, string(octets)}
		if hexErr != nil || read.Value.String() != *form.EUI64 {
			err = fmt.Errorf("%w: EUI-64 %q", ErrMalformed, *form.EUI64)
		}
		values++
	}
	if err == nil && (values != 1 || form.Printable && read.Type == 0) {
		err = fmt.Errorf("%w: attribute %s does not have one value", ErrMalformed, b)
	}
	*a = read
	return err
}

// extensionJSON has a value, or der under an OID.
type extensionJSON struct {
	ID       string          `json:"id"` // identifier, number of private use, or OID with DER
	Critical bool            `json:"critical"`
	Value    json.RawMessage `json:"value,omitempty"`
	DER      *hexBytes       `json:"der,omitempty"`
}

// MarshalJSON shows the extension by name. The value of keyUsage is an array of names, others are the CBOR item
// in JSON: {"hex": "00"} for bytes, {"tag": 48, "value": ...} for a tag, {"map": [[key, value], ...]}.
func (e Extension) MarshalJSON() ([]byte, error) {
	form := extensionJSON{ID: e.name(), Critical: e.Critical}
	if e.OID != "" {
		form.DER = (*hexBytes)(&e.Value)
		return json.Marshal(form)
	}
	r := &reader{rest: e.Value}
	var value any
	if e.ID == keyUsageID {
		value = KeyUsage(r.uint()).names()
	} else {
		value = r.json(maxDepth)
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	var err error
	if form.Value, err = json.Marshal(value); err != nil {
		return nil, err
	}
	return json.Marshal(form)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *Extension) UnmarshalJSON(b []byte) error {
	var form extensionJSON
	if err := decodeStrict(b, &form); err != nil {
		return err
	}
	if (form.Value == nil) == (form.DER == nil) {
		return fmt.Errorf("%w: extension %q has to have either value or der", ErrMalformed, form.ID)
	}
	if form.DER != nil {
		*e = Extension{OID: form.ID, Critical: form.Critical, Value: *form.DER}
		return nil
	}
	id, err := extensionTypes.number(form.ID)
	if err != nil {
		return err
	}
	var w writer
	if id == keyUsageID {
		err = w.keyUsageJSON(form.Value)
	} else {
		var value any
		if err = decodeStrict(form.Value, &value); err == nil {
			err = w.json(value)
		}
	}
	*e = Extension{ID: id, Critical: form.Critical, Value: w.buf}
	return err
}

func (w *writer) keyUsageJSON(b []byte) error {
	var names []string
	if err := decodeStrict(b, &names); err != nil {
		return err
	}
	var usage KeyUsage
	for _, name := range names {
		bit := KeyUsage(1)
		for bit < 1<<keyUsageBits && bit.String() != name {
			bit <<= 1
		}
		if bit >= 1<<keyUsageBits || usage&bit != 0 {
			return fmt.Errorf("%w: key usage %q unknown or twice", ErrMalformed, name)
		}
		usage |= bit
	}
	w.uint(uint64(usage))
	return nil
}
