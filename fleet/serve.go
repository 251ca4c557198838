// Package fleet has test units in numbers: Make makes them as keys and certificates, Serve runs them behind pseudo-terminals as the
// library's own code over simulated chips, ServeBoards as machine code, and Meet lets two of them meet.
package fleet

import (
	"context"
	"errors"
	"fmt"

	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/link/sim"
)

// MaxUnits is how many simulated units one process serves: each has a pseudo-terminal, of which Linux hands out 4096 by
// default, and four open files.
const MaxUnits = 1000

const maxTimeScale = 100 // a chip a hundred times slower than the data sheet's slowest

// ErrRange is wrapped where a request asks for what cannot be served.
var ErrRange = errors.New("out of range")

// Request says which units to serve.
type Request struct {
	Units     int
	Dir       string   // exists; ports and state go there, see sim.Options
	Anchor    [32]byte // what the image trusts
	Firmware  [32]byte // the image's hash
	Product   uint32
	Peers     []uint32
	IOKey     bool    // the chips encrypt what ECDH gives
	TimeScale float64 // chip's execution times: 1 as in the data sheet, 0 none
	Baud      int     // pace of the line, bits a second; 0 = as fast as it goes
}

// Serve runs simulated units on pseudo-terminals. ready gets the ports once all units have power; the units answer until
// the context ends, which is no error. Before it returns, every unit is unplugged; their files stay, and the next Serve on
// the same folder goes on with the same units.
//
// Errors wrap ErrRange, device.ErrNoCgo, or what the system says about a unit's files or terminal.
func Serve(ctx context.Context, r Request, ready func(ports []string)) (err error) {
	if r.Units < 1 || r.Units > MaxUnits {
		return fmt.Errorf("%d units, want 1 to %d: %w", r.Units, MaxUnits, ErrRange)
	}
	if err := checkPace(r.TimeScale, r.Baud); err != nil {
		return err
	}
	var ports []string
	for i := range r.Units {
		u, startErr := sim.Start(sim.Options{
			Dir:       r.Dir,
			Index:     i + 1,
			TimeScale: r.TimeScale,
			Baud:      r.Baud,
			Image:     device.Image{AnchorHash: r.Anchor, FirmwareHash: r.Firmware, Product: r.Product, Peers: r.Peers, IOKey: r.IOKey},
		})
		if startErr != nil {
			return startErr
		}
		defer func() { err = errors.Join(err, u.Close()) }()
		ports = append(ports, u.Port())
	}
	ready(ports)
	<-ctx.Done()
	return nil
}

func checkPace(scale float64, baud int) error {
	if baud < 0 || !(scale >= 0 && scale <= maxTimeScale) { // a scale that is no number compares with nothing
		return fmt.Errorf("pace of %d bits a second and time scale %v, want a pace of 0 or more and a scale from 0 to %d: %w", baud, scale, maxTimeScale, ErrRange)
	}
	return nil
}
