package device

// #include <stdlib.h>
// #include "birthmark.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// mappedFlash is a Flash as the library reads it: memory, in C, that follows what the flash holds.
type mappedFlash struct {
	flash    Flash
	pageSize int
	memory   unsafe.Pointer
}

// mapFlash reads the whole flash; free releases its memory.
func mapFlash(flash Flash) (*mappedFlash, error) {
	size := flash.PageSize()
	m := &mappedFlash{flash: flash, pageSize: size, memory: C.malloc(C.size_t(C.BM_FLASH_PAGES * size))}
	for page := range C.BM_FLASH_PAGES {
		if err := m.read(page, 0, size); err != nil {
			m.free()
			return nil, fmt.Errorf("read flash page %d: %w", page, err)
		}
	}
	return m, nil
}

func (m *mappedFlash) free() { C.free(m.memory) }

func (m *mappedFlash) read(page, offset, size int) error {
	return m.flash.Read(page, offset, unsafe.Slice((*byte)(m.memory), C.BM_FLASH_PAGES*m.pageSize)[page*m.pageSize+offset:][:size])
}

// program and erase say whether the flash did it; in memory is what it then holds, whole or torn.
func (m *mappedFlash) program(page, offset int, data []byte) bool {
	err := m.flash.Program(page, offset, data)
	return m.read(page, offset, len(data)) == nil && err == nil
}

func (m *mappedFlash) erase(page int) bool {
	err := m.flash.Erase(page)
	return m.read(page, 0, m.pageSize) == nil && err == nil
}
