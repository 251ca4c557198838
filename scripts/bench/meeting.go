package main

import (
	"errors"
	"time"

	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/link/sim"
	"github.com/birthmark/birthmark/scripts/figures"
)

// Chip commands that cost the time of elliptic curves (docs/library.md): GenKey, Sign, ECDH, Verify.
var curveCommands = map[byte]bool{0x40: true, 0x41: true, 0x43: true, 0x45: true}

// counter is a chip that counts those commands.
type counter struct {
	device.Chip
	operations int
}

func (c *counter) Exchange(group []byte) []byte {
	if len(group) > 1 && curveCommands[group[1]] {
		c.operations++
	}
	return c.Chip.Exchange(group)
}

// meetings lets two of the run's units meet for the first time, and again, and counts what the chip of each has to do. The floor is
// what authentication takes: an ephemeral key, one ECDH, the own signature, and the peer's, at a first meeting with those of its
// certificate and its order.
func meetings(ports []string) ([]figures.Figure, error) {
	var chips [2]*counter
	var peers [2]*device.Peer
	var clock time.Time
	for i, port := range ports {
		board, err := sim.OpenBoard(port, func(time.Duration) {}, func() time.Time { return clock })
		if err != nil {
			return nil, err
		}
		defer board.Close()
		chips[i] = &counter{Chip: board.Chip}
		board.Parts.Chip = chips[i]
		if peers[i], err = device.NewPeer(board.Image, board.Parts, device.PeerOptions{Policy: device.Wired{}}); err != nil {
			return nil, err
		}
		defer peers[i].Close()
		chips[i].operations = 0
	}
	var list []figures.Figure
	now := uint32(0)
	for _, c := range []struct {
		name       string
		floor, bar float64
	}{{"chip_ops_first", 6, 6}, {"chip_ops_paired", 4, 4}} {
		if err := peers[0].Connect(); err != nil {
			return nil, err
		}
		ready := [2]bool{}
		for range 1000 {
			now += 10
			for i, p := range peers {
				p.Tick(now)
				peers[1-i].Receive(p.Out())
				for _, e := range p.Events() {
					ready[i] = ready[i] || e.Kind == device.PeerReady
				}
			}
		}
		if !ready[0] || !ready[1] {
			return nil, errors.New("two units did not pair")
		}
		list = append(list, figures.Figure{Name: c.name, Value: float64(max(chips[0].operations, chips[1].operations)), Unit: "ops",
			Floor: figures.Of(c.floor), Bar: figures.Of(c.bar), Note: "of each side's chip: GenKey, ECDH, Sign, Verify"})
		chips[0].operations, chips[1].operations = 0, 0
	}
	return list, nil
}
