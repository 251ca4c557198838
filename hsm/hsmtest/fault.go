package hsmtest

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"unsafe"
)

//go:embed testdata/fault.c
var faultSource []byte

// Entries of CK_FUNCTION_LIST (PKCS#11 v2.40, section 3.6), those that tests name.
const (
	Initialize        = 0
	Finalize          = 1
	GetSlotList       = 4
	GetTokenInfo      = 6
	OpenSession       = 12
	CloseSession      = 13
	GetSessionInfo    = 15
	Login             = 18
	GetAttributeValue = 24
	FindObjects       = 27
	SignInit          = 42
	Sign              = 43
	GenerateKeyPair   = 59

	Entries = 68
)

// A fault is a return code, or one of these kinds, some with a value in its low half (testdata/fault.c tells them).
const (
	FlipBit    = (1 + iota) << 32 // in the answer of C_Sign
	CloseAll                      // pulled and put back before the call
	TokenFlags                    // | CKF_..., in the answer of C_GetTokenInfo
	NoSlots                       // in the answer of C_GetSlotList
	AnswerLost                    // | CKR_..., for what was done all the same
	Delay                         // | milliseconds
	Twice                         // each slot, in the answer of C_GetSlotList
	Kill                          // the process before the call, | 1 after it
	Pulled                        // for as long as the fault lasts
)

// Forever is a count of calls.
const Forever = 1 << 62

// Control counts the calls of one entry, or of all, and makes some of them fail.
type Control struct{ calls, from, count, fault uint64 }

// Calls says how often it was called.
func (c *Control) Calls() uint64 { return atomic.LoadUint64(&c.calls) }

// Inject makes count calls fail, after skip more good ones. It takes the place of the last fault.
func (c *Control) Inject(fault, skip, count uint64) {
	c.from, c.fault = c.Calls()+skip, fault
	atomic.StoreUint64(&c.count, count)
}

// Faults is the memory that a proxy module shares with the test.
type Faults struct {
	Entry    [Entries]Control
	Any      Control // of all entries
	Repeated uint64  // logins of one process after one that failed
	Exposed  uint64  // logins whose PIN stood in /proc/self/cmdline or environ
	Trace    [4096]uint8
}

// BuildProxy compiles a PKCS#11 module that stands before another one, see testdata/fault.c. Each copy of it that a process
// loads is a module of its own.
func BuildProxy(folder string) (path string, err error) {
	source := filepath.Join(folder, "fault.c")
	if err := os.WriteFile(source, faultSource, 0o600); err != nil {
		return "", err
	}
	path = filepath.Join(folder, "fault.so")
	out, err := exec.Command("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", path, source, "-ldl").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cc: %w\n%s", err, out)
	}
	return path, nil
}

// NewFaults makes the file that a proxy shares, and gives what must be in the environment when the proxy is loaded in front
// of the module at real. The memory stays until the process ends.
func NewFaults(path, real string) (*Faults, []string, error) {
	size := int(unsafe.Sizeof(Faults{}))
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	memory, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return (*Faults)(unsafe.Pointer(&memory[0])), []string{"BIRTHMARK_FAULT_MODULE=" + real, "BIRTHMARK_FAULT_CONTROL=" + path}, nil
}
