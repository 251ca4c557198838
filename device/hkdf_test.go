//go:build cgo

package device

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

func TestHMACNIST(t *testing.T) {
	var key, message []byte
	tested := map[int]int{}
	for _, line := range nist(t, "HMAC_sha256.rsp") {
		switch line[0] {
		case "Key":
			key = unhex(t, line[1])
		case "Msg":
			message = unhex(t, line[1])
		case "Mac":
			if len(key) > 64 { // would be hashed first
				continue
			}
			tested[len(key)]++
			if got := hmacOf(key, message, len(message)/2); !bytes.HasPrefix(got[:], unhex(t, line[1])) {
				t.Fatalf("key %x: %x, not %s", key, got, line[1])
			}
		}
	}
	if tested[40] != 45 || tested[45] != 45 || tested[64] != 45 {
		t.Errorf("tested %v, not 45 of 40, 45 and 64 bytes each", tested)
	}
}

func TestHMACWycheproof(t *testing.T) {
	var file struct {
		TestGroups []struct {
			TagSize int `json:"tagSize"`
			Tests   []struct {
				ID      int      `json:"tcId"`
				Key     bytesHex `json:"key"`
				Message bytesHex `json:"msg"`
				Tag     bytesHex `json:"tag"`
				Result  string   `json:"result"`
			} `json:"tests"`
		} `json:"testGroups"`
	}
	readJSON(t, "../testdata/primitives/hmac_sha256_test.json", &file)
	tested := 0
	for _, group := range file.TestGroups {
		for _, test := range group.Tests {
			if len(test.Key) > 64 {
				continue
			}
			tested++
			for cut := range len(test.Message) + 1 {
				got := hmacOf(test.Key, test.Message, cut)
				if bytes.Equal(got[:group.TagSize/8], test.Tag) != (test.Result == "valid") {
					t.Fatalf("test %d: not %s", test.ID, test.Result)
				}
			}
		}
	}
	if tested != 168 {
		t.Errorf("%d tests, not 168", tested)
	}
}

// HKDF is HMAC over HMAC (RFC 5869, 2): Wycheproof's by the library's HMAC.
func TestHKDFWycheproof(t *testing.T) {
	var file struct {
		TestGroups []struct {
			Tests []struct {
				ID     int      `json:"tcId"`
				Secret bytesHex `json:"ikm"`
				Salt   bytesHex `json:"salt"`
				Info   bytesHex `json:"info"`
				Size   int      `json:"size"`
				Out    bytesHex `json:"okm"`
				Result string   `json:"result"`
			} `json:"tests"`
		} `json:"testGroups"`
	}
	readJSON(t, "../testdata/primitives/hkdf_sha256_test.json", &file)
	tested := 0
	for _, group := range file.TestGroups {
		for _, test := range group.Tests {
			if len(test.Salt) > 64 || test.Result != "valid" { // the invalid ones ask for more than 255 blocks
				continue
			}
			tested++
			prk := hmacOf(test.Salt, test.Secret, 0)
			var out, block []byte
			for i := byte(1); len(out) < test.Size; i++ {
				block = append(append(bytes.Clone(block), test.Info...), i)
				tag := hmacOf(prk[:], block, len(block)/2)
				block = tag[:]
				out = append(out, block...)
			}
			if !bytes.Equal(out[:test.Size], test.Out) {
				t.Errorf("test %d: another output", test.ID)
			}
		}
	}
	if tested != 81 {
		t.Errorf("%d tests, not 81", tested)
	}
}

// EDHOC_KDF against Go's HKDF-Expand, for every size that needs one to four blocks, the largest, and heads of all lengths.
func TestKDF(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	prk := make([]byte, 32)
	check := func(label uint32, context []byte, size int) {
		t.Helper()
		for i := range prk {
			prk[i] = byte(random.Uint32())
		}
		info := joined(must(cbor.Marshal(label)), bstr(context), must(cbor.Marshal(size)))
		want := must(hkdf.Expand(sha256.New, prk, string(info), size))
		if got := kdfOf(prk, label, context, size, false); !bytes.Equal(got, want) {
			t.Fatalf("label %d, context of %d, %d bytes: another output", label, len(context), size)
		}
		if size <= 32 {
			if got := kdfOf(prk, label, context, size, true); !bytes.Equal(got, want) {
				t.Fatalf("label %d, context of %d, %d bytes in place: another output", label, len(context), size)
			}
		}
	}
	for size := range 129 {
		check(uint32(size), make([]byte, 32), size)
	}
	check(7, nil, 255*32)
	for _, size := range []int{0, 1, 23, 24, 255, 256, 65535, 65536} {
		check(uint32(size), make([]byte, size), 32)
	}
	check(1<<32-1, nil, 32)
}
