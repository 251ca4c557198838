package device

/*
#include <stdlib.h>
#include "installed.h"

static int port_public_key(const struct bm_port *p, void *key) { return p->public_key(p->user, key); }
static int port_sign(const struct bm_port *p, void *digest, void *signature) { return p->sign(p->user, digest, signature); }
static int port_verify(const struct bm_port *p, void *key, void *digest, void *signature)
{
	return p->verify(p->user, key, digest, signature);
}
static int port_ephemeral(const struct bm_port *p, void *key) { return p->ephemeral(p->user, key); }
static int port_ecdh(const struct bm_port *p, int own, void *peer, void *secret)
{
	return p->ecdh(p->user, own, peer, secret);
}

// A bus before another one, of whose calls from now on some fail.
struct failing_bus {
	struct bm_atecc608_bus bus; // its user is the struct itself
	const struct bm_atecc608_bus *next;
	int calls;
	int first;
	int count;
};

static int fails(struct failing_bus *f)
{
	int call = f->calls++;
	return call >= f->first && call - f->first < f->count;
}

static int failing_wake(void *user)
{
	struct failing_bus *f = user;
	return fails(f) ? BM_ERR_PORT : f->next->wake(f->next->user);
}

static int failing_send(void *user, const uint8_t *group, size_t size)
{
	struct failing_bus *f = user;
	return fails(f) ? BM_ERR_PORT : f->next->send(f->next->user, group, size);
}

static int failing_receive(void *user, uint8_t *group, size_t size, unsigned milliseconds)
{
	struct failing_bus *f = user;
	return fails(f) ? BM_ERR_PORT : f->next->receive(f->next->user, group, size, milliseconds);
}

static void failing_idle(void *user)
{
	struct failing_bus *f = user;
	if (!fails(f)) {
		f->next->idle(f->next->user);
	}
}

static void failing_start(struct failing_bus *f, struct bm_atecc608 *chip)
{
	struct bm_atecc608_bus bus = {f, failing_wake, failing_send, failing_receive, failing_idle};
	f->bus = bus;
	f->next = chip->bus;
	chip->bus = &f->bus;
}
*/
import "C"

import (
	"bytes"
	"fmt"
	"unsafe"
)

// What a port's calls return.
const (
	portOK      = C.BM_OK
	portRefused = C.BM_ERR_AUTH
	portFailed  = C.BM_ERR_PORT
)

const (
	ownEphemeral = C.BM_KEY_EPHEMERAL
	ownIdentity  = C.BM_KEY_IDENTITY
)

// port makes the calls of a struct bm_port, in C memory. Each gives what it wrote, and the status.
type port struct{ c *C.struct_bm_port }

func (u *Unit) port() port { return port{&u.c.port} }

// chipStatus is what the unit's chip said last.
func (u *Unit) chipStatus() byte { return byte(u.c.chip.status) }

func (p port) publicKey() ([]byte, int) {
	return output(C.BM_KEY_SIZE, func(key unsafe.Pointer) C.int { return C.port_public_key(p.c, key) })
}

func (p port) sign(digest []byte) ([]byte, int) {
	d := C.CBytes(digest)
	defer C.free(d)
	return output(C.BM_SIGNATURE_SIZE, func(signature unsafe.Pointer) C.int { return C.port_sign(p.c, d, signature) })
}

func (p port) verify(key, digest, signature []byte) int {
	k, d, s := C.CBytes(key), C.CBytes(digest), C.CBytes(signature)
	defer C.free(k)
	defer C.free(d)
	defer C.free(s)
	return int(C.port_verify(p.c, k, d, s))
}

func (p port) ephemeral() ([]byte, int) {
	return output(C.BM_KEY_SIZE, func(key unsafe.Pointer) C.int { return C.port_ephemeral(p.c, key) })
}

func (p port) ecdh(own int, peer []byte) ([]byte, int) {
	k := C.CBytes(peer)
	defer C.free(k)
	return output(32, func(secret unsafe.Pointer) C.int { return C.port_ecdh(p.c, C.int(own), k, secret) })
}

func output(size int, call func(out unsafe.Pointer) C.int) ([]byte, int) {
	out := C.calloc(1, C.size_t(size))
	defer C.free(out)
	status := call(out)
	return C.GoBytes(out, C.int(size)), int(status)
}

// failingBus stands between a unit's driver and its bus until it is freed.
type failingBus struct {
	c    *C.struct_failing_bus
	chip *C.struct_bm_atecc608
}

func (u *Unit) failingBus() failingBus {
	f := failingBus{(*C.struct_failing_bus)(C.calloc(1, C.sizeof_struct_failing_bus)), &u.c.chip}
	C.failing_start(f.c, f.chip)
	return f
}

// fail counts the calls from 0 again, and lets count of them fail from the call first on.
func (f failingBus) fail(first, count int) {
	f.c.calls, f.c.first, f.c.count = 0, C.int(first), C.int(count)
}

func (f failingBus) calls() int { return int(f.c.calls) }

func (f failingBus) free() {
	f.chip.bus = f.c.next
	C.free(unsafe.Pointer(f.c))
}

// parseIdentity gives the certificates of an ID_CRED_x, and whether its identity was all zeros, as it is after an error.
func parseIdentity(id []byte) (unit, order []byte, zeros bool, err error) {
	p := C.CBytes(id)
	defer C.free(p)
	identity := (*C.struct_bm_identity)(C.malloc(C.sizeof_struct_bm_identity))
	defer C.free(unsafe.Pointer(identity))
	status := C.bm_installed_parse(identity, (*C.uint8_t)(p), C.size_t(len(id)))
	memory := C.GoBytes(unsafe.Pointer(identity), C.sizeof_struct_bm_identity)
	zeros = bytes.Equal(memory, make([]byte, len(memory)))
	if status != C.BM_OK {
		return nil, nil, zeros, Status(status)
	}
	if kept := bytesOf(&identity.id[0], C.size_t(identity.id_size)); !bytes.Equal(kept, id) {
		return nil, nil, zeros, fmt.Errorf("kept as %x", kept)
	}
	at := func(from C.uint16_t, size C.uint8_t) []byte { return bytesOf(&identity.id[from], C.size_t(size)) }
	return at(C.uint16_t(identity.unit_at), identity.unit_size), at(identity.order_at, identity.order_size), zeros, nil
}
