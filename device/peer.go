package device

/*
#include <stdlib.h>
#include "installed.h"
#include "policy.h"

typedef const uint8_t const_byte; // lets an exported function have a callback's very prototype

// What C keeps of a unit's peer link. It lies in C memory and knows the Go side only by its handle.
struct peer {
	struct bm_peerlink *link;
	struct bm_peerlink_config config;
	struct bm_identity identity;
	struct bm_expected expected;
	struct bm_gesture gesture;
	uint8_t serial[BM_UNIT_NAME_SIZE];
	uint8_t code[BM_CODE_SIZE];
	uintptr_t handle;
};

void bm_peer_send(void *user, const_byte *bytes, size_t size);
void bm_peer_received(void *user, const_byte *message, size_t size);
void bm_peer_changed(void *user, int event, int reason);
int bm_peer_release_allowed(void *user);
*/
import "C"

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/cgo"
	"unsafe"
)

// Peer is a simulated unit on its peer link: the library's peer link over a unit's chip and flash. It lives on a clock that Tick
// sets, and does with its button what a firmware does. It is not safe for concurrent use.
type Peer struct {
	unit   *Unit
	c      *C.struct_peer
	handle cgo.Handle
	policy Policy
	allow  bool // the peer's release
	down   C.int
	out    bytes.Buffer
	events []PeerEvent
	freed  []unsafe.Pointer // by Close
}

// NewPeer starts the link of a sealed unit, as its supply comes up. The error says what in image, board or options is out of
// the library's limits, or that nothing is installed. Close releases the peer.
func NewPeer(image Image, board Board, options PeerOptions) (*Peer, error) {
	u, err := NewUnit(image, board)
	if err != nil {
		return nil, err
	}
	p := &Peer{unit: u, policy: options.Policy, allow: options.AllowRelease}
	c := (*C.struct_peer)(p.alloc(C.sizeof_struct_peer))
	c.link = (*C.struct_bm_peerlink)(p.alloc(C.bm_peerlink_size()))
	p.c, p.handle = c, cgo.NewHandle(p)
	c.handle = C.uintptr_t(p.handle)
	c.config = C.struct_bm_peerlink_config{
		port:            &u.c.port,
		image:           &u.c.image,
		identity:        &c.identity,
		in:              (*C.uint8_t)(p.alloc(C.BM_PEERLINK_IN_SIZE)),
		out:             (*C.uint8_t)(p.alloc(C.BM_PEERLINK_OUT_SIZE)),
		frame:           (*C.uint8_t)(p.alloc(C.BM_PEERLINK_FRAME_SIZE)),
		user:            unsafe.Pointer(c),
		send:            (*[0]byte)(C.bm_peer_send),
		received:        (*[0]byte)(C.bm_peer_received),
		changed:         (*[0]byte)(C.bm_peer_changed),
		release_allowed: (*[0]byte)(C.bm_peer_release_allowed),
	}
	C.bm_gesture_start(&c.gesture, C.uint32_t(options.Now))
	err = p.follow(options.Policy)
	if err == nil && C.bm_installed_load(&u.c.chip, &c.identity) != C.BM_OK {
		err = ErrPort
	}
	if err == nil && C.bm_peerlink_start(c.link, &c.config, C.uint32_t(options.Now)) != C.BM_OK {
		err = errors.New("nothing is installed in the unit")
	}
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("start peer link: %w", err)
	}
	return p, nil
}

func (p *Peer) alloc(size C.size_t) unsafe.Pointer {
	area := C.calloc(1, size)
	p.freed = append(p.freed, area)
	return area
}

// follow puts a policy into the configuration.
func (p *Peer) follow(policy Policy) error {
	c := p.c
	switch policy := policy.(type) {
	case Expected:
		set := func(to []C.uint8_t, from []byte) (*C.uint8_t, error) {
			if from == nil {
				return nil, nil
			}
			if len(from) != len(to) {
				return nil, fmt.Errorf("an expected peer with %d bytes in place of %d", len(from), len(to))
			}
			for i, b := range from {
				to[i] = C.uint8_t(b)
			}
			return &to[0], nil
		}
		var err1, err2 error
		c.expected.serial, err1 = set(c.serial[:], policy.Serial)
		c.expected.code, err2 = set(c.code[:], policy.Code)
		c.config.pair_allowed = (*[0]byte)(C.bm_expected)
		c.config.policy = unsafe.Pointer(&c.expected)
		return errors.Join(err1, err2)
	case Gesture:
		c.config.pair_allowed = (*[0]byte)(C.bm_gesture)
		c.config.policy = unsafe.Pointer(&c.gesture)
	case Wired:
		c.config.pair_allowed = (*[0]byte)(C.bm_wired)
	default:
		return errors.New("no policy: none is the default")
	}
	return nil
}

// Receive takes bytes from the line.
func (p *Peer) Receive(line []byte) {
	for _, b := range line {
		C.bm_peerlink_receive(p.c.link, C.uint8_t(b))
	}
}

// Tick sets the unit's clock, milliseconds that may wrap, and does what its button asks for.
func (p *Peer) Tick(now uint32) {
	switch C.bm_gesture_tick(&p.c.gesture, C.uint32_t(now), p.down) {
	case C.BM_GESTURE_PRESSED:
		_ = p.Connect() // where a meeting goes on, that is the one
	case C.BM_GESTURE_RELEASE:
		_ = p.Unpair() // where there is nothing to release, nothing is
	}
	C.bm_peerlink_tick(p.c.link, C.uint32_t(now))
}

// Press takes the button down, with the next Tick.
func (p *Peer) Press() { p.down = 1 }

// Lift lets the button go, with the next Tick.
func (p *Peer) Lift() { p.down = 0 }

func result(operation string, status C.int) error {
	if status == C.BM_OK {
		return nil
	}
	return fmt.Errorf("%s: %w", operation, Status(status))
}

// Connect begins a meeting at the next Tick. ErrState: one goes on already.
func (p *Peer) Connect() error { return result("connect", C.bm_peerlink_connect(p.c.link)) }

// Send sends a message to the peer. ErrState unless State is PeerOpen, ErrSpace if it is too long, ErrPort.
func (p *Peer) Send(message []byte) error {
	m := C.CBytes(message)
	defer C.free(m)
	return result("send", C.bm_peerlink_send(p.c.link, (*C.uint8_t)(m), C.size_t(len(message))))
}

// Unpair releases the unit's pairing. ErrState if it has none, ErrPort.
func (p *Peer) Unpair() error { return result("release the pairing", C.bm_peerlink_unpair(p.c.link)) }

// State says whether a message may be sent.
func (p *Peer) State() PeerState { return PeerState(C.bm_peerlink_state(p.c.link)) }

// Met gives serial number and code of the unit that this one is paired with or, while it is open, met last; ok is false if there is
// none.
func (p *Peer) Met() (serial [8]byte, code [4]byte, ok bool) {
	ok = C.bm_peerlink_peer(p.c.link, (*C.uint8_t)(&serial[0]), (*C.uint8_t)(&code[0])) == C.BM_OK
	return serial, code, ok
}

// Out gives the bytes for the line since the last call.
func (p *Peer) Out() []byte {
	defer p.out.Reset()
	return bytes.Clone(p.out.Bytes())
}

// Events gives what happened since the last call.
func (p *Peer) Events() []PeerEvent {
	defer func() { p.events = nil }()
	return p.events
}

// Close releases the memory of the peer, which must not be used again. What the board keeps stays, as without a supply.
func (p *Peer) Close() {
	for _, area := range p.freed {
		C.free(area)
	}
	p.handle.Delete()
	p.unit.Close()
}

// The calls of the configuration. What C hands in lives as long as the call, and nothing here keeps it.

func peerOf(user unsafe.Pointer) *Peer {
	return cgo.Handle((*C.struct_peer)(user).handle).Value().(*Peer)
}

//export bm_peer_send
func bm_peer_send(user unsafe.Pointer, bytes *C.const_byte, size C.size_t) {
	peerOf(user).out.Write(unsafe.Slice((*byte)(bytes), size))
}

//export bm_peer_received
func bm_peer_received(user unsafe.Pointer, message *C.const_byte, size C.size_t) {
	p := peerOf(user)
	p.events = append(p.events, PeerEvent{Message: C.GoBytes(unsafe.Pointer(message), C.int(size))})
}

//export bm_peer_changed
func bm_peer_changed(user unsafe.Pointer, event, reason C.int) {
	p := peerOf(user)
	p.events = append(p.events, PeerEvent{Kind: PeerEventKind(event), Reason: PeerReason(reason)})
}

//export bm_peer_release_allowed
func bm_peer_release_allowed(user unsafe.Pointer) C.int {
	if peerOf(user).allow {
		return 1
	}
	return 0
}
