package chip

import (
	"crypto/ecdh"
	"crypto/sha256"
	"crypto/subtle"
)

// Mode bits of ECDH.
const (
	ecdhFromTempKey  = 0x01
	ecdhEncrypt      = 0x02
	ecdhOutputMask   = 0x0C
	ecdhPerSlot      = 0x00 // the bus, or the next slot if SlotConfig says so
	ecdhToNextSlot   = 0x04
	ecdhKeepInRAM    = 0x08 // TempKey
	ecdhOutputBuffer = 0x0C // the bus
)

// ecdh is the command ECDH with the peer's X ‖ Y, by the private key in the slot param2 or by the
// ephemeral key in TempKey, which it uses up. The secret (the 32-byte x) goes to the bus, to TempKey, or
// from an even slot to the slot behind it. On the bus it may be encrypted with the IO protection key:
// 32 bytes of cipher and the 32-byte nonce.
func (d *Device) ecdh(c command) ([]byte, status) {
	output := c.mode & ecdhOutputMask
	ephemeral := c.mode&ecdhFromTempKey != 0
	if c.mode&^(ecdhFromTempKey|ecdhEncrypt|ecdhOutputMask) != 0 ||
		c.mode&ecdhEncrypt != 0 && output != ecdhOutputBuffer ||
		ephemeral && output == ecdhToNextSlot || // TempKey is next to no slot
		!ephemeral && c.param2 >= slots || len(c.data) != pointSize {
		return nil, parseError
	}
	if d.eeprom.stage() != dataLocked {
		return nil, executionError
	}
	peer, err := ecdh.P256().NewPublicKey(append([]byte{0x04}, c.data...))
	if err != nil {
		return nil, invalidPoint
	}
	if !ephemeral {
		return d.ecdhSlot(int(c.param2), c.mode, peer)
	}
	t := &d.volatile.tempKey
	if t.content != privateKey || output != ecdhKeepInRAM && !d.mayOutput(c.mode) {
		return nil, executionError
	}
	key, err := ecdh.P256().NewPrivateKey(t.value[:scalarSize])
	*t = buffer{}
	if err != nil {
		return nil, eccFault
	}
	return d.deliver(key, peer, c.mode)
}

func (d *Device) ecdhSlot(slot int, mode byte, peer *ecdh.PublicKey) ([]byte, status) {
	e := d.eeprom
	sc := e.slotConfig(slot)
	output := mode & ecdhOutputMask
	if output == ecdhPerSlot && sc.ecdhToSlot() {
		output = ecdhToNextSlot
	}
	// A key whose secrets belong in the next slot gives them to nobody else, and no other key may write there.
	toSlot := output == ecdhToNextSlot
	onBus := output == ecdhPerSlot || output == ecdhOutputBuffer
	if !e.privateSlot(slot) || !sc.ecdh() || toSlot != sc.ecdhToSlot() ||
		toSlot && (slot%2 != 0 || e.slotLocked(slot+1) || e.keyConfig(slot+1).private()) ||
		onBus && !d.mayOutput(mode) {
		return nil, executionError
	}
	key, ok := e.privateKey(slot)
	if !ok || !e.use(slot) {
		return nil, executionError
	}
	if !toSlot {
		return d.deliver(key, peer, mode)
	}
	secret, err := key.ECDH(peer)
	if err != nil {
		return nil, eccFault
	}
	e.write(slotStart(slot+1), secret)
	return nil, success
}

// mayOutput says whether the chip's options let a secret leave on the bus as the mode asks.
func (d *Device) mayOutput(mode byte) bool {
	options := d.eeprom.word(atChipOptions)
	switch options >> 8 & 3 {
	case ecdhOutputClear, ecdhOutputEncrypted:
		return !d.encrypts(mode) || options&optionIOKey != 0
	default:
		return false
	}
}

// encrypts says whether what leaves on the bus is encrypted: where the mode asks for it and, whatever that asks, where the chip's
// options do (data sheet of the ATECC608A-TNGLoRaWAN, 5.2.1.2, note 1).
func (d *Device) encrypts(mode byte) bool {
	return mode&ecdhEncrypt != 0 || d.eeprom.word(atChipOptions)>>8&3 == ecdhOutputEncrypted
}

const optionIOKey = 0x0002 // in ChipOptions: the IO protection key is in use; bits 12 to 15 are its slot

// deliver computes the secret and puts it where the mode says: TempKey, or the bus, in clear or encrypted.
func (d *Device) deliver(key *ecdh.PrivateKey, peer *ecdh.PublicKey, mode byte) ([]byte, status) {
	secret, err := key.ECDH(peer)
	if err != nil {
		return nil, eccFault
	}
	if mode&ecdhOutputMask == ecdhKeepInRAM {
		d.volatile.tempKey.load(ecdhToTempKey, secret)
		return nil, success
	}
	if !d.encrypts(mode) {
		return secret, success
	}
	nonce, s := d.draw()
	if s != success {
		return nil, s
	}
	ioKey := d.eeprom.slot(int(d.eeprom.word(atChipOptions) >> 12))[:32]
	h := sha256.New()
	h.Write(ioKey)
	h.Write(nonce[:16])
	pad := h.Sum(nil)
	out := make([]byte, len(secret))
	subtle.XORBytes(out, secret, pad)
	return append(out, nonce...), success
}
