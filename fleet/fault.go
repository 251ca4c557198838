package fleet

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/birthmark/birthmark/ca"
)

const (
	planSchema = "faults/1"
	maxPlan    = 1 << 20   // bytes; people's are a few hundred
	maxSpan    = time.Hour // that anything is late, or gone before it comes back
	maxFrames  = 1000      // that a fault takes its part of
)

// Kinds of faults.
const (
	dead     = "dead"      // hears nothing
	mute     = "mute"      // hears and works, and its answers are lost
	slow     = "slow"      // answers late
	garbage  = "garbage"   // answers what cannot be read
	unplug   = "unplug"    // its cable is gone, and its port with it
	powerCut = "power-cut" // its supply fails, its port stays
)

var kinds = []string{dead, mute, slow, garbage, unplug, powerCut}

// stages that a unit can tell by what it is asked, by the verb of docs/wire.md. What leads up to install belongs to it.
var stages = [...]string{1: "hello", 2: "prepare", 3: "prove", 4: "install", 5: "handshake", 6: "seal", 7: "install", 8: "install"}

// Plan is what goes wrong with a fleet's units: a YAML file that is decoded strictly (docs/formats.md, "Fault plan").
type Plan struct {
	Schema string  `yaml:"birthmark"` // "faults/1"
	Seed   string  `yaml:"seed"`      // any text, which gives all that is drawn
	Faults []Fault `yaml:"faults"`
}

// Fault is one thing that goes wrong with some units, planned or at the control socket.
type Fault struct {
	Units Numbers `yaml:"units"` // without these and Share: all
	Share Share   `yaml:"share"` // of all, drawn

	Kind   string `yaml:"fault"`
	Stage  string `yaml:"stage"`  // whose requests it strikes; "": every one
	Times  Times  `yaml:"times"`  // how many
	Frames Frames `yaml:"frames"` // which part of them, drawn
	Delay  Span   `yaml:"delay"`  // slow: before each answer
	Pause  Span   `yaml:"pause"`  // slow: before each byte of an answer
	Bytes  int    `yaml:"bytes"`  // garbage: of an answer, changed, drawn; 0: one
	Write  int    `yaml:"write"`  // power-cut: not at the request, but at this byte that chip or flash would change after it
	Back   Span   `yaml:"back"`   // unplug, power-cut: after this long; 0: never
}

// ParsePlan reads a plan. Errors name the entry and wrap ca.ErrMalformed.
func ParsePlan(text []byte) (*Plan, error) {
	if len(text) > maxPlan {
		return nil, fmt.Errorf("fault plan: %d bytes, at most %d: %w", len(text), maxPlan, ca.ErrMalformed)
	}
	p := new(Plan)
	err := ca.DecodeYAML(text, p)
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return nil, fmt.Errorf("fault plan: %w: %w", err, ca.ErrMalformed)
	}
	return p, nil
}

func (p *Plan) check() error {
	if p.Schema != planSchema {
		return fmt.Errorf("birthmark: %q, want %q", p.Schema, planSchema)
	}
	if len(p.Faults) == 0 {
		return errors.New("faults: there are none")
	}
	for i, f := range p.Faults {
		if err := f.check(); err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	return nil
}

func (f Fault) check() error {
	switch {
	case !slices.Contains(kinds, f.Kind):
		return fmt.Errorf("fault: %q, want one of %s", f.Kind, strings.Join(kinds, ", "))
	case f.Stage != "" && !slices.Contains(stages[:], f.Stage):
		return fmt.Errorf("stage: %q, want one that a unit can tell: %s", f.Stage, strings.Join(stages[1:7], ", "))
	case f.Bytes < 0 || f.Write < 0:
		return errors.New("bytes, write: want 1 or more")
	case f.Kind == slow && f.Delay == 0 && f.Pause == 0:
		return errors.New("slow: want delay, pause or both")
	}
	for _, field := range []struct {
		name  string
		given bool
		kinds []string
	}{
		{"frames", f.Frames != Frames{}, []string{dead, mute, slow, garbage}},
		{"delay", f.Delay != 0, []string{slow}},
		{"pause", f.Pause != 0, []string{slow}},
		{"bytes", f.Bytes != 0, []string{garbage}},
		{"write", f.Write != 0, []string{powerCut}},
		{"back", f.Back != 0, []string{unplug, powerCut}},
	} {
		if field.given && !slices.Contains(field.kinds, f.Kind) {
			return fmt.Errorf("%s: not for %s, only for %s", field.name, f.Kind, strings.Join(field.kinds, ", "))
		}
	}
	return f.checkUnits()
}

func (f Fault) checkUnits() error {
	if f.Units != (Numbers{}) && f.Share != 0 {
		return errors.New("units, share: give one of them, or none for all units")
	}
	return nil
}

// choose gives the numbers of the units that a fault is for, of so many. Errors wrap ErrRange.
func (f Fault) choose(units int, random *rand.Rand) ([]int, error) {
	first, last := 1, units
	if f.Units != (Numbers{}) {
		first, last = f.Units.First, f.Units.Last
	}
	if last > units {
		return nil, fmt.Errorf("unit %d of a fleet of %d: %w", last, units, ErrRange)
	}
	if f.Share != 0 {
		chosen := random.Perm(units)[:(units*int(f.Share)+99)/100]
		for i := range chosen {
			chosen[i]++
		}
		slices.Sort(chosen)
		return chosen, nil
	}
	var chosen []int
	for n := first; n <= last; n++ {
		chosen = append(chosen, n)
	}
	return chosen, nil
}

// draws gives the random numbers that belong to a seed and a purpose.
func draws(seed string, purpose ...any) *rand.Rand {
	return rand.New(rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%q %v", seed, purpose))))
}

// The values of a plan that are written as text. Each has one zero value, which is that of a field that is left out.
type (
	// Numbers is a range of units' numbers, "7" or "4-6".
	Numbers struct{ First, Last int }
	// Share is a part of all units, "10%", rounded up.
	Share int
	// Times is how often something strikes: a number, or "always".
	Times int
	// Frames is a part of all frames, "2/5": of each five the drawn two.
	Frames struct{ Some, Of int }
	// Span is a duration, "300ms" or "2s".
	Span time.Duration
)

const always = Times(math.MaxInt)

// UnmarshalText takes "7" or "4-6".
func (n *Numbers) UnmarshalText(text []byte) (err error) {
	first, last, more := strings.Cut(string(text), "-")
	if !more {
		last = first
	}
	var errs [2]error
	n.First, errs[0] = positive(first, MaxUnits)
	n.Last, errs[1] = positive(last, MaxUnits)
	if errors.Join(errs[:]...) != nil || n.Last < n.First {
		return fmt.Errorf("units: %q, want such as 7 or 4-6, of at most %d", text, MaxUnits)
	}
	return nil
}

// UnmarshalText takes "1%" to "100%".
func (s *Share) UnmarshalText(text []byte) error {
	number, ok := strings.CutSuffix(string(text), "%")
	n, err := positive(number, 100)
	if err != nil || !ok {
		return fmt.Errorf("share: %q, want 1%% to 100%%", text)
	}
	*s = Share(n)
	return nil
}

// UnmarshalText takes "1" and more, or "always".
func (t *Times) UnmarshalText(text []byte) error {
	if string(text) == "always" {
		*t = always
		return nil
	}
	n, err := positive(string(text), math.MaxInt32)
	if err != nil {
		return fmt.Errorf("times: %q, want a number from 1 or always", text)
	}
	*t = Times(n)
	return nil
}

// UnmarshalText takes "2/5".
func (f *Frames) UnmarshalText(text []byte) error {
	some, of, ok := strings.Cut(string(text), "/")
	var errs [2]error
	f.Some, errs[0] = positive(some, maxFrames)
	f.Of, errs[1] = positive(of, maxFrames)
	if !ok || errors.Join(errs[:]...) != nil || f.Some > f.Of {
		return fmt.Errorf("frames: %q, want such as 1/3, of at most %d", text, maxFrames)
	}
	return nil
}

// UnmarshalText takes what time.ParseDuration does.
func (s *Span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 || d > maxSpan {
		return fmt.Errorf("delay, pause, back: %q, want such as 300ms, of at most %v", text, maxSpan)
	}
	*s = Span(d)
	return nil
}

// positive reads a number from 1 to most, as it is written without a sign or leading zeros.
func positive(text string, most int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most || strconv.Itoa(n) != text {
		return 0, strconv.ErrRange
	}
	return n, nil
}
