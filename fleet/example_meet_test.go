//go:build cgo

package fleet_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/fleet"
	"github.com/birthmark/birthmark/templates"
)

// Units of two authorities meet: each fleet's among themselves, and nobody else's.
func ExampleMeetAll() {
	folder, err := os.MkdirTemp("", "fleet")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	text, err := templates.Product("demo-sensor")
	if err != nil {
		log.Fatal(err)
	}
	profile, err := ca.ParseProfile(text)
	if err != nil {
		log.Fatal(err)
	}
	var fleets []*fleet.Fleet
	for _, seed := range []string{"ours", "theirs"} {
		path := filepath.Join(folder, seed+".cbor")
		r := fleet.MakeRequest{Out: path, Units: 2, Orders: 1, Seed: seed, Profile: profile}
		if err := fleet.Make(context.Background(), r, func(int) {}); err != nil {
			log.Fatal(err)
		}
		f, err := fleet.Open(path)
		if err != nil {
			log.Fatal(err)
		}
		fleets = append(fleets, f)
	}
	m, err := fleet.MeetAll(context.Background(), fleet.MatrixRequest{Fleets: fleets}, func(int) {})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Met, "met,", m.Refused, "refused")
	for _, r := range m.Reasons() {
		fmt.Println(r.Times, "times:", r.Reason)
	}
	// Output:
	// 4 met, 8 refused
	// 8 times: the order's signature does not hold
}
