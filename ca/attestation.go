package ca

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"math/big"
)

// Attestation is what a chip says of the key in its slot 0 by its slot 1, which signs nothing that comes from outside
// (docs/formats.md, "Attestation").
type Attestation struct {
	Chip      [9]byte
	Nonce     [32]byte // SHA-256 of the possession statement that the key signed
	Key       [64]byte // X then Y
	Signature [64]byte // r then s
}

// What the public documents of the ATECC608 leave open about the messages, or say only by example. Each is one guess; whoever
// has a chip that disagrees changes it here, and in the simulated one (chip/attest.go).
const (
	attestedFlags    = 0x50 // TempKey: bit 6 a digest of GenKey, bit 4 over a nonce from outside, bits 0 to 3 slot 0
	attestedUnlocked = 0x01 // SlotLocked is one byte, 1 while the slot is not locked
	attestedPublic   = 0x00 // PubKeyValid, or mode bit 0 ("invalidate"): 0 for a private key
)

// Commands and modes that the unit's driver attests with (device/port_atecc608.c).
const (
	opGenKey       = 0x40
	genKeyDigest   = 0x08
	opSign         = 0x41
	signInternal   = 0x40 // with the whole serial number
	identitySlot   = 0x00
	attestingSlot  = 0x01
	genKeyZeros    = 25
	genKeyMessage  = 128 // bytes
	internalFields = 55  // bytes
)

// VerifyAttestation checks a chip's statement by the public half of its slot 1, under the slot configuration of the profile: a
// chip with another signs other bytes, whatever its unit says of it. Errors wrap ErrVerify.
func (p *Profile) VerifyAttestation(by *ecdsa.PublicKey, a Attestation) error {
	r, s := new(big.Int).SetBytes(a.Signature[:32]), new(big.Int).SetBytes(a.Signature[32:])
	digest := p.attested(a)
	if !ecdsa.Verify(by, digest[:], r, s) {
		return fmt.Errorf("chip %x does not attest the key that it shows, under the configuration of profile %q: %w", a.Chip, p.Name, ErrVerify)
	}
	return nil
}

// attested is the hash that slot 1 signs.
func (p *Profile) attested(a Attestation) [32]byte {
	sn, zone := a.Chip, p.configuration.want
	m := make([]byte, 0, genKeyMessage)
	m = append(m, a.Nonce[:]...)
	m = append(m, opGenKey, genKeyDigest, identitySlot, 0, sn[8], sn[0], sn[1])
	m = append(m, make([]byte, genKeyZeros)...)
	m = append(m, a.Key[:]...)
	key := sha256.Sum256(m)

	m = make([]byte, 0, internalFields)
	m = append(m, key[:]...)
	m = append(m, opSign, signInternal, attestingSlot, 0)
	m = append(m, zone[atSlotConfig:atSlotConfig+2]...)
	m = append(m, zone[atKeyConfig:atKeyConfig+2]...)
	m = append(m, attestedFlags, 0, 0, sn[8])
	m = append(m, sn[4:8]...)
	m = append(m, sn[:4]...)
	m = append(m, attestedUnlocked, attestedPublic, 0)
	return sha256.Sum256(m)
}

// Attested is a key that a captured chip has attested: only Captures.Attest makes one.
type Attested struct {
	profile *Profile
	key     [64]byte
}

// Attest finds the chip on the lists and checks its statement by the key that is there. Errors are those of Find and of
// VerifyAttestation.
func (c *Captures) Attest(a Attestation) (Attested, error) {
	found, err := c.Find(a.Chip)
	if err != nil {
		return Attested{}, err
	}
	if err := c.profile.VerifyAttestation(found.Key, a); err != nil {
		return Attested{}, err
	}
	return Attested{c.profile, a.Key}, nil
}

// checkOrigin refuses a key without the attestation that the profile asks for.
func (p *Profile) checkOrigin(key [64]byte, a Attested) error {
	if p.Captured() && (a.profile != p || a.key != key) {
		return fmt.Errorf("unit's key is not attested, and profile %q asks for that: %w", p.Name, ErrPolicy)
	}
	return nil
}

// Capture checks a chip's statement by the attestation key that it shows, X then Y, and gives what goods-in lists of it. Errors
// wrap ErrVerify, or ErrMalformed for a key that is no point.
func (p *Profile) Capture(by [64]byte, a Attestation) (*Captured, error) {
	key, err := publicKey(by)
	if err != nil {
		return nil, fmt.Errorf("chip %x: attestation %w", a.Chip, err)
	}
	if err := p.VerifyAttestation(key, a); err != nil {
		return nil, err
	}
	return &Captured{a.Chip, key}, nil
}
