package link

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"
)

// What a caller can act on. All are wrapped with the port's name and the cause.
var (
	ErrNoPort   = errors.New("no such serial port")
	ErrPortBusy = errors.New("port is taken")
	ErrGone     = errors.New("port is gone")
)

const (
	readSlice = 20 * time.Millisecond  // how long one driver call waits: Close waits that long at most for a Read
	closeWait = 100 * time.Millisecond // what Close allows a Write that is under way
)

// Port is a serial line that this process alone uses: 8N1, raw, no flow control. One Read, one Write and Close may run
// at the same time.
type Port struct {
	path    string
	driver  serial.Port
	lock    int           // descriptor of the device that holds the flock
	writing chan struct{} // holds one token while a Write runs
	reading sync.Mutex
	closed  atomic.Bool
}

// Open takes the serial port or pseudo-terminal at path for this process, at baud bits a second.
//
// Errors: ErrNoPort (nothing there, or not a serial port), ErrPortBusy (another process has it, named by its process id
// where /proc/locks tells), fs.ErrPermission. The caller closes the port.
func Open(path string, baud int) (*Port, error) {
	if baud <= 0 {
		return nil, fmt.Errorf("open %s: %d baud is not a speed", path, baud)
	}
	lock, err := lockDevice(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	driver, err := serial.Open(path, &serial.Mode{BaudRate: baud})
	if err != nil {
		unix.Close(lock)
		return nil, fmt.Errorf("open %s: %w", path, driverError(path, err))
	}
	p := &Port{path: path, driver: driver, lock: lock, writing: make(chan struct{}, 1)}
	if err := driver.SetReadTimeout(readSlice); err != nil {
		p.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return p, nil
}

// Ports lists the serial ports that a unit may hang on, for the hint after ErrNoPort. Only USB adapters and the UARTs
// of ARM boards: whether a PC's ttyS0 exists shows only when it is opened, which would disturb whoever uses it.
func Ports() []string {
	var ports []string
	for _, pattern := range []string{"/dev/ttyUSB*", "/dev/ttyACM*", "/dev/ttyAMA*"} {
		found, _ := filepath.Glob(pattern) // fails on malformed patterns only
		ports = append(ports, found...)
	}
	return ports
}

// lockDevice opens the device a second time and holds an exclusive flock on it. The driver's own exclusive mode does
// not stop root. A lock on the device itself leaves no stale files, needs no directory that all users may write, and
// is the one that pyserial, tio and picocom take too. Only a character device is opened: closing a descriptor of a file
// that is no port could drop somebody's POSIX locks on it, the ledger's among them.
func lockDevice(path string) (int, error) {
	var device unix.Stat_t
	if err := unix.Stat(path, &device); err == nil && device.Mode&unix.S_IFMT != unix.S_IFCHR {
		return 0, fmt.Errorf("%w: not a device", ErrNoPort)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case err == unix.EBUSY: // another process has it in exclusive mode
		return 0, busy(path)
	case err == unix.ENOENT || err == unix.ENODEV || err == unix.ENXIO:
		return 0, fmt.Errorf("%w: %w", ErrNoPort, err)
	case err != nil:
		return 0, err
	}
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return fd, nil
	}
	unix.Close(fd)
	if err == unix.EWOULDBLOCK {
		return 0, busy(path)
	}
	return 0, fmt.Errorf("lock: %w", err)
}

// busy gives ErrPortBusy, with the process that holds a flock on the device where /proc/locks has one.
func busy(path string) error {
	var device unix.Stat_t
	locks, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Stat(path, &device) != nil {
		return ErrPortBusy
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(device.Dev)), unix.Minor(uint64(device.Dev)), device.Ino)
	for line := range strings.Lines(string(locks)) {
		// "1: FLOCK  ADVISORY  WRITE 8936 00:1a:3 0 EOF"
		if f := strings.Fields(line); len(f) > 5 && f[1] == "FLOCK" && f[5] == file {
			return fmt.Errorf("%w by process %s", ErrPortBusy, f[4])
		}
	}
	return ErrPortBusy
}

// driverError gives the sentinel for an error of the driver's Open.
func driverError(path string, err error) error {
	var port *serial.PortError
	if errors.As(err, &port) {
		switch port.Code() {
		case serial.PortBusy:
			return busy(path)
		case serial.PermissionDenied:
			return os.ErrPermission
		}
	}
	return fmt.Errorf("%w: %w", ErrNoPort, err)
}

// Read waits for at least one byte. It gives ErrGone when the line is hung up or unplugged, os.ErrClosed after Close.
func (p *Port) Read(b []byte) (int, error) {
	p.reading.Lock()
	defer p.reading.Unlock()
	for !p.closed.Load() {
		n, err := p.driver.Read(b)
		if err != nil {
			return n, fmt.Errorf("read %s: %w: %w", p.path, ErrGone, err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("read %s: %w", p.path, os.ErrClosed)
}

// Write hands all of b to the driver. It has no time limit: a device that takes no bytes holds it up until it is
// unplugged. It gives ErrGone when the line is hung up or unplugged, os.ErrClosed after Close.
func (p *Port) Write(b []byte) (int, error) {
	p.writing <- struct{}{}
	defer func() { <-p.writing }()
	sent := 0
	for sent < len(b) {
		if p.closed.Load() {
			return sent, fmt.Errorf("write %s: %w", p.path, os.ErrClosed)
		}
		n, err := p.driver.Write(b[sent:])
		sent += n
		if err != nil && err != unix.EINTR {
			return sent, fmt.Errorf("write %s: %w: %w", p.path, ErrGone, err)
		}
	}
	return sent, nil
}

// Close gives the port back; a Read that waits returns. A second Close does nothing.
func (p *Port) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	// The driver closes its descriptor under a Read or Write that is about to use it, and the number may by then be
	// another file's. So they finish first; a Write that hangs is inside the kernel, which keeps the device for it.
	p.reading.Lock()
	defer p.reading.Unlock()
	select {
	case p.writing <- struct{}{}:
		defer func() { <-p.writing }()
	case <-time.After(closeWait):
	}
	err := p.driver.Close()
	// Unlocked by name: a process that is forked at this moment has a copy of the descriptor until it executes its program,
	// and close alone would leave the lock with that copy.
	if unlock := errors.Join(unix.Flock(p.lock, unix.LOCK_UN), unix.Close(p.lock)); err == nil {
		err = unlock
	}
	if err != nil {
		return fmt.Errorf("close %s: %w", p.path, err)
	}
	return nil
}
