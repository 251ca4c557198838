package ledger

import (
	"context"
	"testing"
)

// BenchmarkUnit is a unit's whole life in the book: three durable transactions.
func BenchmarkUnit(b *testing.B) {
	book, _ := newBook(b)
	order := Order{Number: 1, Last: ^uint64(0), Count: 1 << 40, File: []byte{1}}
	addOrder(b, book, order)
	for n := 0; b.Loop(); n++ {
		r := reserve(b, book, 1, n)
		commit(b, book, r.Serial)
		closeUnit(b, book, r.Serial)
	}
}

// BenchmarkVerify checks a book of 1000 closed units.
func BenchmarkVerify(b *testing.B) {
	book, _ := newBook(b)
	fill(b, book, 1, 1000)
	for b.Loop() {
		verify(b, book)
	}
}

// BenchmarkImport brings in a book of 1000 closed units that is known already.
func BenchmarkImport(b *testing.B) {
	book, path := newBook(b)
	fill(b, book, 1, 1000)
	same, err := OpenReadOnly(path, station.Anchor)
	if err != nil {
		b.Fatal(err)
	}
	defer same.Close()
	for b.Loop() {
		if f, err := book.Import(context.Background(), same); err != nil || f.Added != 0 {
			b.Fatal(f, err)
		}
	}
}

func fill(b *testing.B, book *Book, order uint16, units int) {
	addOrder(b, book, testOrder(order, uint64(units)))
	for n := range units {
		r := reserve(b, book, order, n)
		commit(b, book, r.Serial)
		closeUnit(b, book, r.Serial)
	}
}
