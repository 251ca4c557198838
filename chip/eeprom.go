package chip

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrImage: a file that holds no ATECC608's EEPROM.
var ErrImage = errors.New("not an ATECC608's EEPROM")

var errPowerCut = errors.New("supply cut")

// eeprom is the chip's permanent memory. The image and the file, where there is one, are always equal.
type eeprom struct {
	image [imageSize]byte
	file  *os.File // nil: in memory only
	cut   func(offset int) bool
	err   error // once set nothing is written any more, and the chip is dead
}

// openEEPROM opens the image at path, or makes one with factory contents. The file is locked as long as
// it is open.
func openEEPROM(path string, serial [9]byte) (_ *eeprom, err error) {
	// Synchronous: a byte that the chip counts as written has reached the disk, and the order of the
	// chip's writes is the order on the disk.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_SYNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	e := &eeprom{file: f}
	switch info.Size() {
	case 0:
		e.image = factory(serial)
		_, err = f.WriteAt(e.image[:], 0)
	case imageSize:
		_, err = f.ReadAt(e.image[:], 0)
	default:
		err = fmt.Errorf("%s has %d bytes, want %d: %w", path, info.Size(), imageSize, ErrImage)
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// write is the only way to change the EEPROM. The bytes are written one after the other, so a cut leaves
// those before it new and the others old.
func (e *eeprom) write(offset int, data []byte) {
	if e.err != nil {
		return
	}
	written := 0
	for i, b := range data {
		if e.cut != nil && e.cut(offset+i) {
			e.err = errPowerCut
			break
		}
		e.image[offset+i] = b
		written++
	}
	if e.file != nil && written > 0 {
		if _, err := e.file.WriteAt(data[:written], int64(offset)); err != nil {
			e.err = err
		}
	}
}

// restore makes the EEPROM writable again after a cut, as the returning supply does. A file that could
// not be written stays so.
func (e *eeprom) restore() {
	if e.err == errPowerCut {
		e.err = nil
	}
}

// close ends the lock on the file and reports the first write that did not reach it.
func (e *eeprom) close() error {
	if e.file == nil {
		return nil
	}
	e.restore()
	// Unlocked by name: a process that is forked at this moment has a copy of the descriptor until it executes its
	// program, and close alone would leave the lock with that copy.
	return errors.Join(e.err, syscall.Flock(int(e.file.Fd()), syscall.LOCK_UN), e.file.Close())
}
