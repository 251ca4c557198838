package device

/*
#include <stdlib.h>
#include "internal.h"

// A chip that takes every signature for good while *user counts down to 0, then no longer answers.
static int verify_some(void *user, const uint8_t *key, const uint8_t *digest, const uint8_t *signature)
{
	int *answers = user;
	(void)key, (void)digest, (void)signature;
	return (*answers)-- > 0 ? BM_OK : BM_ERR_PORT;
}

static struct bm_port port_verify_some(int *answers)
{
	struct bm_port port = {.user = answers, .verify = verify_some};
	return port;
}
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"unsafe"
)

// The library's inner functions for this package's tests. Each input is copied to a C allocation of exactly its size, so
// that valgrind and AddressSanitizer see a read beyond it.

var errMalformed = errors.New("malformed")

func bytesOf(p *C.uint8_t, size C.size_t) []byte {
	return C.GoBytes(unsafe.Pointer(p), C.int(size))
}

// sha256Of hashes the concatenation of parts, one update each.
func sha256Of(parts ...[]byte) [32]byte {
	var h C.struct_bm_sha256
	var digest [32]byte
	C.bm_sha256_init(&h)
	for _, part := range parts {
		p := C.CBytes(part)
		C.bm_sha256_update(&h, (*C.uint8_t)(p), C.size_t(len(part)))
		C.free(p)
	}
	C.bm_sha256_final(&h, (*C.uint8_t)(&digest[0]))
	return digest
}

func crc16Of(b []byte) uint16 {
	p := C.CBytes(b)
	defer C.free(p)
	return uint16(C.bm_crc16(0, (*C.uint8_t)(p), C.size_t(len(b))))
}

// recoverKey gives X then Y of a compressed point of 33 bytes.
func recoverKey(compressed []byte) ([]byte, error) {
	p := C.CBytes(compressed)
	defer C.free(p)
	key := make([]byte, C.BM_KEY_SIZE)
	if C.bm_p256_recover((*C.uint8_t)(&key[0]), (*C.uint8_t)(p)) != C.BM_OK {
		return nil, errMalformed
	}
	return key, nil
}

// checkKey says whether X then Y, 64 bytes, is a point of P-256.
func checkKey(key []byte) error {
	p := C.CBytes(key)
	defer C.free(p)
	if C.bm_p256_check((*C.uint8_t)(p)) != C.BM_OK {
		return errMalformed
	}
	return nil
}

// head is what bm_read or bm_write deals in.
type head struct {
	major    int
	argument uint32
}

// readHead reads one head, which must be of this major type, and nothing may follow it.
func readHead(major int, b []byte) (uint32, error) {
	p := C.CBytes(b)
	defer C.free(p)
	var r C.struct_bm_reader
	C.bm_read_start(&r, (*C.uint8_t)(p), C.size_t(len(b)))
	argument := uint32(C.bm_read(&r, C.enum_bm_major(major)))
	if C.bm_read_end(&r) != C.BM_OK {
		return argument, errMalformed
	}
	return argument, nil
}

// readBytes reads one byte string of size bytes, and nothing may follow it.
func readBytes(size int, b []byte) ([]byte, error) {
	p := C.CBytes(b)
	defer C.free(p)
	var r C.struct_bm_reader
	C.bm_read_start(&r, (*C.uint8_t)(p), C.size_t(len(b)))
	content := C.bm_read_bytes(&r, C.size_t(size))
	if C.bm_read_end(&r) != C.BM_OK {
		return nil, errMalformed
	}
	return bytesOf(content, C.size_t(size)), nil
}

// write writes heads, then one string, into room bytes; the second result is the length that it takes.
func write(room int, heads []head, major int, content []byte) ([]byte, int) {
	out := C.calloc(1, C.size_t(room)+1)
	defer C.free(out)
	var w C.struct_bm_writer
	C.bm_write_start(&w, (*C.uint8_t)(out), C.size_t(room))
	for _, h := range heads {
		C.bm_write(&w, C.enum_bm_major(h.major), C.uint32_t(h.argument))
	}
	p := C.CBytes(content)
	defer C.free(p)
	C.bm_write_string(&w, C.enum_bm_major(major), p, C.size_t(len(content)))
	return C.GoBytes(out, C.int(room)+1), int(w.len)
}

// certificate is struct bm_certificate.
type certificate struct {
	signed, issuer, subject, key, signature []byte
	product                                 uint32
	first, last                             uint64
}

func parseOrder(b []byte) (certificate, error) { return parse(b, true) }
func parseUnit(b []byte) (certificate, error)  { return parse(b, false) }

func parse(b []byte, order bool) (certificate, error) {
	p := C.CBytes(b)
	defer C.free(p)
	var c C.struct_bm_certificate
	var status C.int
	issuerSize, subjectSize := C.size_t(C.BM_ORDER_NAME_SIZE), C.size_t(C.BM_UNIT_NAME_SIZE)
	if order {
		status = C.bm_c509_order(&c, (*C.uint8_t)(p), C.size_t(len(b)))
		issuerSize, subjectSize = C.BM_ROOT_NAME_SIZE, C.BM_ORDER_NAME_SIZE
	} else {
		status = C.bm_c509_unit(&c, (*C.uint8_t)(p), C.size_t(len(b)))
	}
	if status != C.BM_OK {
		return certificate{}, errMalformed
	}
	parsed := certificate{
		signed:    bytesOf(c.signed_bytes, c.signed_size),
		issuer:    bytesOf(c.issuer, issuerSize),
		subject:   bytesOf(c.subject, subjectSize),
		key:       bytesOf(c.key, C.BM_COMPRESSED_SIZE),
		signature: bytesOf(c.signature, C.BM_SIGNATURE_SIZE),
	}
	if order {
		parsed.product = uint32(c.product)
		parsed.first = binary.BigEndian.Uint64(bytesOf(c.first, C.BM_UNIT_NAME_SIZE))
		parsed.last = binary.BigEndian.Uint64(bytesOf(c.last, C.BM_UNIT_NAME_SIZE))
	}
	return parsed, nil
}

// trustStatus is what bm_trust returns over a chip that answers so many times.
func trustStatus(anchorHash [32]byte, product uint32, b Birth, answers int) int {
	left := (*C.int)(C.calloc(1, C.sizeof_int))
	defer C.free(unsafe.Pointer(left))
	*left = C.int(answers)
	port := C.port_verify_some(left)
	return int(trust(&port, anchorHash, product, b))
}

// copyOver copies from over the middle of to, at offset at, and wipeOver wipes size bytes there; both give all of to.
func copyOver(to []byte, at int, from []byte) []byte {
	p := C.CBytes(from)
	defer C.free(p)
	C.bm_copy((*C.uint8_t)(&to[at]), (*C.uint8_t)(p), C.size_t(len(from)))
	return to
}

func wipeOver(to []byte, at, size int) []byte {
	C.bm_wipe(unsafe.Pointer(&to[at]), C.size_t(size))
	return to
}

// remap lets the unit see what a test has done to its flash.
func (u *Unit) remap(t interface{ Fatal(...any) }) {
	for page := range C.BM_FLASH_PAGES {
		if err := u.flash.read(page, 0, u.flash.pageSize); err != nil {
			t.Fatal(err)
		}
	}
}
