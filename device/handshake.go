package device

/*
#include <stdlib.h>
#include "edhoc.h"

typedef const uint8_t const_byte; // lets an exported function have a callback's very prototype

// What C keeps of a handshake. It lies in C memory and knows the Go side only by its handle.
struct handshake {
	struct bm_edhoc_config config;
	struct bm_port port;
	struct bm_edhoc *edhoc;
	uintptr_t handle;
};

int bm_handshake_resolve(void *user, unsigned attempt, const_byte *id, size_t size, struct bm_peer *peer);
int bm_handshake_random(void *user, uint8_t *out);
int bm_handshake_public_key(void *user, uint8_t *key);
int bm_handshake_sign(void *user, const_byte *digest, uint8_t *signature);
int bm_handshake_verify(void *user, const_byte *key, const_byte *digest, const_byte *signature);
int bm_handshake_ephemeral(void *user, uint8_t *key);
int bm_handshake_ecdh(void *user, int own, const_byte *peer, uint8_t *secret);
int bm_handshake_aes(void *user, const_byte *key, uint8_t *block);
*/
import "C"

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"runtime/cgo"
	"unsafe"
)

// Handshake is one side of an EDHOC handshake (RFC 9528) by the library's code, with keys in software. It is not safe for
// concurrent use.
type Handshake struct {
	c         *C.struct_handshake
	handle    cgo.Handle
	port      handshakePort
	resolve   func(attempt int, id []byte) ([]byte, [64]byte, error)
	allocated []unsafe.Pointer // what c points to, until Close
	found     []unsafe.Pointer // credentials that resolve gave, until Read returns
	room      int              // the largest message that Write makes
	cause     error            // why a call of the port or resolve failed
}

// handshakePort is struct bm_port in Go. Keys are X then Y, signatures r then s.
type handshakePort interface {
	random(number []byte) error
	publicKey(key []byte) error
	sign(digest, signature []byte) error
	verify(key, digest, signature []byte) error // ErrAuth for a signature that does not hold
	ephemeral(key []byte) error
	ecdh(ephemeral bool, peer, secret []byte) error
	aes(key, block []byte) error
}

// NewHandshake begins a handshake. ErrState means that the keys cannot do what config asks for, or that no such suite is built
// in. Close wipes and releases it.
func NewHandshake(role Role, config HandshakeConfig) (*Handshake, error) {
	if role != Initiator && role != Responder {
		return nil, fmt.Errorf("start handshake: role %d", role)
	}
	if len(config.Suites) > 255 || len(config.Connection) > 255 || config.Selected < 0 || config.Selected >= len(config.Suites) {
		return nil, errors.New("start handshake: suites, the selected one or the connection identifier out of bounds")
	}
	if config.Identity == nil || config.Resolve == nil {
		return nil, errors.New("start handshake: no identity or no resolver")
	}
	if config.Identity.Curve != elliptic.P256() {
		return nil, errors.New("start handshake: the identity is no P-256 key")
	}
	h := &Handshake{
		port:    &softwareKeys{identity: config.Identity, make: config.Ephemeral},
		resolve: config.Resolve,
		room:    160 + len(config.ID) + len(config.Suites) + len(config.Connection),
	}
	h.handle = cgo.NewHandle(h)
	h.c = (*C.struct_handshake)(h.alloc(C.sizeof_struct_handshake))
	h.c.handle = C.uintptr_t(h.handle)
	h.c.edhoc = (*C.struct_bm_edhoc)(h.alloc(C.bm_edhoc_size()))
	h.c.port = C.struct_bm_port{
		user:           unsafe.Pointer(h.c),
		random:         (*[0]byte)(C.bm_handshake_random),
		public_key:     (*[0]byte)(C.bm_handshake_public_key),
		sign:           (*[0]byte)(C.bm_handshake_sign),
		verify:         (*[0]byte)(C.bm_handshake_verify),
		ephemeral:      (*[0]byte)(C.bm_handshake_ephemeral),
		ecdh:           (*[0]byte)(C.bm_handshake_ecdh),
		aes:            (*[0]byte)(C.bm_handshake_aes),
		key_usage:      C.BM_DIGITAL_SIGNATURE,
		ephemeral_uses: 255,
	}
	if config.KeyAgreement {
		h.c.port.key_usage = C.BM_KEY_AGREEMENT
	}
	h.c.config = C.struct_bm_edhoc_config{
		port:            &h.c.port,
		resolve:         (*[0]byte)(C.bm_handshake_resolve),
		user:            unsafe.Pointer(h.c),
		own:             C.struct_bm_credential{h.bytes(config.ID), C.size_t(len(config.ID)), h.bytes(config.Credential), C.size_t(len(config.Credential))},
		suites:          h.bytes(config.Suites),
		suite_count:     C.uint8_t(len(config.Suites)),
		selected:        C.uint8_t(config.Selected),
		methods:         C.uint8_t(config.Methods),
		connection:      h.bytes(config.Connection),
		connection_size: C.uint8_t(len(config.Connection)),
	}
	if status := C.bm_edhoc_start(h.c.edhoc, &h.c.config, C.int(role)); status != C.BM_OK {
		h.Close()
		return nil, fmt.Errorf("start handshake: %w", Status(status))
	}
	return h, nil
}

// alloc gives zeroed C memory until Close, and bytes a copy there.
func (h *Handshake) alloc(size C.size_t) unsafe.Pointer {
	p := C.calloc(1, size)
	h.allocated = append(h.allocated, p)
	return p
}

func (h *Handshake) bytes(b []byte) *C.uint8_t {
	p := C.CBytes(b)
	h.allocated = append(h.allocated, p)
	return (*C.uint8_t)(p)
}

// Write gives the next message.
func (h *Handshake) Write() ([]byte, error) { return h.writeInto(h.room) }

// writeInto is Write into a buffer of so many bytes.
func (h *Handshake) writeInto(room int) ([]byte, error) {
	out := (*C.uint8_t)(C.malloc(C.size_t(room)))
	defer C.free(unsafe.Pointer(out))
	var size C.size_t
	h.cause = nil
	status := C.bm_edhoc_write(h.c.edhoc, out, C.size_t(room), &size)
	return bytesOf(out, size), h.result("write message", status)
}

// Read takes the next message, or an error message in its place.
func (h *Handshake) Read(message []byte) error {
	p := C.CBytes(message)
	defer C.free(p)
	h.cause = nil
	status := C.bm_edhoc_read(h.c.edhoc, (*C.uint8_t)(p), C.size_t(len(message)))
	h.forget()
	return h.result("read message", status)
}

// forget releases the credentials that resolve gave.
func (h *Handshake) forget() {
	for _, credential := range h.found {
		C.free(credential)
	}
	h.found = nil
}

func (h *Handshake) result(operation string, status C.int) error {
	switch {
	case status == C.BM_OK:
		return nil
	case h.cause != nil:
		return fmt.Errorf("%s: %w: %w", operation, Status(status), h.cause)
	}
	return fmt.Errorf("%s: %w", operation, Status(status))
}

// ErrorMessage gives the error message that the peer is to be sent after a failure; nil if there is none.
func (h *Handshake) ErrorMessage() []byte { return h.errorMessageInto(h.room) }

func (h *Handshake) errorMessageInto(room int) []byte {
	out := (*C.uint8_t)(C.malloc(C.size_t(room)))
	defer C.free(unsafe.Pointer(out))
	var size C.size_t
	if C.bm_edhoc_error(h.c.edhoc, out, C.size_t(room), &size) != C.BM_OK {
		return nil
	}
	return bytesOf(out, size)
}

// Selected is the index of the suite that a new handshake is to propose, which the peer's error message may have changed.
func (h *Handshake) Selected() int { return int(h.c.config.selected) }

// Export is EDHOC_Exporter (RFC 9528, 4.2.1) once the handshake is complete.
func (h *Handshake) Export(label uint32, context []byte, size int) ([]byte, error) {
	p := C.CBytes(context)
	defer C.free(p)
	out := (*C.uint8_t)(C.malloc(C.size_t(size)))
	defer C.free(unsafe.Pointer(out))
	status := C.bm_edhoc_export(h.c.edhoc, C.uint32_t(label), (*C.uint8_t)(p), C.size_t(len(context)), out, C.size_t(size))
	if status != C.BM_OK {
		return nil, fmt.Errorf("export: %w", Status(status))
	}
	return bytesOf(out, C.size_t(size)), nil
}

// KeyUpdate is EDHOC_KeyUpdate (RFC 9528, appendix H) once the handshake is complete.
func (h *Handshake) KeyUpdate(context []byte) error {
	p := C.CBytes(context)
	defer C.free(p)
	if status := C.bm_edhoc_key_update(h.c.edhoc, (*C.uint8_t)(p), C.size_t(len(context))); status != C.BM_OK {
		return fmt.Errorf("update keys: %w", Status(status))
	}
	return nil
}

// edhoc is the handshake itself, for what takes it over.
func (h *Handshake) edhoc() *C.struct_bm_edhoc { return h.c.edhoc }

// Close wipes the handshake and releases its memory; it must not be used again.
func (h *Handshake) Close() {
	C.bm_edhoc_wipe(h.c.edhoc)
	if k, ok := h.port.(*softwareKeys); ok {
		*k = softwareKeys{}
	}
	h.handle.Delete()
	for _, p := range h.allocated {
		C.free(p)
	}
}

// softwareKeys is a port whose keys are Go's.
type softwareKeys struct {
	identity *ecdsa.PrivateKey
	make     func() (*ecdh.PrivateKey, error)
	own      *ecdh.PrivateKey // the ephemeral one

	cipher    cipher.Block // under cipherKey
	cipherKey [C.BM_AES_KEY_SIZE]byte
}

func (k *softwareKeys) random(number []byte) error {
	_, err := rand.Read(number)
	return err
}

func (k *softwareKeys) publicKey(key []byte) error {
	public, err := k.identity.PublicKey.Bytes()
	if err == nil {
		copy(key, public[1:])
	}
	return err
}

func (k *softwareKeys) sign(digest, signature []byte) error {
	r, s, err := ecdsa.Sign(rand.Reader, k.identity, digest)
	if err != nil {
		return err
	}
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return nil
}

func (k *softwareKeys) verify(key, digest, signature []byte) error {
	return verify(key, digest, signature)
}

func (k *softwareKeys) ephemeral(key []byte) (err error) {
	if k.make != nil {
		k.own, err = k.make()
	} else {
		k.own, err = ecdh.P256().GenerateKey(rand.Reader)
	}
	if err == nil {
		copy(key, k.own.PublicKey().Bytes()[1:])
	}
	return err
}

func (k *softwareKeys) ecdh(ephemeral bool, peer, secret []byte) (err error) {
	own := k.own
	if !ephemeral {
		if own, err = k.identity.ECDH(); err != nil {
			return err
		}
	}
	public, err := ecdh.P256().NewPublicKey(append([]byte{4}, peer...))
	if err != nil {
		return err
	}
	shared, err := own.ECDH(public)
	copy(secret, shared)
	return err
}

// aes is the processor's own where it has one: crypto/aes. A key is that of many blocks on end.
func (k *softwareKeys) aes(key, block []byte) (err error) {
	if k.cipher == nil || subtle.ConstantTimeCompare(k.cipherKey[:], key) == 0 {
		if k.cipher, err = aes.NewCipher(key); err != nil {
			return err
		}
		copy(k.cipherKey[:], key)
	}
	k.cipher.Encrypt(block, block)
	return nil
}

// The calls of the library. What C hands in lives as long as the call, and nothing here keeps it.

func handshakeOf(user unsafe.Pointer) *Handshake {
	return cgo.Handle((*C.struct_handshake)(user).handle).Value().(*Handshake)
}

// answer gives the status of a call of port or resolver and keeps the error for the caller: a Status as it is, other if it is
// none.
func (h *Handshake) answer(err error, other Status) C.int {
	if err == nil {
		return C.BM_OK
	}
	h.cause = err
	var status Status
	if errors.As(err, &status) {
		return C.int(status)
	}
	return C.int(other)
}

//export bm_handshake_resolve
func bm_handshake_resolve(user unsafe.Pointer, attempt C.uint, id *C.const_byte, size C.size_t, peer *C.struct_bm_peer) C.int {
	h := handshakeOf(user)
	credential, key, err := h.resolve(int(attempt), C.GoBytes(unsafe.Pointer(id), C.int(size)))
	if err == nil {
		p := C.CBytes(credential)
		h.found = append(h.found, p)
		// As a number: peer is new on the stack of C, and where Go stores a pointer, its collector looks at what was there before, which
		// may be what is left of one of Go's (cmd/cgo, "Passing pointers").
		*(*uintptr)(unsafe.Pointer(&peer.cred)) = uintptr(p)
		peer.cred_size = C.size_t(len(credential))
		copy(unsafe.Slice((*byte)(&peer.key[0]), len(key)), key[:])
	}
	return h.answer(err, ErrAuth)
}

//export bm_handshake_random
func bm_handshake_random(user unsafe.Pointer, out *C.uint8_t) C.int {
	h := handshakeOf(user)
	return h.answer(h.port.random(unsafe.Slice((*byte)(out), 32)), ErrPort)
}

//export bm_handshake_public_key
func bm_handshake_public_key(user unsafe.Pointer, key *C.uint8_t) C.int {
	h := handshakeOf(user)
	return h.answer(h.port.publicKey(unsafe.Slice((*byte)(key), C.BM_KEY_SIZE)), ErrPort)
}

//export bm_handshake_sign
func bm_handshake_sign(user unsafe.Pointer, digest *C.const_byte, signature *C.uint8_t) C.int {
	h := handshakeOf(user)
	return h.answer(h.port.sign(unsafe.Slice((*byte)(digest), C.BM_HASH_SIZE),
		unsafe.Slice((*byte)(signature), C.BM_SIGNATURE_SIZE)), ErrPort)
}

//export bm_handshake_verify
func bm_handshake_verify(user unsafe.Pointer, key, digest, signature *C.const_byte) C.int {
	h := handshakeOf(user)
	return h.answer(h.port.verify(unsafe.Slice((*byte)(key), C.BM_KEY_SIZE), unsafe.Slice((*byte)(digest), C.BM_HASH_SIZE),
		unsafe.Slice((*byte)(signature), C.BM_SIGNATURE_SIZE)), ErrPort)
}

//export bm_handshake_ephemeral
func bm_handshake_ephemeral(user unsafe.Pointer, key *C.uint8_t) C.int {
	h := handshakeOf(user)
	return h.answer(h.port.ephemeral(unsafe.Slice((*byte)(key), C.BM_KEY_SIZE)), ErrPort)
}

//export bm_handshake_ecdh
func bm_handshake_ecdh(user unsafe.Pointer, own C.int, peer *C.const_byte, secret *C.uint8_t) C.int {
	h := handshakeOf(user)
	return h.answer(h.port.ecdh(own == C.BM_KEY_EPHEMERAL, unsafe.Slice((*byte)(peer), C.BM_KEY_SIZE),
		unsafe.Slice((*byte)(secret), 32)), ErrPort)
}

//export bm_handshake_aes
func bm_handshake_aes(user unsafe.Pointer, key *C.const_byte, block *C.uint8_t) C.int {
	h := handshakeOf(user)
	return h.answer(h.port.aes(unsafe.Slice((*byte)(key), C.BM_AES_KEY_SIZE), unsafe.Slice((*byte)(block), C.BM_AES_BLOCK_SIZE)), ErrPort)
}
