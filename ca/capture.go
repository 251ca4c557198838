package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/veraison/go-cose"
)

const (
	captureTitle = "birthmark capture 1"
	maxCaptured  = 256 // chips on a list; a run has 64 ports, and the list stays below maxObject
)

// ErrNotCaptured: the chip is on none of the lists that the station has.
var ErrNotCaptured = errors.New("not captured")

// Captured is one chip as goods-in saw it.
type Captured struct {
	Chip [9]byte
	Key  *ecdsa.PublicKey // of slot 1, its attestation key
}

// Capture is a list of chips that a goods-in station prepared (docs/formats.md, "Capture list"). SignCapture and ParseCapture
// make them.
type Capture struct {
	Station string
	At      time.Time // by the clock of goods-in, whole seconds
	Chips   []Captured
	Object  []byte // as it was signed

	signed *cose.Sign1Message
}

// capturePayload is what goods-in signs.
type capturePayload struct {
	_       struct{} `cbor:",toarray"`
	Title   string
	Station string
	At      uint64
	Chips   []captureEntry
}

type captureEntry struct {
	_    struct{} `cbor:",toarray"`
	Chip [9]byte
	Key  compressedKey
}

// compressedKey is a point of P-256 (SEC 1, 2.3.3): 02 or 03, X.
type compressedKey [33]byte

// SignCapture signs a list of 1 to 256 chips, in any order, by the key of a goods-in station. What no list can hold wraps
// ErrMalformed: such a name, number, or a chip that is on it twice.
func SignCapture(random io.Reader, key crypto.Signer, station string, at time.Time, chips []Captured) (*Capture, error) {
	if _, err := p256Key(key.Public()); err != nil {
		return nil, fmt.Errorf("capture list: %w", err)
	}
	v := capturePayload{Title: captureTitle, Station: station, At: uint64(at.Unix())}
	for _, c := range chips {
		v.Chips = append(v.Chips, captureEntry{Chip: c.Chip, Key: compress(c.Key)})
	}
	slices.SortFunc(v.Chips, compareEntries)
	if err := v.check(); err != nil {
		return nil, fmt.Errorf("capture list: %w", err)
	}
	object, err := signObject(random, key, captureTitle, mustEncode(v))
	if err != nil {
		return nil, err
	}
	c, err := ParseCapture(object)
	if err == nil {
		err = verifyObject(c.signed, captureTitle, key.Public())
	}
	if err != nil {
		return nil, fmt.Errorf("read back the new capture list: %w", err)
	}
	return c, nil
}

func compareEntries(a, b captureEntry) int { return bytes.Compare(a.Chip[:], b.Chip[:]) }

func (v *capturePayload) check() error {
	switch {
	case v.Title != captureTitle:
		return fmt.Errorf("title %q, want %q: %w", v.Title, captureTitle, ErrMalformed)
	case len(v.Chips) == 0 || len(v.Chips) > maxCaptured:
		return fmt.Errorf("%d chips, want 1 to %d: %w", len(v.Chips), maxCaptured, ErrMalformed)
	case !ascending(v.Chips, compareEntries):
		return fmt.Errorf("a chip stands twice or they are out of order: %w", ErrMalformed)
	case v.At > maxIssued:
		return fmt.Errorf("time %d: %w", v.At, ErrMalformed)
	}
	return CheckStation(v.Station)
}

// ParseCapture reads a capture list. Its signature is not checked: Captures.Add does that. Errors wrap ErrMalformed.
func ParseCapture(object []byte) (*Capture, error) {
	m, err := parseObject(captureTitle, object)
	if err != nil {
		return nil, err
	}
	var v capturePayload
	err = decodeStrict(m.Payload, &v)
	if err == nil {
		err = v.check()
	}
	if err != nil {
		return nil, fmt.Errorf("capture list: %w", err)
	}
	c := &Capture{Station: v.Station, At: time.Unix(int64(v.At), 0).UTC(), Object: bytes.Clone(object), signed: m}
	for _, e := range v.Chips {
		key, err := e.Key.parse()
		if err != nil {
			return nil, fmt.Errorf("capture list: chip %x: %w", e.Chip, err)
		}
		c.Chips = append(c.Chips, Captured{e.Chip, key})
	}
	return c, nil
}

// Fingerprint is the SHA-256 of the list, which names it on receipts.
func (c *Capture) Fingerprint() [32]byte { return sha256.Sum256(c.Object) }

// Captures are the lists that a station has for units of one profile.
type Captures struct {
	profile *Profile
	found   map[[9]byte]Listed
}

// Listed is a chip and the list that it is on.
type Listed struct {
	Captured
	List *Capture
}

// Holds says whether an attestation key, X then Y, is the one that was captured.
func (l Listed) Holds(key [64]byte) bool { return point(l.Key) == key }

// NewCaptures begins without a list.
func (p *Profile) NewCaptures() *Captures { return &Captures{p, make(map[[9]byte]Listed)} }

// Add takes a list that a goods-in key of the profile signed. Another signer, and a chip that has another key on a list which is
// there already, wrap ErrVerify.
func (c *Captures) Add(list *Capture) error {
	signed := func(key *ecdsa.PublicKey) bool { return verifyObject(list.signed, captureTitle, key) == nil }
	if !slices.ContainsFunc(c.profile.goodsIn, signed) {
		return fmt.Errorf("capture list of %q: no goods-in key of profile %q signed it: %w", list.Station, c.profile.Name, ErrVerify)
	}
	for _, chip := range list.Chips {
		before, ok := c.found[chip.Chip]
		if ok && !before.Key.Equal(chip.Key) {
			return fmt.Errorf("capture list of %q: chip %x has another key on that of %q: %w", list.Station, chip.Chip, before.List.Station, ErrVerify)
		}
		if !ok {
			c.found[chip.Chip] = Listed{chip, list}
		}
	}
	return nil
}

// Len is how many chips are on the lists.
func (c *Captures) Len() int { return len(c.found) }

// Find gives the chip as it was captured, and the first list that has it; ErrNotCaptured if none does.
func (c *Captures) Find(chip [9]byte) (Listed, error) {
	l, ok := c.found[chip]
	if !ok {
		return Listed{}, fmt.Errorf("chip %x is on no list of goods-in: %w", chip, ErrNotCaptured)
	}
	return l, nil
}

// compress gives the key's one short form.
func compress(key *ecdsa.PublicKey) (c compressedKey) {
	p := point(key)
	c[0] = 0x02 | p[pointSize-1]&1
	copy(c[1:], p[:pointSize/2])
	return c
}

func (c compressedKey) parse() (*ecdsa.PublicKey, error) {
	x, y := elliptic.UnmarshalCompressed(elliptic.P256(), c[:])
	if x == nil {
		return nil, fmt.Errorf("%x is not a compressed point of P-256: %w", c[:], ErrMalformed)
	}
	var full [pointSize]byte
	x.FillBytes(full[:pointSize/2])
	y.FillBytes(full[pointSize/2:])
	return publicKey(full)
}

// FormatKey is a P-256 key as a profile's chip.goods_in has it: compressed, hexadecimal. Other keys wrap ErrMalformed.
func FormatKey(key crypto.PublicKey) (string, error) {
	k, err := p256Key(key)
	if err != nil {
		return "", err
	}
	c := compress(k)
	return hex.EncodeToString(c[:]), nil
}

// ParseKey reads what FormatKey wrote, in lower or upper case.
func ParseKey(text string) (*ecdsa.PublicKey, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(compressedKey{}) {
		return nil, fmt.Errorf("%q is not a compressed P-256 key in hexadecimal: %w", text, ErrMalformed)
	}
	return compressedKey(b).parse()
}
