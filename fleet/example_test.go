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

// A test makes the units that it wants, and finds them all genuine.
func ExampleMake() {
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
	path := filepath.Join(folder, "fleet.cbor")
	r := fleet.MakeRequest{Out: path, Units: 3, Orders: 1, Seed: "example", Profile: profile}
	if err := fleet.Make(context.Background(), r, func(int) {}); err != nil {
		log.Fatal(err)
	}
	f, err := fleet.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	for u, err := range f.Units() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(u.Serial, "of order", u.Order, len(u.Certificate), "bytes")
	}
	units, refused, err := f.Verify(context.Background(), f.Bundle, func(int) {})
	fmt.Println(units, "units,", len(refused), "refused,", err)
	// Output:
	// 72-71-64-00-00-00-00-01 of order 1 135 bytes
	// 72-71-64-00-00-00-00-02 of order 1 135 bytes
	// 72-71-64-00-00-00-00-03 of order 1 135 bytes
	// 3 units, 0 refused, <nil>
}
