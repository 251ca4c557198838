package device

/*
// edhoc.c once more, as a part of one role, method 0 and suite 2 has it.
#define BM_CONFIG_NO_INITIATOR
#define BM_CONFIG_NO_STATIC_DH
#define BM_CONFIG_NO_SUITE_3
#define bm_edhoc_size responder_edhoc_size
#define bm_edhoc_wipe responder_edhoc_wipe
#define bm_edhoc_start responder_edhoc_start
#define bm_edhoc_write responder_edhoc_write
#define bm_edhoc_read responder_edhoc_read
#define bm_edhoc_error responder_edhoc_error
#define bm_edhoc_export responder_edhoc_export
#define bm_edhoc_key_update responder_edhoc_key_update
#include "edhoc.c"
*/
import "C"

func responderOnly() edhocBuild {
	return edhocBuild{
		start: func(h *Handshake, role Role) int {
			return int(C.responder_edhoc_start(h.c.edhoc, &h.c.config, C.int(role)))
		},
		write: func(h *Handshake, out []byte) (size C.size_t, status C.int) {
			status = C.responder_edhoc_write(h.c.edhoc, (*C.uint8_t)(&out[0]), C.size_t(len(out)), &size)
			return size, status
		},
		read: func(h *Handshake, message []byte) C.int {
			return C.responder_edhoc_read(h.c.edhoc, (*C.uint8_t)(&message[0]), C.size_t(len(message)))
		},
		error: func(h *Handshake, out []byte) (size C.size_t, status C.int) {
			status = C.responder_edhoc_error(h.c.edhoc, (*C.uint8_t)(&out[0]), C.size_t(len(out)), &size)
			return size, status
		},
	}
}
