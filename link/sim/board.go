package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/birthmark/birthmark/chip"
	"github.com/birthmark/birthmark/device"
)

// suffixes of a unit's files: what its port's path is followed by. The debug port's is there once it is closed.
var suffixes = []string{".eeprom", ".flash", ".image", ".debug"}

// Board is a unit without its line: what it lives on that meets another one.
type Board struct {
	Image device.Image // its firmware's
	Chip  *chip.Device
	Parts device.Board // chip, flash and debug port
	flash *Flash
}

// OpenBoard opens the files of the unit whose port would be at path. The unit must have been started once; while another
// process runs it, the error wraps syscall.EAGAIN. sleep and now are the clock of its chip, which takes the data sheet's times.
func OpenBoard(path string, sleep func(time.Duration), now func() time.Time) (_ *Board, err error) {
	b := new(Board)
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	for _, suffix := range suffixes[:2] { // would be made where there are none
		if _, err := os.Stat(path + suffix); err != nil {
			return nil, err
		}
	}
	if b.Image, err = readImage(path + ".image"); err != nil {
		return nil, err
	}
	if b.Chip, err = chip.Open(path+".eeprom", chip.Options{TimeScale: 1, Sleep: sleep, Now: now}); err != nil {
		return nil, err
	}
	cut := func() bool { return false }
	if b.flash, err = openFlash(path+".flash", cut); err != nil {
		return nil, err
	}
	b.Parts = device.Board{Chip: b.Chip, Flash: b.flash, Debug: debug{cut, path + ".debug"}}
	return b, nil
}

// Close closes the files.
func (b *Board) Close() error {
	var errs []error
	if b.flash != nil {
		errs = append(errs, b.flash.Close())
	}
	if b.Chip != nil {
		errs = append(errs, b.Chip.Close())
	}
	return errors.Join(errs...)
}

// Same reports whether both paths lead to the files of one unit.
func Same(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	one, err := os.Stat(a + suffixes[0])
	if err != nil {
		return false
	}
	other, err := os.Stat(b + suffixes[0])
	return err == nil && os.SameFile(one, other)
}

// Copy copies the files of the unit whose port would be at path, its chip's private keys among them, for another unit at to.
func Copy(path, to string) error {
	for _, suffix := range suffixes {
		data, err := os.ReadFile(path + suffix)
		if errors.Is(err, fs.ErrNotExist) && suffix == ".debug" {
			continue
		}
		if err == nil {
			err = os.WriteFile(to+suffix, data, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeImage says what firmware a unit has.
func writeImage(path string, image device.Image) error {
	data, err := cbor.Marshal(image)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

func readImage(path string) (image device.Image, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return image, err
	}
	if err := cbor.Unmarshal(data, &image); err != nil {
		return image, fmt.Errorf("%s: %w: %w", path, ErrFile, err)
	}
	return image, nil
}

// debug is a debug port: closed for ever once its file is there.
type debug struct {
	cut  func() bool // whether there is no power
	file string
}

func (d debug) Close() {
	if d.cut() {
		return
	}
	if f, err := os.OpenFile(d.file, os.O_CREATE|os.O_SYNC, 0o600); err == nil {
		f.Close()
	}
}

func (d debug) Closed() bool {
	_, err := os.Stat(d.file)
	return err == nil
}
