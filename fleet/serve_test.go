//go:build cgo

package fleet

import (
	"context"
	"crypto/sha256"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/link"
)

// Units of a fleet answer until it is stopped, and are the same units when it is started again.
func TestServe(t *testing.T) {
	r := Request{Units: 3, Dir: t.TempDir(), Anchor: sha256.Sum256([]byte("anchor")), Firmware: sha256.Sum256([]byte("firmware")),
		Product: 7, Peers: []uint32{7, 8}}
	var before []link.Hello
	for range 2 {
		var after []link.Hello
		for _, port := range serve(t, r, &after) {
			if _, err := os.Lstat(port); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s after the end: %v", port, err)
			}
		}
		chips := map[[9]byte]bool{}
		for i, h := range after {
			chips[h.Chip] = true
			if h.AnchorHash != r.Anchor || h.Firmware != r.Firmware || h.Product != r.Product || len(h.Peers) != 2 || h.State != link.Blank {
				t.Errorf("unit %d: %+v", i, h)
			}
			if before != nil && h.Chip != before[i].Chip {
				t.Errorf("unit %d is chip %x and was %x", i, h.Chip, before[i].Chip)
			}
		}
		if len(chips) != r.Units {
			t.Errorf("%d chips in %d units", len(chips), r.Units)
		}
		before = after
	}
}

// serve runs a fleet, says hello to each unit in turn and stops the fleet. It gives the ports.
func serve(t *testing.T, r Request, hellos *[]link.Hello) (ports []string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	err := Serve(ctx, r, func(up []string) {
		defer stop()
		ports = up
		for _, path := range up {
			port, err := link.Open(path, 115200)
			if err != nil {
				t.Error(err)
				continue
			}
			c := link.Dial(port)
			h, err := c.Hello(ctx)
			if err != nil {
				t.Error(err)
			}
			*hellos = append(*hellos, h)
			c.Close()
		}
	})
	if err != nil || len(ports) != r.Units {
		t.Fatalf("%d ports, %v", len(ports), err)
	}
	return ports
}

func TestServeRefuses(t *testing.T) {
	good := Request{Units: 2, Dir: t.TempDir(), Product: 7, Peers: []uint32{7}}
	for name, test := range map[string]struct {
		change func(*Request)
		want   error
	}{
		"no units":           {func(r *Request) { r.Units = 0 }, ErrRange},
		"too many units":     {func(r *Request) { r.Units = MaxUnits + 1 }, ErrRange},
		"pace below 0":       {func(r *Request) { r.Baud = -1 }, ErrRange},
		"scale is no number": {func(r *Request) { r.TimeScale = math.NaN() }, ErrRange},
		"scale below 0":      {func(r *Request) { r.TimeScale = -1 }, ErrRange},
		"no plan":            {func(r *Request) { r.Plan = new(Plan) }, ca.ErrMalformed},
		"a plan for others": {func(r *Request) {
			r.Plan = &Plan{Schema: planSchema, Faults: []Fault{{Kind: dead, Units: Numbers{3, 3}}}}
		}, ErrRange},
		"a file in the socket's place": {func(r *Request) { r.Control = "serve_test.go" }, os.ErrExist},
		"no folder":                    {func(r *Request) { r.Dir = filepath.Join(r.Dir, "missing") }, os.ErrNotExist},
	} {
		r := good
		test.change(&r)
		err := Serve(t.Context(), r, func([]string) { t.Errorf("%s: units are served", name) })
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
