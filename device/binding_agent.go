package device

/*
#include "agent.h"
*/
import "C"

import "unsafe"

// handshake is what the agent keeps of a handshake in memory, for this package's tests.
func (u *Unit) handshake() []byte {
	return C.GoBytes(unsafe.Pointer(&u.c.agent.memory), C.int(C.bm_edhoc_size()))
}
