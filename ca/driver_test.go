//go:build cgo

package ca

import (
	"crypto/sha256"
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
	hello, err := conversation.Hello(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	prepared, err := conversation.Prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.profile.CheckConfiguration(prepared.Configuration); err != nil {
		t.Error(err)
	}

	// And so is what the chip says of its key.
	proof, err := conversation.Prove(t.Context(), [32]byte{7}, []byte{1, 2, 3, 4})
	if err != nil {
		t.Fatal(err)
	}
	by, err := publicKey(prepared.AttestationKey)
	if err != nil {
		t.Fatal(err)
	}
	nonce := sha256.Sum256(link.PossessionStatement([32]byte{7}, []byte{1, 2, 3, 4}, hello.Chip, hello.Firmware, proof.Key))
	if err := w.profile.VerifyAttestation(by, Attestation{hello.Chip, nonce, proof.Key, proof.Attestation}); err != nil {
		t.Error(err)
	}
}
