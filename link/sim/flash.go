package sim

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
)

// A small Cortex-M0+ part's flash, as much of it as the library asks for.
const (
	flashPages  = 3
	pageSize    = 2048 // bytes
	programUnit = 8    // bytes, each programmed once between erasures
)

// ErrFile: a file that is not what a simulated unit keeps under its name.
var ErrFile = errors.New("not a simulated unit's file")

var errPowerCut = errors.New("power is cut")

// Flash is a microcontroller's flash in a file, pages one after the other, each byte on the disk before the next.
type Flash struct {
	file *os.File
	cut  func() bool // asked before each byte changes: whether the power has failed
}

// OpenFlash opens the flash in the file at path; a missing or empty file is an erased flash, one of another size wraps ErrFile.
func OpenFlash(path string) (*Flash, error) { return openFlash(path, func() bool { return false }) }

func openFlash(path string, cut func() bool) (*Flash, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_SYNC, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && info.Size() == 0 {
		_, err = file.WriteAt(bytes.Repeat([]byte{0xFF}, flashPages*pageSize), 0)
	} else if err == nil && info.Size() != flashPages*pageSize {
		err = fmt.Errorf("%s has %d bytes, want %d: %w", path, info.Size(), flashPages*pageSize, ErrFile)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Flash{file: file, cut: cut}, nil
}

// Written says whether any page holds anything.
func (f *Flash) Written() (bool, error) {
	pages := make([]byte, flashPages*pageSize)
	_, err := f.file.ReadAt(pages, 0)
	return slices.ContainsFunc(pages, func(b byte) bool { return b != 0xFF }), err
}

// Close closes the file.
func (f *Flash) Close() error { return f.file.Close() }

func (f *Flash) PageSize() int { return pageSize }

func (f *Flash) Read(page, offset int, out []byte) error {
	_, err := f.file.ReadAt(out, int64(page*pageSize+offset))
	return err
}

// Program writes whole program units that have been erased.
func (f *Flash) Program(page, offset int, data []byte) error {
	if offset%programUnit != 0 || len(data)%programUnit != 0 || offset+len(data) > pageSize {
		return fmt.Errorf("program %d bytes at %d", len(data), offset)
	}
	old := make([]byte, len(data))
	if err := f.Read(page, offset, old); err != nil {
		return err
	}
	if slices.ContainsFunc(old, func(b byte) bool { return b != 0xFF }) {
		return fmt.Errorf("program at %d: not erased", offset)
	}
	return f.write(page*pageSize+offset, data)
}

// Erase sets a page to FF. Power that fails on the way leaves a part of it.
func (f *Flash) Erase(page int) error {
	return f.write(page*pageSize, bytes.Repeat([]byte{0xFF}, pageSize))
}

func (f *Flash) write(at int, data []byte) error {
	n := 0
	for n < len(data) && !f.cut() {
		n++
	}
	if _, err := f.file.WriteAt(data[:n], int64(at)); err != nil {
		return err
	}
	if n < len(data) {
		return errPowerCut
	}
	return nil
}
