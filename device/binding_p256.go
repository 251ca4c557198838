package device

/*
#include <stdlib.h>
// p256.c once more, with the limbs that a Cortex-M0+ has.
#undef BM_CONFIG_LONG_MULTIPLY
#define bm_p256_recover short_p256_recover
#define bm_p256_check short_p256_check
#include "p256.c"
*/
import "C"

// shortRecover and shortCheck are recoverKey and checkKey on limbs of 16 bits.

func shortRecover(compressed []byte) ([]byte, error) {
	p := C.CBytes(compressed)
	defer C.free(p)
	key := make([]byte, C.BM_KEY_SIZE)
	if C.short_p256_recover((*C.uint8_t)(&key[0]), (*C.uint8_t)(p)) != C.BM_OK {
		return nil, errMalformed
	}
	return key, nil
}

func shortCheck(key []byte) error {
	p := C.CBytes(key)
	defer C.free(p)
	if C.short_p256_check((*C.uint8_t)(p)) != C.BM_OK {
		return errMalformed
	}
	return nil
}
