package ledger

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func importBook(t *testing.T, b, other *Book) Findings {
	t.Helper()
	f, err := b.Import(context.Background(), other)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestImport(t *testing.T) {
	ctx := context.Background()
	b, _ := newBook(t)
	other := otherStation(t, "line 2")
	addOrder(t, b, testOrder(1, 10))
	addOrder(t, other, testOrder(2, 10))
	commit(t, b, reserve(t, b, 1, 1).Serial)
	committed, reserved := reserve(t, other, 2, 2), reserve(t, other, 2, 3)
	commit(t, other, committed.Serial)

	f := importBook(t, b, other)
	head := verify(t, other)
	if !reflect.DeepEqual(f, Findings{Station: "line 2", Size: head.Size, Root: head.Root, Added: 2}) {
		t.Errorf("findings %+v", f)
	}
	if f := importBook(t, b, other); f.Added != 0 {
		t.Errorf("the second time added %d", f.Added)
	}
	commit(t, other, reserved.Serial)
	closeUnit(t, other, committed.Serial)
	if f := importBook(t, b, other); f.Added != 2 {
		t.Errorf("two units went on; added %d", f.Added)
	}
	verify(t, b)

	// What is known from elsewhere does not become this station's, and is not made here again.
	_, err := b.Unit(ctx, committed.Chip)
	wantError(t, err, ErrNotFound)
	if s, err := b.Summary(ctx, 1); err != nil || s.Issued != 1 || s.Unused != 9 {
		t.Errorf("%+v, %v", s, err)
	}
	for name, unit := range map[string]UnitKey{
		"unit": unitKey(2), "chip": {unitKey(2).Chip, unitKey(8).Key}, "key": {unitKey(8).Chip, unitKey(2).Key},
	} {
		if _, err := b.Reserve(ctx, 1, unit, morning); err == nil {
			t.Errorf("another station's %s got a second serial number", name)
		} else {
			wantError(t, err, ErrConflict)
		}
	}
}

// TestDoubles brings two books together that contradict each other in one unit each; an honest unit is copied beside it.
func TestDoubles(t *testing.T) {
	ctx := context.Background()
	elsewhere := testOrder(2, 10)
	for name, c := range map[string]struct {
		order Order
		unit  UnitKey
		twin  []byte
		want  Double
	}{
		"one serial, two units":             {testOrder(1, 10), unitKey(2), nil, Double{Serial: true}},
		"one serial and key, another chip":  {testOrder(1, 10), UnitKey{unitKey(2).Chip, unitKey(1).Key}, nil, Double{Serial: true, Key: true}},
		"one unit, two certificates":        {testOrder(1, 10), unitKey(1), []byte("twin"), Double{Serial: true, Key: true, Chip: true}},
		"one unit, two serials":             {elsewhere, unitKey(1), nil, Double{Key: true, Chip: true}},
		"one key under two serials":         {elsewhere, UnitKey{unitKey(2).Chip, unitKey(1).Key}, nil, Double{Key: true}},
		"one chip, two keys, two serials":   {elsewhere, UnitKey{unitKey(1).Chip, unitKey(2).Key}, nil, Double{Chip: true}},
		"the same order number, other file": {Order{Number: 1, First: testOrder(1, 1).First, Last: testOrder(1, 1).First + 5, Count: 2, File: []byte("x")}, unitKey(1), nil, Double{Serial: true, Key: true, Chip: true}},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := newBook(t)
			third, _ := newBook(t)
			other := otherStation(t, "line 2")
			addOrder(t, b, testOrder(1, 10))
			addOrder(t, other, c.order)
			here := commit(t, b, reserve(t, b, 1, 1).Serial)
			r, err := other.Reserve(ctx, c.order.Number, c.unit, morning)
			if err != nil {
				t.Fatal(err)
			}
			there, err := other.Commit(ctx, r.Serial, certificateOf(r.Serial), c.twin)
			if err != nil {
				t.Fatal(err)
			}
			commit(t, other, reserve(t, other, c.order.Number, 5).Serial)

			c.want.Here, c.want.There = Record{"", here}, Record{"line 2", there}
			for added := 1; added >= 0; added-- {
				f, err := b.Import(ctx, other)
				wantError(t, err, ErrDouble)
				if f.Added != added || !reflect.DeepEqual(f.Doubles, []Double{c.want}) {
					t.Errorf("found %+v, want %+v", f, c.want)
				}
			}
			verify(t, b)

			// Somebody who holds neither book finds it as well.
			importBook(t, third, other)
			f, err := third.Import(ctx, b)
			wantError(t, err, ErrDouble)
			if len(f.Doubles) != 1 || f.Doubles[0].Here.Station != "line 2" || f.Doubles[0].There.Station != "line 1" {
				t.Errorf("a third book found %+v", f.Doubles)
			}
			verify(t, third)
		})
	}
}

// TestTwoStationsOnOneOrder stops the second station as soon as it knows what the first one did.
func TestTwoStationsOnOneOrder(t *testing.T) {
	b, _ := newBook(t)
	other := otherStation(t, "line 2")
	addOrder(t, b, testOrder(1, 10))
	addOrder(t, other, testOrder(1, 10))
	commit(t, other, reserve(t, other, 1, 1).Serial)
	importBook(t, b, other)
	_, err := b.Reserve(context.Background(), 1, unitKey(2), morning)
	wantError(t, err, ErrDouble)
	_, err = b.Reserve(context.Background(), 1, unitKey(1), morning) // their unit, their order
	wantError(t, err, ErrConflict)
	verify(t, b)
}

// TestImportOfToday brings today's book to a station that was set back to yesterday's.
func TestImportOfToday(t *testing.T) {
	ctx := context.Background()
	b, path := newBook(t)
	order := addOrder(t, b, testOrder(1, 10))
	for n := range 3 {
		reserve(t, b, 1, n)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	yesterday := filepath.Join(t.TempDir(), "yesterday.db")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(yesterday, content, 0o600); err != nil {
		t.Fatal(err)
	}
	today, err := Open(path, station.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	defer today.Close()
	commit(t, today, order.First)
	if err := today.Void(ctx, order.First+1, "cracked"); err != nil {
		t.Fatal(err)
	}
	reserve(t, today, 1, 3)

	if b, err = Open(yesterday, station.Anchor); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if f := importBook(t, today, b); f.Added != 0 {
		t.Errorf("yesterday's book added %d to today's", f.Added)
	}
	if f := importBook(t, b, today); f.Added != 3 {
		t.Errorf("today's book added %d to yesterday's", f.Added)
	}
	_, err = b.Commit(ctx, order.First, []byte("signed again"), nil)
	wantError(t, err, ErrConflict)
	_, err = b.Commit(ctx, order.First+1, []byte("signed"), nil)
	wantError(t, err, ErrVoid)
	_, err = b.Reserve(ctx, 1, unitKey(1), morning)
	wantError(t, err, ErrVoid)
	_, err = b.Reserve(ctx, 1, unitKey(9), morning)
	wantError(t, err, ErrDouble)
	commit(t, b, order.First) // the recorded bytes
	verify(t, b)

	// Two books that went apart: void without a certificate in one, committed in the other.
	if _, err := today.Commit(ctx, order.First+2, []byte("signed"), nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Void(ctx, order.First+2, "lost"); err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]*Book{{b, today}, {today, b}} {
		f, err := pair[0].Import(ctx, pair[1])
		wantError(t, err, ErrDouble)
		if len(f.Doubles) != 1 || f.Doubles[0].There.Serial != order.First+2 {
			t.Errorf("found %+v", f.Doubles)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	ctx := context.Background()
	b, path := newBook(t)
	addOrder(t, b, testOrder(1, 10))
	for i, id := range []Identity{{Anchor: [32]byte{9}, Station: "s"}, {Anchor: station.Anchor, Station: "s", Test: true}} {
		other, err := Create(filepath.Join(t.TempDir(), fmt.Sprint(i)), id)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		_, err = b.Import(ctx, other)
		wantError(t, err, ErrOtherAuthority)
	}

	altered := story(t)
	tamper(t, altered, "UPDATE certificates SET certificate = x'00' WHERE leaf = 1")
	other, err := OpenReadOnly(altered, station.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	f, err := b.Import(ctx, other)
	wantError(t, err, ErrTampered)
	if !reflect.DeepEqual(f, Findings{}) {
		t.Errorf("an altered book gave %+v", f)
	}

	reserve(t, b, 1, 1)
	itself, err := Open(path, station.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	defer itself.Close()
	for _, same := range []*Book{b, itself} {
		if f := importBook(t, b, same); f.Added != 0 {
			t.Errorf("a book learned %d units from itself", f.Added)
		}
	}
	verify(t, b)
}
