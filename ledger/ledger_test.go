package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

var (
	station = Identity{Anchor: [32]byte{0xa1}, Authority: "Acme", Station: "line 1"}
	morning = time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)
)

// newBook makes a book in a folder of its own; it is closed when the test ends.
func newBook(t testing.TB) (*Book, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "book.db")
	b, err := Create(path, station)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b, path
}

// testOrder is an order for count units in a range of 0x10000 serial numbers, told apart by its number.
func testOrder(number uint16, count uint64) Order {
	first := 0x8000_0000_0000_0000 | uint64(number)<<16
	return Order{
		Number: number, Fingerprint: sha256.Sum256([]byte{byte(number)}), First: first, Last: first | 0xffff,
		Count: count, Product: 7, File: []byte("order file"),
	}
}

func addOrder(t testing.TB, b *Book, o Order) Order {
	t.Helper()
	if err := b.AddOrder(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	return o
}

// unitKey is the chip and the key of unit n.
func unitKey(n int) (u UnitKey) {
	binary.BigEndian.PutUint64(u.Chip[1:], uint64(n))
	key := sha256.Sum256(u.Chip[:])
	copy(u.Key[:], key[:])
	return u
}

func certificateOf(serial uint64) []byte { return append([]byte("certificate "), bytes64(serial)...) }

func reserve(t testing.TB, b *Book, order uint16, n int) Reservation {
	t.Helper()
	r, err := b.Reserve(context.Background(), order, unitKey(n), morning)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func commit(t testing.TB, b *Book, serial uint64) Entry {
	t.Helper()
	e, err := b.Commit(context.Background(), serial, certificateOf(serial), nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func closeUnit(t testing.TB, b *Book, serial uint64) {
	t.Helper()
	if err := b.CloseUnit(context.Background(), serial, []byte(`{"result":"pass"}`), morning); err != nil {
		t.Fatal(err)
	}
}

func verify(t testing.TB, b *Book) Report {
	t.Helper()
	report, err := b.Verify(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range report.Orders {
		if s.Ordered != s.Issued+s.Reserved+s.Void+s.Unused || s.Closed > s.Issued {
			t.Fatalf("order %d does not add up: %+v", s.Order, s)
		}
	}
	return report
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}
