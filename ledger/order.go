package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Order is an officer's permission to build, as far as the book needs it.
type Order struct {
	Number      uint16
	Fingerprint [32]byte // SHA-256 of the order's certificate
	First, Last uint64   // range of serial numbers, both included
	Count       uint64   // units that may be built, at most the size of the range
	Product     uint32
	File        []byte // the signed order file as it came
}

// content is what the journal's chain covers, see tip.
func (o Order) content() []byte {
	b := binary.BigEndian.AppendUint16(nil, o.Number)
	b = append(b, o.Fingerprint[:]...)
	for _, n := range [...]uint64{o.First, o.Last, o.Count} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = binary.BigEndian.AppendUint32(b, o.Product)
	return append(b, o.File...)
}

func (o Order) check() error {
	switch {
	case o.First > o.Last:
		return errors.New("range ends before it begins")
	case o.Count == 0 || o.Count-1 > o.Last-o.First:
		return fmt.Errorf("count %d does not fit the range", o.Count)
	case o.Count > math.MaxInt64:
		return errors.New("count over 2^63 - 1")
	case len(o.File) == 0:
		return errors.New("order file is empty")
	}
	return nil
}

// AddOrder records an order. The same order again changes nothing; another order of that number, or one whose range
// touches a recorded one, wraps ErrConflict.
func (b *Book) AddOrder(ctx context.Context, order Order) error {
	err := order.check()
	if err == nil {
		err = b.write(ctx, func(ctx context.Context, tx *sql.Tx) error { return b.addOrder(ctx, tx, order) })
	}
	if err != nil {
		return fmt.Errorf("add order %d: %w", order.Number, err)
	}
	return nil
}

func (b *Book) addOrder(ctx context.Context, tx *sql.Tx, order Order) error {
	known, err := orders(ctx, tx)
	if err != nil {
		return err
	}
	for _, k := range known {
		if bytes.Equal(k.content(), order.content()) {
			return nil
		}
		if k.Number == order.Number {
			return fmt.Errorf("%w: another order has this number", ErrConflict)
		}
		if k.First <= order.Last && order.First <= k.Last {
			return fmt.Errorf("%w: range overlaps that of order %d", ErrConflict, k.Number)
		}
	}
	t, err := b.tip(ctx, tx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", order.Number, order.Fingerprint[:],
		bytes64(order.First), bytes64(order.Last), order.Count, order.Product, order.File)
	if err != nil {
		return err
	}
	return record(ctx, tx, t, line{event: orderAdded, order: order.Number, time: t.time, content: order.content()})
}

// Orders returns every order by its number.
func (b *Book) Orders(ctx context.Context) (list []Order, err error) {
	err = b.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		list, err = orders(ctx, tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	return list, nil
}

func orders(ctx context.Context, tx *sql.Tx) ([]Order, error) {
	rows, err := tx.QueryContext(ctx, "SELECT number, fingerprint, first, last, count, product, file FROM orders ORDER BY number")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Order
	for rows.Next() {
		var o Order
		err := rows.Scan(&o.Number, blob(o.Fingerprint[:]), (*number64)(&o.First), (*number64)(&o.Last), &o.Count, &o.Product, &o.File)
		if err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return list, rows.Err()
}

// Summary counts an order's units. Ordered = Issued + Reserved + Void + Unused.
type Summary struct {
	Order    uint16
	Ordered  uint64
	Issued   uint64 // with a certificate, and not void
	Closed   uint64 // those of Issued that have their receipt
	Reserved uint64 // begun, without a certificate
	Void     uint64
	Unused   uint64
}

// Summary counts the units of one order; the error wraps ErrNotFound if the book does not have it.
func (b *Book) Summary(ctx context.Context, order uint16) (Summary, error) {
	var list []Summary
	err := b.read(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		list, err = summaries(ctx, tx, "WHERE number = ?", order)
		return err
	})
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Summary{}, fmt.Errorf("count units of order %d: %w", order, err)
	}
	return list[0], nil
}

func summaries(ctx context.Context, tx *sql.Tx, where string, arguments ...any) ([]Summary, error) {
	rows, err := tx.QueryContext(ctx, `
SELECT number, count, count(*) FILTER (WHERE state IN (2, 3)), count(*) FILTER (WHERE state = 3),
	count(*) FILTER (WHERE state = 1), count(*) FILTER (WHERE state = 4)
FROM orders LEFT JOIN (
	SELECT order_number, (SELECT max(event) FROM journal WHERE serial = units.serial) AS state FROM units
) ON order_number = number `+where+` GROUP BY number ORDER BY number`, arguments...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Summary
	for rows.Next() {
		var s Summary
		if err := rows.Scan(&s.Order, &s.Ordered, &s.Issued, &s.Closed, &s.Reserved, &s.Void); err != nil {
			return nil, err
		}
		s.Unused = s.Ordered - s.Issued - s.Reserved - s.Void
		list = append(list, s)
	}
	return list, rows.Err()
}
