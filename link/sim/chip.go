package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/birthmark/birthmark/chip"
)

// ChipRequest says which simulated chip is served and where: at Kit or at Socket.
type ChipRequest struct {
	EEPROM    string  // its file, made where there is none
	Kit       string  // a link of this name leads to a pseudo-terminal that speaks the kit protocol
	Socket    string  // a Unix socket of this name carries the symbols of the single wire, one a byte
	TimeScale float64 // execution times: 1 as in the data sheet, 0 none
}

// ServeChip serves one simulated chip, a kit's from the beginning to the end of the context, which is no error, and one on a single
// wire to one host after the other: it has power while a host is connected. ready is called once a host would be answered.
//
// Errors wrap chip.ErrImage, fs.ErrExist where the name is that of something else, syscall.EAGAIN where another process has it, or
// what the system says.
func ServeChip(ctx context.Context, r ChipRequest, ready func()) (err error) {
	d, err := chip.Open(r.EEPROM, chip.Options{TimeScale: r.TimeScale})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if r.Kit != "" {
		return serveKit(ctx, d, r.Kit, ready)
	}
	return serveSocket(ctx, d, r.Socket, ready)
}

func serveKit(ctx context.Context, d *chip.Device, link string, ready func()) error {
	l, err := plugLine(link)
	if err != nil {
		return err
	}
	unplugged := make(chan error)
	stop := context.AfterFunc(ctx, func() { unplugged <- l.unplug() })
	ready()
	err = chip.NewKit(d).Serve(l)
	if stop() { // the line ended by itself
		return errors.Join(err, l.unplug())
	}
	return <-unplugged
}

func serveSocket(ctx context.Context, d *chip.Device, path string, ready func()) error {
	listener, err := Listen(path)
	if err != nil {
		return err
	}
	defer listener.Close()
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	ready()
	for {
		host, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { host.Close() })
		d.PowerUp()
		_ = chip.NewSingleWire(d).Serve(host) // however the host went away, the next may come
		stop()
		host.Close()
	}
}

// Listen makes a Unix socket at path, which this user alone may connect to, in place of one that a killed process has left. Errors
// wrap fs.ErrExist where the name is that of something else, syscall.EAGAIN where another process listens there, or are of the path.
func Listen(path string) (net.Listener, error) {
	if err := freeSocket(path); err != nil {
		return nil, err
	}
	private := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), 0o600) }) // before it has a name; not every system lets one
	}}
	listener, err := private.Listen(context.Background(), "unix", path)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "listen", Path: path, Err: errors.Unwrap(err)}
	}
	return listener, nil
}

// freeSocket removes a socket that a killed process has left.
func freeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return &fs.PathError{Op: "listen", Path: path, Err: fs.ErrExist}
	}
	if other, err := net.Dial("unix", path); err == nil {
		other.Close()
		return fmt.Errorf("listen %s: %w", path, syscall.EAGAIN)
	}
	return os.Remove(path)
}
