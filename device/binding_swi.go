package device

/*
#include <stdlib.h>
#include "installed.h"
#include "swi.h"

int bm_swi_test_wake(void *user);
int bm_swi_test_send(void *user, uint8_t symbol);
int bm_swi_test_receive(void *user, uint8_t *symbol, unsigned milliseconds);

struct swi_bus {
	struct bm_swi swi; // its user is the struct itself
	struct bm_atecc608_bus bus;
	uintptr_t handle;
};

static inline void swi_start(struct swi_bus *s, struct bm_atecc608 *chip, uintptr_t handle, uint8_t echo)
{
	struct bm_swi swi = {s, bm_swi_test_wake, bm_swi_test_send, bm_swi_test_receive, echo};
	s->swi = swi;
	s->handle = handle;
	bm_swi_start(&s->bus, &s->swi);
	chip->bus = &s->bus;
}
*/
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

// swiLine is a board's UART towards its chip.
type swiLine interface {
	wake()
	send(symbol byte)
	receive(milliseconds int) (symbol byte, ok bool)
}

// swiBus takes the place of a unit's bus.
type swiBus struct {
	c      *C.struct_swi_bus
	handle cgo.Handle
}

func (u *Unit) swiBus(line swiLine, echo bool) swiBus {
	s := swiBus{(*C.struct_swi_bus)(C.calloc(1, C.sizeof_struct_swi_bus)), cgo.NewHandle(line)}
	hears := 0
	if echo {
		hears = 1
	}
	C.swi_start(s.c, &u.c.chip, C.uintptr_t(s.handle), C.uint8_t(hears))
	return s
}

func (s swiBus) free() {
	C.free(unsafe.Pointer(s.c))
	s.handle.Delete()
}

func lineOf(user unsafe.Pointer) swiLine {
	return cgo.Handle((*C.struct_swi_bus)(user).handle).Value().(swiLine)
}

//export bm_swi_test_wake
func bm_swi_test_wake(user unsafe.Pointer) C.int {
	lineOf(user).wake()
	return C.BM_OK
}

//export bm_swi_test_send
func bm_swi_test_send(user unsafe.Pointer, symbol C.uint8_t) C.int {
	lineOf(user).send(byte(symbol))
	return C.BM_OK
}

//export bm_swi_test_receive
func bm_swi_test_receive(user unsafe.Pointer, symbol *C.uint8_t, milliseconds C.uint) C.int {
	s, ok := lineOf(user).receive(int(milliseconds))
	if ok {
		*symbol = C.uint8_t(s)
	}
	return status(ok)
}
