package device

/*
#include <stdlib.h>
#include "edhoc.h"
#include "internal.h"

// hkdf.c once more for HMAC keys of up to a whole block, which the vectors have.
#undef BM_PRK_SIZE
#define BM_PRK_SIZE 64
#define bm_hmac_start block_hmac_start
#define bm_hmac_final block_hmac_final
#define bm_hash_head block_hash_head
#define bm_hash_parts block_hash_parts
#define bm_hash_string block_hash_string
#define bm_edhoc_kdf block_edhoc_kdf
#define bm_edhoc_kdf_parts block_edhoc_kdf_parts
#include "hkdf.c"
#undef bm_hmac_start
#undef bm_hmac_final
#undef bm_edhoc_kdf

static int aes_fails(void *user, const uint8_t *key, uint8_t *block)
{
	(void)user, (void)key, (void)block;
	return BM_ERR_PORT;
}

static void break_aes(struct bm_port *port)
{
	port->aes = aes_fails;
}
*/
import "C"

import "unsafe"

// hmacOf is HMAC over a message in two updates, cut anywhere. Keys of up to 32 bytes go through the library's own functions, of up
// to 64 through the same source built for them.
func hmacOf(key, message []byte, cut int) [32]byte {
	var h C.struct_bm_sha256
	var tag [32]byte
	out := (*C.uint8_t)(&tag[0])
	size := 32
	if len(key) > size {
		size = 64
	}
	k := C.CBytes(append(key[:len(key):len(key)], make([]byte, size-len(key))...))
	defer C.free(k)
	m := C.CBytes(message)
	defer C.free(m)
	if size == 32 {
		C.bm_hmac_start(&h, (*C.uint8_t)(k))
	} else {
		C.block_hmac_start(&h, (*C.uint8_t)(k))
	}
	C.bm_sha256_update(&h, (*C.uint8_t)(m), C.size_t(cut))
	C.bm_sha256_update(&h, (*C.uint8_t)(unsafe.Add(m, cut)), C.size_t(len(message)-cut))
	if size == 32 {
		C.bm_hmac_final(&h, (*C.uint8_t)(k), out)
	} else {
		C.block_hmac_final(&h, (*C.uint8_t)(k), out)
	}
	return tag
}

// kdfOf is bm_edhoc_kdf, in place of its PRK if inPlace.
func kdfOf(prk []byte, label uint32, context []byte, size int, inPlace bool) []byte {
	p, c, out := C.CBytes(prk), C.CBytes(context), C.malloc(C.size_t(size))
	defer C.free(p)
	defer C.free(c)
	defer C.free(out)
	to := out
	if inPlace {
		to = p
	}
	C.bm_edhoc_kdf((*C.uint8_t)(to), C.size_t(size), (*C.uint8_t)(p), C.uint32_t(label), (*C.uint8_t)(c), C.size_t(len(context)))
	return C.GoBytes(to, C.int(size))
}

// skipItem gives the size of the first item of b, which reads as long as it is whole and well formed.
func skipItem(b []byte) (int, error) {
	p := C.CBytes(b)
	defer C.free(p)
	var r C.struct_bm_reader
	C.bm_read_start(&r, (*C.uint8_t)(p), C.size_t(len(b)))
	C.bm_read_skip(&r)
	if r.bad != 0 {
		return 0, errMalformed
	}
	return int(r.at), nil
}

// What a handshake keeps between two messages.

func (h *Handshake) state() int  { return int(h.c.edhoc.state) }
func (h *Handshake) prk() []byte { return bytesOf(&h.c.edhoc.prk[0], 32) }
func (h *Handshake) th() []byte {
	return bytesOf(&h.c.edhoc.aad[C.BM_EDHOC_AAD_SIZE-C.BM_HASH_SIZE], C.BM_HASH_SIZE)
}

// setMemory goes back to what memory gave.
func (h *Handshake) setMemory(b []byte) {
	copy(unsafe.Slice((*byte)(unsafe.Pointer(h.c.edhoc)), C.bm_edhoc_size()), b)
}

// wiped says whether nothing is left but what an error message needs.
func (h *Handshake) wiped() bool {
	left := *h.c.edhoc
	left.config, left.error = nil, 0
	return left == C.struct_bm_edhoc{}
}

// breakAES lets the block cipher fail from now on.
func (h *Handshake) breakAES() { C.break_aes(&h.c.port) }

// restart begins anew with another port and other choices.
func (h *Handshake) restart(role Role, usage, uses, methods uint8, suites []byte, selected int) int {
	h.c.port.key_usage, h.c.port.ephemeral_uses = C.uint8_t(usage), C.uint8_t(uses)
	h.c.config.methods, h.c.config.selected = C.uint8_t(methods), C.uint8_t(selected)
	h.c.config.suites, h.c.config.suite_count = h.bytes(suites), C.uint8_t(len(suites))
	return int(C.bm_edhoc_start(h.c.edhoc, &h.c.config, C.int(role)))
}

// keyUsage is one of enum bm_key_usage.
func keyUsage(agreement bool) uint8 {
	if agreement {
		return C.BM_KEY_AGREEMENT
	}
	return C.BM_DIGITAL_SIGNATURE
}
