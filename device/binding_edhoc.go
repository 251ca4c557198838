package device

/*
#define _XOPEN_SOURCE 600 // pthread_attr_setstack
#include <pthread.h>
#include <stdlib.h>
#include "edhoc.h"
#include "internal.h"

typedef const uint8_t const_byte;

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

// A handshake whose port gives what it is told to, so that nothing but the library touches the stack that it runs on.
struct staged {
	struct bm_edhoc edhoc;
	struct bm_edhoc_config config;
	struct bm_port port;
	struct bm_peer peer;
	uint8_t ephemeral[BM_KEY_SIZE];
	uint8_t secrets[2][32]; // of the first ECDH and the second
	uint8_t signature[BM_SIGNATURE_SIZE];
	int secrets_given;
	int calls_left; // until one fails
};

static int staged_call(struct staged *s, uint8_t *out, const uint8_t *from, size_t size)
{
	if (s->calls_left-- == 0) {
		return BM_ERR_PORT;
	}
	for (size_t i = 0; i < size; i++) {
		((volatile uint8_t *)out)[i] = from[i];
	}
	return BM_OK;
}

static int staged_ephemeral(void *user, uint8_t *key)
{
	struct staged *s = user;
	return staged_call(s, key, s->ephemeral, sizeof s->ephemeral);
}

static int staged_ecdh(void *user, int own, const uint8_t *peer, uint8_t *secret)
{
	struct staged *s = user;
	(void)own, (void)peer;
	return staged_call(s, secret, s->secrets[s->secrets_given++ % 2], 32);
}

static int staged_sign(void *user, const uint8_t *digest, uint8_t *signature)
{
	struct staged *s = user;
	(void)digest;
	return staged_call(s, signature, s->signature, sizeof s->signature);
}

static int staged_verify(void *user, const uint8_t *key, const uint8_t *digest, const uint8_t *signature)
{
	(void)key, (void)digest, (void)signature;
	return staged_call(user, NULL, NULL, 0);
}

static int staged_aes(void *user, const uint8_t *key, uint8_t *block)
{
	struct staged *s = user;
	return s->calls_left-- == 0 ? BM_ERR_PORT : bm_aes128(NULL, key, block);
}

static int staged_resolve(void *user, unsigned attempt, const uint8_t *id, size_t id_size, struct bm_peer *peer)
{
	struct staged *s = user;
	(void)id, (void)id_size;
	*peer = s->peer;
	return attempt == 0 ? staged_call(s, NULL, NULL, 0) : BM_ERR_AUTH;
}

static int staged_start(struct staged *s, int role)
{
	s->port.user = s;
	s->port.ephemeral = staged_ephemeral;
	s->port.ecdh = staged_ecdh;
	s->port.sign = staged_sign;
	s->port.verify = staged_verify;
	s->port.aes = staged_aes;
	s->port.ephemeral_uses = 2;
	s->config.port = &s->port;
	s->config.resolve = staged_resolve;
	s->config.user = s;
	s->secrets_given = 0;
	return bm_edhoc_start(&s->edhoc, &s->config, role);
}

// One call of the library on a stack of its own.
struct call {
	struct staged *s;
	enum { call_write, call_read, call_export, call_update, call_leak } what;
	uint8_t *message;
	size_t size;
	size_t len;
	int status;
};

// What a function leaves that does not wipe.
static __attribute__((noinline)) int leave(struct staged *s)
{
	uint8_t secret[32];

	return staged_ecdh(s, 0, NULL, secret);
}

static void *run_call(void *argument)
{
	struct call *c = argument;
	uint8_t out[29];
	volatile uint8_t deep[16384]; // the end of the thread uses the stack above it

	deep[0] = 0;
	(void)deep[0];
	switch (c->what) {
	case call_write:
		c->status = bm_edhoc_write(&c->s->edhoc, c->message, c->size, &c->len);
		break;
	case call_read:
		c->status = bm_edhoc_read(&c->s->edhoc, c->message, c->size);
		break;
	case call_export:
		c->status = bm_edhoc_export(&c->s->edhoc, 32768, NULL, 0, out, sizeof out);
		bm_wipe(out, sizeof out);
		break;
	case call_update:
		c->status = bm_edhoc_key_update(&c->s->edhoc, NULL, 0);
		break;
	case call_leak:
		c->status = leave(c->s);
	}
	return NULL;
}

static int run_on(struct call *c, uint8_t *stack, size_t size)
{
	pthread_attr_t attributes;
	pthread_t thread;

	for (size_t i = 0; i < size; i++) {
		stack[i] = 0xa5;
	}
	return pthread_attr_init(&attributes) || pthread_attr_setstack(&attributes, stack, size) ||
	       pthread_create(&thread, &attributes, run_call, c) || pthread_join(thread, NULL);
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

// staged is a handshake on a port that gives what a model computed, for a look at what its calls leave on the stack.
type staged struct {
	c         *C.struct_staged
	allocated []unsafe.Pointer
}

type stagedCall int

const (
	callWrite  stagedCall = C.call_write
	callRead   stagedCall = C.call_read
	callExport stagedCall = C.call_export
	callUpdate stagedCall = C.call_update
	callLeak   stagedCall = C.call_leak
)

const stagedStack = 64 << 10

func newStaged(role Role, agreement bool, method, suite int, id, cred, connection, peerCred, peerKey, ephemeral, signature []byte, secrets [2][]byte, calls int) *staged {
	s := &staged{c: (*C.struct_staged)(C.calloc(1, C.sizeof_struct_staged))}
	keep := func(b []byte) (*C.uint8_t, C.size_t) {
		p := C.CBytes(b)
		s.allocated = append(s.allocated, p)
		return (*C.uint8_t)(p), C.size_t(len(b))
	}
	put := func(to *C.uint8_t, from []byte) { copy(unsafe.Slice((*byte)(to), len(from)), from) }
	s.c.config.own.id, s.c.config.own.id_size = keep(id)
	s.c.config.own.cred, s.c.config.own.cred_size = keep(cred)
	s.c.config.suites, _ = keep([]byte{byte(suite)})
	s.c.config.suite_count = 1
	s.c.config.methods = 1 << method
	s.c.config.connection, _ = keep(connection)
	s.c.config.connection_size = C.uint8_t(len(connection))
	s.c.peer.cred, s.c.peer.cred_size = keep(peerCred)
	put(&s.c.peer.key[0], peerKey)
	put(&s.c.ephemeral[0], ephemeral)
	put(&s.c.signature[0], signature)
	put(&s.c.secrets[0][0], secrets[0])
	put(&s.c.secrets[1][0], secrets[1])
	s.c.calls_left = C.int(calls)
	s.c.port.key_usage = C.uint8_t(keyUsage(agreement))
	if C.staged_start(s.c, C.int(role)) != C.BM_OK {
		panic("start")
	}
	return s
}

// call makes one call with a buffer that holds a message or takes one of size bytes. It gives the status, the buffer afterwards
// and the whole stack.
func (s *staged) call(what stagedCall, message []byte) (status int, after, stack []byte) {
	area := (*C.uint8_t)(C.malloc(stagedStack))
	defer C.free(unsafe.Pointer(area))
	buffer := C.CBytes(message)
	defer C.free(buffer)
	c := (*C.struct_call)(C.calloc(1, C.sizeof_struct_call))
	defer C.free(unsafe.Pointer(c))
	c.s, c.what, c.message, c.size = s.c, uint32(what), (*C.uint8_t)(buffer), C.size_t(len(message))
	if C.run_on(c, area, stagedStack) != 0 {
		panic("no thread")
	}
	return int(c.status), C.GoBytes(buffer, C.int(len(message))), C.GoBytes(unsafe.Pointer(area), stagedStack)
}

func (s *staged) wiped() bool {
	left := s.c.edhoc
	left.config, left.error = nil, 0
	return left == C.struct_bm_edhoc{}
}

func (s *staged) free() {
	for _, p := range s.allocated {
		C.free(p)
	}
	C.free(unsafe.Pointer(s.c))
}

// setSecret is what the next ECDH gives.
func (s *staged) setSecret(secret []byte) {
	copy(unsafe.Slice((*byte)(&s.c.secrets[s.c.secrets_given%2][0]), len(secret)), secret)
}

// edhocBuild is edhoc.c built with other switches.
type edhocBuild struct {
	start func(h *Handshake, role Role) int
	write func(h *Handshake, out []byte) (C.size_t, C.int)
	read  func(h *Handshake, message []byte) C.int
	error func(h *Handshake, out []byte) (C.size_t, C.int)
}

// begin starts a handshake of this build in place of the library's own, with these methods and this suite.
func (b edhocBuild) begin(h *Handshake, role Role, methods, suite uint8) int {
	h.c.config.methods = C.uint8_t(methods)
	h.c.config.suites, h.c.config.suite_count, h.c.config.selected = h.bytes([]byte{suite}), 1, 0
	return b.start(h, role)
}

func (b edhocBuild) writeMessage(h *Handshake) ([]byte, error) {
	out := make([]byte, h.room)
	size, status := b.write(h, out)
	return out[:size], h.result("write", status)
}

func (b edhocBuild) readMessage(h *Handshake, message []byte) error {
	defer h.forget()
	return h.result("read", b.read(h, append([]byte{}, message...)))
}

func (b edhocBuild) errorMessage(h *Handshake) []byte {
	out := make([]byte, h.room)
	size, _ := b.error(h, out)
	return out[:size]
}

// resolveOver has a resolver's answer written where a pointer was.
func (h *Handshake) resolveOver(was uintptr, id []byte) {
	peer := (*C.struct_bm_peer)(C.calloc(1, C.sizeof_struct_bm_peer))
	defer C.free(unsafe.Pointer(peer))
	*(*uintptr)(unsafe.Pointer(&peer.cred)) = was
	p := C.CBytes(id)
	defer C.free(p)
	bm_handshake_resolve(unsafe.Pointer(h.c), 0, (*C.const_byte)(p), C.size_t(len(id)), peer)
	h.forget()
}
