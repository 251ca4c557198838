//go:build cgo

package provision

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
)

var everyCut = flag.Bool("every-cut", false, "cut the unit's power at each byte that it writes, not at a sample of them")

// journeyStages are the stages of a unit that nothing stops, and what the book has of it as each begins.
var journeyStages = []struct {
	Stage
	has ledger.State // 0 = nothing
}{
	{Hello, 0}, {Prepare, 0}, {Prove, 0}, {Check, 0}, {Reserve, 0}, {Sign, ledger.Reserved}, {Commit, ledger.Reserved},
	{Install, ledger.Committed}, {Handshake, ledger.Committed}, {Seal, ledger.Committed}, {Close, ledger.Committed},
}

// finish runs a unit to its end after something stopped it, when the book had this of it: the same serial number and, if
// there was a certificate, the same certificate without another signature.
func (f *factory) finish(u *sim.Unit, had ledger.Entry) {
	f.t.Helper()
	signatures := f.key.signatures.Load()
	f.pass(f.station(), u)
	signatures = f.key.signatures.Load() - signatures
	has := f.entry(u)
	switch {
	case had.State >= ledger.Reserved && has.Serial != had.Serial:
		f.t.Errorf("serial number %x was %x", has.Serial, had.Serial)
	case had.State < ledger.Committed && signatures != 1:
		f.t.Errorf("%d signatures for one certificate", signatures)
	case had.State >= ledger.Committed && (signatures != 0 || !bytes.Equal(has.Certificate, had.Certificate) || has.Leaf != had.Leaf):
		f.t.Errorf("%d new signatures, certificate %x (leaf %d) was %x (leaf %d)", signatures, has.Certificate, has.Leaf, had.Certificate, had.Leaf)
	}
}

// The station is killed as each stage begins.
func TestKilledAtEachStage(t *testing.T) {
	t.Parallel()
	f := newFactory(t, 100)
	f.closeBook()
	for _, stage := range journeyStages {
		u := f.unit(sim.Options{})
		c := f.child(job{Port: u.Port(), Kill: stage.Stage})
		if err := c.Run(); !killed(c) {
			t.Fatalf("at %v: %v %s", stage, err, c.Stderr)
		}
		f.openBook()
		had := f.entry(u)
		if had.State != stage.has {
			t.Errorf("killed at %v: the book has it %v, want %v", stage, had.State, stage.has)
		}
		f.finish(u, had)
		f.closeBook()
	}
	f.openBook()
	f.audit(f.units...)
}

// The station is killed a moment after each stage began, three times each.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	const rounds, longest, seed = 3, 4000, 1 // the longest moment in microseconds
	random := rand.New(rand.NewPCG(seed, seed))
	f := newFactory(t, 100)
	f.closeBook()
	for n := range rounds * len(journeyStages) {
		u := f.unit(sim.Options{})
		f.killAfter(u, journeyStages[n%len(journeyStages)].Stage, time.Duration(random.IntN(longest))*time.Microsecond)
		f.openBook()
		if had := f.entry(u); had.State == ledger.Closed {
			f.fail(f.station(), u.Port(), Hello, ErrProvisioned)
		} else {
			f.finish(u, had)
		}
		f.closeBook()
	}
	f.openBook()
	f.audit(f.units...)
}

// killAfter starts a station of its own on the unit and kills it a moment after it has said that it begins a stage.
func (f *factory) killAfter(u *sim.Unit, stage Stage, moment time.Duration) {
	f.t.Helper()
	c := f.child(job{Port: u.Port()})
	out, err := c.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		f.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != stage.String() {
	}
	said := lines.Text()
	time.Sleep(moment)
	c.Process.Kill()
	if err := c.Wait(); said != stage.String() || err != nil && !killed(c) {
		f.t.Fatalf("after %v it says %q: %v %s", stage, said, err, c.Stderr)
	}
}

// The unit is unplugged as each stage begins.
func TestUnpluggedAtEachStage(t *testing.T) {
	t.Parallel()
	f := newFactory(t, 100)
	for _, stage := range journeyStages {
		u := f.unit(sim.Options{})
		s := f.station()
		s.Watch = func(e Event) {
			if e.Stage == stage.Stage {
				if err := u.Unplug(); err != nil {
					t.Error(err)
				}
			}
		}
		switch stage.Stage {
		case Close: // nothing more is asked of the unit
			if r := run(t.Context(), s, u.Port())[0]; r.Err != nil {
				t.Error(r.Err)
			}
			f.plug(u)
			continue
		case Check, Reserve, Sign, Commit: // what the station does alone
			f.fail(s, u.Port(), Install, link.ErrGone)
		default:
			f.fail(s, u.Port(), stage.Stage, link.ErrGone)
		}
		f.fail(s, u.Port(), Hello, link.ErrNoPort)
		f.plug(u)
		f.finish(u, f.entry(u))
	}
	f.audit(f.units...)
}

// The run is cancelled as each stage begins. Then nothing more is asked of the unit, and nothing signed goes unrecorded.
func TestCancelledAtEachStage(t *testing.T) {
	t.Parallel()
	f := newFactory(t, 100)
	ends := map[Stage]Stage{Check: Reserve, Sign: Install, Commit: Install}
	for _, stage := range journeyStages {
		u := f.unit(sim.Options{})
		s := f.station()
		ctx, cancel := context.WithCancel(t.Context())
		s.Watch = func(e Event) {
			if e.Stage == stage.Stage {
				cancel()
			}
		}
		signatures := f.key.signatures.Load()
		r := run(ctx, s, u.Port())[0]
		cancel()
		had := f.entry(u)
		if signed := f.key.signatures.Load() > signatures; signed != (had.Certificate != nil) {
			t.Errorf("cancelled at %v: signed %v, certificate %x", stage, signed, had.Certificate)
		}
		if stage.Stage == Close {
			if r.Err != nil || had.State != ledger.Closed {
				t.Errorf("cancelled when it was sealed: %v, %v", r.Err, had.State)
			}
			continue
		}
		end := stage.Stage
		if later, ok := ends[end]; ok {
			end = later
		}
		wantFailure(t, r, end, context.Canceled)
		f.finish(u, had)
	}
	f.audit(f.units...)
}

// A cancelled run ends at once, however long the unit would be waited for.
func TestCancelledWhileWaiting(t *testing.T) {
	f := newFactory(t, 1)
	u := f.unit(sim.Options{})
	u.Spoil(sim.Fault{Silent: true})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	wantFailure(t, run(ctx, f.station(), u.Port())[0], Hello, context.Canceled)
	if took := time.Since(start); took > time.Second {
		t.Errorf("cancelled after 50 ms, ended after %v", took)
	}
	wantFailure(t, run(ctx, f.station(), u.Port())[0], Hello, context.Canceled)
}

// The unit loses its power at a byte that it writes to its chip or flash, each of them with -every-cut.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	const sample = 13          // bytes between two cuts
	f := newFactory(t, 10_000) // more than bytes
	s := f.station()
	var written, power atomic.Int64 // bytes of this unit, and after how many the power goes
	o := sim.Options{Cut: func() bool { return written.Add(1) > power.Load() }}
	power.Store(math.MaxInt64)
	f.pass(s, f.unit(o))
	total := written.Load()

	step := int64(sample)
	if *everyCut {
		step = 1
	}
	cuts := 0
	for cut := int64(0); cut < total; cut += step {
		written.Store(0)
		power.Store(cut)
		u := f.unit(o)
		r := run(t.Context(), s, u.Port())[0]
		if r.Stage != Prepare && r.Stage != Install && r.Stage != Seal {
			t.Errorf("cut at byte %d in stage %v, in which nothing is written", cut, r.Stage)
		}
		wantFailure(t, r, r.Stage, link.ErrGone)
		power.Store(math.MaxInt64)
		f.plug(u)
		f.finish(u, f.entry(u))
		f.auditUnit(u)
		if err := u.Close(); err != nil { // hundreds of units would be too many open files
			t.Fatal(err)
		}
		cuts++
	}
	t.Logf("powercut units: %d points of %d bytes", cuts, total)
	f.auditBook(1 + cuts)
}
