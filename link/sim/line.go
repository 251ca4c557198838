package sim

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// A pseudo-terminal forgets a killed station's exclusive mode only when it goes away itself, a real port at the last
// close. So the unit ends that mode this often; link.Port's own lock does not depend on it.
const releaseEvery = 50 * time.Millisecond

// line is one pseudo-terminal, from plugging the unit in to unplugging it.
type line struct {
	unit *os.File // the unit's end
	port *os.File // the station's end; open all the time, since the unit's end cannot be read while nobody has it open
	link string   // stable name of the port
}

// plugLine makes a pseudo-terminal in raw mode and the symbolic link to its port, in place of one that a killed process
// has left.
func plugLine(link string) (*line, error) {
	unit, port, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("open pseudo-terminal: %w", err)
	}
	l := &line{unit: unit, port: port, link: link}
	if err := l.prepare(); err != nil {
		unit.Close()
		port.Close()
		return nil, err
	}
	return l, nil
}

func (l *line) prepare() error {
	// pty.Open leaves the unit's end blocking. Then no deadline would end a Read, nor would Close.
	if err := control(l.unit, func(fd int) error { return unix.SetNonblock(fd, true) }); err != nil {
		return err
	}
	if err := control(l.port, func(fd int) error { _, err := term.MakeRaw(fd); return err }); err != nil {
		return err
	}
	if _, err := os.Readlink(l.link); err == nil { // anything else that has this name stays
		if err := os.Remove(l.link); err != nil {
			return err
		}
	}
	return os.Symlink(l.port.Name(), l.link)
}

// control does something with the descriptor of f, which stays open and in its mode meanwhile: Fd sees to neither.
func control(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if closed := raw.Control(func(fd uintptr) { err = do(int(fd)) }); closed != nil {
		return closed
	}
	return err
}

// Read waits for bytes from the station.
func (l *line) Read(b []byte) (int, error) {
	for {
		if err := l.unit.SetReadDeadline(time.Now().Add(releaseEvery)); err != nil {
			return 0, err
		}
		n, err := l.unit.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = control(l.port, func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCNXCL, 0) })
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write sends bytes as a wire does: what nobody fetches in time is lost.
func (l *line) Write(b []byte) (int, error) {
	err := control(l.unit, func(fd int) error {
		_, err := unix.Write(fd, b)
		return err
	})
	if errors.Is(err, unix.EAGAIN) {
		err = nil
	}
	return len(b), err
}

// unplug hangs the line up. The name goes first: from then on there is no such port.
func (l *line) unplug() error {
	return errors.Join(os.Remove(l.link), l.port.Close(), l.unit.Close())
}
