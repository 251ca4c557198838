//go:build cgo

package ca

import (
	"testing"

	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

// The driver in a unit has its own table of the chip's configuration (device/port_atecc608.c), and the profile is what
// officers review: a chip that the driver has locked is one that the profile accepts.
func TestDriverMakesWhatTheProfileWants(t *testing.T) {
	w := newWorks(t)
	unit, err := sim.Start(sim.Options{Dir: t.TempDir(), Image: device.Image{
		AnchorHash: w.authority.Anchor.Hash(), Product: w.profile.Product, Peers: w.profile.Peers,
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer unit.Close()
	port, err := link.Open(unit.Port(), 115200)
	if err != nil {
		t.Fatal(err)
	}
	conversation := link.Dial(port)
	defer conversation.Close()
	if _, err := conversation.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
	prepared, err := conversation.Prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.profile.CheckConfiguration(prepared.Configuration); err != nil {
		t.Error(err)
	}
}
