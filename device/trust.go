package device

/*
#include <stdlib.h>
#include "installed.h"
#include "trust.h"

typedef const uint8_t const_byte; // lets an exported function have a callback's very prototype

// What C keeps of a Trust. It lies in C memory and knows the Go side only by its handle.
struct trust {
	struct bm_port port;
	struct bm_image image;
	uintptr_t handle;
};

int bm_trust_verify(void *user, const_byte *key, const_byte *digest, const_byte *signature);
int bm_trust_flash_program(void *user, unsigned page, uint32_t offset, const_byte *data, size_t size);
int bm_trust_flash_erase(void *user, unsigned page);
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/cgo"
	"unsafe"
)

// Trust is what a unit believes, by its own code: roots, orders, peers and its status list, kept in a Flash. Signatures are
// verified by crypto/ecdsa in place of the chip. Its errors are a Check or a Status. It is not safe for concurrent use.
type Trust struct {
	flash  *mappedFlash
	c      *C.struct_trust
	handle cgo.Handle

	verifies int  // signatures that the unit asked about
	mute     bool // the chip does not answer
}

// NewTrust starts from what the flash holds. Close releases it.
func NewTrust(image Image, flash Flash) (*Trust, error) {
	if n := flash.PageSize(); n < minPageSize || n > maxPageSize || n%flashUnit != 0 {
		return nil, fmt.Errorf("start trust: flash pages of %d bytes, not a multiple of %d from %d to %d", n, flashUnit, minPageSize, maxPageSize)
	}
	if n := len(image.Peers); n > C.BM_PEERS_MAX {
		return nil, fmt.Errorf("start trust: image with %d peers, more than %d", n, C.BM_PEERS_MAX)
	}
	mapped, err := mapFlash(flash)
	if err != nil {
		return nil, fmt.Errorf("start trust: %w", err)
	}
	t := &Trust{flash: mapped, c: (*C.struct_trust)(C.calloc(1, C.sizeof_struct_trust))}
	t.handle = cgo.NewHandle(t)
	t.c.handle = C.uintptr_t(t.handle)
	t.c.port = C.struct_bm_port{
		user:          unsafe.Pointer(t.c),
		verify:        (*[0]byte)(C.bm_trust_verify),
		flash:         (*C.uint8_t)(mapped.memory),
		flash_program: (*[0]byte)(C.bm_trust_flash_program),
		flash_erase:   (*[0]byte)(C.bm_trust_flash_erase),
		page_size:     C.uint32_t(flash.PageSize()),
	}
	fillImage(&t.c.image, image)
	return t, nil
}

// Close releases the memory. What the flash keeps stays.
func (t *Trust) Close() {
	C.free(unsafe.Pointer(t.c))
	t.flash.free()
	t.handle.Delete()
}

// Anchor stores the first anchor, 98 bytes, as install does.
func (t *Trust) Anchor(anchor []byte) error {
	p := C.CBytes(anchor)
	defer C.free(p)
	return verdict(C.bm_installed_write_anchor(&t.c.port, (*C.uint8_t)(p)))
}

// Learn stores all that a bundle has: the first anchor, the links from it, lowest first, and the status list; nil: none.
func (t *Trust) Learn(anchor []byte, links [][]byte, list []byte) error {
	err := t.Anchor(anchor)
	for _, link := range links {
		if err == nil {
			err = t.Link(link)
		}
	}
	if err == nil && list != nil {
		err = t.List(list)
	}
	return err
}

// Birth judges what the unit is given at its birth.
func (t *Trust) Birth(b Birth) error {
	return verdict(birth(&t.c.port, &t.c.image, b))
}

// Peer judges a peer by its ID_CRED_x = {25: [unit, order]}, before the seal also if it is a station. key is the peer's, X then Y,
// where the error is nil or CheckHeld.
func (t *Trust) Peer(id []byte, beforeSeal bool) (key [64]byte, err error) {
	_, key, err = t.peer(id, beforeSeal)
	return key, err
}

// Resolve is HandshakeConfig.Resolve of a unit that meets another one for the first time, which it may pair with: as Peer.
func (t *Trust) Resolve(attempt int, id []byte) (credential []byte, key [64]byte, err error) {
	if attempt > 0 {
		return nil, key, ErrAuth
	}
	return t.peer(id, false)
}

func (t *Trust) peer(id []byte, beforeSeal bool) (unit []byte, key [64]byte, err error) {
	p := C.CBytes(id)
	defer C.free(p)
	mode := C.int(C.BM_TRUST_UNIT)
	if beforeSeal {
		mode = C.BM_TRUST_STATION
	}
	peer := (*C.struct_bm_peer)(C.calloc(1, C.sizeof_struct_bm_peer))
	defer C.free(unsafe.Pointer(peer))
	orderHash := (*C.uint8_t)(C.malloc(C.BM_ORDER_HASH_SIZE))
	defer C.free(unsafe.Pointer(orderHash))
	err = verdict(C.bm_trust_peer(&t.c.port, &t.c.image, mode, (*C.uint8_t)(p), C.size_t(len(id)), peer, orderHash))
	if err == nil || errors.Is(err, CheckHeld) {
		key = *(*[64]byte)(unsafe.Pointer(&peer.key))
		unit = bytesOf(peer.cred, peer.cred_size)
	}
	return unit, key, err
}

// Version says how far the unit's trust goes.
func (t *Trust) Version() Version { return version(&t.c.port) }

func version(port *C.struct_bm_port) Version {
	var v C.struct_bm_trust_version
	C.bm_trust_version(port, &v)
	return Version{Epoch: int(v.epoch), ListEpoch: int(v.list[0]), ListNumber: binary.BigEndian.Uint32(C.GoBytes(unsafe.Pointer(&v.list[1]), 4))}
}

// Link gives the unit a link.
func (t *Trust) Link(object []byte) error {
	p := C.CBytes(object)
	defer C.free(p)
	return verdict(C.bm_trust_link(&t.c.port, (*C.uint8_t)(p), C.size_t(len(object))))
}

// List gives the unit a status list.
func (t *Trust) List(object []byte) error {
	p := C.CBytes(object)
	defer C.free(p)
	return verdict(C.bm_trust_list(&t.c.port, (*C.uint8_t)(p), C.size_t(len(object))))
}

// Release asks whether a release is good for this serial number and generation.
func (t *Trust) Release(serial [8]byte, generation uint32, object []byte) error {
	p, s := C.CBytes(object), C.CBytes(serial[:])
	defer C.free(p)
	defer C.free(s)
	return verdict(C.bm_trust_release(&t.c.port, (*C.uint8_t)(s), C.uint32_t(generation), (*C.uint8_t)(p), C.size_t(len(object))))
}

// Stored gives the link to this epoch, or the status list for epoch 0, as it came; nil if there is none.
func (t *Trust) Stored(epoch int) []byte {
	var size C.size_t
	object := C.bm_trust_stored(&t.c.port, C.uint(epoch), &size)
	if object == nil {
		return nil
	}
	return bytesOf(object, size)
}

// verdict makes an error of what a function of the library returns.
func verdict(status C.int) error {
	switch {
	case status == C.BM_OK:
		return nil
	case status > 0:
		return Check(status)
	}
	return Status(status)
}

// The calls of the port. What C hands in lives as long as the call, and nothing here keeps it.

func trustOf(user unsafe.Pointer) *Trust {
	return cgo.Handle((*C.struct_trust)(user).handle).Value().(*Trust)
}

//export bm_trust_verify
func bm_trust_verify(user unsafe.Pointer, key, digest, signature *C.const_byte) C.int {
	t := trustOf(user)
	t.verifies++
	if t.mute {
		return C.BM_ERR_PORT
	}
	return bm_judge_verify(user, key, digest, signature)
}

//export bm_trust_flash_program
func bm_trust_flash_program(user unsafe.Pointer, page C.uint, offset C.uint32_t, data *C.const_byte, size C.size_t) C.int {
	return status(trustOf(user).flash.program(int(page), int(offset), unsafe.Slice((*byte)(data), size)))
}

//export bm_trust_flash_erase
func bm_trust_flash_erase(user unsafe.Pointer, page C.uint) C.int {
	return status(trustOf(user).flash.erase(int(page)))
}
