package device

/*
#include <stdlib.h>
#include "agent.h"
#include "installed.h"
#include "pairing.h"

typedef const uint8_t const_byte; // lets an exported function have a callback's very prototype

// What C keeps of a unit. It lies in C memory and knows the Go side only by its handle.
struct unit {
	struct bm_atecc608 chip; // first: the chip's calls take a struct unit for it
	struct bm_atecc608_bus bus;
	struct bm_port port;
	struct bm_board board;
	struct bm_image image;
	struct bm_identity identity;
	struct bm_agent *agent;
	struct bm_line line;
	uint8_t request[BM_REQUEST_SIZE];
	uintptr_t handle;
};

// What a firmware does with each byte from its UART.
static inline void receive(struct unit *u, uint8_t byte)
{
	size_t size;
	if (bm_line_receive(&u->line, byte, &size)) {
		bm_agent_frame(u->agent, u->request, size);
	}
}

int bm_unit_wake(void *user);
int bm_unit_send(void *user, const_byte *group, size_t size);
int bm_unit_receive(void *user, uint8_t *group, size_t size, unsigned milliseconds);
void bm_unit_idle(void *user);
int bm_unit_flash_program(void *user, unsigned page, uint32_t offset, const_byte *data, size_t size);
int bm_unit_flash_erase(void *user, unsigned page);
void bm_unit_reply(void *user, const_byte *bytes, size_t size);
void bm_unit_debug_close(void *user);
int bm_unit_debug_closed(void *user);
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime/cgo"
	"unsafe"
)

// What birthmark.h asks of flash pages, and bounds for them that no part comes near.
const (
	flashUnit   = C.BM_FLASH_UNIT
	minPageSize = 128
	maxPageSize = 1 << 20
)

// Unit is a simulated unit: the library's agent and ATECC608 driver on a Board in Go. It is not safe for concurrent use.
type Unit struct {
	board  Board
	flash  *mappedFlash
	c      *C.struct_unit
	handle cgo.Handle
	answer []byte // the chip's, until the driver fetches it
	reply  []byte
}

// NewUnit starts the agent, as a unit does after its supply comes up. The error says what in image or board is out of
// the library's limits. Close releases the unit.
func NewUnit(image Image, board Board) (*Unit, error) {
	if err := check(image, board); err != nil {
		return nil, fmt.Errorf("start unit: %w", err)
	}
	mapped, err := mapFlash(board.Flash)
	if err != nil {
		return nil, fmt.Errorf("start unit: %w", err)
	}
	u := &Unit{board: board, flash: mapped}
	// The agent's size is the library's own word, not that of the header.
	c := (*C.struct_unit)(C.calloc(1, C.sizeof_struct_unit))
	c.agent = (*C.struct_bm_agent)(C.calloc(1, C.bm_agent_size()))
	u.c, u.handle = c, cgo.NewHandle(u)
	c.handle = C.uintptr_t(u.handle)

	user := unsafe.Pointer(c)
	c.bus = C.struct_bm_atecc608_bus{
		user:    user,
		wake:    (*[0]byte)(C.bm_unit_wake),
		send:    (*[0]byte)(C.bm_unit_send),
		receive: (*[0]byte)(C.bm_unit_receive),
		idle:    (*[0]byte)(C.bm_unit_idle),
	}
	c.port = C.struct_bm_port{
		user:           user,
		random:         (*[0]byte)(C.bm_atecc608_random),
		public_key:     (*[0]byte)(C.bm_atecc608_public_key),
		sign:           (*[0]byte)(C.bm_atecc608_sign),
		verify:         (*[0]byte)(C.bm_atecc608_verify),
		ephemeral:      (*[0]byte)(C.bm_atecc608_ephemeral),
		ecdh:           (*[0]byte)(C.bm_atecc608_ecdh),
		aes:            (*[0]byte)(C.bm_aes128),
		flash:          (*C.uint8_t)(mapped.memory),
		flash_program:  (*[0]byte)(C.bm_unit_flash_program),
		flash_erase:    (*[0]byte)(C.bm_unit_flash_erase),
		page_size:      C.uint32_t(board.Flash.PageSize()),
		key_usage:      C.BM_DIGITAL_SIGNATURE,
		ephemeral_uses: 1,
	}
	c.board = C.struct_bm_board{
		user:         user,
		send:         (*[0]byte)(C.bm_unit_reply),
		debug_close:  (*[0]byte)(C.bm_unit_debug_close),
		debug_closed: (*[0]byte)(C.bm_unit_debug_closed),
	}
	fillImage(&c.image, image)
	C.bm_line_start(&c.line, &c.request[0], C.BM_REQUEST_SIZE)
	C.bm_atecc608_start(&c.chip, &c.bus)
	if image.IOKey {
		C.bm_atecc608_protect(&c.chip, &c.port)
	}
	C.bm_agent_start(c.agent, &c.image, &c.port, &c.chip, &c.board, &c.identity)
	return u, nil
}

func check(image Image, board Board) error {
	if n := len(image.Peers); n < 1 || n > C.BM_PEERS_MAX {
		return fmt.Errorf("image with %d peers, not 1 to %d", n, C.BM_PEERS_MAX)
	}
	if board.Chip == nil || board.Flash == nil || board.Debug == nil {
		return errors.New("board without chip, flash or debug port")
	}
	if n := board.Flash.PageSize(); n < minPageSize || n > maxPageSize || n%flashUnit != 0 {
		return fmt.Errorf("flash pages of %d bytes, not a multiple of %d from %d to %d", n, flashUnit, minPageSize, maxPageSize)
	}
	return nil
}

func fillImage(c *C.struct_bm_image, image Image) {
	for i := range image.AnchorHash {
		c.anchor_hash[i] = C.uint8_t(image.AnchorHash[i])
		c.firmware_hash[i] = C.uint8_t(image.FirmwareHash[i])
	}
	c.product = C.uint32_t(image.Product)
	for i, product := range image.Peers {
		c.peers[i] = C.uint32_t(product)
	}
	c.peer_count = C.uint8_t(len(image.Peers))
}

// Receive takes bytes from the station and returns the bytes that the unit sends until it waits again; nil if it has
// nothing to say.
func (u *Unit) Receive(p []byte) []byte {
	u.reply = nil
	for _, b := range p {
		C.receive(u.c, C.uint8_t(b))
	}
	return u.reply
}

// Certificates gives what the unit shows of itself, its own certificate and its order's; nil if nothing is installed.
func (u *Unit) Certificates() (unit, order []byte) {
	i := &u.c.identity
	if C.bm_installed_load(&u.c.chip, i) != C.BM_OK || i.id_size == 0 {
		return nil, nil
	}
	return bytesOf(&i.id[i.unit_at], C.size_t(i.unit_size)), bytesOf(&i.id[i.order_at], C.size_t(i.order_size))
}

// Pairing gives the newest record of who the unit's peer is, a fault if there is no whole one.
func (u *Unit) Pairing() Pairing {
	var c C.struct_bm_pairing
	C.bm_pairing_read(&u.c.port, &c)
	return Pairing{PairingState(c.state), uint32(c.generation), bytesOf(&c.unit[0], C.size_t(c.unit_size))}
}

// Trust says how far the unit's trust goes.
func (u *Unit) Trust() Version { return version(&u.c.port) }

// random is port.random, which no verb of the agent needs, for this package's tests.
func (u *Unit) random() (number [32]byte, ok bool) {
	return number, C.bm_atecc608_random(unsafe.Pointer(u.c), (*C.uint8_t)(&number[0])) == C.BM_OK
}

// Close releases the memory of the unit, which must not be used again. What the board keeps stays, as without a supply.
func (u *Unit) Close() {
	C.free(unsafe.Pointer(u.c.agent))
	C.free(unsafe.Pointer(u.c))
	u.flash.free()
	u.handle.Delete()
}

// The calls of the board. What C hands in lives as long as the call, and nothing here keeps it.

func unitOf(user unsafe.Pointer) *Unit {
	return cgo.Handle((*C.struct_unit)(user).handle).Value().(*Unit)
}

func status(ok bool) C.int {
	if ok {
		return C.BM_OK
	}
	return C.BM_ERR_PORT
}

//export bm_unit_wake
func bm_unit_wake(user unsafe.Pointer) C.int {
	u := unitOf(user)
	u.answer = u.board.Chip.Wake()
	return C.BM_OK
}

//export bm_unit_send
func bm_unit_send(user unsafe.Pointer, group *C.const_byte, size C.size_t) C.int {
	u := unitOf(user)
	u.answer = u.board.Chip.Exchange(C.GoBytes(unsafe.Pointer(group), C.int(size)))
	return C.BM_OK
}

// The chip has taken the time that it takes within Exchange, so there is nothing to wait for.
//
//export bm_unit_receive
func bm_unit_receive(user unsafe.Pointer, group *C.uint8_t, size C.size_t, _ C.uint) C.int {
	u := unitOf(user)
	answer := u.answer
	u.answer = nil
	return status(len(answer) > 0 && copy(unsafe.Slice((*byte)(group), size), answer) >= int(answer[0]))
}

//export bm_unit_idle
func bm_unit_idle(user unsafe.Pointer) { unitOf(user).board.Chip.Idle() }

//export bm_unit_flash_program
func bm_unit_flash_program(user unsafe.Pointer, page C.uint, offset C.uint32_t, data *C.const_byte, size C.size_t) C.int {
	return status(unitOf(user).flash.program(int(page), int(offset), unsafe.Slice((*byte)(data), size)))
}

//export bm_unit_flash_erase
func bm_unit_flash_erase(user unsafe.Pointer, page C.uint) C.int {
	return status(unitOf(user).flash.erase(int(page)))
}

//export bm_unit_reply
func bm_unit_reply(user unsafe.Pointer, bytes *C.const_byte, size C.size_t) {
	u := unitOf(user)
	u.reply = append(u.reply, unsafe.Slice((*byte)(bytes), size)...)
}

//export bm_unit_debug_close
func bm_unit_debug_close(user unsafe.Pointer) { unitOf(user).board.Debug.Close() }

//export bm_unit_debug_closed
func bm_unit_debug_closed(user unsafe.Pointer) C.int {
	if unitOf(user).board.Debug.Closed() {
		return 1
	}
	return 0
}
