package device

/*
#include <stdlib.h>
#include "flash.h"
#include "pairing.h"
*/
import "C"

import "unsafe"

// What only this package's tests ask of a Trust.

// pinned judges a unit certificate whose order was judged before.
func (t *Trust) pinned(orderHash [12]byte, unit []byte) (key [64]byte, err error) {
	hash, p, out := C.CBytes(orderHash[:]), C.CBytes(unit), C.calloc(1, C.BM_KEY_SIZE)
	defer C.free(hash)
	defer C.free(p)
	defer C.free(out)
	status := C.bm_trust_pinned(&t.c.port, (*C.uint8_t)(hash), (*C.uint8_t)(p), C.size_t(len(unit)), (*C.uint8_t)(out))
	return [64]byte(C.GoBytes(out, C.BM_KEY_SIZE)), verdict(status)
}

// The states of a pairing.
const (
	pairingFault  = C.BM_PAIRING_FAULT
	pairingOpen   = C.BM_PAIRING_OPEN
	pairingPaired = C.BM_PAIRING_PAIRED
)

// pairingRecord is struct bm_pairing.
type pairingRecord struct {
	state      int
	generation uint32
	orderHash  [12]byte
	unit       string // the peer's certificate
}

func (t *Trust) pairing() pairingRecord {
	c := (*C.struct_bm_pairing)(C.malloc(C.sizeof_struct_bm_pairing))
	defer C.free(unsafe.Pointer(c))
	C.bm_pairing_read(&t.c.port, c)
	return pairingRecord{
		state:      int(c.state),
		generation: uint32(c.generation),
		orderHash:  *(*[12]byte)(unsafe.Pointer(&c.order_hash)),
		unit:       string(C.GoBytes(unsafe.Pointer(&c.unit), C.int(c.unit_size))),
	}
}

func (t *Trust) setPairing(p pairingRecord) error {
	c := (*C.struct_bm_pairing)(C.calloc(1, C.sizeof_struct_bm_pairing))
	defer C.free(unsafe.Pointer(c))
	c.state = C.uint8_t(p.state)
	c.generation = C.uint32_t(p.generation)
	c.unit_size = C.uint8_t(len(p.unit))
	*(*[12]byte)(unsafe.Pointer(&c.order_hash)) = p.orderHash
	copy(unsafe.Slice((*byte)(&c.unit[0]), len(p.unit)), p.unit)
	return verdict(C.bm_pairing_write(&t.c.port, c))
}

// ioKey is the chip's key that counts; nil: none.
func (t *Trust) ioKey() []byte {
	r := (*C.struct_bm_record)(C.malloc(C.sizeof_struct_bm_record))
	defer C.free(unsafe.Pointer(r))
	if C.bm_flash_state(&t.c.port, C.BM_RECORD_IO_KEY, r) == 0 {
		return nil
	}
	return bytesOf(r.payload, C.size_t(r.size))
}

func (t *Trust) setIOKey(key []byte) error {
	p := C.CBytes(key)
	defer C.free(p)
	return verdict(C.bm_flash_replace(&t.c.port, C.BM_RECORD_IO_KEY, (*C.uint8_t)(p), C.size_t(len(key))))
}
