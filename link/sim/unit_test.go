//go:build cgo

package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/birthmark/birthmark/link"
	"golang.org/x/sys/unix"
)

// station is the other side of a unit in these tests: what it must remember from one stage to the next.
type station struct {
	t         *testing.T
	authority authority
	unit      *Unit // nil where a machine is behind the port
	port      string
	talk      *link.Conversation
	hello     link.Hello
	key       [64]byte
}

var challenge = sha256.Sum256([]byte("challenge"))

func newStation(t *testing.T, o Options) *station {
	t.Helper()
	s := &station{t: t, authority: newAuthority(t)}
	o.Dir, o.Index, o.Image = t.TempDir(), 7, s.authority.image()
	unit, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	s.unit, s.port = unit, unit.Port()
	t.Cleanup(func() {
		s.hangUp()
		if err := unit.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// dial opens the unit's port and says hello.
func (s *station) dial() error {
	s.hangUp()
	port, err := link.Open(s.port, 115200)
	if err != nil {
		return err
	}
	s.talk = link.Dial(port)
	s.hello, err = s.talk.Hello(s.t.Context())
	return err
}

func (s *station) hangUp() {
	if s.talk != nil {
		s.talk.Close()
		s.talk = nil
	}
}

// stages are what the line does to a unit after dial, in its order. Each may be repeated.
var stages = []struct {
	name string
	run  func(*station, context.Context) error
	then link.State
	// Bytes of request and answer together after which the answer has begun and not ended.
	answering int
}{
	{"prepare", (*station).prepare, link.Prepared, 90},
	{"prove", (*station).prove, link.Prepared, 90},
	{"install", (*station).install, link.Installed, 500},
	{"seal", (*station).seal, link.Sealed, 30},
}

func (s *station) prepare(ctx context.Context) error {
	_, err := s.talk.Prepare(ctx)
	return err
}

func (s *station) prove(ctx context.Context) error {
	proof, err := s.talk.Prove(ctx, challenge, s.authority.name)
	if err != nil {
		return err
	}
	if s.key != [64]byte{} && s.key != proof.Key {
		s.t.Errorf("key %x was %x", proof.Key, s.key)
	}
	s.key = proof.Key
	statement := link.PossessionStatement(challenge, s.authority.name, s.hello.Chip, s.hello.Firmware, proof.Key)
	verify(s.t, proof.Key, statement, proof.Signature)
	return nil
}

func (s *station) install(ctx context.Context) error {
	certificate := s.authority.issue(s.t, 7, s.key)
	signature, err := s.talk.Install(ctx, challenge, s.authority.anchor, s.authority.certificate, certificate)
	if err != nil {
		return err
	}
	statement := link.InstalledStatement(challenge, s.hello.Chip, s.authority.anchor, s.authority.certificate, certificate)
	verify(s.t, s.key, statement, signature)
	return nil
}

func (s *station) seal(ctx context.Context) error {
	seal, err := s.talk.Seal(ctx)
	if err == nil && (!seal.Locks.Slot(8) || seal.Generation != 0 || !seal.DebugClosed) {
		s.t.Errorf("sealed: %+v", seal)
	}
	return err
}

// TestJourney takes a unit from blank to sealed, unplugged or not before each stage.
func TestJourney(t *testing.T) {
	for _, replug := range []bool{false, true} {
		s := newStation(t, Options{})
		if err := s.dial(); err != nil {
			t.Fatal(err)
		}
		if h := s.hello; h.State != link.Blank || h.Product != product || h.AnchorHash != sha256.Sum256(s.authority.anchor) ||
			h.Locks.Configuration() || h.DebugClosed || h.Generation != nil || len(h.UnitCertificate) > 0 {
			t.Errorf("new unit: %+v", h)
		}
		chip := s.hello.Chip
		for _, stage := range stages {
			if replug {
				if err := s.unit.Plug(); err != nil {
					t.Fatal(err)
				}
				if _, err := s.talk.Hello(t.Context()); !errors.Is(err, link.ErrGone) {
					t.Fatalf("unplugged before %s: %v", stage.name, err)
				}
				if err := s.dial(); err != nil {
					t.Fatal(err)
				}
			}
			if err := stage.run(s, t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.dial(); err != nil {
				t.Fatalf("after %s: %v", stage.name, err)
			}
			if s.hello.State != stage.then || s.hello.Chip != chip {
				t.Fatalf("after %s: %+v", stage.name, s.hello)
			}
		}
		if h := s.hello; !h.Locks.Data() || !h.Locks.Slot(8) || !h.DebugClosed || h.Generation == nil || *h.Generation != 0 ||
			string(h.OrderCertificate) != string(s.authority.certificate) || len(h.UnitCertificate) == 0 {
			t.Errorf("sealed unit: %+v", h)
		}
		var status *link.StatusError
		if err := s.prove(t.Context()); !errors.As(err, &status) || status.Status != link.StatusState {
			t.Errorf("sealed unit proves: %v", err)
		}
	}
}

// TestUnpluggedDuring cuts each stage off, first in the request, then in the answer, then at some byte that the unit
// writes, and takes the unit to the end all the same.
func TestUnpluggedDuring(t *testing.T) {
	for i, cut := range stages {
		for _, where := range []string{"request", "answer", "write"} {
			if where == "write" && cut.name == "prove" {
				continue // it writes nothing
			}
			t.Run(cut.name+"/"+where, func(t *testing.T) {
				t.Parallel()
				var writes, last atomic.Int64 // bytes written, and after how many the power goes
				last.Store(math.MaxInt64)
				s := newStation(t, Options{Cut: func() bool { return writes.Add(1) > last.Load() }})
				if err := s.dial(); err != nil {
					t.Fatal(err)
				}
				for _, stage := range stages[:i] {
					if err := stage.run(s, t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				switch where {
				case "request":
					s.unit.Spoil(Fault{CutAfter: 5})
				case "answer":
					s.unit.Spoil(Fault{CutAfter: cut.answering})
				case "write":
					last.Store(writes.Load() + 1)
				}
				if err := cut.run(s, t.Context()); !errors.Is(err, link.ErrGone) {
					t.Fatalf("cut off: %v", err)
				}
				if _, err := link.Open(s.port, 115200); !errors.Is(err, link.ErrNoPort) {
					t.Errorf("port of an unplugged unit: %v", err)
				}
				last.Store(math.MaxInt64)
				if err := s.unit.Plug(); err != nil {
					t.Fatal(err)
				}
				if err := s.dial(); err != nil {
					t.Fatal(err)
				}
				for _, stage := range stages[i:] {
					if s.hello.State == link.Sealed {
						break // the answer was cut off, not the deed
					}
					if err := stage.run(s, t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.dial(); err != nil || s.hello.State != link.Sealed {
					t.Errorf("in the end: %v, %v", s.hello.State, err)
				}
			})
		}
	}
}

// TestFaults meets a unit over lines that are bad in one way each.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault Fault
		want  error
	}{
		{"good", Fault{}, nil},
		{"loses a byte now and then", Fault{Seed: 1, Drop: 0.0005}, nil},
		{"turns a bit now and then", Fault{Seed: 1, Flip: 0.0005}, nil},
		{"loses much", Fault{Seed: 1, Drop: 0.03}, link.ErrGarbage},
		{"turns much", Fault{Seed: 1, Flip: 0.03}, link.ErrGarbage},
		{"noise before each answer", Fault{Seed: 1, Garbage: 50}, link.ErrGarbage},
		{"silent", Fault{Silent: true}, link.ErrSilent},
		{"dribbles", Fault{Dribble: 5 * time.Millisecond}, link.ErrGarbage},
		{"breaks", Fault{CutAfter: 100}, link.ErrGone},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newStation(t, Options{})
			s.unit.Spoil(test.fault)
			port, err := link.Open(s.port, 115200)
			if err != nil {
				t.Fatal(err)
			}
			s.talk = link.Dial(port)
			s.talk.SetPatience(0.1)
			for range 10 {
				if _, err = s.talk.Hello(t.Context()); err != nil {
					break
				}
			}
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if test.want != nil && test.want != link.ErrGone {
				s.unit.Spoil(Fault{})
				s.talk.SetPatience(1)
				if _, err := s.talk.Hello(t.Context()); err != nil {
					t.Errorf("mended: %v", err)
				}
			}
		})
	}
}

// A unit with a supply of its own keeps its port without power: it does not answer, and has forgotten the session when the power is back.
func TestOwnSupply(t *testing.T) {
	var writes, last atomic.Int64 // bytes written, and after how many the power goes
	last.Store(math.MaxInt64)
	var next atomic.Pointer[Fault] // for one frame
	s := newStation(t, Options{OwnSupply: true, Cut: func() bool { return writes.Add(1) > last.Load() }, Request: func([]byte) Fault {
		if f := next.Swap(nil); f != nil {
			return *f
		}
		return Fault{}
	}})
	for name, off := range map[string]func() error{
		"from outside": func() error { return s.unit.PowerOff() },
		"at a request": func() error { next.Store(&Fault{PowerFails: true}); return nil },
		"at a write":   func() error { last.Store(writes.Load() + 1); return nil },
	} {
		if err := s.dial(); err != nil {
			t.Fatal(err)
		}
		s.talk.SetPatience(0.01) // prepare's limit is 15 s
		if err := off(); err != nil {
			t.Fatal(err)
		}
		if err := s.prepare(t.Context()); !errors.Is(err, link.ErrSilent) {
			t.Errorf("%s: %v", name, err)
		}
		last.Store(math.MaxInt64)
		if err := s.unit.PowerOn(); err != nil {
			t.Fatal(err)
		}
		s.talk.SetPatience(1)
		var status *link.StatusError
		if err := s.prepare(t.Context()); !errors.As(err, &status) || status.Status != link.StatusSequence {
			t.Errorf("%s, power is back: %v", name, err)
		}
	}
	if err := s.dial(); err != nil {
		t.Fatal(err)
	}
	if err := s.prepare(t.Context()); err != nil {
		t.Error(err)
	}
}

// What Request says is wrong with one frame and its answer alone.
func TestRequest(t *testing.T) {
	var mutex sync.Mutex
	var faults []Fault
	var frames [][]byte
	s := newStation(t, Options{Request: func(frame []byte) (f Fault) {
		mutex.Lock()
		defer mutex.Unlock()
		frames = append(frames, bytes.Clone(frame))
		if len(faults) > 0 {
			f, faults = faults[0], faults[1:]
		}
		return f
	}})
	for _, test := range []struct {
		faults []Fault
		want   error
	}{
		{[]Fault{{Deaf: true}, {Silent: true}}, nil}, // the third try
		{[]Fault{{Changed: 1}, {Changed: 1000}}, nil},
		{[]Fault{{Deaf: true}, {Deaf: true}, {Deaf: true}}, link.ErrSilent},
		{[]Fault{{Changed: 1}, {Changed: 1}, {Changed: 1}}, link.ErrGarbage},
		{[]Fault{{Delay: 50 * time.Millisecond}}, nil},
		{[]Fault{{CutAfter: 1}}, link.ErrGone},
	} {
		port, err := link.Open(s.port, 115200)
		if err != nil {
			t.Fatal(err)
		}
		s.talk = link.Dial(port)
		s.talk.SetPatience(0.1)
		mutex.Lock()
		faults, frames = test.faults, nil
		mutex.Unlock()
		if _, err := s.talk.Hello(t.Context()); !errors.Is(err, test.want) {
			t.Errorf("%+v: %v, want %v", test.faults, err, test.want)
		}
		if waited := s.talk.Waited(); waited < test.faults[0].Delay {
			t.Errorf("%+v: answered in %v", test.faults, waited)
		}
		s.hangUp()
		mutex.Lock()
		for _, frame := range frames {
			if payload, err := link.DecodeFrame(frame); err != nil || !bytes.Equal(frame, frames[0]) {
				t.Errorf("%x: payload %x, %v", frame, payload, err)
			}
		}
		mutex.Unlock()
	}
}

// A unit that is stuck in sending to nobody can be unplugged.
func TestUnplugWhileSending(t *testing.T) {
	s := newStation(t, Options{})
	port, err := os.OpenFile(s.unit.Port(), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	s.unit.Spoil(Fault{Garbage: 1 << 20})               // more than the pseudo-terminal holds
	hello := []byte{0, 2, 0x83, 1, 4, 1, 0x22, 0x17, 0} // [0, 0, 1] and its CRC 1722
	if _, err := port.Write(hello); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	if err := s.unit.Unplug(); err != nil {
		t.Error(err)
	}
}

func TestStartRefuses(t *testing.T) {
	s := newStation(t, Options{})
	if twin, err := Start(s.unit.options); err == nil {
		twin.Close()
		t.Error("two units on one file")
	}
	if err := s.dial(); err != nil { // the refused one took nothing away
		t.Error(err)
	}
	o := s.unit.options
	o.Dir = filepath.Join(o.Dir, "missing")
	if _, err := Start(o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	o = s.unit.options
	o.Index, o.Image.Peers = 8, nil
	if _, err := Start(o); err == nil {
		t.Error("an image without peers")
	}
	o.Image = s.unit.options.Image
	if err := os.WriteFile(filepath.Join(o.Dir, "unit-08.flash"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(o); err == nil {
		t.Error("a flash of five bytes")
	}
	o.Index = 9
	notes := filepath.Join(o.Dir, "unit-09")
	if err := os.WriteFile(notes, []byte("notes"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(o); !errors.Is(err, os.ErrExist) {
		t.Errorf("a file that has the port's name: %v", err)
	}
	if text, err := os.ReadFile(notes); string(text) != "notes" {
		t.Errorf("that file is now %q, %v", text, err)
	}
}

// What a killed process leaves: the name of a pseudo-terminal that is gone.
func TestStaleName(t *testing.T) {
	s := newStation(t, Options{})
	if err := s.unit.Unplug(); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/pts/none", s.unit.Port()); err != nil {
		t.Fatal(err)
	}
	if err := s.unit.Plug(); err != nil {
		t.Fatal(err)
	}
	if err := s.dial(); err != nil {
		t.Error(err)
	}
}

// A station that was killed leaves its exclusive mode on the port.
func TestExclusiveModeEnds(t *testing.T) {
	s := newStation(t, Options{})
	port, err := os.OpenFile(s.unit.Port(), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	if err := unix.IoctlSetInt(int(port.Fd()), unix.TIOCEXCL, 0); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(releaseEvery) {
		if exclusive, err := unix.IoctlGetInt(int(port.Fd()), unix.TIOCGEXCL); err != nil || time.Now().After(deadline) {
			t.Fatalf("exclusive %d, %v", exclusive, err)
		} else if exclusive == 0 {
			break
		}
	}
}

// A new unit's hello is some 120 bytes there and back, and prepare makes two keys and locks two zones.
func TestPace(t *testing.T) {
	slow := newStation(t, Options{Baud: 9600})
	if err := slow.dial(); err != nil {
		t.Fatal(err)
	}
	if waited := slow.talk.Waited(); waited < 100*time.Millisecond {
		t.Errorf("9600 baud: hello in %v", waited)
	}
	timed := newStation(t, Options{TimeScale: 1})
	if err := timed.dial(); err != nil {
		t.Fatal(err)
	}
	if err := timed.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if waited := timed.talk.Waited(); waited < 500*time.Millisecond {
		t.Errorf("chip in real time: prepared in %v", waited)
	}
}
