package sim

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/birthmark/birthmark/device"
)

// ErrFirmware: a file that is not what `make firmware` builds.
var ErrFirmware = errors.New("not a firmware that 'make firmware' builds")

// Firmware gives the image of an ELF file of `make firmware`, byte for byte as it lies in flash, with these constants in the
// place of those that it was built with. Its SHA-256 is what the unit gives as the hash of its firmware. Errors wrap ErrFirmware.
func Firmware(file []byte, image device.Image) ([]byte, error) {
	out, err := firmware(file, image)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFirmware, err)
	}
	return out, nil
}

func firmware(file []byte, image device.Image) ([]byte, error) {
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	if f.Machine != elf.EM_ARM {
		return nil, fmt.Errorf("it is for %s", f.Machine)
	}
	start, err := symbol(f, "firmware_start")
	if err != nil {
		return nil, err
	}
	end, err := symbol(f, "firmware_end")
	if err != nil {
		return nil, err
	}
	if _, err := symbol(f, "bm_atecc608_protect"); (err == nil) != image.IOKey {
		return nil, fmt.Errorf("it was built %s BM_CONFIG_IO_KEY, and the product is %s", with(err == nil), with(image.IOKey))
	}
	at, err := symbol(f, "bm_image_constants")
	if err != nil {
		return nil, err
	}
	constants := imageConstants(image)
	if at.Size != uint64(len(constants)) || at.Value < start.Value || at.Value+at.Size > end.Value {
		return nil, errors.New("its constants lie elsewhere")
	}
	for _, segment := range f.Progs {
		if segment.Type == elf.PT_LOAD && segment.Paddr == start.Value && segment.Filesz >= end.Value-start.Value {
			out := make([]byte, end.Value-start.Value)
			if _, err := segment.ReadAt(out, 0); err != nil {
				return nil, err
			}
			copy(out[at.Value-start.Value:], constants)
			return out, nil
		}
	}
	return nil, errors.New("it has no image")
}

func with(it bool) string {
	if it {
		return "with"
	}
	return "without"
}

func symbol(f *elf.File, name string) (elf.Symbol, error) {
	symbols, err := f.Symbols()
	for _, s := range symbols {
		if s.Name == name {
			return s, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("it has no %s", name)
	}
	return elf.Symbol{}, err
}

// imageConstants is struct bm_image (birthmark.h) as a Cortex-M has it in memory, without the hash of the firmware, which nothing
// inside it can hold.
func imageConstants(image device.Image) []byte {
	var c struct {
		AnchorHash   [32]byte
		FirmwareHash [32]byte
		Product      uint32
		Peers        [8]uint32
		PeerCount    uint32 // a byte, and its padding
	}
	c.AnchorHash, c.Product, c.PeerCount = image.AnchorHash, image.Product, uint32(copy(c.Peers[:], image.Peers))
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, c) // into memory: it does not fail
	return b.Bytes()
}
