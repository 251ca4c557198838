package ledger

import (
	"bytes"
	"context"
	"reflect"
	"testing"
	"time"
)

func TestOneUnit(t *testing.T) {
	ctx := context.Background()
	b, _ := newBook(t)
	order := addOrder(t, b, testOrder(1, 3))
	unit := unitKey(1)

	r, err := b.Reserve(ctx, 1, unit, morning.Add(700*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	want := Reservation{UnitKey: unit, Serial: order.First, Order: 1, Fingerprint: order.Fingerprint, IssuedAt: morning, State: Reserved}
	if r != want {
		t.Fatalf("reserved %+v, want %+v", r, want)
	}
	if again, err := b.Reserve(ctx, 1, unit, morning.Add(time.Hour)); err != nil || again != want {
		t.Fatalf("reserved again: %+v, %v", again, err)
	}

	c, x509 := certificateOf(r.Serial), []byte("der")
	e, err := b.Commit(ctx, r.Serial, c, x509)
	if err != nil {
		t.Fatal(err)
	}
	want.State = Committed
	if wanted := (Entry{want, 0, c, x509, nil}); !reflect.DeepEqual(e, wanted) {
		t.Fatalf("committed %+v, want %+v", e, wanted)
	}
	if again, err := b.Commit(ctx, r.Serial, c, x509); err != nil || !reflect.DeepEqual(again, e) {
		t.Fatalf("committed again: %+v, %v", again, err)
	}
	if r, err := b.Reserve(ctx, 1, unit, morning); err != nil || r != want {
		t.Fatalf("reserved a committed unit: %+v, %v", r, err)
	}

	receipt := []byte(`{"lane": 4}`)
	for range 2 {
		if err := b.CloseUnit(ctx, r.Serial, receipt, morning.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	e.State, e.Details = Closed, receipt
	for _, look := range []func() (Entry, error){
		func() (Entry, error) { return b.Unit(ctx, unit.Chip) },
		func() (Entry, error) { return b.Serial(ctx, r.Serial) },
		func() (Entry, error) { return b.Commit(ctx, r.Serial, c, x509) },
	} {
		if got, err := look(); err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("closed unit is %+v (%v), want %+v", got, err, e)
		}
	}
	_, err = b.Unit(ctx, unitKey(2).Chip)
	wantError(t, err, ErrNotFound)
	_, err = b.Serial(ctx, r.Serial+1)
	wantError(t, err, ErrNotFound)
	verify(t, b)
}

func TestReserveRefuses(t *testing.T) {
	b, _ := newBook(t)
	addOrder(t, b, testOrder(1, 2))
	addOrder(t, b, testOrder(2, 2))
	one := unitKey(1)
	void := reserve(t, b, 1, 2)
	reserve(t, b, 1, 1)
	if err := b.Void(context.Background(), void.Serial, "chip is cracked"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		order uint16
		unit  UnitKey
		now   time.Time
		want  error
	}{
		"same chip, other key":        {1, UnitKey{one.Chip, unitKey(3).Key}, morning, ErrConflict},
		"other chip, same key":        {1, UnitKey{unitKey(3).Chip, one.Key}, morning, ErrConflict},
		"chip of one, key of another": {1, UnitKey{one.Chip, unitKey(2).Key}, morning, ErrConflict},
		"other order":                 {2, one, morning, ErrConflict},
		"void unit":                   {1, unitKey(2), morning, ErrVoid},
		"order is exhausted":          {1, unitKey(3), morning, ErrExhausted},
		"unknown order":               {3, unitKey(3), morning, ErrNotFound},
		"clock set back":              {2, unitKey(3), morning.Add(-clockTolerance - time.Second), ErrClock},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := b.Reserve(context.Background(), c.order, c.unit, c.now)
			wantError(t, err, c.want)
			if r != (Reservation{}) {
				t.Errorf("a refused unit got %+v", r)
			}
		})
	}
	verify(t, b)
}

func TestClockNeverRunsBackwards(t *testing.T) {
	b, _ := newBook(t)
	addOrder(t, b, testOrder(1, 3))
	reserve(t, b, 1, 1)
	r, err := b.Reserve(context.Background(), 1, unitKey(2), morning.Add(-clockTolerance))
	if err != nil || !r.IssuedAt.Equal(morning) {
		t.Fatalf("within the tolerance: issued at %v, %v; want the newest time, %v", r.IssuedAt, err, morning)
	}
	commit(t, b, r.Serial)
	err = b.CloseUnit(context.Background(), r.Serial, []byte(`{}`), morning.Add(-time.Hour))
	wantError(t, err, ErrClock)
	verify(t, b)
}

// TestStates tries every step on a unit in every state.
func TestStates(t *testing.T) {
	ctx := context.Background()
	receipt := []byte(`{}`)
	steps := []struct {
		name string
		do   func(b *Book, serial uint64) error
		want [Void + 1]error // by the unit's state; the first is for a serial number that nobody has
	}{
		{"commit", func(b *Book, serial uint64) error {
			_, err := b.Commit(ctx, serial, certificateOf(serial), nil)
			return err
		}, [...]error{ErrNotFound, nil, nil, nil, ErrVoid}},
		{"commit other bytes", func(b *Book, serial uint64) error {
			_, err := b.Commit(ctx, serial, []byte("other"), nil)
			return err
		}, [...]error{ErrNotFound, nil, ErrConflict, ErrConflict, ErrVoid}},
		{"commit another twin", func(b *Book, serial uint64) error {
			_, err := b.Commit(ctx, serial, certificateOf(serial), []byte("twin"))
			return err
		}, [...]error{ErrNotFound, nil, ErrConflict, ErrConflict, ErrVoid}},
		{"close", func(b *Book, serial uint64) error {
			return b.CloseUnit(ctx, serial, receipt, morning)
		}, [...]error{ErrNotFound, ErrState, nil, nil, ErrVoid}},
		{"close with another receipt", func(b *Book, serial uint64) error {
			return b.CloseUnit(ctx, serial, []byte(`{"other":1}`), morning)
		}, [...]error{ErrNotFound, ErrState, nil, ErrConflict, ErrVoid}},
		{"void", func(b *Book, serial uint64) error {
			return b.Void(ctx, serial, "second reason")
		}, [...]error{ErrNotFound, nil, nil, ErrClosed, nil}},
	}
	for _, step := range steps {
		for from, want := range step.want {
			t.Run(step.name+" when "+State(from).String(), func(t *testing.T) {
				b, _ := newBook(t)
				serial := addOrder(t, b, testOrder(1, 1)).First
				switch state := State(from); state {
				case Reserved, Committed, Closed, Void:
					reserve(t, b, 1, 1)
					if state > Reserved {
						commit(t, b, serial)
					}
					if state == Closed {
						if err := b.CloseUnit(ctx, serial, receipt, morning); err != nil {
							t.Fatal(err)
						}
					}
					if state == Void {
						if err := b.Void(ctx, serial, "first reason"); err != nil {
							t.Fatal(err)
						}
					}
				}
				wantError(t, step.do(b, serial), want)
				if e, err := b.Serial(ctx, serial); err == nil && State(from) == Void && string(e.Details) != "first reason" {
					t.Errorf("the first reason became %q", e.Details)
				}
				verify(t, b)
			})
		}
	}
}

func TestWhatIsRefusedLeavesNothing(t *testing.T) {
	ctx := context.Background()
	b, _ := newBook(t)
	addOrder(t, b, testOrder(1, 1))
	r := reserve(t, b, 1, 1)
	if _, err := b.Commit(ctx, r.Serial, nil, nil); err == nil {
		t.Error("an empty certificate was committed")
	}
	commit(t, b, r.Serial)
	if err := b.CloseUnit(ctx, r.Serial, []byte("{"), morning); err == nil {
		t.Error("a receipt that is not JSON was taken")
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	wantError(t, b.Void(cancelled, r.Serial, "x"), context.Canceled)
	if e, err := b.Serial(ctx, r.Serial); err != nil || e.State != Committed {
		t.Errorf("unit is %v, %v", e.State, err)
	}
	verify(t, b)
}

func TestUnitsAndSummary(t *testing.T) {
	ctx := context.Background()
	b, _ := newBook(t)
	order := addOrder(t, b, testOrder(1, 10))
	addOrder(t, b, testOrder(2, 5))
	for n := range 6 {
		r := reserve(t, b, 1, n)
		if n >= 2 {
			commit(t, b, r.Serial)
		}
		if n >= 4 {
			closeUnit(t, b, r.Serial)
		}
	}
	for _, n := range []uint64{0, 2} {
		if err := b.Void(ctx, order.First+n, "scratched"); err != nil {
			t.Fatal(err)
		}
	}
	want := Summary{Order: 1, Ordered: 10, Issued: 3, Closed: 2, Reserved: 1, Void: 2, Unused: 4}
	if s, err := b.Summary(ctx, 1); err != nil || s != want {
		t.Errorf("order 1: %+v, %v; want %+v", s, err, want)
	}
	if s, err := b.Summary(ctx, 2); err != nil || s != (Summary{Order: 2, Ordered: 5, Unused: 5}) {
		t.Errorf("order 2: %+v, %v", s, err)
	}
	_, err := b.Summary(ctx, 3)
	wantError(t, err, ErrNotFound)

	var states []State
	next := order.First
	for e, err := range b.Units(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		// A reader may look further while it iterates.
		if same, err := b.Unit(ctx, e.Chip); err != nil || same.Serial != next {
			t.Fatalf("unit %016x: %+v, %v", next, same, err)
		}
		states = append(states, e.State)
		next++
	}
	if want := []State{Void, Reserved, Void, Committed, Closed, Closed}; !reflect.DeepEqual(states, want) {
		t.Errorf("states %v, want %v", states, want)
	}
	for range b.Units(ctx) {
		break
	}
	if report := verify(t, b); len(report.Orders) != 2 || report.Orders[0] != want || report.Size != 4 {
		t.Errorf("report %+v", report)
	}
}

func TestOrders(t *testing.T) {
	ctx := context.Background()
	b, _ := newBook(t)
	order := addOrder(t, b, testOrder(5, 10))
	addOrder(t, b, testOrder(5, 10))
	other := func(change func(*Order)) Order {
		o := testOrder(5, 10)
		change(&o)
		return o
	}
	for name, o := range map[string]Order{
		"other file":        other(func(o *Order) { o.File = []byte("forged") }),
		"other count":       other(func(o *Order) { o.Count++ }),
		"touching its end":  other(func(o *Order) { o.Number, o.First, o.Last = 6, o.Last, o.Last+20 }),
		"touching its head": other(func(o *Order) { o.Number, o.First, o.Last = 6, o.First-20, o.First }),
		"inside it":         other(func(o *Order) { o.Number, o.First, o.Last = 6, o.First+1, o.Last-1 }),
		"around it":         other(func(o *Order) { o.Number, o.First, o.Last = 6, o.First-1, o.Last+1 }),
	} {
		if err := b.AddOrder(ctx, o); err == nil {
			t.Errorf("%s: accepted", name)
		} else {
			wantError(t, err, ErrConflict)
		}
	}
	for name, o := range map[string]Order{
		"range is turned around":    other(func(o *Order) { o.First, o.Last = o.Last, o.First }),
		"count is nothing":          other(func(o *Order) { o.Count = 0 }),
		"count exceeds the range":   other(func(o *Order) { o.Count = 0x10001 }),
		"count exceeds the column":  other(func(o *Order) { o.First, o.Last, o.Count = 0, ^uint64(0), 1<<63 }),
		"number exceeds the column": other(func(o *Order) { o.Count = 1 << 63 }),
		"no file":                   other(func(o *Order) { o.File = nil }),
	} {
		if err := b.AddOrder(ctx, o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	whole := Order{Number: 65535, First: order.Last + 1, Last: ^uint64(0), Count: 1, File: []byte{1}}
	addOrder(t, b, whole)
	if list, err := b.Orders(ctx); err != nil || !reflect.DeepEqual(list, []Order{order, whole}) {
		t.Errorf("orders %+v, %v", list, err)
	}
	verify(t, b)
}

func TestExhaustion(t *testing.T) {
	b, path := newBook(t)
	order := addOrder(t, b, Order{Number: 1, First: ^uint64(0) - 2, Last: ^uint64(0), Count: 3, File: []byte{1}})
	for n := range 3 {
		if r := reserve(t, b, 1, n); r.Serial != order.First+uint64(n) {
			t.Fatalf("unit %d got %016x", n, r.Serial)
		}
	}
	for range 2 {
		_, err := b.Reserve(context.Background(), 1, unitKey(3), morning)
		wantError(t, err, ErrExhausted)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if b, err = Open(path, station.Anchor); err != nil {
			t.Fatal(err)
		}
	}
	defer b.Close()
	verify(t, b)
}

func TestEntriesAreCopies(t *testing.T) {
	b, _ := newBook(t)
	addOrder(t, b, testOrder(1, 1))
	r := reserve(t, b, 1, 1)
	given := certificateOf(r.Serial)
	e, err := b.Commit(context.Background(), r.Serial, given, nil)
	if err != nil {
		t.Fatal(err)
	}
	clear(given)
	if !bytes.Equal(e.Certificate, certificateOf(r.Serial)) {
		t.Error("the entry changed with the caller's buffer")
	}
}
