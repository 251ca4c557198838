//go:build cgo

package ca

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

// The driver in a unit has its own table of the chip's configuration (device/port_atecc608.c), and the profile is what
// officers review: a chip that the driver has locked is one that the profile accepts.
func TestDriverMakesWhatTheProfileWants(t *testing.T) {
	t.Run("in clear", func(t *testing.T) { driverMakes(t, newWorks(t)) })
	t.Run("protected", func(t *testing.T) {
		w := newWorks(t)
		w.profile = protectedProfile(t)
		driverMakes(t, w)
	})
}

// protectedProfile is the demo's, for chips with an IO protection key.
func protectedProfile(t testing.TB) *Profile {
	t.Helper()
	p, err := ParseProfile([]byte(strings.Replace(demoProfile(t), `options: "0000"`, `options: "6102"`, 1)))
	if err != nil || !p.IOKey() {
		t.Fatal(err)
	}
	return p
}

func driverMakes(t *testing.T, w *works) {
	unit, err := sim.Start(sim.Options{Dir: t.TempDir(), Image: device.Image{
		AnchorHash: w.authority.Anchor.Hash(), Product: w.profile.Product, Peers: w.profile.Peers, IOKey: w.profile.IOKey(),
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
	if err := w.profile.Fits(hello.Product, hello.Peers, hello.ChipOptions, hello.Firmware); err != nil {
		t.Error(err)
	}
	wantError(t, "other options", w.profile.Fits(hello.Product, hello.Peers, hello.ChipOptions^0x6102, hello.Firmware), ErrPolicy)
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
