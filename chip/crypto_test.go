package chip

import (
	"bytes"
	"crypto/ecdh"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// wycheproof reads one file of Google's Project Wycheproof.
func wycheproof(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile("../testdata/primitives/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

// TestVerifyVectors runs every ECDSA vector with a 64-byte signature through both modes of Verify.
func TestVerifyVectors(t *testing.T) {
	var file struct {
		TestGroups []struct {
			PublicKey struct{ Uncompressed string }
			Tests     []struct {
				TcID             int
				Msg, Sig, Result string
			}
		}
	}
	wycheproof(t, "ecdsa_secp256r1_sha256_p1363_test.json", &file)
	l := product()
	l[9].slot, l[9].key = 0x0000, 0x0010
	h := locked(t, l)
	verified := 0
	for _, group := range file.TestGroups {
		public := unhex(t, group.PublicKey.Uncompressed)[1:]
		h.fresh().storePublic(9, public)
		for _, tt := range group.Tests {
			signature := unhex(t, tt.Sig)
			if len(signature) != 64 {
				continue // no command can carry it
			}
			digest := sha256.Sum256(unhex(t, tt.Msg))
			want := miscompare
			if tt.Result == "valid" {
				want = success
			}
			verified++
			h.fresh().want(success, opNonce, 0x43, 0, digest[:]...)
			h.want(want, opVerify, verifyExternal|fromMsgDigBuf, curveP256, append(signature, public...)...)
			h.want(success, opNonce, 0x03, 0, digest[:]...)
			h.want(want, opVerify, verifyStored, 9, signature...)
			if h.valid() {
				t.Fatal("Verify left its message in TempKey")
			}
		}
	}
	if verified < 200 {
		t.Errorf("only %d vectors were run", verified)
	}
}

// TestECDHVectors runs every ECDH vector with an uncompressed point, the private key put into slot 2.
func TestECDHVectors(t *testing.T) {
	var file struct {
		TestGroups []struct {
			Tests []struct {
				TcID                            int
				Public, Private, Shared, Result string
			}
		}
	}
	wycheproof(t, "ecdh_secp256r1_ecpoint_test.json", &file)
	l := product()
	l[2].slot, l[2].key = 0x0085, 0x0013
	h := locked(t, l)
	valid, invalid := 0, 0
	for _, group := range file.TestGroups {
		for _, tt := range group.Tests {
			public := unhex(t, tt.Public)
			if len(public) != 65 || public[0] != 4 {
				continue // no command can carry it
			}
			private := unhex(t, tt.Private)
			scalar := make([]byte, 32)
			private = bytes.TrimLeft(private, "\x00")
			copy(scalar[32-len(private):], private)
			key, err := ecdh.P256().NewPrivateKey(scalar)
			if err != nil {
				t.Fatal(err)
			}
			h.eeprom.storePrivateKey(2, key)
			if tt.Result == "invalid" {
				invalid++
				h.fresh().want(invalidPoint, opECDH, ecdhOutputBuffer, 2, public[1:]...)
				continue
			}
			valid++
			if got := h.fresh().get(32, opECDH, ecdhOutputBuffer, 2, public[1:]...); !bytes.Equal(got, unhex(t, tt.Shared)) {
				t.Errorf("test %d: secret % x, want %s", tt.TcID, got, tt.Shared)
			}
		}
	}
	if valid < 200 || invalid < 5 {
		t.Errorf("only %d valid and %d invalid vectors were run", valid, invalid)
	}
}

// TestAES has the example of FIPS 197, appendix C.1, with the key in each of a slot's and TempKey's places.
func TestAES(t *testing.T) {
	key := unhex(t, "000102030405060708090a0b0c0d0e0f")
	plain := unhex(t, "00112233445566778899aabbccddeeff")
	cipher := unhex(t, "69c4e0d86a7b0430d8cdb78070b4c55a")

	l := product()
	l[5].slot, l[5].key = 0x0080, 0x0018
	h := locked(t, l)
	other := bytes.Repeat([]byte{0xA5}, 64)
	for place := range byte(4) {
		keys := append([]byte(nil), other...)
		copy(keys[16*place:], key)
		h.fresh().want(success, opNonce, 0x23, 0, keys...)
		for range 2 { // TempKey survives
			if got := h.get(16, opAES, place<<6|aesEncrypt, inTempKey, plain...); !bytes.Equal(got, cipher) {
				t.Errorf("TempKey place %d: cipher % x", place, got)
			}
			if got := h.get(16, opAES, place<<6|aesDecrypt, inTempKey, cipher...); !bytes.Equal(got, plain) {
				t.Errorf("TempKey place %d: plain % x", place, got)
			}
		}
		if place < 2 {
			h.want(success, opWrite, zoneBlock|zoneData, 5<<3, keys[:32]...)
			if got := h.get(16, opAES, place<<6|aesEncrypt, 5, plain...); !bytes.Equal(got, cipher) {
				t.Errorf("slot place %d: cipher % x", place, got)
			}
		}
	}

	h.eeprom.image[atAESEnable] = 0
	h.want(parseError, opAES, aesEncrypt, inTempKey, plain...)
}

// TestMultiply has the products in test case 2 of the GCM submission (McGrew and Viega, appendix B).
func TestMultiply(t *testing.T) {
	h := blank(t)
	key := unhex(t, "66e94bd4ef8a2c3b884cfa59ca342b2e")
	for x, want := range map[string]string{
		"0388dace60b6a392f328c2b971b2fe78": "5e2ec746917062882c85b0685353deb7",
		"5e2ec746917062882c85b0685353de37": "f38cbb1ad69223dcc3457ae5b6b0f885",
	} {
		if got := h.get(16, opAES, aesMultiply, 0, append(key[:16:16], unhex(t, x)...)...); !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("product % x, want %s", got, want)
		}
	}
}

// TestEncryptedECDH undoes the encryption with the IO protection key as a host does, and looks for it where the mode does not ask.
func TestEncryptedECDH(t *testing.T) {
	ioKey := []byte(strings.Repeat("io key! ", 4))
	for protection, clear := range map[byte]bool{ecdhOutputClear: true, ecdhOutputEncrypted: false} {
		h := blank(t)
		zone := h.zone(product())
		zone[atChipOptions], zone[atChipOptions+1] = 0x02, 0x60|protection // key in slot 6
		h.writeConfigWords(zone)
		h.fresh().want(success, opLock, lockConfig, CRC(zone))
		h.want(success, opWrite, zoneBlock|zoneData, 6<<3, ioKey...)
		h.want(success, opLock, lockData|lockNoCRC, 0)

		mine, err := ecdh.P256().NewPrivateKey(bytes.Repeat([]byte{0x42}, 32))
		if err != nil {
			t.Fatal(err)
		}
		for _, mode := range []byte{ecdhFromTempKey | ecdhEncrypt | ecdhOutputBuffer, ecdhFromTempKey | ecdhOutputBuffer} {
			public := h.fresh().get(64, opGenKey, genKeyPrivate, inTempKey)
			secret := agreed(t, mine, public)
			if clear && mode&ecdhEncrypt == 0 {
				if out := h.get(32, opECDH, mode, 0, publicBytes(mine)...); !bytes.Equal(out, secret) {
					t.Errorf("ECDH protection %d, mode %02x: % x", protection, mode, out)
				}
				continue
			}
			out := h.get(64, opECDH, mode, 0, publicBytes(mine)...)
			pad := sha256.Sum256(append(ioKey[:32:32], out[32:48]...))
			subtle.XORBytes(secret, secret, pad[:])
			if !bytes.Equal(out[:32], secret) {
				t.Errorf("ECDH protection %d, mode %02x: the encrypted secret does not decrypt", protection, mode)
			}
		}
	}
}
