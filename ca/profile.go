package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	profileSchema  = "product/1"
	maxProfile     = 8192 // bytes; the profile travels in every order file
	maxProfileName = 64   // bytes
	maxPeers       = 8    // BM_PEERS_MAX of the unit's library
	attestNone     = "none"
	attestCaptured = "captured"
	maxGoodsIn     = 8 // keys
	chipATECC608   = "ATECC608"
)

// Profile is one product as officers review it: what a unit of it is, which products it talks to, and what must be true
// of its chip and firmware. It is decoded strictly and travels, byte for byte, inside each order file.
type Profile struct {
	Schema  string   `yaml:"birthmark"` // "product/1"
	Name    string   `yaml:"name"`      // letters, digits, dots, dashes and underscores
	Product uint32   `yaml:"product"`   // not 0
	Peers   []uint32 `yaml:"peers"`
	Chip    struct {
		Type        string   `yaml:"type"`        // "ATECC608"
		Attestation string   `yaml:"attestation"` // "none" or "captured"
		GoodsIn     []string `yaml:"goods_in"`    // captured: keys whose capture lists count, compressed, hexadecimal
		Mode        string   `yaml:"mode"`        // ChipMode, 1 byte, hexadecimal
		Options     string   `yaml:"options"`     // ChipOptions, 2 bytes as a number, hexadecimal
		Slots       []string `yaml:"slots"`       // 16 times "SlotConfig KeyConfig", hexadecimal numbers
	} `yaml:"chip"`
	Firmware []string `yaml:"firmware"` // SHA-256 of the images that may be provisioned, hexadecimal; empty = any

	text          []byte
	configuration configuration
	goodsIn       []*ecdsa.PublicKey
}

// ParseProfile reads a product profile. Unknown or repeated fields, a second document and values out of range are errors
// that name the field and wrap ErrMalformed.
func ParseProfile(text []byte) (*Profile, error) {
	p := &Profile{text: bytes.Clone(text)}
	if err := p.parse(); err != nil {
		return nil, fmt.Errorf("profile: %w: %w", err, ErrMalformed)
	}
	return p, nil
}

func (p *Profile) parse() error {
	if len(p.text) > maxProfile {
		return fmt.Errorf("%d bytes, at most %d", len(p.text), maxProfile)
	}
	if err := DecodeYAML(p.text, p); err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return err
	}
	if err := p.readGoodsIn(); err != nil {
		return fmt.Errorf("chip.goods_in: %w", err)
	}
	return p.configure()
}

func (p *Profile) check() error {
	switch {
	case p.Schema != profileSchema:
		return fmt.Errorf("birthmark: %q, want %q", p.Schema, profileSchema)
	case p.Name == "" || len(p.Name) > maxProfileName || strings.ContainsFunc(p.Name, notInName):
		return fmt.Errorf("name: %q, want 1 to %d letters, digits, dots, dashes and underscores", p.Name, maxProfileName)
	case p.Product == 0:
		return fmt.Errorf("product: missing or 0")
	case len(p.Peers) < 1 || len(p.Peers) > maxPeers || slices.Contains(p.Peers, 0):
		return fmt.Errorf("peers: %d, want 1 to %d products, none of them 0", p.Peers, maxPeers)
	case p.Chip.Type != chipATECC608:
		return fmt.Errorf("chip.type: %q, want %q", p.Chip.Type, chipATECC608)
	case p.Chip.Attestation != attestNone && p.Chip.Attestation != attestCaptured:
		return fmt.Errorf("chip.attestation: %q, want %q or %q", p.Chip.Attestation, attestNone, attestCaptured)
	}
	for _, h := range p.Firmware {
		if b, err := hex.DecodeString(h); err != nil || len(b) != 32 {
			return fmt.Errorf("firmware: %q is not a SHA-256 in hexadecimal", h)
		}
	}
	return nil
}

// readGoodsIn wants keys where chips are captured, and none where they are not: a key that nobody asks is a mistake.
func (p *Profile) readGoodsIn() error {
	keys := p.Chip.GoodsIn
	if p.Captured() != (len(keys) > 0) || len(keys) > maxGoodsIn {
		return fmt.Errorf("%d keys, want 1 to %d with attestation %q and none without", len(keys), maxGoodsIn, attestCaptured)
	}
	for i, text := range keys {
		key, err := ParseKey(text)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(p.goodsIn, func(k *ecdsa.PublicKey) bool { return k.Equal(key) }) {
			return fmt.Errorf("key %d stands twice", i+1)
		}
		p.goodsIn = append(p.goodsIn, key)
	}
	return nil
}

// Captured says whether units of the profile need a chip that goods-in captured.
func (p *Profile) Captured() bool { return p.Chip.Attestation == attestCaptured }

// CheckGoodsIn says whether a goods-in station's lists count under the profile. Another key wraps ErrPolicy.
func (p *Profile) CheckGoodsIn(key crypto.PublicKey) error {
	if !p.Captured() {
		return fmt.Errorf("profile %q has attestation %q: nothing is captured for it: %w", p.Name, p.Chip.Attestation, ErrPolicy)
	}
	if k, err := p256Key(key); err != nil || !slices.ContainsFunc(p.goodsIn, func(o *ecdsa.PublicKey) bool { return o.Equal(k) }) {
		return fmt.Errorf("the key is none of the goods-in keys of profile %q: %w", p.Name, ErrPolicy)
	}
	return nil
}

// notInName keeps profile names fit for file names and for C comments.
func notInName(r rune) bool {
	return (r < '0' || '9' < r) && (r < 'A' || 'Z' < r) && (r < 'a' || 'z' < r) && !strings.ContainsRune(".-_", r)
}

// Offsets in the configuration zone of an ATECC608 (DS40002112, table 2-3). Words are 2 bytes, the low byte first.
const (
	configSize    = 128
	atCountMatch  = 18
	atChipMode    = 19
	atSlotConfig  = 20 // 16 words
	atUseLock     = 68 // with VolatileKeyPermission and SecureBoot, 4 bytes
	atLockValue   = 86 // 0x55 = data zone open
	atLockConfig  = 87 // 0x55 = configuration open
	atChipOptions = 90 // a word
	atX509format  = 92 // 4 bytes
	atKeyConfig   = 96 // 16 words
	atecc608Slots = 16
	zoneLocked    = 0x00
)

// configuration is the zone as a profile wants it. What decided leaves out is not the profile's: the manufacturer's bytes,
// the bus address, counters, the parameters of a KDF that no slot allows, the locks.
type configuration struct {
	want    [configSize]byte
	decided [configSize]bool
}

// set puts a number of size bytes, given as hexadecimal digits, where the zone has it.
func (c *configuration) set(at, size int, digits string) error {
	n, err := strconv.ParseUint(digits, 16, 8*size)
	if err != nil || len(digits) != 2*size {
		return fmt.Errorf("%q, want %d hexadecimal digits", digits, 2*size)
	}
	number := binary.LittleEndian.AppendUint64(nil, n)
	for i := range size {
		c.want[at+i], c.decided[at+i] = number[i], true
	}
	return nil
}

// configure lays the profile's chip settings out as the zone has them. Settings that a profile does not speak of are off.
func (p *Profile) configure() error {
	c := &p.configuration
	if err := c.set(atChipMode, 1, p.Chip.Mode); err != nil {
		return fmt.Errorf("chip.mode: %w", err)
	}
	if err := c.set(atChipOptions, 2, p.Chip.Options); err != nil {
		return fmt.Errorf("chip.options: %w", err)
	}
	if len(p.Chip.Slots) != atecc608Slots {
		return fmt.Errorf("chip.slots: %d entries, want %d", len(p.Chip.Slots), atecc608Slots)
	}
	for i, s := range p.Chip.Slots {
		slot, key, _ := strings.Cut(s, " ")
		if err := c.set(atSlotConfig+2*i, 2, slot); err != nil {
			return fmt.Errorf("chip.slots[%d]: SlotConfig %w", i, err)
		}
		if err := c.set(atKeyConfig+2*i, 2, key); err != nil {
			return fmt.Errorf("chip.slots[%d]: KeyConfig %w", i, err)
		}
	}
	for _, off := range []struct{ from, size int }{{atCountMatch, 1}, {atUseLock, 4}, {atX509format, 4}} {
		for i := range off.size {
			c.decided[off.from+i] = true
		}
	}
	return nil
}

// What this release's chip driver writes, the same on every unit (device/port_atecc608.c, policy) but for ChipOptions.
const (
	driverMode    = "00"
	driverOptions = "0000"
	driverIOKey   = "6102" // built with BM_CONFIG_IO_KEY: ECDH's output is encrypted by the key in slot 6
)

var driverSlots = [atecc608Slots]string{
	0: "0081 0013", 1: "0082 0013", 2: "8080 001c", 3: "8080 001c", 4: "8080 001c", 5: "8080 001c", 6: "8080 007c", 7: "8080 001c",
	8: "0000 003c", 9: "8080 001c", 10: "8080 001c", 11: "8080 001c", 12: "8080 001c", 13: "8080 001c", 14: "8080 001c", 15: "8080 001c",
}

// producible refuses a profile that no unit could meet: a unit locks its chip with its driver's configuration before the
// station can compare it with the profile, and a chip that is locked wrong is lost. Wraps ErrPolicy.
func (p *Profile) producible() error {
	refuse := func(field, wanted, written string) error {
		return fmt.Errorf("profile %q: %s is %q, and this release's chip driver writes %s: %w", p.Name, field, wanted, written, ErrPolicy)
	}
	if p.Chip.Mode != driverMode {
		return refuse("chip.mode", p.Chip.Mode, driverMode)
	}
	if p.Chip.Options != driverOptions && p.Chip.Options != driverIOKey {
		return refuse("chip.options", p.Chip.Options, driverOptions+", or "+driverIOKey+" for IO protection")
	}
	for i, s := range p.Chip.Slots {
		if !strings.EqualFold(s, driverSlots[i]) {
			return refuse(fmt.Sprintf("chip.slots[%d]", i), s, driverSlots[i])
		}
	}
	return nil
}

// CheckConfiguration compares a chip's configuration zone, 128 bytes as read back, with the profile: both zones locked,
// each slot as reviewed, nothing else switched on. A difference names the first place and wraps ErrPolicy.
func (p *Profile) CheckConfiguration(zone [configSize]byte) error {
	if zone[atLockConfig] != zoneLocked || zone[atLockValue] != zoneLocked {
		return fmt.Errorf("chip zones are not both locked (LockConfig %02x, LockValue %02x): %w", zone[atLockConfig], zone[atLockValue], ErrPolicy)
	}
	for at, want := range p.configuration.want {
		if p.configuration.decided[at] && zone[at] != want {
			return fmt.Errorf("chip configuration byte %d is %02x, the profile %q wants %02x: %w", at, zone[at], p.Name, want, ErrPolicy)
		}
	}
	return nil
}

// IOKey says whether the profile's chips encrypt what ECDH gives, by a key that they share with their microcontroller.
func (p *Profile) IOKey() bool { return p.Chip.Options == driverIOKey }

// OnlyFirmware is the image that a chip without a unit is meant for: the one of the profile, or zeros where any may be
// provisioned. Of several it cannot be told which, and the error wraps ErrPolicy.
func (p *Profile) OnlyFirmware() (hash [32]byte, err error) {
	if len(p.Firmware) > 1 {
		return hash, fmt.Errorf("the profile %q lists %d firmware images, and a bare chip has none: %w", p.Name, len(p.Firmware), ErrPolicy)
	}
	for _, text := range p.Firmware {
		_, err = hex.Decode(hash[:], []byte(text)) // it was checked when the profile was read
	}
	return hash, err
}

// Fits says whether an image is of the profile: product and peers, or the error wraps ErrOtherRoot; the ChipOptions that it gives a
// chip, and its hash where the profile lists any, or it wraps ErrPolicy.
func (p *Profile) Fits(product uint32, peers []uint32, options uint16, firmware [32]byte) error {
	if product != p.Product {
		return fmt.Errorf("unit's firmware is product %d, profile %q is %d: %w", product, p.Name, p.Product, ErrOtherRoot)
	}
	if !slices.Equal(peers, p.Peers) {
		return fmt.Errorf("unit's firmware talks to products %d, profile %q says %d: %w", peers, p.Name, p.Peers, ErrOtherRoot)
	}
	if want := binary.LittleEndian.Uint16(p.configuration.want[atChipOptions:]); options != want {
		return fmt.Errorf("unit's firmware gives its chip the options %04x, profile %q wants %04x: %w", options, p.Name, want, ErrPolicy)
	}
	return p.checkFirmware(firmware)
}

// checkFirmware holds a unit's image against the profile's list; an empty list allows any.
func (p *Profile) checkFirmware(hash [32]byte) error {
	if len(p.Firmware) > 0 && !slices.ContainsFunc(p.Firmware, func(h string) bool { return strings.EqualFold(h, hex.EncodeToString(hash[:])) }) {
		return fmt.Errorf("firmware %x is not on the list of profile %q: %w", hash, p.Name, ErrPolicy)
	}
	return nil
}

// Bytes gives the profile's text as it was reviewed.
func (p *Profile) Bytes() []byte { return p.text }
