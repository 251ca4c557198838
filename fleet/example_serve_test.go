//go:build cgo

package fleet_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/birthmark/birthmark/fleet"
	"github.com/birthmark/birthmark/link"
)

// A unit behind a port that is dead for one request: the station asks again.
func ExampleServe() {
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	plan, err := fleet.ParsePlan([]byte("birthmark: faults/1\nfaults: [{fault: dead, stage: hello, times: 1}]"))
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	request := fleet.Request{Units: 1, Dir: dir, Product: 7, Peers: []uint32{7}, Plan: plan,
		Watch: func(port, event string) { fmt.Println(filepath.Base(port), event) }}
	err = fleet.Serve(ctx, request, func(ports []string) {
		defer stop()
		port, err := link.Open(ports[0], 115200)
		if err != nil {
			log.Fatal(err)
		}
		unit := link.Dial(port)
		defer unit.Close()
		unit.SetPatience(0.5)
		hello, err := unit.Hello(ctx)
		fmt.Println(hello.Product, hello.State, err)
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// unit-01 dead at hello, request 1
	// 7 blank <nil>
}
