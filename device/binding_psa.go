//go:build psa

package device

// Each of PSA's functions that the port calls goes through here first, where a test lets it fail.

/*
#cgo LDFLAGS: -lmbedcrypto
#cgo LDFLAGS: -Wl,--wrap=psa_generate_random -Wl,--wrap=psa_get_key_attributes -Wl,--wrap=psa_export_public_key
#cgo LDFLAGS: -Wl,--wrap=psa_sign_hash -Wl,--wrap=psa_import_key -Wl,--wrap=psa_verify_hash -Wl,--wrap=psa_generate_key
#cgo LDFLAGS: -Wl,--wrap=psa_raw_key_agreement -Wl,--wrap=psa_cipher_encrypt
#include <stdlib.h>
#include "port_psa.h"

static int psa_calls;         // since psa_fail
static int psa_fail_at = -1; // -1: none

static void psa_fail(int call)
{
	psa_calls = 0;
	psa_fail_at = call;
}

static int psa_called(void) { return psa_calls; }

#define WRAP(name, parameters, arguments) \
	psa_status_t __real_##name parameters; \
	psa_status_t __wrap_##name parameters; \
	psa_status_t __wrap_##name parameters \
	{ \
		return psa_calls++ == psa_fail_at ? PSA_ERROR_HARDWARE_FAILURE : __real_##name arguments; \
	}

WRAP(psa_generate_random, (uint8_t *out, size_t size), (out, size))
WRAP(psa_get_key_attributes, (psa_key_id_t key, psa_key_attributes_t *a), (key, a))
WRAP(psa_export_public_key, (psa_key_id_t key, uint8_t *out, size_t size, size_t *len), (key, out, size, len))
WRAP(psa_sign_hash,
     (psa_key_id_t key, psa_algorithm_t alg, const uint8_t *hash, size_t hash_size, uint8_t *out, size_t size, size_t *len),
     (key, alg, hash, hash_size, out, size, len))
WRAP(psa_import_key, (const psa_key_attributes_t *a, const uint8_t *in, size_t size, psa_key_id_t *key), (a, in, size, key))
WRAP(psa_verify_hash,
     (psa_key_id_t key, psa_algorithm_t alg, const uint8_t *hash, size_t hash_size, const uint8_t *in, size_t size),
     (key, alg, hash, hash_size, in, size))
WRAP(psa_generate_key, (const psa_key_attributes_t *a, psa_key_id_t *key), (a, key))
WRAP(psa_raw_key_agreement,
     (psa_algorithm_t alg, psa_key_id_t key, const uint8_t *peer, size_t peer_size, uint8_t *out, size_t size, size_t *len),
     (alg, key, peer, peer_size, out, size, len))
WRAP(psa_cipher_encrypt,
     (psa_key_id_t key, psa_algorithm_t alg, const uint8_t *in, size_t in_size, uint8_t *out, size_t size, size_t *len),
     (key, alg, in, in_size, out, size, len))

static psa_status_t import_pair(const void *private, size_t size, psa_algorithm_t alg, psa_key_usage_t usage, psa_key_id_t *key)
{
	psa_key_attributes_t a = psa_key_attributes_init();
	psa_set_key_type(&a, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
	psa_set_key_algorithm(&a, alg);
	psa_set_key_usage_flags(&a, usage);
	return psa_import_key(&a, private, size, key);
}

static psa_algorithm_t psa_ecdsa(void) { return PSA_ALG_ECDSA(PSA_ALG_SHA_256); }

static int port_random(const struct bm_port *p, void *number) { return p->random(p->user, number); }
static int port_aes(const struct bm_port *p, void *key, void *block) { return p->aes(p->user, key, block); }

static size_t psa_keys(void)
{
	mbedtls_psa_stats_t stats;
	mbedtls_psa_get_stats(&stats);
	return stats.volatile_slots;
}
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// What a PSA key may do.
const (
	psaSign  = C.PSA_KEY_USAGE_SIGN_HASH
	psaAgree = C.PSA_KEY_USAGE_DERIVE
)

// psaKey imports a key pair of the NIST curve that has private keys of this size.
func psaKey(private []byte, agreement bool, usage uint32) (uint32, error) {
	p := C.CBytes(private)
	defer C.free(p)
	algorithm := C.psa_ecdsa()
	if agreement {
		algorithm = C.PSA_ALG_ECDH
	}
	var id C.psa_key_id_t
	status := C.psa_crypto_init()
	if status == C.PSA_SUCCESS {
		status = C.import_pair(p, C.size_t(len(private)), algorithm, C.psa_key_usage_t(usage), &id)
	}
	if status != C.PSA_SUCCESS {
		return 0, fmt.Errorf("import key: PSA status %d", status)
	}
	return uint32(id), nil
}

// psaKeys is how many keys PSA holds in memory.
func psaKeys() int { return int(C.psa_keys()) }

// psaFail lets the PSA function that is called so many calls from now fail; -1 lets none. psaCalled counts the calls since.
func psaFail(call int) { C.psa_fail(C.int(call)) }
func psaCalled() int   { return int(C.psa_called()) }

// psaPort is a port over PSA.
type psaPort struct {
	port
	psa *C.struct_bm_psa
}

// newPSAPort gives the status of bm_psa_start too. PSA has room for 32 keys.
func newPSAPort(identity uint32) (psaPort, int) {
	p := psaPort{
		port{(*C.struct_bm_port)(C.calloc(1, C.sizeof_struct_bm_port))},
		(*C.struct_bm_psa)(C.calloc(1, C.sizeof_struct_bm_psa)),
	}
	return p, int(C.bm_psa_start(p.psa, p.c, C.psa_key_id_t(identity)))
}

// end destroys the ephemeral key, destroyIdentity the other, and free both and the port.
func (p psaPort) end()             { C.bm_psa_end(p.psa) }
func (p psaPort) destroyIdentity() { C.psa_destroy_key(p.psa.identity) }

func (p psaPort) free() {
	p.end()
	p.destroyIdentity()
	C.free(unsafe.Pointer(p.psa))
	C.free(unsafe.Pointer(p.c))
}

func (p psaPort) keyUsage() int { return int(p.c.key_usage) }

// serveHandshake and serveSession put the port in the place of their own.
func (p psaPort) serveHandshake(h *Handshake) { h.c.port = *p.c }
func (p psaPort) serveSession(s *Session)     { *s.port = *p.c }

func (p port) random() ([]byte, int) {
	return output(32, func(number unsafe.Pointer) C.int { return C.port_random(p.c, number) })
}

func (p port) aes(key, block []byte) ([]byte, int) {
	k, b := C.CBytes(key), C.CBytes(block)
	defer C.free(k)
	defer C.free(b)
	status := C.port_aes(p.c, k, b)
	return C.GoBytes(b, C.BM_AES_BLOCK_SIZE), int(status)
}
