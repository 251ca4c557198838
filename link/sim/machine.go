package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/birthmark/birthmark/chip"
	"github.com/birthmark/birthmark/device"
)

// emulator runs the firmware as the machine code that it is: device/firmware/board_lm3s6965.c says what of that is emulated.
const emulator = "qemu-system-arm"

// pace makes the emulator as slow as a Cortex-M0+ at 48 MHz, if one of its instructions takes 1.5 cycles: 2^5 ns each.
const pace = "shift=5,align=on"

// ErrNoEmulator: the machine that is to run firmware has no emulator for it.
var ErrNoEmulator = errors.New(emulator + " is not installed")

// Machine is a unit whose firmware runs as machine code in an emulator, with its chip behind a wire. What it keeps without power is
// what a Unit keeps, in the same files. Its methods may be called from any goroutine.
type Machine struct {
	path     string
	emulator *exec.Cmd
	chip     *chip.Device
	lines    []*line    // console, and line unless it is wired
	sockets  []net.Conn // line, chip, console, and the wire if there is one
	pumps    sync.WaitGroup
	killed   atomic.Bool
	ended    chan struct{} // closed when everything is released, after err is set
	err      error
}

// MachineOptions say what a machine runs and where it lives; Dir, Index, SerialNumber, TimeScale and Baud are as in Options. With a
// TimeScale the processor takes a real one's time as well.
type MachineOptions struct {
	Dir          string
	Index        int
	SerialNumber [9]byte
	TimeScale    float64
	Baud         int // of the line; the console has no limit

	Firmware []byte       // an ELF file of `make firmware`
	Image    device.Image // what goes into it, but for the firmware's hash
	Console  io.Writer    // gets what the firmware says on its console; nil: nobody
	// Cut is asked before each byte that the chip's EEPROM would change; once it says yes the power has failed, as in Options. Writes is
	// how many writes the flash lets happen before the power fails in its place, each a unit of 8 bytes or an erasure; 0 is no end.
	Cut    func() bool
	Writes uint32

	Wire net.Conn // where its line leads, instead of to a port; the machine closes it
}

// StartMachine gives a machine power and connects its line at unit-NN and its console at unit-NN.console. It runs until Kill, or
// until its emulator fails. Errors wrap ErrNoEmulator, ErrFirmware, or are of the files as Start's.
func StartMachine(o MachineOptions) (_ *Machine, err error) {
	m := &Machine{path: unitPath(o.Dir, o.Index), ended: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start %s: %w", m.path, err), m.release())
		}
	}()
	m.chip, err = chip.Open(m.path+".eeprom", chip.Options{SerialNumber: o.SerialNumber, TimeScale: o.TimeScale, Cut: func(int) bool {
		if o.Cut == nil || !o.Cut() {
			return false
		}
		m.cutPower()
		return true
	}})
	if err != nil {
		return nil, err
	}
	if err := m.store(o); err != nil {
		return nil, err
	}
	arguments := []string{"-M", "lm3s6965evb", "-cpu", "cortex-m0", "-kernel", m.path + ".firmware", "-nic", "none", "-display", "none",
		"-monitor", "none", "-semihosting-config", "enable=on,target=native,arg=" + strings.ReplaceAll(m.path, ",", ",,")}
	if o.TimeScale > 0 {
		arguments = append(arguments, "-icount", pace)
	}
	var far []*os.File // the emulator's ends
	defer func() {
		for _, file := range far {
			file.Close()
		}
	}()
	for i, name := range []string{"line", "chip", "console"} { // in the order of enum board_uart
		near, file, err := socketPair()
		if err != nil {
			return nil, err
		}
		m.sockets, far = append(m.sockets, near), append(far, file)
		arguments = append(arguments, "-chardev", fmt.Sprintf("socket,id=%s,fd=%d", name, 3+i), "-serial", "chardev:"+name)
	}
	suffixes := []string{".console", ""}
	if o.Wire != nil {
		suffixes, m.sockets = suffixes[:1], append(m.sockets, o.Wire)
	}
	for _, suffix := range suffixes {
		l, err := plugLine(m.path + suffix)
		if err != nil {
			return nil, err
		}
		m.lines = append(m.lines, l)
	}
	var said strings.Builder
	m.emulator = exec.Command(emulator, arguments...)
	m.emulator.ExtraFiles, m.emulator.Stderr = far, &said
	m.emulator.SysProcAttr = endsWithParent()
	if err := m.emulator.Start(); err != nil {
		m.emulator = nil
		if errors.Is(err, exec.ErrNotFound) {
			err = ErrNoEmulator
		}
		return nil, err
	}
	m.run(o, &said)
	return m, nil
}

// store puts what the machine has in its flash memories into files: the image, and what the firmware keeps.
func (m *Machine) store(o MachineOptions) error {
	image, err := Firmware(o.Firmware, o.Image)
	if err != nil {
		return fmt.Errorf("firmware: %w", err)
	}
	if err := os.WriteFile(m.path+".firmware", image, 0o600); err != nil {
		return err
	}
	o.Image.FirmwareHash = sha256.Sum256(image)
	if err := writeImage(m.path+".image", o.Image); err != nil {
		return err
	}
	supply := m.path + ".power" // what the emulated flash counts down, one more than it lets happen
	if err := os.Remove(supply); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if o.Writes > 0 {
		if err := os.WriteFile(supply, binary.LittleEndian.AppendUint32(nil, o.Writes+1), 0o600); err != nil {
			return err
		}
	}
	flash, err := openFlash(m.path+".flash", func() bool { return false })
	if err != nil {
		return err
	}
	return flash.file.Close()
}

// run carries bytes until the emulator has ended.
func (m *Machine) run(o MachineOptions, said *strings.Builder) {
	line, wire, console := m.sockets[0], m.sockets[1], m.sockets[2]
	listener := o.Console
	if listener == nil {
		listener = io.Discard
	}
	var far io.ReadWriter = o.Wire // of the line
	heard := 0                     // at the pace of whoever speaks at the other end of the wire
	if o.Wire == nil {
		far, heard = m.lines[1], o.Baud
	}
	m.pumps.Go(func() { pump(line, far, heard) })
	m.pumps.Go(func() { pump(far, line, o.Baud) })
	m.pumps.Go(func() { pump(console, m.lines[0], 0) })
	m.pumps.Go(func() { pump(io.MultiWriter(m.lines[0], listener), console, 0) })
	m.pumps.Go(func() { _ = chip.NewSingleWire(m.chip).Serve(wire) }) // until the emulator's end is closed
	go func() {
		defer close(m.ended)
		err := m.emulator.Wait()
		if m.killed.Load() {
			err = nil
		} else if err != nil {
			err = fmt.Errorf("%s: %w: %s", emulator, err, strings.TrimSpace(said.String()))
		}
		m.err = errors.Join(err, m.release())
	}()
}

// Port and Console are paths for link.Open.
func (m *Machine) Port() string { return m.path }

// Console is where to type what the firmware reads, and what it says is heard.
func (m *Machine) Console() string { return m.path + ".console" }

// Kill takes the power away at whatever instruction the machine is. It returns when the files are closed, with what failed before
// that; a second call gives the same.
func (m *Machine) Kill() error {
	m.cutPower()
	<-m.ended
	return m.err
}

func (m *Machine) cutPower() {
	m.killed.Store(true)
	_ = m.emulator.Process.Kill() // or it has ended
}

// Ended is closed when the machine has no power any more; Kill then says why.
func (m *Machine) Ended() <-chan struct{} { return m.ended }

// release closes what the machine consists of.
func (m *Machine) release() error {
	var errs []error
	for _, socket := range m.sockets {
		errs = append(errs, socket.Close())
	}
	for _, l := range m.lines {
		errs = append(errs, l.unplug())
	}
	m.pumps.Wait()
	if m.chip != nil {
		errs = append(errs, m.chip.Close())
	}
	return errors.Join(errs...)
}

// socketPair gives both ends of a connection, the second for another process.
func socketPair() (net.Conn, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	for _, end := range pair {
		unix.CloseOnExec(end)
	}
	near, far := os.NewFile(uintptr(pair[0]), "near end"), os.NewFile(uintptr(pair[1]), "far end")
	defer near.Close() // FileConn has its own
	conn, err := net.FileConn(near)
	if err != nil {
		far.Close()
		return nil, nil, err
	}
	return conn, far, nil
}

const pumped = 16 // bytes at a time: what a UART's FIFO holds

// pump carries bytes until one of the two ends is closed, as slowly as a line of so many bits a second; 0 is without limit.
func pump(to io.Writer, from io.Reader, baud int) {
	var free time.Time // when the line is
	for b := make([]byte, pumped); ; {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if baud > 0 {
			if now := time.Now(); now.Sub(free) > maxOverslept {
				free = now
			}
			free = free.Add(time.Duration(n) * 10 * time.Second / time.Duration(baud)) // start bit, eight bits, stop bit
			time.Sleep(time.Until(free))
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}
