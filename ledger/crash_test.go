package ledger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// TestKill kills a working process with SIGKILL over and over, each time at another point of a unit's life. What the
// process had reported must be there, the book must verify, and the next process must go on with the same unit.
func TestKill(t *testing.T) {
	const kills, seed = 60, 1
	random := rand.New(rand.NewPCG(seed, seed))
	b, path := newBook(t)
	order := addOrder(t, b, testOrder(1, 1000))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	reported := make(map[uint64]State)
	between := 0 // kills that left a unit between reserve and commit
	for kill := range kills {
		killAfter(t, path, 1+kill%7, time.Duration(random.IntN(3000))*time.Microsecond, reported)
		b, err := Open(path, station.Anchor)
		if err != nil {
			t.Fatal(err)
		}
		verify(t, b)
		var serials []uint64
		for e, err := range b.Units(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Chip != unitKey(len(serials)).Chip {
				t.Fatalf("kill %d: serial %016x went to another unit", kill, e.Serial)
			}
			if e.State < reported[e.Serial] {
				t.Fatalf("kill %d: serial %016x was reported %s and is %s", kill, e.Serial, reported[e.Serial], e.State)
			}
			delete(reported, e.Serial)
			if e.State == Reserved {
				between++
			}
			serials = append(serials, e.Serial)
		}
		if len(reported) > 0 {
			t.Fatalf("kill %d: reported and lost: %v", kill, reported)
		}
		wantRun(t, order, serials)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if between == 0 {
		t.Errorf("none of %d kills came between reserve and commit", kills)
	}
}

// killAfter starts a line, reads that many of its reports, waits, kills it, and notes all that it had reported.
func killAfter(t *testing.T, path string, reports int, wait time.Duration, reported map[uint64]State) {
	t.Helper()
	c := childCommand(t, "line", path)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 1; lines.Scan(); n++ {
		var serial uint64
		var state State
		if _, err := fmt.Sscanf(lines.Text(), "%x %d", &serial, &state); err != nil {
			t.Fatalf("report %q: %v", lines.Text(), err)
		}
		reported[serial] = state
		if n == reports {
			time.Sleep(wait)
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Wait(); err == nil {
		t.Fatal("the line ended by itself")
	}
}

// childLine is a production line: it resumes the last unit, goes on with new ones, and reports each step it was promised.
func childLine(path string) error {
	ctx := context.Background()
	b, err := Open(path, station.Anchor)
	if err != nil {
		return err
	}
	s, err := b.Summary(ctx, 1)
	if err != nil {
		return err
	}
	for n := max(0, int(s.Ordered-s.Unused)-1); ; n++ {
		r, err := b.Reserve(ctx, 1, unitKey(n), morning)
		if err != nil {
			return err
		}
		fmt.Printf("%016x %d\n", r.Serial, r.State)
		if r.State == Reserved {
			// ECDSA signs differently each time; so do we.
			certificate := fmt.Appendf(nil, "certificate of %x by process %d", r.Serial, os.Getpid())
			if _, err := b.Commit(ctx, r.Serial, certificate, nil); err != nil {
				return err
			}
			fmt.Printf("%016x %d\n", r.Serial, Committed)
		}
		if err := b.CloseUnit(ctx, r.Serial, []byte(`{}`), morning); err != nil {
			return err
		}
		fmt.Printf("%016x %d\n", r.Serial, Closed)
	}
}

// TestFull caps the file's size, so that SQLite itself reports SQLITE_FULL at whatever statement needs the next page.
func TestFull(t *testing.T) {
	ctx := context.Background()
	b, _ := newBook(t)
	addOrder(t, b, testOrder(1, 1000))
	b.db.SetMaxOpenConns(1) // the cap belongs to a connection
	var pages int
	if err := b.db.QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		if _, err := b.db.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	n, full := 0, map[string]int{}
	for extra := 1; extra <= 40; extra++ {
		limit(pages + extra)
		for {
			step, err := "reserve", error(nil)
			r, err := b.Reserve(ctx, 1, unitKey(n), morning)
			if err == nil {
				step = "commit"
				_, err = b.Commit(ctx, r.Serial, certificateOf(r.Serial), make([]byte, 500))
			}
			if err == nil {
				step = "close"
				err = b.CloseUnit(ctx, r.Serial, []byte(`{}`), morning)
			}
			if errors.Is(err, ErrFull) {
				full[step]++
				verify(t, b)
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	if full["reserve"] == 0 || full["commit"] == 0 {
		t.Errorf("the disk was never full at some step: %v", full)
	}
	limit(1 << 20)
	closeUnit(t, b, commitFull(t, b, n))
	verify(t, b)
}

// commitFull brings unit n, wherever the full disk left it, to its certificate.
func commitFull(t *testing.T, b *Book, n int) uint64 {
	r := reserve(t, b, 1, n)
	if _, err := b.Commit(context.Background(), r.Serial, certificateOf(r.Serial), make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	return r.Serial
}
