package chip

import "crypto/ecdh"

// What nobody does to a real chip, for simulated impostors.

// PutPrivateKey puts a private key into a slot, whatever locks and configuration say.
func (d *Device) PutPrivateKey(slot int, key *ecdh.PrivateKey) { d.eeprom.storePrivateKey(slot, key) }

// PutSlot makes a slot hold content, cut to its size, and zeros after it, whatever locks and configuration say.
func (d *Device) PutSlot(slot int, content []byte) {
	whole := make([]byte, slotSize(slot))
	copy(whole, content)
	d.eeprom.write(slotStart(slot), whole)
}
