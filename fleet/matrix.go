package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
)

const (
	// MaxMeeting bounds the units of a matrix, which are all in memory, about 300 bytes each.
	MaxMeeting = 1_000_000

	maxUnitRows  = 64 // of more units the matrix has a row for each order
	maxOrderRows = 64 // and of more orders, for each fleet
	maxRefusals  = 20 // that are told one by one
	meetings     = 16 // that one goroutine holds on end
)

// MatrixRequest says which units of made fleets meet. Each trusts its own fleet's authority and accepts its profile's peers.
type MatrixRequest struct {
	Fleets []*Fleet
	Bundle *ca.Bundle // the units of its authority know this one, with its links and status list; nil: the fleets' own
	Sample int        // meetings that are drawn from all, each once; 0: all
	Seed   string     // of the sample
}

// Matrix is what meetings of many units came to. Its rows are who began, its columns who answered.
type Matrix struct {
	Fleets   []*Fleet
	Groups   []Group // of rows and columns
	Cells    [][]Cell
	Met      int
	Refused  int
	Refusals []Refusal // the first ones
	Took     time.Duration
}

// Group is a unit, an order's units or a fleet's: the finest of these of which there are not too many.
type Group struct {
	Fleet  int
	Order  uint16   // 0: all of the fleet
	Serial ca.EUI64 // 0: all of the order
}

// Cell counts the meetings of two groups.
type Cell struct {
	Met     int
	Refused int
	Reasons []Tally // of the refused, in the order in which they were seen
}

// String gives the counts for people: those that met, or met/refused; a point if there were none.
func (c Cell) String() string {
	switch {
	case c.Refused > 0:
		return fmt.Sprintf("%d/%d", c.Met, c.Refused)
	case c.Met > 0:
		return fmt.Sprint(c.Met)
	}
	return "."
}

// Tally is how often a reason was met.
type Tally struct {
	Reason
	Times int
}

// Reason is why a unit refused another one.
type Reason struct {
	Answerer bool // who refused: the one that answered, or the one that began
	Why      device.PeerReason
}

// Refusal is a meeting in which a unit refused the other.
type Refusal struct {
	Begins, Answers Group // units
	Reason
}

// String says it in words.
func (r Reason) String() string { return inWords(r.Why) }

// attendee is one unit of those that meet.
type attendee struct {
	Unit
	fleet int
	group int
}

// assembly is all that meet.
type assembly struct {
	request MatrixRequest
	bundles []*ca.Bundle // of the fleets
	units   []attendee
	pairs   pairs
}

// Meetings is how many there are to be: of each two units, in both roles, unless that is a sample. A pair of which both have the very
// same certificate, of fleets of one seed, is counted and does not meet.
func (r MatrixRequest) Meetings() int { return r.pairs().meetings }

func (r MatrixRequest) pairs() pairs { return newPairs(r.units(), r.Sample, r.Seed) }

func (r MatrixRequest) units() (n int) {
	for _, f := range r.Fleets {
		n += f.Head.Units
	}
	return n
}

// MeetAll lets units of made fleets meet on all cores, as if none had met before: EDHOC by the library's code on both sides, with what each
// trusts, and a record each way. Keys and signatures are the standard library's. done is told, now and then, how many meetings were
// held. When the context ends, the matrix has the meetings until then, and the error is the context's.
//
// Other errors wrap ErrRange, ErrUnfinished, ErrBad for a unit that cannot come to a meeting, or device.ErrNoCgo, or are those of reading.
func MeetAll(ctx context.Context, r MatrixRequest, done func(meetings int)) (*Matrix, error) {
	start := time.Now()
	if err := errors.Join(device.Available(), r.check()); err != nil {
		return nil, err
	}
	a := &assembly{request: r, pairs: r.pairs()}
	for _, f := range r.Fleets {
		b := f.Bundle
		if r.Bundle != nil && r.Bundle.Anchor == b.Anchor {
			b = r.Bundle
		}
		a.bundles = append(a.bundles, b)
	}
	if err := a.gather(ctx); err != nil {
		return nil, err
	}
	m := &Matrix{Fleets: r.Fleets}
	m.group(a.units)
	err := a.meet(ctx, m, done)
	m.Took = time.Since(start)
	return m, err
}

func (r MatrixRequest) check() error {
	switch units := r.units(); {
	case units < 2 || units > MaxMeeting:
		return fmt.Errorf("%d units, want 2 to %d that meet: %w", units, MaxMeeting, ErrRange)
	case r.Sample < 0:
		return fmt.Errorf("a sample of %d meetings: %w", r.Sample, ErrRange)
	case r.Bundle != nil && !slices.ContainsFunc(r.Fleets, func(f *Fleet) bool { return f.Bundle.Anchor == r.Bundle.Anchor }):
		return fmt.Errorf("a bundle of an authority that no fleet has: %w", ErrRange)
	}
	return nil
}

// gather reads the units.
func (a *assembly) gather(ctx context.Context) error {
	for i, f := range a.request.Fleets {
		have := len(a.units)
		for u, err := range f.Units() {
			if err := errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			if _, ok := f.Order(u.Order); !ok {
				return fmt.Errorf("%s: unit %v: the fleet has no order %d: %w", f.path, u.Serial, u.Order, ErrBad)
			}
			u.X509 = nil
			a.units = append(a.units, attendee{Unit: u, fleet: i})
		}
		if n := len(a.units) - have; n != f.Head.Units {
			return fmt.Errorf("%s has %d whole units of %d: %w", f.path, n, f.Head.Units, ErrUnfinished)
		}
	}
	return nil
}

// group makes the matrix's rows and columns.
func (m *Matrix) group(units []attendee) {
	orders := 0
	for _, f := range m.Fleets {
		orders += len(f.Orders)
	}
	for i := range units {
		u := &units[i]
		g := Group{Fleet: u.fleet}
		if orders <= maxOrderRows {
			g.Order = u.Order
		}
		if len(units) <= maxUnitRows {
			g.Serial = u.Serial
		}
		if n := len(m.Groups); n == 0 || m.Groups[n-1] != g || g.Serial != 0 {
			m.Groups = append(m.Groups, g) // units come order by order
		}
		u.group = len(m.Groups) - 1
	}
	m.Cells = make([][]Cell, len(m.Groups))
	for i := range m.Cells {
		m.Cells[i] = make([]Cell, len(m.Groups))
	}
}

// outcome is what a meeting came to.
type outcome struct {
	held    bool
	refused bool
	reason  Reason
}

// meet holds the meetings, batches side by side, and counts them in their order.
func (a *assembly) meet(ctx context.Context, m *Matrix, done func(meetings int)) error {
	type result struct {
		outcomes []outcome
		err      error
	}
	worker := func() (func(span) result, func()) {
		room, err := a.newRoom()
		return func(s span) (r result) {
			r.err = err
			for k := s.first; k < s.last && r.err == nil; k++ {
				var o outcome
				o, r.err = room.meet(a.pairs.at(k))
				r.outcomes = append(r.outcomes, o)
			}
			return r
		}, room.close
	}
	return inOrder(ctx, spans(0, a.pairs.meetings, meetings), worker, func(s span, r result) error {
		if r.err != nil {
			return r.err
		}
		for i, o := range r.outcomes {
			begins, answers := a.pairs.at(s.first + i)
			m.count(&a.units[begins], &a.units[answers], o)
		}
		done(s.last)
		return nil
	})
}

func (m *Matrix) count(begins, answers *attendee, o outcome) {
	c := &m.Cells[begins.group][answers.group]
	switch {
	case !o.held:
	case !o.refused:
		c.Met++
		m.Met++
	default:
		c.Refused++
		m.Refused++
		if len(m.Refusals) < maxRefusals {
			m.Refusals = append(m.Refusals, Refusal{begins.name(), answers.name(), o.reason})
		}
		c.Reasons = add(c.Reasons, Tally{o.reason, 1})
	}
}

func add(list []Tally, more Tally) []Tally {
	if at := slices.IndexFunc(list, func(t Tally) bool { return t.Reason == more.Reason }); at >= 0 {
		list[at].Times += more.Times
		return list
	}
	return append(list, more)
}

// Reasons is why units were refused in all cells, the most frequent first.
func (m *Matrix) Reasons() (list []Tally) {
	for _, row := range m.Cells {
		for _, c := range row {
			for _, t := range c.Reasons {
				list = add(list, t)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Tally) int { return b.Times - a.Times })
	return list
}

func (u *attendee) name() Group { return Group{u.fleet, u.Order, u.Serial} }

// Name says which group it is.
func (m *Matrix) Name(g Group) string {
	name := m.FleetName(g.Fleet)
	switch {
	case g.Serial != 0 && len(m.Fleets) == 1:
		return g.Serial.String()
	case g.Serial != 0:
		return fmt.Sprintf("%v of %s", g.Serial, name)
	case g.Order != 0 && len(m.Fleets) == 1:
		return fmt.Sprintf("order %d", g.Order)
	case g.Order != 0:
		return fmt.Sprintf("order %d of %s", g.Order, name)
	}
	return name
}

// FleetName is the last element of the fleet's path, unless another's is the same.
func (m *Matrix) FleetName(i int) string {
	path := m.Fleets[i].path
	for j, f := range m.Fleets {
		if j != i && filepath.Base(f.path) == filepath.Base(path) {
			return path
		}
	}
	return filepath.Base(path)
}

// twins are two copies of one unit.
func twins(a, b *attendee) bool { return bytes.Equal(a.Certificate, b.Certificate) }
