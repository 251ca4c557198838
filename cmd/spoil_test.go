package cmd

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Who stops it finds nothing that looks like a spoiled fleet, and may start again.
func TestSpoilStops(t *testing.T) {
	folder := t.TempDir()
	path, out := filepath.Join(folder, "fleet.cbor"), filepath.Join(folder, "spoiled")
	streams := Streams{Out: io.Discard, Err: io.Discard}
	if code := Main([]string{"fleet", "make", "-n", "1", "--out", path}, streams); code != exitGood {
		t.Fatal(code)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p := &program{Streams: streams, now: time.Now}
	cancel()
	if err := p.runFleetSpoil(ctx, path, out); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
	if err := p.runFleetSpoil(t.Context(), path, out); err != nil {
		t.Error(err)
	}
}
