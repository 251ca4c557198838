package sim

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
)

func TestFlash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flash")
	left := 1 << 20 // bytes until the power goes
	f, err := openFlash(path, func() bool { left--; return left < 0 })
	if err != nil {
		t.Fatal(err)
	}
	read := func(page int) []byte {
		t.Helper()
		b := make([]byte, f.PageSize())
		if err := f.Read(page, 0, b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	erased := bytes.Repeat([]byte{0xFF}, pageSize)
	for page := range flashPages {
		if !bytes.Equal(read(page), erased) {
			t.Errorf("page %d is not erased", page)
		}
	}
	data := []byte("sixteen bytes...")
	for _, wrong := range []struct{ offset, size int }{{4, 16}, {0, 12}, {pageSize, 8}, {pageSize - 8, 16}} {
		if err := f.Program(1, wrong.offset, data[:wrong.size]); err == nil {
			t.Errorf("programs %d bytes at %d", wrong.size, wrong.offset)
		}
	}
	if err := f.Program(1, 24, data); err != nil {
		t.Fatal(err)
	}
	if err := f.Program(1, 32, data); err == nil {
		t.Error("programs twice")
	}
	want := append([]byte(nil), erased...)
	copy(want[24:], data)
	if !bytes.Equal(read(1), want) || !bytes.Equal(read(0), erased) || !bytes.Equal(read(2), erased) {
		t.Error("program touches other bytes")
	}

	// The power goes after five bytes, and comes back.
	left = 5
	if err := f.Program(1, 8, data); !errors.Is(err, errPowerCut) {
		t.Errorf("cut: %v", err)
	}
	copy(want[8:], data[:5])
	if !bytes.Equal(read(1), want) {
		t.Error("not torn where the power went")
	}
	left = 30
	if err := f.Erase(1); !errors.Is(err, errPowerCut) {
		t.Errorf("cut: %v", err)
	}
	copy(want, erased[:30])
	if !bytes.Equal(read(1), want) {
		t.Error("not half erased")
	}
	left = 1 << 20
	f.file.Close()
	if f, err = openFlash(path, func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	defer f.file.Close()
	if !bytes.Equal(read(1), want) {
		t.Error("the file does not keep it")
	}
	if err := f.Erase(1); err != nil || !bytes.Equal(read(1), erased) {
		t.Errorf("not erased, %v", err)
	}
}
