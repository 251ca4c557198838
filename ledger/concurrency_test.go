package ledger

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// wantRun checks that serials are the first len(serials) numbers of the order, each once.
func wantRun(t *testing.T, order Order, serials []uint64) {
	t.Helper()
	slices.Sort(serials)
	for i, serial := range serials {
		if serial != order.First+uint64(i) {
			t.Fatalf("serial %d of %d is %016x, want %016x", i, len(serials), serial, order.First+uint64(i))
		}
	}
}

func TestLanes(t *testing.T) {
	const lanes, each = 8, 25
	b, _ := newBook(t)
	order := addOrder(t, b, testOrder(1, lanes*each))
	var wg sync.WaitGroup
	results := make([][]uint64, lanes)
	for lane := range lanes {
		wg.Go(func() {
			for i := range each {
				r, err := b.Reserve(context.Background(), 1, unitKey(lane*each+i), morning)
				if err == nil {
					_, err = b.Commit(context.Background(), r.Serial, certificateOf(r.Serial), nil)
				}
				if err != nil {
					t.Error(err)
					return
				}
				results[lane] = append(results[lane], r.Serial)
			}
		})
	}
	wg.Wait()
	var all []uint64
	for _, serials := range results {
		if !slices.IsSorted(serials) {
			t.Errorf("a lane's serials do not ascend: %x", serials)
		}
		all = append(all, serials...)
	}
	if len(all) != lanes*each {
		t.Fatalf("%d serials, want %d", len(all), lanes*each)
	}
	wantRun(t, order, all)
	if report := verify(t, b); report.Size != lanes*each {
		t.Errorf("log has %d leaves", report.Size)
	}
}

// TestOneUnitOnManyLanes reserves and commits the same unit everywhere at once: one serial, one certificate.
func TestOneUnitOnManyLanes(t *testing.T) {
	b, _ := newBook(t)
	order := addOrder(t, b, testOrder(1, 10))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			r, err := b.Reserve(context.Background(), 1, unitKey(1), morning)
			if err != nil || r.Serial != order.First {
				t.Errorf("reserved %016x, %v", r.Serial, err)
			}
			if _, err := b.Commit(context.Background(), r.Serial, certificateOf(r.Serial), nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s, err := b.Summary(context.Background(), 1); err != nil || s.Issued != 1 || s.Unused != 9 {
		t.Errorf("%+v, %v", s, err)
	}
	verify(t, b)
}

const unitsPerProcess = 25

// TestProcesses has four processes reserve and commit on one file while this one reads it.
func TestProcesses(t *testing.T) {
	const processes = 4
	b, path := newBook(t)
	order := addOrder(t, b, testOrder(1, processes*unitsPerProcess))
	var wg sync.WaitGroup
	outputs := make([]bytes.Buffer, processes)
	for p := range processes {
		c := childCommand(t, "lane", path)
		c.Env = append(c.Env, fmt.Sprintf("%s=%d", childLane, p))
		c.Stdout, c.Stderr = &outputs[p], os.Stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := c.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(20 * time.Millisecond):
			verify(t, b)
		}
	}
	var all []uint64
	for p := range processes {
		lines := bufio.NewScanner(&outputs[p])
		for lines.Scan() {
			var serial uint64
			if _, err := fmt.Sscanf(lines.Text(), "%x", &serial); err != nil {
				t.Fatal(err)
			}
			all = append(all, serial)
		}
	}
	if len(all) != processes*unitsPerProcess {
		t.Fatalf("%d serials, want %d", len(all), processes*unitsPerProcess)
	}
	wantRun(t, order, all)
	verify(t, b)
}

func childProcessLane(path, lane string) error {
	b, err := Open(path, station.Anchor)
	if err != nil {
		return err
	}
	var p int
	if _, err := fmt.Sscan(lane, &p); err != nil {
		return err
	}
	for i := range unitsPerProcess {
		r, err := b.Reserve(context.Background(), 1, unitKey(p*unitsPerProcess+i), morning)
		if err != nil {
			return err
		}
		if _, err := b.Commit(context.Background(), r.Serial, certificateOf(r.Serial), nil); err != nil {
			return err
		}
		fmt.Printf("%016x\n", r.Serial)
	}
	return b.Close()
}
