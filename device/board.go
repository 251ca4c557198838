package device

import "bytes"

// Image is what a firmware image is built with (struct bm_image): `birthmark ca bundle --c` writes it for a real unit.
type Image struct {
	AnchorHash   [32]byte // SHA-256 of the first anchor
	FirmwareHash [32]byte // SHA-256 of the image
	Product      uint32
	Peers        []uint32 // products that it accepts as peers, 1 to 8
	IOKey        bool     // BM_CONFIG_IO_KEY: its chip encrypts what ECDH gives
}

// Chip is an ATECC608 as seen from its bus, one group at a time from count to CRC; nil is no answer. chip.Device is one.
type Chip interface {
	Wake() []byte
	Exchange(group []byte) []byte
	Idle()
}

// Flash is the microcontroller's: pages 0 to 2 that erase to FF. Program is called with whole units of 8 bytes, at
// multiples of 8, each once between erasures.
type Flash interface {
	PageSize() int
	Read(page, offset int, out []byte) error
	Program(page, offset int, data []byte) error
	Erase(page int) error
}

// NewFlash gives a blank flash in memory, of pages in which all fits that the formats allow.
func NewFlash() Flash { return memory(bytes.Repeat([]byte{0xFF}, 3*memoryPage)) }

const memoryPage = 2048 // bytes

type memory []byte

func (m memory) PageSize() int { return memoryPage }

func (m memory) Read(page, offset int, out []byte) error {
	copy(out, m[page*memoryPage+offset:])
	return nil
}

func (m memory) Program(page, offset int, data []byte) error {
	copy(m[page*memoryPage+offset:], data)
	return nil
}

func (m memory) Erase(page int) error {
	copy(m[page*memoryPage:][:memoryPage], bytes.Repeat([]byte{0xFF}, memoryPage))
	return nil
}

// Debug is the board's debug port. Close closes it for ever if it can; Closed says whether it did.
type Debug interface {
	Close()
	Closed() bool
}

// Board is what the library runs on.
type Board struct {
	Chip  Chip
	Flash Flash
	Debug Debug
}

// Version is how far a unit's trust goes: struct bm_trust_version of trust.h.
type Version struct {
	Epoch      int // of the newest root, 0: no anchor
	ListEpoch  int // of the status list, 0: none
	ListNumber uint32
}
