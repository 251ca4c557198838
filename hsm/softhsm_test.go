//go:build cgo

package hsm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"
)

const (
	testPIN   = "648219+a" // the plus sign must survive every way in
	testSOPIN = "77441122"
)

// Entries of CK_FUNCTION_LIST and kinds of faults, as in testdata/fault.c.
const (
	initialize        = 0
	finalize          = 1
	getSlotList       = 4
	getTokenInfo      = 6
	openSession       = 12
	closeSession      = 13
	getSessionInfo    = 15
	loginCall         = 18
	getAttributeValue = 24
	findObjects       = 27
	signInit          = 42
	sign              = 43
	generatePair      = 59

	flipBit    = 1 << 32
	closeAll   = 2 << 32
	tokenFlags = 3 << 32
	noSlots    = 4 << 32
	answerLost = 5 << 32
)

// control is one entry's struct control.
type control struct{ calls, from, count, fault uint64 }

// faults is the memory shared with the proxy module.
type faults struct{ entries *[68]control }

var proxy struct { // built once by TestMain for all tests of this process
	module string
	faults
}

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "birthmark-hsm")
	if err == nil {
		err = buildProxy(folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hsm tests need SoftHSM2 and a C compiler, which scripts/bootstrap installs:", err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(folder)
	os.Exit(status)
}

func buildProxy(folder string) error {
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		return err
	}
	real, err := softHSM()
	if err != nil {
		return err
	}
	proxy.module = filepath.Join(folder, "fault.so")
	out, err := exec.Command("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", proxy.module, "testdata/fault.c", "-ldl").CombinedOutput()
	if err != nil {
		return fmt.Errorf("cc: %w\n%s", err, out)
	}
	shared := filepath.Join(folder, "control")
	size := int(unsafe.Sizeof(*proxy.entries))
	if err := os.WriteFile(shared, make([]byte, size), 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(shared, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	memory, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	proxy.entries = (*[68]control)(unsafe.Pointer(&memory[0]))
	os.Setenv("BIRTHMARK_FAULT_CONTROL", shared)
	return os.Setenv("BIRTHMARK_FAULT_MODULE", real)
}

func softHSM() (string, error) {
	paths := []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"}
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("libsofthsm2.so is in none of %q", paths)
}

// inject makes count calls of an entry fail, after skip more good ones, until the test ends.
func inject(t *testing.T, entry int, fault, skip, count uint64) {
	t.Helper()
	c := &proxy.entries[entry]
	c.from, c.fault = atomic.LoadUint64(&c.calls)+skip, fault
	atomic.StoreUint64(&c.count, count)
	t.Cleanup(func() { atomic.StoreUint64(&c.count, 0) })
}

const forever = 1 << 62

// calls returns a function that says how often the entry was called since.
func calls(entry int) func() uint64 {
	before := atomic.LoadUint64(&proxy.entries[entry].calls)
	return func() uint64 { return atomic.LoadUint64(&proxy.entries[entry].calls) - before }
}

// tokens makes a SoftHSM2 store of its own with a token of each label, and returns options for it
// with the right PIN.
func tokens(t *testing.T, labels ...string) Options {
	t.Helper()
	folder := t.TempDir()
	store := filepath.Join(folder, "tokens")
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(folder, "softhsm2.conf")
	text := "directories.tokendir = " + store + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	for _, label := range labels {
		out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", testSOPIN, "--pin", testPIN).CombinedOutput()
		if err != nil {
			t.Fatalf("softhsm2-util: %v\n%s", err, out)
		}
	}
	return Options{Module: proxy.module, PIN: PINFromFile(secretFile(t, testPIN+"\n"))}
}
