package device

/*
#include <stdlib.h>
#include "internal.h"

// The other build of aes.c, beside the default one.
#define BM_CONFIG_AES_TABLELESS
#define bm_aes128 aes128_tableless
#include "aes.c"
#undef bm_aes128

// A block cipher that works while *user counts down to 0.
static int aes_some(void *user, const uint8_t *key, uint8_t *block)
{
	int *answers = user;
	return (*answers)-- > 0 ? bm_aes128(NULL, key, block) : BM_ERR_PORT;
}

static struct bm_port port_aes_some(int *answers)
{
	struct bm_port port = {.user = answers, .aes = aes_some};
	return port;
}
*/
import "C"

import "unsafe"

const (
	ccmRefused = C.BM_ERR_AUTH
	ccmFailed  = C.BM_ERR_PORT
)

// aesBlock encrypts one block of 16 bytes, with the S-box as a table or computed.
func aesBlock(tableless bool, key, block []byte) []byte {
	k, b := C.CBytes(key), C.CBytes(block)
	defer C.free(k)
	defer C.free(b)
	if tableless {
		C.aes128_tableless(nil, (*C.uint8_t)(k), (*C.uint8_t)(b))
	} else {
		C.bm_aes128(nil, (*C.uint8_t)(k), (*C.uint8_t)(b))
	}
	return C.GoBytes(b, C.BM_AES_BLOCK_SIZE)
}

// ccmSeal and ccmOpen work over a block cipher that answers so many times. Both give the status and all bytes of the text and
// its tag as the call has left them.

func ccmSeal(answers int, key, nonce, aad, text []byte, tagSize int) (int, []byte) {
	return ccm(false, answers, key, nonce, aad, append(text[:len(text):len(text)], make([]byte, tagSize)...), tagSize)
}

func ccmOpen(answers int, key, nonce, aad, sealed []byte, tagSize int) (int, []byte) {
	return ccm(true, answers, key, nonce, aad, sealed, tagSize)
}

func ccm(open bool, answers int, key, nonce, aad, text []byte, tagSize int) (int, []byte) {
	left := (*C.int)(C.calloc(1, C.sizeof_int))
	*left = C.int(answers)
	defer C.free(unsafe.Pointer(left))
	port := C.port_aes_some(left)

	k, a, t := C.CBytes(append(append([]byte{}, key...), nonce...)), C.CBytes(aad), C.CBytes(text)
	defer C.free(k)
	defer C.free(a)
	defer C.free(t)
	direction := C.uint(0)
	if open {
		direction = 1
	}
	status := C.bm_ccm(&port, (*C.uint8_t)(k), (*C.uint8_t)(a), C.size_t(len(aad)), (*C.uint8_t)(t),
		C.size_t(len(text)-tagSize), C.size_t(tagSize), direction)
	return int(status), C.GoBytes(t, C.int(len(text)))
}

// cipherAnswers lets a session's block cipher work so many times; restore makes it work for ever.
func (s *Session) cipherAnswers(answers int) (restore func()) {
	left := (*C.int)(C.calloc(1, C.sizeof_int))
	*left = C.int(answers)
	good := *s.port
	*s.port = C.port_aes_some(left)
	return func() {
		*s.port = good
		C.free(unsafe.Pointer(left))
	}
}
