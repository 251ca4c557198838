package chip

import "crypto/ecdh"

const (
	padSize    = 4 // bytes before a private key, and before each half of a public one
	scalarSize = 32
	pointSize  = 64 // X ‖ Y

	inTempKey = 0xFFFF // as a slot number: TempKey
)

// privateKey returns the private key in a slot; false if there is none.
func (e *eeprom) privateKey(slot int) (*ecdh.PrivateKey, bool) {
	stored := e.slot(slot)
	key, err := ecdh.P256().NewPrivateKey(stored[padSize : padSize+scalarSize])
	return key, err == nil && stored[padSize-1] == padKey
}

// storePrivateKey replaces the private key in a slot. Its pad says "no key" while the key is half written.
func (e *eeprom) storePrivateKey(slot int, key *ecdh.PrivateKey) {
	start := slotStart(slot)
	e.write(start+padSize-1, []byte{padNoKey})
	e.write(start+padSize, key.Bytes())
	e.write(start, []byte{0, 0, 0, padKey})
}

// publicBytes is X ‖ Y of a private key's public half.
func publicBytes(key *ecdh.PrivateKey) []byte { return key.PublicKey().Bytes()[1:] }

// privateSlot says that the configuration gives the slot to a P-256 private key.
func (e *eeprom) privateSlot(slot int) bool {
	k := e.keyConfig(slot)
	return k.private() && k.keyType() == typeP256
}

// authorised says that no authorisation stands before the slot's key. ReqAuth wants CheckMac, and
// PersistentDisable wants SecureBoot to have set the latch; this chip has neither command.
func (e *eeprom) authorised(slot int) bool {
	k := e.keyConfig(slot)
	return !k.requireAuth() && !k.persistentDisable()
}

// use says whether policy lets a slot's key work now, and counts the use where its number is limited.
// It is the last of a command's checks: a command that is refused uses nothing.
func (e *eeprom) use(slot int) bool {
	return e.authorised(slot) && (!e.slotConfig(slot).limitedUse() || e.countUse())
}

const (
	genKeyPublic  = 0x00
	genKeyPrivate = 0x04
	genKeyDigest  = 0x08 // mode bit: a digest of the public key goes to TempKey
	genKeyStored  = 0x10 // of the public key in a slot
)

// genKey is the command GenKey; it returns the public key X ‖ Y, 64 bytes. Mode 04 makes a private key in
// a slot, or in TempKey if param2 is FFFF, where it serves one ECDH; mode 00 computes the public key of
// the private key in a slot, if its KeyConfig has PubInfo. The configuration must be locked, and if the
// data zone is too, SlotConfig must still allow a new key. With mode bit 3 a slot's public key goes into a
// digest that replaces the value in TempKey; so does a public key in a slot with mode 10, see digestStored.
func (d *Device) genKey(c command) ([]byte, status) {
	if c.mode == genKeyStored {
		return d.digestStored(c)
	}
	if len(c.data) != 0 {
		return nil, parseError
	}
	switch {
	case c.mode == genKeyPrivate && c.param2 == inTempKey:
		return d.makeEphemeral()
	case c.mode&^genKeyDigest == genKeyPrivate && c.param2 < slots:
		return d.digested(c, d.makeKey)
	case c.mode&^genKeyDigest == genKeyPublic && c.param2 < slots:
		return d.digested(c, d.publicKey)
	}
	return nil, parseError
}

// digested gets the public key of a slot, and its digest if the mode asks for one.
func (d *Device) digested(c command, get func(slot int) ([]byte, status)) ([]byte, status) {
	slot := int(c.param2)
	if c.mode&genKeyDigest != 0 && !d.volatile.tempKey.data() {
		return nil, executionError
	}
	public, s := get(slot)
	if s == success && c.mode&genKeyDigest != 0 {
		d.digestPublic([3]byte{c.mode, byte(slot)}, slot, public)
	}
	return public, s
}

// drawKey makes a private key. A random number that is none has probability 2^-32.
func (d *Device) drawKey() (*ecdh.PrivateKey, status) {
	number, s := d.draw()
	if s != success {
		return nil, s
	}
	key, err := ecdh.P256().NewPrivateKey(number)
	if err != nil {
		return nil, eccFault
	}
	return key, success
}

func (d *Device) makeEphemeral() ([]byte, status) {
	if d.eeprom.stage() == configOpen {
		return nil, executionError
	}
	key, s := d.drawKey()
	if s != success {
		return nil, s
	}
	d.volatile.tempKey.load(privateKey, key.Bytes())
	return publicBytes(key), success
}

func (d *Device) makeKey(slot int) ([]byte, status) {
	e := d.eeprom
	stage := e.stage()
	if stage == configOpen || stage == dataLocked && !e.slotConfig(slot).genKeyAfterLock() ||
		!e.privateSlot(slot) || e.slotLocked(slot) || !e.authorised(slot) {
		return nil, executionError
	}
	key, s := d.drawKey()
	if s != success {
		return nil, s
	}
	e.storePrivateKey(slot, key)
	return publicBytes(key), success
}

func (d *Device) publicKey(slot int) ([]byte, status) {
	e := d.eeprom
	key, ok := e.privateKey(slot)
	if e.stage() == configOpen || !e.privateSlot(slot) || !e.keyConfig(slot).publicInfo() || !e.authorised(slot) || !ok {
		return nil, executionError
	}
	return publicBytes(key), success
}
