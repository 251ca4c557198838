package ca

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	profileSchema  = "product/1"
	maxProfile     = 8192 // bytes; the profile travels in every order file
	maxPeers       = 8    // BM_PEERS_MAX of the unit's library
	attestNone     = "none"
	chipATECC608   = "ATECC608"
	atecc608Slots  = 16
	configModeAt   = 19 // ChipMode
	configSlotsAt  = 20 // SlotConfig, 2 bytes a slot, low byte first
	configChipAt   = 90 // ChipOptions
	configKeysAt   = 96 // KeyConfig, 2 bytes a slot, low byte first
	configSize     = 128
	lockValueAt    = 86 // 0x55 = data zone open
	lockConfigAt   = 87 // 0x55 = configuration open
	zoneLocked     = 0x00
	maxProfileName = 64 // bytes
)

// Profile is one product as officers review it: what a unit of it is, which products it talks to, and what must be true
// of its chip and firmware. It is decoded strictly and travels, byte for byte, inside each order file.
type Profile struct {
	Schema  string   `yaml:"birthmark"` // "product/1"
	Name    string   `yaml:"name"`
	Product uint32   `yaml:"product"`
	Peers   []uint32 `yaml:"peers"`
	Chip    struct {
		Type        string   `yaml:"type"`        // "ATECC608"
		Attestation string   `yaml:"attestation"` // "none"
		Mode        string   `yaml:"mode"`        // ChipMode, 1 byte, hexadecimal
		Options     string   `yaml:"options"`     // ChipOptions, 2 bytes as a number, hexadecimal
		Slots       []string `yaml:"slots"`       // 16 times "SlotConfig KeyConfig", hexadecimal numbers
	} `yaml:"chip"`
	Firmware []string `yaml:"firmware"` // SHA-256 of the images that may be provisioned, hexadecimal; empty = any

	bytes []byte
}

// ParseProfile reads a product profile. Unknown or repeated fields, a second document and values out of range are errors
// that name the field and wrap ErrMalformed.
func ParseProfile(text []byte) (*Profile, error) {
	p, err := parseProfile(text)
	if err != nil {
		return nil, fmt.Errorf("profile: %w: %w", err, ErrMalformed)
	}
	return p, nil
}

func parseProfile(text []byte) (*Profile, error) {
	if len(text) > maxProfile {
		return nil, fmt.Errorf("%d bytes, at most %d", len(text), maxProfile)
	}
	p := &Profile{bytes: bytes.Clone(text)}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(p); err != nil {
		return nil, err
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("a second document follows the first")
	}
	return p, p.check()
}

func (p *Profile) check() error {
	switch {
	case p.Schema != profileSchema:
		return fmt.Errorf("birthmark: %q, want %q", p.Schema, profileSchema)
	case p.Name == "" || len(p.Name) > maxProfileName:
		return fmt.Errorf("name: %d bytes, want 1 to %d", len(p.Name), maxProfileName)
	case len(p.Peers) < 1 || len(p.Peers) > maxPeers:
		return fmt.Errorf("peers: %d products, want 1 to %d", len(p.Peers), maxPeers)
	case p.Chip.Type != chipATECC608:
		return fmt.Errorf("chip.type: %q, want %q", p.Chip.Type, chipATECC608)
	case p.Chip.Attestation != attestNone:
		return fmt.Errorf("chip.attestation: %q, this release knows %q", p.Chip.Attestation, attestNone)
	}
	for _, h := range p.Firmware {
		if b, err := hex.DecodeString(h); err != nil || len(b) != 32 {
			return fmt.Errorf("firmware: %q is not a SHA-256 in hexadecimal", h)
		}
	}
	_, err := p.configuration()
	return err
}

// configuration lays the profile's chip settings out as the configuration zone has them.
func (p *Profile) configuration() (map[int][]byte, error) {
	want := map[int][]byte{}
	number := func(field, s string, at, size int) error {
		n, err := strconv.ParseUint(s, 16, 8*size)
		if err != nil || len(s) != 2*size {
			return fmt.Errorf("%s: %q, want %d hexadecimal digits", field, s, 2*size)
		}
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], n)
		want[at] = b[:size]
		return nil
	}
	if err := number("chip.mode", p.Chip.Mode, configModeAt, 1); err != nil {
		return nil, err
	}
	if err := number("chip.options", p.Chip.Options, configChipAt, 2); err != nil {
		return nil, err
	}
	if len(p.Chip.Slots) != atecc608Slots {
		return nil, fmt.Errorf("chip.slots: %d entries, want %d", len(p.Chip.Slots), atecc608Slots)
	}
	for i, s := range p.Chip.Slots {
		field := fmt.Sprintf("chip.slots[%d]", i)
		slot, key, _ := strings.Cut(s, " ")
		if err := number(field, slot, configSlotsAt+2*i, 2); err != nil {
			return nil, err
		}
		if err := number(field, key, configKeysAt+2*i, 2); err != nil {
			return nil, err
		}
	}
	return want, nil
}

// CheckConfiguration compares a chip's configuration zone, 128 bytes as read back, with the profile: both zones locked,
// each slot as reviewed. A difference names the first place and wraps ErrPolicy.
func (p *Profile) CheckConfiguration(zone [configSize]byte) error {
	if zone[lockConfigAt] != zoneLocked || zone[lockValueAt] != zoneLocked {
		return fmt.Errorf("chip zones are not both locked (LockConfig %02x, LockValue %02x): %w", zone[lockConfigAt], zone[lockValueAt], ErrPolicy)
	}
	want, err := p.configuration()
	if err != nil {
		return err
	}
	offsets := make([]int, 0, len(want))
	for at := range want {
		offsets = append(offsets, at)
	}
	slices.Sort(offsets)
	for _, at := range offsets {
		if got := zone[at : at+len(want[at])]; !bytes.Equal(got, want[at]) {
			return fmt.Errorf("chip configuration bytes %d..: %x, the profile %q wants %x: %w", at, got, p.Name, want[at], ErrPolicy)
		}
	}
	return nil
}

// checkFirmware holds a unit's image against the profile's list; an empty list allows any.
func (p *Profile) checkFirmware(hash [32]byte) error {
	if len(p.Firmware) > 0 && !slices.ContainsFunc(p.Firmware, func(h string) bool { return strings.EqualFold(h, hex.EncodeToString(hash[:])) }) {
		return fmt.Errorf("firmware %x is not on the list of profile %q: %w", hash, p.Name, ErrPolicy)
	}
	return nil
}

// Attested says whether units of the profile prove that their key was made inside the chip. Receipts and reports print it.
func (p *Profile) Attested() bool { return p.Chip.Attestation != attestNone }

// Bytes gives the profile's text as it was reviewed.
func (p *Profile) Bytes() []byte { return p.bytes }
