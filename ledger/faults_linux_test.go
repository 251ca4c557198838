package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestFaults lets system calls fail in a child process, through a seccomp filter, at each step of a unit's life. The
// child checks what the book says, then dies without closing it; the parent opens the file and goes on.
func TestFaults(t *testing.T) {
	const before = -1 // the fault struck before anything could be recorded
	for fault, recorded := range map[string]int{"fsync": 0, "write": before, "full": before} {
		for step := range 3 {
			t.Run(fmt.Sprintf("%s at step %d", fault, step), func(t *testing.T) {
				b, path := newBook(t)
				order := addOrder(t, b, testOrder(1, 10))
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
				runChild(t, fmt.Sprintf("fault-%s-%d", fault, step), path)
				b, err := Open(path, station.Anchor)
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				verify(t, b)
				e, err := b.Unit(context.Background(), unitKey(2).Chip)
				if err != nil && !(step == 0 && errors.Is(err, ErrNotFound)) {
					t.Fatal(err)
				}
				// A failed fsync leaves the step done or not done; a failed write leaves it undone.
				if e.State != State(step) && (recorded == before || e.State != State(step+1)) {
					t.Errorf("unit is %s", e.State)
				}
				r := reserve(t, b, 1, 2)
				if r.Serial != order.First+1 {
					t.Errorf("resumed with serial %016x", r.Serial)
				}
				commit(t, b, r.Serial)
				closeUnit(t, b, r.Serial)
				verify(t, b)
			})
		}
	}
}

// steps are those of unit n.
func steps(b *Book, serial uint64, n int) []func() error {
	ctx := context.Background()
	return []func() error{
		func() error { _, err := b.Reserve(ctx, 1, unitKey(n), morning); return err },
		func() error { _, err := b.Commit(ctx, serial, certificateOf(serial), nil); return err },
		func() error { return b.CloseUnit(ctx, serial, []byte(`{"result":"pass"}`), morning) },
	}
}

func childFault(kind string, step int, path string) error {
	b, err := Open(path, station.Anchor)
	if err != nil {
		return err
	}
	first := testOrder(1, 1).First
	life := append(steps(b, first, 1), steps(b, first+1, 2)...)
	for _, do := range life[:3+step] {
		if err := do(); err != nil {
			return err
		}
	}
	want := ErrDisk
	switch kind {
	case "fsync":
		err = denySyscalls(unix.EIO, nil, unix.SYS_FSYNC, unix.SYS_FDATASYNC)
	case "write":
		err = denySyscalls(unix.EIO, nil, unix.SYS_PWRITE64)
	case "full":
		want = ErrFull
		err = denySyscalls(unix.ENOSPC, nil, unix.SYS_PWRITE64)
	}
	if err != nil {
		return err
	}
	for range 2 {
		if err := life[3+step](); !errors.Is(err, want) {
			return fmt.Errorf("got %v, want %w", err, want)
		}
	}
	// After a failed disk nothing is believed any more; a full one can still be read.
	if _, err := b.Unit(context.Background(), unitKey(1).Chip); (want == ErrDisk) != errors.Is(err, ErrDisk) {
		return fmt.Errorf("then a look-up gives %w", err)
	}
	return nil
}

// TestCheckpointFaults fails only what goes to the main file: the commit in the write-ahead log stands.
func TestCheckpointFaults(t *testing.T) {
	for _, fault := range []string{"fsync", "full", "close"} {
		t.Run(fault, func(t *testing.T) {
			b, path := newBook(t)
			order := addOrder(t, b, testOrder(1, 10))
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			runChild(t, "checkpoint-"+fault, path)
			if b, _ = Open(path, station.Anchor); b == nil {
				t.Fatal("not opened")
			}
			defer b.Close()
			verify(t, b)
			if e, err := b.Unit(context.Background(), unitKey(1).Chip); err != nil || e.Serial != order.First {
				t.Errorf("reserved unit is %+v, %v", e, err)
			}
		})
	}
}

func childCheckpoint(fault, path string) error {
	b, err := Open(path, station.Anchor)
	if err != nil {
		return err
	}
	reserve := steps(b, 0, 1)[0]
	if fault == "close" {
		if err := reserve(); err != nil {
			return err
		}
	}
	b.commits = checkpointEvery - 1
	files, err := descriptors(path)
	if err != nil {
		return err
	}
	switch fault {
	case "fsync":
		if err := denySyscalls(unix.EIO, files, unix.SYS_FSYNC, unix.SYS_FDATASYNC); err != nil {
			return err
		}
		if err := reserve(); !errors.Is(err, ErrDisk) {
			return fmt.Errorf("reserve: got %w", err)
		}
		return nil
	case "full":
		if err := denySyscalls(unix.ENOSPC, files, unix.SYS_PWRITE64); err != nil {
			return err
		}
		return reserve()
	default:
		if err := denySyscalls(unix.EIO, files, unix.SYS_FSYNC, unix.SYS_FDATASYNC); err != nil {
			return err
		}
		if err := b.Close(); !errors.Is(err, ErrDisk) {
			return fmt.Errorf("close: got %w", err)
		}
		return nil
	}
}

// descriptors lists those that this process has on a file, without opening it.
func descriptors(path string) ([]int, error) {
	const folder = "/proc/self/fd"
	names, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var found []int
	for _, name := range names {
		if target, err := os.Readlink(filepath.Join(folder, name.Name())); err == nil && target == path {
			fd, err := strconv.Atoi(name.Name())
			if err != nil {
				return nil, err
			}
			found = append(found, fd)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s is not open", path)
	}
	return found, nil
}

// denySyscalls makes these system calls fail with errno from now on, in every thread of this process; on any descriptor
// if files is nil.
func denySyscalls(errno unix.Errno, files []int, numbers ...uint32) error {
	const number, argument0 = 0, 16 // offsets in struct seccomp_data; the argument's low half on little-endian machines
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	skipUnless := func(k uint32, n int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jf: uint8(n)}
	}
	deny := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)}
	var filter []unix.SockFilter
	for _, n := range numbers {
		filter = append(filter, load(number))
		if files == nil {
			filter = append(filter, skipUnless(n, 1), deny)
			continue
		}
		filter = append(filter, skipUnless(n, 1+2*len(files)), load(argument0))
		for _, fd := range files {
			filter = append(filter, skipUnless(uint32(fd), 1), deny)
		}
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // no_new_privs is a thread's, and the filter's condition
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if e != 0 {
		return fmt.Errorf("install seccomp filter: %w", e)
	}
	return nil
}

// TestNoRoom makes and opens a book on a full disk.
func TestNoRoom(t *testing.T) {
	b, path := newBook(t)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	runChild(t, "room", path)
	if b, err := Open(path, station.Anchor); err != nil {
		t.Errorf("afterwards: %v", err)
	} else if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func childRoom(path string) error {
	if err := denySyscalls(unix.ENOSPC, nil, unix.SYS_PWRITE64); err != nil {
		return err
	}
	for what, do := range map[string]func() (*Book, error){
		"create":         func() (*Book, error) { return Create(path+"-2", station) },
		"open":           func() (*Book, error) { return Open(path, station.Anchor) },
		"open read-only": func() (*Book, error) { return OpenReadOnly(path, station.Anchor) },
	} {
		if _, err := do(); !errors.Is(err, ErrFull) {
			return fmt.Errorf("%s: got %w, want %w", what, err, ErrFull)
		}
	}
	return nil
}

// childFaultJob runs "room", "fault-KIND-STEP" and "checkpoint-KIND".
func childFaultJob(job, path string) error {
	part := strings.Split(job, "-")
	switch part[0] {
	case "room":
		return childRoom(path)
	case "checkpoint":
		return childCheckpoint(part[1], path)
	}
	step, err := strconv.Atoi(part[2])
	if err != nil {
		return err
	}
	return childFault(part[1], step, path)
}
