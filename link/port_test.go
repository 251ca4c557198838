package link

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// newLine gives both ends of a pseudo-terminal: the unit's, and the one whose name is the port. The latter stays open,
// or the former would read EIO until the port is opened.
func newLine(t *testing.T) (unit, port *os.File) {
	t.Helper()
	unit, port, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unit.Close(); port.Close() })
	return unit, port
}

func openPort(t *testing.T, path string) *Port {
	t.Helper()
	p, err := Open(path, 115200)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestPortCarriesEveryByte(t *testing.T) {
	unit, line := newLine(t)
	p := openPort(t, line.Name())
	all := count(0, 255) // raw mode: no byte is a signal, an end of file or half of CR LF
	if _, err := p.Write(all); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(all))
	if _, err := io.ReadFull(unit, got); err != nil || !bytes.Equal(got, all) {
		t.Errorf("unit got %x, %v", got, err)
	}
	if _, err := unit.Write(all); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p, got); err != nil || !bytes.Equal(got, all) {
		t.Errorf("station got %x, %v", got, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "missing"), file, dir, "/dev/null", ""} {
		if _, err := Open(path, 115200); !errors.Is(err, ErrNoPort) {
			t.Errorf("%q: %v", path, err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "kept" {
		t.Errorf("the file is now %q, %v", b, err)
	}
	_, line := newLine(t)
	for _, baud := range []int{0, -1} {
		if p, err := Open(line.Name(), baud); err == nil {
			t.Errorf("%d baud", baud)
			p.Close()
		}
	}
	openPort(t, line.Name()) // a refusal leaves no lock
}

// holdPort is set in the second process of TestPortBusy.
const holdPort = "LINK_TEST_HOLD_PORT"

func TestPortBusy(t *testing.T) {
	if path := os.Getenv(holdPort); path != "" {
		openPort(t, path)
		fmt.Println("open")
		io.Copy(io.Discard, os.Stdin) // until the first process says so, or dies
		return
	}
	_, line := newLine(t)
	path := line.Name()
	link := filepath.Join(t.TempDir(), "lane-1")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	holder := exec.Command(os.Args[0], "-test.run=^TestPortBusy$")
	holder.Env = append(os.Environ(), holdPort+"="+link)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); holder.Process.Kill(); holder.Wait() }()
	if _, err := io.ReadFull(out, make([]byte, len("open"))); err != nil {
		t.Fatalf("the other process does not open the port: %v", err)
	}
	_, err = Open(path, 115200)
	if !errors.Is(err, ErrPortBusy) {
		t.Fatalf("got %v", err)
	}
	if !strings.HasSuffix(err.Error(), " by process "+strconv.Itoa(holder.Process.Pid)) {
		t.Errorf("%v, and it is process %d", err, holder.Process.Pid)
	}
	// A process that dies leaves nothing behind that keeps the port taken.
	holder.Process.Kill()
	holder.Wait()
	// The driver's exclusive mode ends with the last close of the device, and this test has it open.
	if err := unix.IoctlSetInt(int(line.Fd()), unix.TIOCNXCL, 0); err != nil {
		t.Fatal(err)
	}
	openPort(t, path)
}

func TestPortTakenByThisProcess(t *testing.T) {
	_, line := newLine(t)
	p := openPort(t, line.Name())
	if _, err := Open(line.Name(), 115200); !errors.Is(err, ErrPortBusy) {
		t.Errorf("second open: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	openPort(t, line.Name())
}

func TestPermission(t *testing.T) {
	_, line := newLine(t)
	for _, mode := range []fs.FileMode{0, 0o444} {
		if err := line.Chmod(mode); err != nil {
			t.Fatal(err)
		}
		if err := openUnprivileged(t, line.Name()); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
}

// openUnprivileged tries to open the port, as nobody when the test runs as root, whom no file mode stops.
func openUnprivileged(t *testing.T, path string) error {
	t.Helper()
	if os.Geteuid() == 0 { // the file system's view of the user is the thread's own
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if _, err := unix.SetfsuidRetUid(65534); err != nil {
			t.Fatal(err)
		}
		defer unix.SetfsuidRetUid(0)
	}
	p, err := Open(path, 115200)
	if err == nil {
		p.Close()
	}
	return err
}

func TestUnplug(t *testing.T) {
	for _, reading := range []bool{true, false} {
		unit, line := newLine(t)
		p := openPort(t, line.Name())
		unplug := func() { line.Close(); unit.Close() }
		if reading {
			time.AfterFunc(10*time.Millisecond, unplug)
		} else {
			unplug()
		}
		if _, err := p.Read(make([]byte, 1)); !errors.Is(err, ErrGone) {
			t.Errorf("read: %v", err)
		}
		if _, err := p.Write([]byte{1}); !errors.Is(err, ErrGone) {
			t.Errorf("write: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

func TestClose(t *testing.T) {
	_, line := newLine(t)
	p := openPort(t, line.Name())
	read, written := make(chan error), make(chan error)
	go func() { _, err := p.Read(make([]byte, 1)); read <- err }()
	go func() { // nobody reads at the other end: this hangs when the line's buffers are full
		for {
			if _, err := p.Write(make([]byte, 650)); err != nil {
				written <- err
				return
			}
		}
	}()
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("close took %v", took)
	}
	if err := <-read; !errors.Is(err, os.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if p2, err := Open(line.Name(), 115200); err != nil {
		t.Errorf("open again: %v", err)
	} else {
		p2.Close()
	}
	select {
	case err := <-written: // where the other end took a last piece in time; else it hangs in the kernel
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("write: %v", err)
		}
	default:
	}
}

// A conversation over a real port ends with ErrGone when the unit is unplugged.
func TestConversationUnplugged(t *testing.T) {
	unit, line := newLine(t)
	c := Dial(openPort(t, line.Name()))
	defer c.Close()
	time.AfterFunc(20*time.Millisecond, func() { line.Close(); unit.Close() })
	if _, err := c.Hello(t.Context()); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

func TestPorts(t *testing.T) {
	if ports := Ports(); slices.ContainsFunc(ports, func(p string) bool { return !strings.HasPrefix(p, "/dev/tty") }) {
		t.Error(ports)
	}
}
