package ledger

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is the book as a person would keep it: what each call must answer, without SQL, journal or tree.
type model struct {
	book   *Book
	path   string
	units  []Entry // in the order of their reservation
	count  map[uint16]int
	leaves int64
	newest time.Time
}

func (m *model) order(t *rapid.T) uint16 { return rapid.Uint16Range(1, 3).Draw(t, "order") } // 3 is unknown

// pick draws a unit that was reserved, or nil and a serial number that nobody has.
func (m *model) pick(t *rapid.T) (*Entry, uint64) {
	i := rapid.IntRange(0, len(m.units)).Draw(t, "unit")
	if i == len(m.units) {
		return nil, 42
	}
	return &m.units[i], m.units[i].Serial
}

// now draws a time around the newest; a new book knows of none.
func (m *model) now(t *rapid.T) time.Time {
	base := m.newest
	if base.IsZero() {
		base = morning
	}
	return base.Add(time.Duration(rapid.IntRange(-200, 200).Draw(t, "seconds")) * time.Second)
}

func (m *model) wants(t *rapid.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) || (want == nil) != (got == nil) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

func (m *model) reserve(t *rapid.T) {
	order := m.order(t)
	unit := UnitKey{unitKey(rapid.IntRange(0, 7).Draw(t, "chip")).Chip, unitKey(rapid.IntRange(0, 7).Draw(t, "key")).Key}
	if rapid.Bool().Draw(t, "honest") {
		unit = unitKey(int(unit.Chip[8]))
	}
	now := m.now(t)
	same := slices.IndexFunc(m.units, func(e Entry) bool { return e.UnitKey == unit })
	touches := slices.ContainsFunc(m.units, func(e Entry) bool { return e.Chip == unit.Chip || e.Key == unit.Key })
	used := 0
	for _, e := range m.units {
		if e.Order == order {
			used++
		}
	}
	var want error
	switch {
	case same < 0 && touches, same >= 0 && m.units[same].Order != order:
		want = ErrConflict
	case same >= 0 && m.units[same].State == Void:
		want = ErrVoid
	case same >= 0:
	case now.Before(m.newest.Add(-clockTolerance)):
		want = ErrClock
	case order == 3:
		want = ErrNotFound
	case used == m.count[order]:
		want = ErrExhausted
	}
	r, err := m.book.Reserve(context.Background(), order, unit, now)
	m.wants(t, err, want)
	switch {
	case err != nil:
	case same >= 0:
		if r != m.units[same].Reservation {
			t.Fatalf("reserved again %+v, want %+v", r, m.units[same].Reservation)
		}
	default:
		if now.After(m.newest) {
			m.newest = now
		}
		o := testOrder(order, 1)
		wanted := Reservation{unit, o.First + uint64(used), order, o.Fingerprint, m.newest, Reserved}
		if r != wanted {
			t.Fatalf("reserved %+v, want %+v", r, wanted)
		}
		m.units = append(m.units, Entry{Reservation: r, Leaf: -1})
	}
}

func (m *model) commit(t *rapid.T) {
	e, serial := m.pick(t)
	certificate := rapid.SliceOfN(rapid.Byte(), 1, 2).Draw(t, "certificate")
	twin := rapid.SliceOfN(rapid.Byte(), 0, 1).Draw(t, "twin")
	if e != nil && e.Certificate != nil && rapid.Bool().Draw(t, "same") {
		certificate, twin = e.Certificate, e.X509
	}
	var want error
	switch {
	case e == nil:
		want = ErrNotFound
	case e.State == Void:
		want = ErrVoid
	case e.Certificate != nil && !(bytes.Equal(e.Certificate, certificate) && bytes.Equal(e.X509, twin)):
		want = ErrConflict
	}
	got, err := m.book.Commit(context.Background(), serial, certificate, twin)
	m.wants(t, err, want)
	if err != nil {
		return
	}
	if e.State == Reserved {
		e.State, e.Certificate, e.X509, e.Leaf = Committed, certificate, twin, m.leaves
		m.leaves++
	}
	m.equal(t, got, *e)
}

func (m *model) close(t *rapid.T) {
	e, serial := m.pick(t)
	receipt := []byte(rapid.SampledFrom([]string{`{}`, `{"a":1}`}).Draw(t, "receipt"))
	now := m.now(t)
	var want error
	switch {
	case e == nil:
		want = ErrNotFound
	case e.State == Void:
		want = ErrVoid
	case e.State == Reserved:
		want = ErrState
	case e.State == Closed && !bytes.Equal(e.Details, receipt):
		want = ErrConflict
	case e.State == Closed:
	case now.Before(m.newest.Add(-clockTolerance)):
		want = ErrClock
	}
	err := m.book.CloseUnit(context.Background(), serial, receipt, now)
	m.wants(t, err, want)
	if err == nil && e.State == Committed {
		e.State, e.Details = Closed, receipt
		if now.After(m.newest) {
			m.newest = now
		}
	}
}

func (m *model) void(t *rapid.T) {
	e, serial := m.pick(t)
	reason := rapid.SampledFrom([]string{"cracked", "lost"}).Draw(t, "reason")
	var want error
	switch {
	case e == nil:
		want = ErrNotFound
	case e.State == Closed:
		want = ErrClosed
	}
	m.wants(t, m.book.Void(context.Background(), serial, reason), want)
	if want == nil && e.State != Void {
		e.State, e.Details = Void, []byte(reason)
	}
}

func (m *model) reopen(t *rapid.T) {
	err := m.book.Close()
	if err == nil {
		m.book, err = Open(m.path, station.Anchor)
	}
	m.wants(t, err, nil)
	m.verify(t)
}

// check compares all units with the model.
func (m *model) check(t *rapid.T) {
	sorted := slices.Clone(m.units)
	slices.SortFunc(sorted, func(a, b Entry) int { return bytes.Compare(bytes64(a.Serial), bytes64(b.Serial)) })
	i := 0
	for e, err := range m.book.Units(context.Background()) {
		m.wants(t, err, nil)
		m.equal(t, e, sorted[i])
		i++
	}
	if i != len(sorted) {
		t.Fatalf("%d units, want %d", i, len(sorted))
	}
}

func (m *model) verify(t *rapid.T) {
	report, err := m.book.Verify(context.Background(), nil)
	m.wants(t, err, nil)
	if report.Size != m.leaves {
		t.Fatalf("%d leaves, want %d", report.Size, m.leaves)
	}
}

func (m *model) equal(t *rapid.T, got, want Entry) {
	t.Helper()
	if got.Reservation != want.Reservation || got.Leaf != want.Leaf || !bytes.Equal(got.Certificate, want.Certificate) ||
		!bytes.Equal(got.X509, want.X509) || !bytes.Equal(got.Details, want.Details) {
		t.Fatalf("entry is %+v, want %+v", got, want)
	}
}

func TestModel(t *testing.T) {
	folder := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(folder, "book.db")
		b, err := Create(path, station)
		if err != nil {
			t.Fatal(err)
		}
		m := &model{book: b, path: path, count: map[uint16]int{1: 3, 2: 5}}
		defer func() {
			m.book.Close()
			os.Remove(path)
		}()
		for number, count := range m.count {
			m.wants(t, b.AddOrder(context.Background(), testOrder(number, uint64(count))), nil)
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": m.reserve, "commit": m.commit, "close": m.close, "void": m.void, "reopen": m.reopen, "": m.check,
		})
		m.verify(t)
	})
}
