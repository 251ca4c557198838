package spoil_test

import (
	"context"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/fleet"
	"github.com/birthmark/birthmark/fleet/spoil"
	"github.com/birthmark/birthmark/templates"
)

// A test of a program that judges units gives it those that it must refuse.
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
	path := filepath.Join(folder, "fleet.jsonl")
	r := fleet.MakeRequest{Out: path, Units: 1, Orders: 1, Seed: "example", Profile: profile}
	if err := fleet.Make(context.Background(), r, func(int) {}); err != nil {
		log.Fatal(err)
	}
	f, err := fleet.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	s, err := spoil.Make(f)
	if err != nil {
		log.Fatal(err)
	}
	files := maps.Collect(s.Files())
	for _, k := range s.Kinds {
		if k.Check != "range" {
			continue
		}
		u, o, err := ca.ParseIDCred(files[k.File])
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s: %v\n", k.Kind, k.Why, f.Bundle.VerifyUnit(o, u) != nil)
	}
	// Output:
	// unit-below: its serial number is the one before the order's range: true
	// unit-above: its serial number is the one after the order's range: true
	// unit-station: it is a station's certificate, which no unit takes that is sealed: true
}
