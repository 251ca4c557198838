package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/link/sim"
)

// maxBoards is how many boards one process serves: each is an emulator that takes a core while it computes.
const maxBoards = 64

// BoardRequest says which boards to serve. Fields that Request has, too, are the same there.
type BoardRequest struct {
	Units     int
	Dir       string
	Firmware  []byte // an ELF file of `make firmware`
	Anchor    [32]byte
	Product   uint32
	Peers     []uint32
	IOKey     bool
	TimeScale float64
	Baud      int
	Wired     bool     // the lines of the first and the second board are one wire, and so on; they have no ports
	Impostor  Impostor // stands in the place of the second at each wire
}

// Board is where a board answers: paths for link.Open.
type Board struct {
	Port    string // empty if its line is wired
	Console string
}

// ServeBoards runs units as the machine code that a product has, each in an emulator with a simulated chip behind a wire. Their
// files are those of Serve's units: a unit may be served as one today and as the other tomorrow. ready gets the boards once all have
// power; they run until the context ends, which is no error, or until an emulator fails.
//
// Errors wrap ErrRange, ErrNotProvisioned for an impostor of a unit that is nobody yet, device.ErrNoCgo, sim.ErrNoEmulator,
// sim.ErrFirmware, or what the system says about a unit's files or terminal.
func ServeBoards(ctx context.Context, r BoardRequest, ready func([]Board)) (err error) {
	if err := r.check(); err != nil {
		return err
	}
	failed := make(chan *sim.Machine, r.Units)
	var boards []Board
	var wire [2]net.Conn
	for i := range r.Units {
		o := sim.MachineOptions{
			Dir: r.Dir, Index: i + 1, TimeScale: r.TimeScale, Baud: r.Baud, Firmware: r.Firmware,
			Image: device.Image{AnchorHash: r.Anchor, Product: r.Product, Peers: r.Peers, IOKey: r.IOKey},
		}
		if r.Wired {
			if i%2 == 0 {
				wire[0], wire[1] = net.Pipe()
			}
			o.Wire = wire[i%2]
		}
		if r.Impostor != Nobody && i%2 == 1 {
			path, remove, makeErr := r.Impostor.make(filepath.Join(r.Dir, fmt.Sprintf("unit-%02d", i+1)))
			if makeErr != nil {
				return makeErr
			}
			defer func() { err = errors.Join(err, remove()) }()
			o.Dir = filepath.Dir(path)
		}
		m, startErr := sim.StartMachine(o)
		if startErr != nil {
			return startErr
		}
		defer func() { err = errors.Join(err, m.Kill()) }()
		go func() {
			<-m.Ended()
			failed <- m
		}()
		board := Board{Port: m.Port(), Console: m.Console()}
		if r.Wired {
			board.Port = ""
		}
		boards = append(boards, board)
	}
	ready(boards)
	select {
	case <-ctx.Done():
		return nil
	case m := <-failed:
		return m.Kill() // says why
	}
}

func (r BoardRequest) check() error {
	switch {
	case r.Units < 1 || r.Units > maxBoards:
		return fmt.Errorf("%d boards, want 1 to %d: %w", r.Units, maxBoards, ErrRange)
	case r.Wired && r.Units%2 != 0:
		return fmt.Errorf("%d boards, want two for each wire: %w", r.Units, ErrRange)
	case r.Impostor != Nobody && !r.Wired:
		return fmt.Errorf("an impostor without a wire: %w", ErrRange)
	}
	return errors.Join(checkImpostor(r.Impostor), checkPace(r.TimeScale, r.Baud))
}
