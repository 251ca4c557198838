package chip

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"testing"
)

// The tables of GenDig, MAC and encrypted writes, as hosts compute them beside the chip.

func genDigTable(value []byte, head [4]byte, sn [9]byte, behind [25]byte, tempKey []byte) []byte {
	return layOut(96, field{0, value}, field{32, head[:]}, field{36, sn[8:]}, field{37, sn[:2]}, field{39, behind[:]}, field{64, tempKey})
}

func macTable(first, second []byte, mode, slot byte, sn [9]byte) []byte {
	message := layOut(88, field{0, first}, field{32, second}, field{64, []byte{0x08, mode, slot}}, field{79, sn[8:]}, field{84, sn[:2]})
	if mode&0x40 != 0 {
		copy(message[80:], sn[4:8])
		copy(message[86:], sn[2:4])
	}
	return message
}

func writeTable(tempKey []byte, head [4]byte, sn [9]byte, block []byte) []byte {
	return layOut(96, field{0, tempKey}, field{32, head[:]}, field{36, sn[8:]}, field{37, sn[:2]}, field{64, block})
}

var testSerial = [9]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0xEE}

var (
	secret = bytes.Repeat([]byte{0x5E}, 32)
	input  = bytes.Repeat([]byte{0x1A}, 20)
)

// shared is a locked chip that shares a secret with its host, in slot 3; slot 4 has NoMac, slot 9 is written under slot 3.
func shared(t *testing.T, cut func(int) bool) host {
	t.Helper()
	l := product()
	l[3].slot, l[3].key = 0x8080, 0x005C // a random nonce is wanted
	l[4].slot, l[4].key = 0x8090, 0x001C
	l[9].slot, l[9].key = 0x4300, 0x003C
	l[10].slot, l[10].key = 0x0000, 0x003C
	h := host{t, New(Options{SerialNumber: testSerial, Cut: cut})}
	h.Wake()
	h.writeConfigWords(h.zone(l))
	h.fresh().want(success, opLock, lockConfig|lockNoCRC, 0)
	for _, slot := range []uint16{3, 4} {
		h.fresh().want(success, opWrite, zoneBlock|zoneData, slot<<3, secret...)
	}
	for slot := range uint16(2) {
		h.fresh().get(64, opGenKey, genKeyPrivate, slot)
	}
	h.fresh().want(success, opLock, lockData|lockNoCRC, 0)
	return h.fresh()
}

// nonce makes a random value in TempKey and computes it.
func (h host) nonce() []byte {
	h.t.Helper()
	number := h.get(32, opNonce, 0x00, 0, input...)
	value := sha256.Sum256(append(append(number, input...), 0x16, 0x00, 0x00))
	return value[:]
}

// digest is GenDig of a slot, here and there.
func (h host) digest(slot byte) []byte {
	h.t.Helper()
	nonce := h.nonce()
	h.want(success, opGenDig, 0x02, uint16(slot))
	digest := sha256.Sum256(genDigTable(secret, [4]byte{0x15, 0x02, slot}, testSerial, [25]byte{}, nonce))
	return digest[:]
}

// proves wants MAC to show that TempKey is what the host thinks it is, which uses it up.
func (h host) proves(tempKey []byte) {
	h.t.Helper()
	want := sha256.Sum256(macTable(secret, tempKey, 0x41, 3, testSerial))
	if got := h.get(32, opMAC, 0x41, 3); !bytes.Equal(got, want[:]) {
		h.t.Fatalf("TempKey is not %x", tempKey)
	}
	if h.valid() {
		h.t.Error("MAC left TempKey")
	}
}

func TestGenDig(t *testing.T) {
	h := shared(t, nil)
	h.proves(h.digest(3))

	zone := h.fresh().readConfig()
	nonce := h.nonce()
	h.want(success, opGenDig, 0x00, 2)
	value := sha256.Sum256(genDigTable(zone[64:96], [4]byte{0x15, 0x00, 2}, testSerial, [25]byte{}, nonce))
	h.proves(value[:])

	nonce = h.fresh().nonce()
	h.want(success, opGenDig, 0x01, 1)
	value = sha256.Sum256(genDigTable(bytes.Repeat([]byte{0xFF}, 32), [4]byte{0x15, 0x01, 1}, testSerial, [25]byte{}, nonce))
	h.proves(value[:])

	for range 5 {
		h.fresh().get(4, opCounter, 1, 1)
	}
	nonce = h.fresh().nonce()
	h.want(success, opGenDig, 0x04, 1)
	count := [25]byte{1: 5}
	value = sha256.Sum256(genDigTable(nil, [4]byte{0x15, 0x04, 1}, testSerial, count, nonce))
	h.proves(value[:])
}

// TestGenDigFlags: what a digest is over shows in its flags, and decides what may be done with it.
func TestGenDigFlags(t *testing.T) {
	h := shared(t, nil)
	h.digest(3)
	if state := h.get(4, opInfo, infoState, 0); !bytes.Equal(state, []byte{0x23, 0x80, 0, 0}) {
		t.Errorf("state % x", state)
	}
	h.want(executionError, opSign, 0x40, 1) // no digest of GenKey

	h.fresh().nonce()
	h.want(success, opGenDig, 0x02, 4, 0x15, 0x02, 4, 0)
	if state := h.get(4, opInfo, infoState, 0); !bytes.Equal(state, []byte{0xA4, 0x80, 0, 0}) {
		t.Errorf("state % x", state)
	}
	h.want(executionError, opMAC, 0x41, 3) // the key must not be used by MAC

	h.fresh().want(success, opNonce, 0x03, 0, secret...)
	h.want(executionError, opGenDig, 0x02, 3) // the nonce is not random
	h.Sleep()
	h.Wake()
	h.want(executionError, opGenDig, 0x00, 0) // there is none
}

func TestMAC(t *testing.T) {
	h := shared(t, nil)
	l := [][2]byte{{0x00, 3}, {0x40, 3}}
	challenge := bytes.Repeat([]byte{0xC4}, 32)
	for _, m := range l {
		h.fresh().nonce()
		want := sha256.Sum256(macTable(secret, challenge, m[0], m[1], testSerial))
		if got := h.get(32, opMAC, m[0], uint16(m[1]), challenge...); !bytes.Equal(got, want[:]) {
			t.Errorf("mode %02x: %x, want %x", m[0], got, want)
		}
	}
	for _, mode := range []byte{0x02, 0x42} {
		nonce := h.fresh().nonce()
		want := sha256.Sum256(macTable(nonce, challenge, mode, 3, testSerial))
		if got := h.get(32, opMAC, mode, 3, challenge...); !bytes.Equal(got, want[:]) {
			t.Errorf("mode %02x: %x, want %x", mode, got, want)
		}
		h.want(executionError, opMAC, mode, 3, challenge...) // TempKey is used up
	}
	h.fresh().want(success, opNonce, 0x03, 0, challenge...)
	want := sha256.Sum256(macTable(challenge, secret, 0x06, 10, testSerial))
	h.want(executionError, opMAC, 0x02, 10, secret...) // it is no random value
	if got := h.get(32, opMAC, 0x06, 10, secret...); !bytes.Equal(got, want[:]) {
		t.Errorf("mode 06: %x, want %x", got, want)
	}
}

// sealed is an encrypted block with its MAC, under a digest in TempKey.
func sealed(tempKey []byte, mode byte, address uint16, block []byte) []byte {
	head := [4]byte{0x12, mode}
	binary.LittleEndian.PutUint16(head[2:], address)
	mac := sha256.Sum256(writeTable(tempKey, head, testSerial, block))
	cipher := make([]byte, 32)
	for i := range cipher {
		cipher[i] = block[i] ^ tempKey[i]
	}
	return append(cipher, mac[:]...)
}

func TestEncryptedWrite(t *testing.T) {
	h := shared(t, nil)
	block := bytes.Repeat([]byte{0xB1}, 32)
	const address = 1<<8 | 9<<3
	read := func() []byte { t.Helper(); return h.fresh().get(32, opRead, zoneBlock|zoneData, address) }
	before := read()
	for name, spoil := range map[string]func(tempKey []byte) (byte, uint16, []byte){
		"another MAC": func(k []byte) (byte, uint16, []byte) {
			d := sealed(k, 0xC2, address, block)
			d[63] ^= 1
			return 0xC2, address, d
		},
		"another block": func(k []byte) (byte, uint16, []byte) {
			d := sealed(k, 0xC2, address, block)
			d[0] ^= 1
			return 0xC2, address, d
		},
		"another address": func(k []byte) (byte, uint16, []byte) { return 0xC2, address, sealed(k, 0xC2, 9<<3, block) },
		"another mode":    func(k []byte) (byte, uint16, []byte) { return 0x82, address, sealed(k, 0xC2, address, block) },
		"another slot":    func(k []byte) (byte, uint16, []byte) { return 0xC2, 10 << 3, sealed(k, 0xC2, 10<<3, block) },
	} {
		mode, at, data := spoil(h.fresh().digest(3))
		h.want(executionError, opWrite, mode, at, data...)
		if got := read(); !bytes.Equal(got, before) {
			t.Fatalf("%s was written", name)
		}
	}
	nonce := h.fresh().nonce() // is no digest
	h.want(executionError, opWrite, 0xC2, address, sealed(nonce, 0xC2, address, block)...)
	nonce = h.fresh().nonce() // nor is this one of the write key
	h.want(success, opGenDig, 0x00, 2)
	h.want(executionError, opWrite, 0xC2, address, sealed(nonce, 0xC2, address, block)...)

	for i, mode := range []byte{0x82, 0xC2} { // hosts send both
		block[0] = byte(i)
		tempKey := h.fresh().digest(3)
		h.want(success, opWrite, mode, address, sealed(tempKey, mode, address, block)...)
		if got := read(); !bytes.Equal(got, block) {
			t.Errorf("mode %02x: %x", mode, got)
		}
		h.want(executionError, opWrite, mode, address, sealed(tempKey, mode, address, block)...)
	}
	h.fresh().want(success, opLock, lockSlot|9<<2, 0)
	h.want(executionError, opWrite, 0xC2, address, sealed(h.fresh().digest(3), 0xC2, address, block)...)
}

// parental is a locked chip whose slot 10 validates the public key in slot 9.
func parental(t *testing.T, parent, child []byte, cut func(int) bool) host {
	t.Helper()
	l := product()
	l[9].slot, l[9].key = 0x100A, 0x0032
	l[10].slot, l[10].key = 0x8000, 0x0010
	h := host{t, New(Options{SerialNumber: testSerial, Cut: cut})}
	h.Wake()
	h.writeConfigWords(h.zone(l))
	h.fresh().want(success, opLock, lockConfig|lockNoCRC, 0)
	h.fresh().storePublic(9, child)
	h.fresh().storePublic(10, parent)
	h.fresh().want(success, opLock, lockData|lockNoCRC, 0)
	return h.fresh()
}

// TestValidate: another chip's internal signature over a public key makes it valid here, and makes it invalid again.
func TestValidate(t *testing.T) {
	parent, child := newSigner(t), newSigner(t)
	h := parental(t, parent.public, child.public, nil)
	message := make([]byte, 32)
	stored := func() status {
		h.fresh().want(success, opNonce, 0x03, 0, message...)
		return status(h.payload(opVerify, 0x00, 9, child.sign(message)...)[0])
	}
	if got := stored(); got != executionError {
		t.Fatalf("a key that was not validated: %02x", got)
	}

	// prove puts GenKey's digest into TempKey and gives the parent's signature over it, and the 19 bytes.
	prove := func(invalidate byte) (signature, other []byte) {
		t.Helper()
		nonce := bytes.Repeat([]byte{0x4C}, 32)
		head := []byte{0x08, 0x02, 0x00} // as the chip that has the key computed it
		h.fresh().want(success, opNonce, 0x03, 0, nonce...)
		h.want(success, opGenKey, 0x10, 9, head...)
		digest := sha256.Sum256(genKeyTable(nonce, 0x08, 2, testSerial, child.public))
		other = []byte{invalidate, 3, 0, 0x85, 0x20, 0x33, 0, 0x52, 0, 0, 0, 0, 0, 0, 0, 0, 1, invalidate, 0}
		signed := layOut(55, field{0, digest[:]}, field{32, []byte{0x41}}, field{33, other[:10]}, field{43, testSerial[8:]},
			field{44, other[10:14]}, field{48, testSerial[:2]}, field{50, other[14:]})
		sum := sha256.Sum256(signed)
		return parent.sign(sum[:]), other
	}
	signature, other := prove(0)
	other[3] ^= 1
	h.want(miscompare, opVerify, 0x03, 9, append(signature, other...)...)
	signature, other = prove(0)
	h.want(executionError, opVerify, 0x07, 9, append(signature, other...)...) // it is there to validate
	h.want(executionError, opVerify, 0x03, 10, append(signature, other...)...)
	if got := stored(); got != executionError {
		t.Fatalf("a key that was not validated: %02x", got)
	}

	signature, other = prove(0)
	h.want(success, opVerify, 0x03, 9, append(signature, other...)...)
	h.want(executionError, opVerify, 0x03, 9, append(signature, other...)...) // the digest is used up
	if got := stored(); got != success {
		t.Fatalf("a validated key: %02x", got)
	}
	h.fresh().want(executionError, opWrite, zoneBlock|zoneData, 9<<3, message...) // it is written only while invalid
	signature, other = prove(1)
	h.want(success, opVerify, 0x07, 9, append(signature, other...)...)
	if got := stored(); got != executionError {
		t.Fatalf("a key that was made invalid: %02x", got)
	}
}

// signer is a key pair outside the chip.
type signer struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	public []byte // X ‖ Y
}

func newSigner(t *testing.T) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return signer{t, key, public[1:]}
}

func (s signer) sign(digest []byte) []byte {
	a, b, err := ecdsa.Sign(rand.Reader, s.key, digest)
	if err != nil {
		s.t.Fatal(err)
	}
	out := make([]byte, 64)
	a.FillBytes(out[:32])
	b.FillBytes(out[32:])
	return out
}

// TestPowerCutSealed cuts the supply at each byte of the writers that TestPowerCut has not: what was not written is as it was.
func TestPowerCutSealed(t *testing.T) {
	s := &supply{}
	block := bytes.Repeat([]byte{0xB1}, 32)
	for cut := range 32 {
		h := shared(t, s.cut)
		tempKey := h.digest(3)
		*s = supply{armed: true, n: cut}
		before := h.eeprom.image
		if got := h.Exchange(writeGroup(0xC2, 9<<3, sealed(tempKey, 0xC2, 9<<3, block))); got != nil {
			t.Fatalf("cut at %d: % x", cut, got)
		}
		s.armed = false
		h.PowerUp()
		want := before
		copy(want[slotStart(9):], block[:cut])
		if h.eeprom.image != want {
			t.Fatalf("cut at %d: more was written, or less", cut)
		}
	}
}

func writeGroup(mode byte, address uint16, data []byte) []byte {
	return wrap(append(binary.LittleEndian.AppendUint16([]byte{byte(opWrite), mode}, address), data...)...)
}

// TestPowerCutValidity: power that is lost while a valid public key is written over leaves none that is valid, unless it was lost
// before the first byte.
func TestPowerCutValidity(t *testing.T) {
	s := &supply{}
	for cut := range 33 { // the mark, then the block
		key := newSigner(t)
		h := parental(t, key.public, key.public, s.cut)
		at := slotStart(9)
		h.eeprom.image[at] = h.eeprom.image[at]&^markMask | markValid
		binary.LittleEndian.PutUint16(h.eeprom.image[atSlotConfig+2*9:], 0x000A) // written always
		*s = supply{armed: true, n: cut}
		if got := h.Exchange(writeGroup(zoneBlock|zoneData, 9<<3, make([]byte, 32))); got != nil {
			t.Fatalf("cut at %d: % x", cut, got)
		}
		s.armed = false
		h.PowerUp()
		if valid := h.eeprom.publicValid(9); valid != (cut == 0) {
			t.Errorf("cut at %d: valid %v", cut, valid)
		}
	}
}
