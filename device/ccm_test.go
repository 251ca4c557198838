//go:build cgo

package device

import (
	"bytes"
	"crypto/aes"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

func random(r *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Both builds of the block cipher.
func TestAES(t *testing.T) {
	for _, tableless := range []bool{false, true} {
		t.Run(fmt.Sprintf("tableless=%v", tableless), func(t *testing.T) {
			for _, v := range [][3]string{ // FIPS 197, appendices B and C.1
				{"2b7e151628aed2a6abf7158809cf4f3c", "3243f6a8885a308d313198a2e0370734", "3925841d02dc09fbdc118597196a0b32"},
				{"000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"},
			} {
				if got := aesBlock(tableless, unhex(t, v[0]), unhex(t, v[1])); !bytes.Equal(got, unhex(t, v[2])) {
					t.Errorf("%s under %s: %x, not %s", v[1], v[0], got, v[2])
				}
			}
			r := rand.New(rand.NewPCG(3, 4))
			for range 2000 { // every byte meets the S-box in every place
				key, block := random(r, 16), random(r, 16)
				want := make([]byte, 16)
				cipher, _ := aes.NewCipher(key)
				cipher.Encrypt(want, block)
				if got := aesBlock(tableless, key, block); !bytes.Equal(got, want) {
					t.Fatalf("%x under %x: %x, not %x", block, key, got, want)
				}
			}
		})
	}
}

// sealAsGo is AES-CCM as RFC 3610 describes it, for L = 2.
func sealAsGo(key, nonce, aad, text []byte, tagSize int) []byte {
	cipher, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	block := func(flags, number int) []byte {
		return binary.BigEndian.AppendUint16(append([]byte{byte(flags)}, nonce...), uint16(number))
	}
	pad := func(b []byte) []byte { return append(b, make([]byte, -len(b)&15)...) }

	flags := 8*((tagSize-2)/2) + 1
	var blocks []byte
	if len(aad) > 0 {
		flags += 64
		blocks = pad(append(binary.BigEndian.AppendUint16(nil, uint16(len(aad))), aad...))
	}
	blocks = append(append(block(flags, len(text)), blocks...), pad(bytes.Clone(text))...)
	mac := make([]byte, 16)
	for ; len(blocks) > 0; blocks = blocks[16:] {
		subtle.XORBytes(mac, mac, blocks[:16])
		cipher.Encrypt(mac, mac)
	}
	stream := func(i int) []byte {
		s := make([]byte, 16)
		cipher.Encrypt(s, block(1, i))
		return s
	}
	sealed := bytes.Clone(text)
	for at := 0; at < len(text); at += 16 {
		subtle.XORBytes(sealed[at:], sealed[at:], stream(at/16+1))
	}
	subtle.XORBytes(mac, mac, stream(0))
	return append(sealed, mac[:tagSize]...)
}

// always is a block cipher that does not fail.
const always = math.MaxInt32

// checkCCM wants text sealed and opened as the vector says; the tag is the last tagSize bytes of sealed.
func checkCCM(t *testing.T, name string, key, nonce, aad, text, sealed []byte, tagSize int, valid bool) {
	t.Helper()
	status, got := ccmSeal(always, key, nonce, aad, text, tagSize)
	if valid && (status != 0 || !bytes.Equal(got, sealed)) {
		t.Errorf("%s: sealed %d, %.40x, not %.40x", name, status, got, sealed)
	}
	want := append(bytes.Clone(text), sealed[len(sealed)-tagSize:]...)
	wantStatus := 0
	if !valid {
		wantStatus, want = ccmRefused, make([]byte, len(sealed))
	}
	if status, got := ccmOpen(always, key, nonce, aad, sealed, tagSize); status != wantStatus || !bytes.Equal(got, want) {
		t.Errorf("%s: opened %d, %.40x, not %d, %.40x", name, status, got, wantStatus, want)
	}
}

// NIST's files for CCM: those of their vectors that have our nonce and one of our tag sizes.
func TestCCMNIST(t *testing.T) {
	for name, want := range map[string]int{"VADT128.rsp": 330, "VNT128.rsp": 10, "VPT128.rsp": 250, "VTT128.rsp": 20} {
		number := map[string]int{}
		field := map[string][]byte{}
		tested := 0
		for _, line := range nist(t, name) {
			if n, err := strconv.Atoi(line[1]); err == nil && strings.HasSuffix(line[0], "len") {
				number[line[0]] = n
				continue
			}
			if line[0] != "Count" {
				field[line[0]] = unhex(t, line[1])
			}
			if line[0] != "CT" || number["Nlen"] != 13 || number["Tlen"] != 8 && number["Tlen"] != 16 {
				continue
			}
			tested++
			checkCCM(t, fmt.Sprintf("%s %d", name, tested), field["Key"], field["Nonce"], field["Adata"][:number["Alen"]],
				field["Payload"][:number["Plen"]], field["CT"], number["Tlen"], true)
		}
		if tested != want {
			t.Errorf("%s: %d vectors, not %d", name, tested, want)
		}
	}
}

// Wycheproof has few vectors of our nonce, so the model follows with every size of text around a block's.
func TestCCMWycheproof(t *testing.T) {
	var file struct {
		TestGroups []struct {
			KeySize, IVSize, TagSize int // bits
			Tests                    []struct {
				ID                         int `json:"tcId"`
				Key, IV, AAD, Msg, CT, Tag string
				Result                     string
			}
		}
	}
	readJSON(t, "../testdata/primitives/aes_ccm_test.json", &file)
	tested := 0
	for _, group := range file.TestGroups {
		if group.KeySize != 128 || group.IVSize != 104 || group.TagSize != 64 && group.TagSize != 128 {
			continue
		}
		for _, test := range group.Tests {
			tested++
			checkCCM(t, fmt.Sprint("test ", test.ID), unhex(t, test.Key), unhex(t, test.IV), unhex(t, test.AAD),
				unhex(t, test.Msg), unhex(t, test.CT+test.Tag), group.TagSize/8, test.Result == "valid")
		}
	}
	if tested != 6 {
		t.Errorf("%d vectors in the file, not 6", tested)
	}
}

func TestCCMModel(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, tagSize := range []int{8, 16} {
		for _, aadSize := range []int{0, 1, 4, 13, 14, 15, 29, 30, 31, 300} {
			for _, size := range []int{0, 1, 2, 15, 16, 17, 31, 32, 33, 300, 4100} {
				key, nonce, aad, text := random(r, 16), random(r, 13), random(r, aadSize), random(r, size)
				checkCCM(t, fmt.Sprintf("tag %d, aad %d, text %d", tagSize, aadSize, size), key, nonce, aad, text,
					sealAsGo(key, nonce, aad, text, tagSize), tagSize, true)
			}
		}
	}
}

// Whatever is changed, nothing is released.
func TestCCMRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	key, nonce, aad, text := random(r, 16), random(r, 13), random(r, 20), random(r, 37)
	for _, tagSize := range []int{8, 16} {
		sealed := sealAsGo(key, nonce, aad, text, tagSize)
		parts := map[string][]byte{"key": key, "nonce": nonce, "aad": aad, "sealed": sealed}
		for name, part := range parts {
			for bit := range 8 * len(part) {
				part[bit/8] ^= 1 << (bit % 8)
				checkCCM(t, fmt.Sprintf("%s bit %d", name, bit), key, nonce, aad, text, sealed, tagSize, false)
				part[bit/8] ^= 1 << (bit % 8)
			}
		}
	}
}

// A block cipher that fails at any of its calls leaves neither text nor tag.
func TestCCMPortFails(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	key, nonce, aad, text := random(r, 16), random(r, 13), random(r, 20), random(r, 37)
	const calls = 1 + 2 + 3 + 3 + 1 // B_0, AAD, text, key stream, S_0
	for answers := range calls + 1 {
		status, sealed := ccmSeal(answers, key, nonce, aad, text, 8)
		opened, plain := ccmOpen(answers, key, nonce, aad, sealAsGo(key, nonce, aad, text, 8), 8)
		if answers == calls {
			if status != 0 || opened != 0 {
				t.Errorf("after %d calls: %d, %d", calls, status, opened)
			}
			continue
		}
		if status != ccmFailed || opened != ccmFailed {
			t.Errorf("after %d calls: %d, %d, not %d", answers, status, opened, ccmFailed)
		}
		if nothing := make([]byte, len(text)+8); !bytes.Equal(sealed, nothing) || !bytes.Equal(plain, nothing) {
			t.Errorf("after %d calls: left %x, %x", answers, sealed, plain)
		}
	}
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}
