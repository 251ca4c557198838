package chip

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"math/big"
)

const fromMsgDigBuf = 0x20 // mode bit of Sign and Verify: the message is there, not in TempKey

// messageReady says whether there is a message for Sign or Verify. A slot with ReqRandom also wants a
// random nonce in TempKey, wherever the message lies.
func (d *Device) messageReady(mode byte, requireRandom bool) bool {
	v := &d.volatile
	if requireRandom && v.tempKey.content != randomData {
		return false
	}
	if mode&fromMsgDigBuf != 0 {
		return v.msgDigBuf.data()
	}
	return v.tempKey.data()
}

// takeMessage uses up the message that is ready, and the nonce that ReqRandom wanted.
func (d *Device) takeMessage(mode byte, requireRandom bool) [32]byte {
	v := &d.volatile
	if mode&fromMsgDigBuf == 0 {
		return v.tempKey.take()
	}
	if requireRandom {
		v.tempKey = buffer{}
	}
	return v.msgDigBuf.take()
}

const (
	signExternal      = 0x80
	signSerial        = 0x40 // internal only: the message has the whole serial number
	signInvalidate    = 0x01 // internal only
	signInternalModes = signSerial | signInvalidate
)

// sign is the command Sign, ECDSA P-256 by the slot in param2; it returns R ‖ S, 64 bytes. The external modes sign the
// 32-byte message in TempKey (80) or MsgDigBuf (A0), if SlotConfig allows external signatures; the internal ones
// (00, 40 with the whole serial number) a message that the chip puts together around GenKey's digest in TempKey, if it
// allows internal ones. What was signed is used up.
func (d *Device) sign(c command) ([]byte, status) {
	external := c.mode&^fromMsgDigBuf == signExternal
	if !external && c.mode&^signInternalModes != 0 || c.param2 >= slots || len(c.data) != 0 {
		return nil, parseError
	}
	e := d.eeprom
	slot := int(c.param2)
	allowed := e.slotConfig(slot).externalSign()
	if !external {
		allowed = e.slotConfig(slot).internalSign() && d.volatile.tempKey.flags&flagGenKey != 0
	}
	if e.stage() != dataLocked || !e.privateSlot(slot) || !allowed {
		return nil, executionError
	}
	stored, ok := e.privateKey(slot)
	if !ok {
		return nil, executionError
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), stored.Bytes())
	if err != nil {
		return nil, eccFault
	}
	fresh := e.keyConfig(slot).requireRandom()
	if !d.messageReady(c.mode, fresh) || !e.use(slot) {
		return nil, executionError
	}
	var message [32]byte
	if external {
		message = d.takeMessage(c.mode, fresh)
	} else {
		message = d.internalMessage(c.mode, slot)
		d.volatile.tempKey.take()
	}
	r, s, err := ecdsa.Sign(rand.Reader, key, message[:])
	if err != nil {
		return nil, eccFault
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature, success
}

const (
	verifyStored   = 0x00
	verifyExternal = 0x02
	validateKey    = 0x03
	invalidateKey  = 0x07
	curveP256      = 0x0004 // param2 of the external mode
)

// verify is the command Verify: a signature R ‖ S over the 32-byte message in TempKey, or in MsgDigBuf if
// mode bit 5 is set. Mode 00 checks it with the public key in the slot param2, mode 02 with the X ‖ Y that
// follows the signature. The message is used up. A signature that is not the key's gives status 01. Modes 03 and 07 are
// validate's.
func (d *Device) verify(c command) ([]byte, status) {
	if c.mode == validateKey || c.mode == invalidateKey {
		return nil, d.validate(c)
	}
	switch c.mode &^ fromMsgDigBuf {
	case verifyStored:
		return nil, d.verifyStored(c)
	case verifyExternal:
		return nil, d.verifyExternal(c)
	}
	return nil, parseError
}

func (d *Device) verifyStored(c command) status {
	if c.param2 < 8 || c.param2 >= slots || len(c.data) != 64 { // slots below 8 have no room for a public key
		return parseError
	}
	e := d.eeprom
	slot := int(c.param2)
	k := e.keyConfig(slot)
	if e.stage() != dataLocked || !e.verifies(slot) {
		return executionError
	}
	key, ok := point(e.publicKey(slot))
	if !ok {
		return invalidStoredPoint
	}
	if !d.messageReady(c.mode, k.requireRandom()) || !e.use(slot) {
		return executionError
	}
	return check(key, d.takeMessage(c.mode, k.requireRandom()), c.data)
}

func (d *Device) verifyExternal(c command) status {
	if c.param2 != curveP256 || len(c.data) != 64+pointSize {
		return parseError
	}
	if d.eeprom.stage() < verifyExternalFrom {
		return executionError
	}
	key, ok := point(c.data[64:])
	if !ok {
		return invalidPoint
	}
	if !d.messageReady(c.mode, false) {
		return executionError
	}
	return check(key, d.takeMessage(c.mode, false), c.data[:64])
}

func check(key *ecdsa.PublicKey, message [32]byte, signature []byte) status {
	r := new(big.Int).SetBytes(signature[:32])
	s := new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(key, message[:], r, s) {
		return miscompare
	}
	return success
}

// point parses X ‖ Y; false if it does not lie on the curve.
func point(public []byte) (*ecdsa.PublicKey, bool) {
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{0x04}, public...))
	return key, err == nil
}
