package device

/*
#include <stdlib.h>
#include "policy.h"
*/
import "C"

import (
	"encoding/binary"
	"unsafe"
)

// What this package's tests look at and do to a unit behind its peer link.

// pairing is the newest pairing record.
type pairing struct {
	state      int // 0 fault, 1 open, 2 paired
	generation uint32
	unit       []byte
}

func (p *Peer) pairing() pairing {
	r := p.unit.Pairing()
	return pairing{int(r.State), r.Generation, r.Peer}
}

// release writes open(g + 1) if a release of the root's holds, as verb 9 does.
func (p *Peer) release(serial [8]byte, release []byte) error {
	var c C.struct_bm_pairing
	C.bm_pairing_read(&p.unit.c.port, &c)
	o := C.CBytes(release)
	defer C.free(o)
	status := C.bm_trust_release(&p.unit.c.port, (*C.uint8_t)(&serial[0]), c.generation, (*C.uint8_t)(o), C.size_t(len(release)))
	if status == C.BM_OK {
		c.state, c.unit_size, c.generation = C.BM_PAIRING_OPEN, 0, c.generation+1
		status = C.bm_pairing_write(&p.unit.c.port, &c)
	}
	return result("release", status)
}

// take gives the unit a link or a status list.
func (p *Peer) take(object []byte, list bool) error {
	o := C.CBytes(object)
	defer C.free(o)
	if list {
		return result("list", C.bm_trust_list(&p.unit.c.port, (*C.uint8_t)(o), C.size_t(len(object))))
	}
	return result("link", C.bm_trust_link(&p.unit.c.port, (*C.uint8_t)(o), C.size_t(len(object))))
}

// version is struct bm_trust_version.
func (p *Peer) version() (epoch, listEpoch int, listNumber uint32) {
	var v C.struct_bm_trust_version
	C.bm_trust_version(&p.unit.c.port, &v)
	return int(v.epoch), int(v.list[0]), binary.BigEndian.Uint32(C.GoBytes(unsafe.Pointer(&v.list[1]), 4))
}

// certificates gives what the unit shows of itself; show makes it show something else.
func (p *Peer) certificates() (unit, order []byte) {
	i := &p.c.identity
	return bytesOf(&i.id[i.unit_at], C.size_t(i.unit_size)), bytesOf(&i.id[i.order_at], C.size_t(i.order_size))
}

func (p *Peer) show(unit, order []byte) {
	i := C.struct_bm_identity{unit_at: 6, unit_size: C.uint8_t(len(unit)), order_size: C.uint8_t(len(order))}
	i.order_at = C.uint16_t(8 + len(unit))
	id := append([]byte{0xa1, 0x18, 0x19, 0x82, 0x58, byte(len(unit))}, unit...)
	id = append(append(id, 0x58, byte(len(order))), order...)
	i.id_size = C.uint16_t(len(id))
	for at, b := range id {
		i.id[at] = C.uint8_t(b)
	}
	p.c.identity = i
}

// frame hands in one good frame, as where several share a line; the payload lies in an allocation of exactly its size.
func (p *Peer) frame(payload []byte) {
	f := C.CBytes(payload)
	defer C.free(f)
	C.bm_peerlink_frame(p.c.link, (*C.uint8_t)(f), C.size_t(len(payload)))
}

// suites makes the unit prefer other cipher suites, as one of another make might.
func (p *Peer) suites(suites []byte) {
	s := C.CBytes(suites)
	p.freed = append(p.freed, s)
	config := &p.c.link.edhoc_config
	config.suites, config.suite_count = (*C.uint8_t)(s), C.uint8_t(len(suites))
}

// secrets is what the link keeps of a handshake and a session.
func (p *Peer) secrets() []byte {
	l := p.c.link
	return append(C.GoBytes(unsafe.Pointer(&l.edhoc), C.sizeof_struct_bm_edhoc), C.GoBytes(unsafe.Pointer(&l.session), C.sizeof_struct_bm_session)...)
}

// ask is what a policy answers.
func (p *Peer) ask(serial [8]byte, code [4]byte) bool {
	switch p.policy.(type) {
	case Expected:
		return C.bm_expected(unsafe.Pointer(&p.c.expected), (*C.uint8_t)(&serial[0]), (*C.uint8_t)(&code[0])) == 1
	case Gesture:
		return C.bm_gesture(unsafe.Pointer(&p.c.gesture), (*C.uint8_t)(&serial[0]), (*C.uint8_t)(&code[0])) == 1
	}
	return C.bm_wired(nil, (*C.uint8_t)(&serial[0]), (*C.uint8_t)(&code[0])) == 1
}
