package provision

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
)

// receiptSchema changes when a field of Receipt changes its meaning or goes.
const receiptSchema = 1

// Receipt is what the book keeps of a finished unit, and what the line prints: one JSON object per unit.
type Receipt struct {
	Schema      int       `json:"schema"`
	Serial      string    `json:"serial"` // EUI-64
	Chip        string    `json:"chip"`   // the chip's serial number, hexadecimal
	Key         string    `json:"key"`    // X then Y, hexadecimal
	Product     uint32    `json:"product"`
	Order       uint16    `json:"order"`
	Station     string    `json:"station"`
	Certificate string    `json:"certificate"`    // SHA-256, hexadecimal
	Code        string    `json:"code"`           // its first 32 bits, as on the label
	X509        string    `json:"x509,omitempty"` // SHA-256 of the DER twin, hexadecimal
	Leaf        int64     `json:"leaf"`           // place in the log
	IssuedAt    time.Time `json:"issued_at"`
	SealedAt    time.Time `json:"sealed_at"`             // when the station saw the seal, whole seconds
	Firmware    string    `json:"firmware"`              // SHA-256 of the image by the unit's own word, hexadecimal
	Locks       string    `json:"locks"`                 // configuration bytes 86 to 89 as observed after the seal
	Attestation string    `json:"attestation"`           // "captured", or "none": key origin not attested
	GoodsIn     string    `json:"goods_in,omitempty"`    // captured: by whom
	Capture     string    `json:"capture,omitempty"`     // captured: SHA-256 of the list, hexadecimal
	Handshake   string    `json:"handshake"`             // what proved the key when the receipt was written, see below
	FalsePeers  string    `json:"false_peers,omitempty"` // "refused", or they were not tried
	Bare        bool      `json:"bare,omitempty"`        // a chip alone, in a fixture: Firmware is that which it is meant for, zeros = any
	Test        bool      `json:"test"`
}

// What a receipt says of stage 9.
const (
	handshakeFull     = "edhoc"     // station and unit authenticated each other
	handshakeSealed   = "message_2" // a run before this one sealed the unit, and it proved its key again; it no longer accepts a station
	falsePeersRefused = "refused"
)

// close writes the receipt into the book, whether or not the run is cancelled meanwhile: the unit is sealed.
func (u *unit) close(ctx context.Context, s sealed) (*Receipt, error) {
	u.begin(Close)
	o := u.station.Order
	fingerprint := s.certificate.Fingerprint()
	r := &Receipt{
		Schema:      receiptSchema,
		Serial:      ca.EUI64(s.Serial).String(),
		Chip:        u.chipText(),
		Key:         hex.EncodeToString(s.Key[:]),
		Product:     o.Certificate.Product,
		Order:       s.Order,
		Station:     o.Station,
		Certificate: hex.EncodeToString(fingerprint[:]),
		Code:        s.certificate.Code(),
		Leaf:        s.Leaf,
		IssuedAt:    s.IssuedAt,
		SealedAt:    u.station.Now().UTC().Truncate(time.Second),
		Firmware:    hex.EncodeToString(u.firmware[:]),
		Locks:       hex.EncodeToString(s.Locks[:]),
		Attestation: o.Profile.Chip.Attestation,
		Handshake:   s.handshake,
		FalsePeers:  s.falsePeers,
		Bare:        u.bare,
		Test:        o.Test(),
	}
	if list := u.listed.List; list != nil {
		named := list.Fingerprint()
		r.GoodsIn, r.Capture = list.Station, hex.EncodeToString(named[:])
	}
	if s.X509 != nil {
		twin := sha256.Sum256(s.X509)
		r.X509 = hex.EncodeToString(twin[:])
	}
	details, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("receipt of %s: %w", r.Serial, err)
	}
	err = u.station.Book.CloseUnit(context.WithoutCancel(ctx), s.Serial, details, u.station.Now())
	if errors.Is(err, ledger.ErrConflict) {
		return nil, fmt.Errorf("chip %x was finished in another lane while this one answered for it: %w: %w", u.chip, err, ErrSetAside)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}
