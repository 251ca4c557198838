package device

import (
	"errors"
	"fmt"
)

// The limits of birthmark.h that a Board and an Image must keep to.
const (
	maxPeers    = 8
	flashUnit   = 8 // bytes
	minPageSize = 128
	maxPageSize = 1 << 20 // far beyond any page; a walk over it is bounded
)

// Image is what a firmware image is built with (struct bm_image): `birthmark ca bundle --c` writes it for a real unit.
type Image struct {
	AnchorHash   [32]byte // SHA-256 of the first anchor
	FirmwareHash [32]byte // SHA-256 of the image
	Product      uint32
	Peers        []uint32 // products that it accepts as peers, 1 to 8
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

func check(image Image, board Board) error {
	if n := len(image.Peers); n < 1 || n > maxPeers {
		return fmt.Errorf("image with %d peers, not 1 to %d", n, maxPeers)
	}
	if board.Chip == nil || board.Flash == nil || board.Debug == nil {
		return errors.New("board without chip, flash or debug port")
	}
	if n := board.Flash.PageSize(); n < minPageSize || n > maxPageSize || n%flashUnit != 0 {
		return fmt.Errorf("flash pages of %d bytes, not a multiple of %d from %d to %d", n, flashUnit, minPageSize, maxPageSize)
	}
	return nil
}
