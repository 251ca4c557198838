package device

/*
#include <stdlib.h>
#include "session.h"
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// Session is one side of what two units say to each other after a handshake: records of session.h. It is not safe for
// concurrent use.
type Session struct {
	c    *C.struct_bm_session
	port *C.struct_bm_port
}

// Session takes over a complete handshake, which is then wiped but still to be closed. ErrState means that it is not complete.
// Close wipes and releases the session.
func (h *Handshake) Session() (*Session, error) {
	s := &Session{
		c:    (*C.struct_bm_session)(C.calloc(1, C.bm_session_size())),
		port: (*C.struct_bm_port)(C.calloc(1, C.sizeof_struct_bm_port)),
	}
	s.port.aes = (*[0]byte)(C.bm_aes128) // the only call that records make
	if status := C.bm_session_start(s.c, h.edhoc()); status != C.BM_OK {
		s.Close()
		return nil, fmt.Errorf("start session: %w", Status(status))
	}
	return s, nil
}

// Seal makes a record of a text of at most 65535 bytes. ErrState means that the session is closed, or used up.
func (s *Session) Seal(text []byte) ([]byte, error) {
	return s.sealInto(text, len(text)+C.BM_RECORD_OVERHEAD)
}

// sealInto is Seal into a buffer of so many bytes, which hold the header and the text at least.
func (s *Session) sealInto(text []byte, room int) ([]byte, error) {
	record := (*C.uint8_t)(C.malloc(C.size_t(room)))
	defer C.free(unsafe.Pointer(record))
	copy(unsafe.Slice((*byte)(record), room)[C.BM_RECORD_HEADER_SIZE:], text)
	var size C.size_t
	status := C.bm_session_seal(s.c, s.port, record, C.size_t(room), C.size_t(len(text)), &size)
	if status != C.BM_OK {
		return nil, fmt.Errorf("seal record: %w", Status(status))
	}
	return bytesOf(record, size), nil
}

// Open gives the text of a record. ErrAuth and ErrMalformed mean that it is dropped and the session goes on; ErrState that the
// session is closed.
func (s *Session) Open(record []byte) ([]byte, error) {
	p := C.CBytes(record)
	defer C.free(p)
	var size C.size_t
	status := C.bm_session_open(s.c, s.port, (*C.uint8_t)(p), C.size_t(len(record)), &size)
	if status != C.BM_OK {
		return nil, fmt.Errorf("open record: %w", Status(status))
	}
	return C.GoBytes(unsafe.Add(p, C.BM_RECORD_HEADER_SIZE), C.int(size)), nil
}

// Update starts the next generation of keys, and the peer follows with the first record that it gets. ErrState means that this
// was the last one.
func (s *Session) Update() error {
	if status := C.bm_session_update(s.c); status != C.BM_OK {
		return fmt.Errorf("update session: %w", Status(status))
	}
	return nil
}

// Close wipes the session and releases its memory; it must not be used again.
func (s *Session) Close() {
	C.bm_session_wipe(s.c)
	C.free(unsafe.Pointer(s.c))
	C.free(unsafe.Pointer(s.port))
}
