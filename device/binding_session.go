package device

/*
#include "internal.h"
#include "session.h"

enum { bad_offset = offsetof(struct bm_session, bad) };
*/
import "C"

import "unsafe"

// prkOut is a complete handshake's.
func (h *Handshake) prkOut() []byte { return bytesOf(&h.edhoc().prk[0], C.BM_PRK_SIZE) }

// memory is all that C keeps of a handshake or session.
func (h *Handshake) memory() []byte {
	return C.GoBytes(unsafe.Pointer(h.edhoc()), C.int(C.bm_edhoc_size()))
}

func (s *Session) memory() []byte {
	return C.GoBytes(unsafe.Pointer(s.c), C.int(C.bm_session_size()))
}

// setSent lets the next record have this counter, and setBad lets so many tags have not held.
func (s *Session) setSent(counter uint32) { s.c.sent = C.uint32_t(counter) }
func (s *Session) setBad(tags uint16)     { s.c.bad = C.uint16_t(tags) }

// badOffset is where memory counts the bad tags, two bytes.
const badOffset = C.bad_offset
