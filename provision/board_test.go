//go:build cgo

package provision

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link/sim"
)

// A product's machine code loses its power at a write of its chip or of its flash, each of them with -every-cut: the next run
// finishes the unit, with the serial number and the certificate that the book has for it.
func TestBoardPowerCut(t *testing.T) {
	t.Parallel()
	f := newFactory(t, 5000)
	s := f.station()
	folder := t.TempDir()
	if out, err := exec.Command("../scripts/firmware", folder).CombinedOutput(); err != nil {
		t.Fatalf("build firmware: %v\n%s", err, out)
	}
	elf, err := os.ReadFile(filepath.Join(folder, "birthmark.elf"))
	if err != nil {
		t.Fatal(err)
	}
	boards := 0
	// lives runs a new board until its power fails, if it does, and then once more; it reports whether the power failed.
	lives := func(cut func() bool, writes uint32) bool {
		t.Helper()
		boards++
		o := sim.MachineOptions{Dir: f.dir, Index: 500 + boards, Firmware: elf, Image: f.image(), Cut: cut, Writes: writes}
		m, err := sim.StartMachine(o)
		if err != nil {
			t.Fatal(err)
		}
		r := run(t.Context(), s, m.Port())[0]
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
		var had ledger.Entry
		if r.Err != nil {
			u := f.unit(sim.Options{Dir: o.Dir, Index: o.Index}) // the same unit, if only to look at it
			had = f.entry(u)
			if err := u.Close(); err != nil {
				t.Fatal(err)
			}
			o.Cut, o.Writes = nil, 0
			if m, err = sim.StartMachine(o); err != nil {
				t.Fatal(err)
			}
			again := run(t.Context(), s, m.Port())[0]
			if err := m.Kill(); err != nil {
				t.Fatal(err)
			}
			if again.Err != nil {
				t.Fatalf("cut in stage %v: %v; again: %v", r.Stage, r.Err, again.Err)
			}
		}
		u := f.unit(sim.Options{Dir: o.Dir, Index: o.Index})
		f.auditUnit(u)
		if has := f.entry(u); had.State >= ledger.Reserved && has.Serial != had.Serial ||
			had.State >= ledger.Committed && string(has.Certificate) != string(had.Certificate) {
			t.Errorf("board %d: %+v was %+v", boards, has, had)
		}
		if err := u.Close(); err != nil {
			t.Fatal(err)
		}
		return r.Err != nil
	}

	var bytes atomic.Int64
	if lives(func() bool { bytes.Add(1); return false }, 0) {
		t.Fatal("a board whose power stays loses it")
	}
	total, step := bytes.Load(), int64(1)
	writes := uint32(1)
	if !*everyCut {
		step, writes = total/3, 7
	}
	points := 0
	for at := int64(0); at < total; at += step {
		var written atomic.Int64
		if !lives(func() bool { return written.Add(1) > at }, 0) {
			t.Fatalf("no cut at byte %d of the chip's", at)
		}
		points++
	}
	flash := 0
	for at := uint32(1); lives(nil, at); at += writes {
		flash++
	}
	if flash < 2 {
		t.Errorf("%d cuts at writes of the flash", flash)
	}
	t.Logf("powercut boards: %d points, %d of the chip's %d bytes and %d writes of the flash", points+flash, points, total, flash)
	f.auditBook(boards)
}
