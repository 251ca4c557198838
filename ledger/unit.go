package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Reserve binds the order's next serial number to a unit, before anything is signed for it. A unit that is known under
// this order, by the same chip and key, gets the same reservation back, whatever the time. IssuedAt is now in whole
// seconds, or the newest time in the book if that is later.
//
// The error wraps ErrConflict if chip or key are known in another pair, under another order or from another station's
// book; ErrVoid if the unit was set aside; ErrNotFound if the order is unknown; ErrExhausted if its count is used up;
// ErrDouble if another station used the next serial number; ErrClock if now is over two minutes behind the book.
func (b *Book) Reserve(ctx context.Context, order uint16, unit UnitKey, now time.Time) (Reservation, error) {
	var r Reservation
	err := b.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		known, err := find(ctx, tx, "u.chip = ?1 OR u.key = ?2", unit.Chip[:], unit.Key[:])
		if err != nil {
			return err
		}
		if len(known) > 0 {
			r, err = resume(known, order, unit)
		} else {
			r, err = b.reserve(ctx, tx, order, unit, now)
		}
		return err
	})
	if err != nil {
		return Reservation{}, fmt.Errorf("reserve for chip %x under order %d: %w", unit.Chip, order, err)
	}
	return r, nil
}

// resume finds the unit's own reservation among the records that share its chip or key.
func resume(known []Record, order uint16, unit UnitKey) (Reservation, error) {
	for _, k := range known {
		switch {
		case k.Chip != unit.Chip:
			return Reservation{}, fmt.Errorf("%w: its key belongs to chip %x, serial %s", ErrConflict, k.Chip, eui(k.Serial))
		case k.Key != unit.Key:
			return Reservation{}, fmt.Errorf("%w: its chip has another key, serial %s", ErrConflict, eui(k.Serial))
		case k.Order != order:
			return Reservation{}, fmt.Errorf("%w: it is serial %s of order %d", ErrConflict, eui(k.Serial), k.Order)
		case k.State == Void:
			return Reservation{}, fmt.Errorf("serial %s: %w", eui(k.Serial), ErrVoid)
		}
	}
	if known[0].Station != "" {
		return Reservation{}, fmt.Errorf("%w: station %q made it serial %s", ErrConflict, known[0].Station, eui(known[0].Serial))
	}
	return known[0].Reservation, nil
}

func (b *Book) reserve(ctx context.Context, tx *sql.Tx, order uint16, unit UnitKey, now time.Time) (Reservation, error) {
	t, err := b.tip(ctx, tx)
	if err != nil {
		return Reservation{}, err
	}
	at, err := t.clock(now)
	if err != nil {
		return Reservation{}, err
	}
	r := Reservation{UnitKey: unit, Order: order, IssuedAt: time.Unix(at, 0).UTC(), State: Reserved}
	if err := r.number(ctx, tx); err != nil {
		return Reservation{}, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO units VALUES (?, ?, ?, ?, ?)", bytes64(r.Serial), r.Order, r.Chip[:], r.Key[:], at)
	if err != nil {
		return Reservation{}, err
	}
	return r, record(ctx, tx, t, line{event: event(Reserved), serial: bytes64(r.Serial), time: at, content: r.content()})
}

// number fills in the order's next serial number. An order's numbers have no gaps, so the last one tells how many.
func (r *Reservation) number(ctx context.Context, tx *sql.Tx) error {
	var first number64
	var count, used uint64
	var highest sql.Null[number64]
	err := tx.QueryRowContext(ctx, `
SELECT fingerprint, first, count, (SELECT max(serial) FROM units WHERE order_number = number) FROM orders WHERE number = ?`,
		r.Order).Scan(blob(r.Fingerprint[:]), &first, &count, &highest)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("order: %w", ErrNotFound)
	}
	if err != nil {
		return err
	}
	if highest.Valid {
		used = uint64(highest.V-first) + 1
	}
	if used >= count {
		return fmt.Errorf("%w: %d of %d units", ErrExhausted, used, count)
	}
	r.Serial = uint64(first) + used
	elsewhere, err := find(ctx, tx, "u.serial = ?1", bytes64(r.Serial))
	if err == nil && len(elsewhere) > 0 {
		err = fmt.Errorf("%w: station %q used serial %s of this order for chip %x", ErrDouble, elsewhere[0].Station, eui(r.Serial), elsewhere[0].Chip)
	}
	return err
}

// Commit records a unit's certificate, and its X.509 twin unless that is nil, and adds the log leaf. The same bytes
// again give the same entry. The error wraps ErrConflict for other bytes than recorded here or in an imported book,
// ErrNotFound for a serial number that was not reserved, and ErrVoid.
func (b *Book) Commit(ctx context.Context, serial uint64, certificate, x509 []byte) (Entry, error) {
	var e Entry
	err := b.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if len(certificate) == 0 {
			return errors.New("certificate is empty")
		}
		if len(x509) == 0 {
			x509 = nil
		}
		known, err := live(ctx, tx, serial)
		if err != nil {
			return err
		}
		for _, k := range known {
			if k.Certificate != nil && !(bytes.Equal(k.Certificate, certificate) && bytes.Equal(k.X509, x509)) {
				return fmt.Errorf("%w: another certificate was issued", ErrConflict)
			}
		}
		e = known[0].Entry
		if e.State != Reserved {
			return nil
		}
		e.Certificate, e.X509 = bytes.Clone(certificate), bytes.Clone(x509)
		return b.commit(ctx, tx, &e)
	})
	if err != nil {
		return Entry{}, fmt.Errorf("commit serial %s: %w", eui(serial), err)
	}
	return e, nil
}

func (b *Book) commit(ctx context.Context, tx *sql.Tx, e *Entry) error {
	t, err := b.tip(ctx, tx)
	if err != nil {
		return err
	}
	if e.Leaf, err = logSize(ctx, tx); err != nil {
		return err
	}
	e.State = Committed
	_, err = tx.ExecContext(ctx, "INSERT INTO certificates VALUES (?, ?, ?, ?)", e.Leaf, bytes64(e.Serial), e.Certificate, orNull(e.X509))
	if err != nil {
		return err
	}
	leaf := e.leaf(t.chain)
	hashes, err := tlog.StoredHashes(e.Leaf, leaf, hashReader(ctx, tx))
	if err != nil {
		return err
	}
	for i, hash := range hashes {
		if _, err := tx.ExecContext(ctx, "INSERT INTO hashes VALUES (?, ?)", tlog.StoredHashIndex(0, e.Leaf)+int64(i), hash[:]); err != nil {
			return err
		}
	}
	return record(ctx, tx, t, line{event: event(Committed), serial: bytes64(e.Serial), time: t.time, content: leaf})
}

// CloseUnit ends a committed unit with its receipt, a JSON text. The same receipt again changes nothing, whatever the
// time. The error wraps ErrConflict for another receipt, ErrState for a unit without a certificate, ErrNotFound,
// ErrVoid, or ErrClock as in Reserve.
func (b *Book) CloseUnit(ctx context.Context, serial uint64, receipt []byte, now time.Time) error {
	err := b.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if !json.Valid(receipt) {
			return errors.New("receipt is not JSON")
		}
		known, err := live(ctx, tx, serial)
		if err != nil {
			return err
		}
		switch unit := known[0]; {
		case unit.State == Reserved:
			return fmt.Errorf("%w: it has no certificate", ErrState)
		case unit.State == Closed && bytes.Equal(unit.Details, receipt):
			return nil
		case unit.State == Closed:
			return fmt.Errorf("%w: it has another receipt", ErrConflict)
		}
		t, err := b.tip(ctx, tx)
		if err != nil {
			return err
		}
		at, err := t.clock(now)
		if err != nil {
			return err
		}
		return record(ctx, tx, t, ending(Closed, serial, at, receipt))
	})
	if err != nil {
		return fmt.Errorf("close serial %s: %w", eui(serial), err)
	}
	return nil
}

// Void sets a unit aside for good. Its serial number is not used again and its certificate, if any, stays in the log. A
// void unit stays as it is, with its first reason. The event's time is the newest that the book was told before. The
// error wraps ErrNotFound, or ErrClosed for a finished unit.
func (b *Book) Void(ctx context.Context, serial uint64, reason string) error {
	err := b.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		known, err := live(ctx, tx, serial)
		if errors.Is(err, ErrVoid) {
			return nil
		}
		if err != nil {
			return err
		}
		if known[0].State == Closed {
			return ErrClosed
		}
		t, err := b.tip(ctx, tx)
		if err != nil {
			return err
		}
		return record(ctx, tx, t, ending(Void, serial, t.time, []byte(reason)))
	})
	if err != nil {
		return fmt.Errorf("retire %s: %w", eui(serial), err)
	}
	return nil
}

// eui is a serial number as labels and commands have it.
func eui(serial uint64) string {
	return strings.ReplaceAll(fmt.Sprintf("% X", bytes64(serial)), " ", "-")
}

// ending is the journal line that closes or voids a unit.
func ending(s State, serial uint64, at int64, details []byte) line {
	return line{event: event(s), serial: bytes64(serial), time: at, details: details, content: bytes64(serial)}
}

// live returns the unit's record in this book, first, and in imported ones. The error wraps ErrNotFound or, if any of
// them set it aside, ErrVoid.
func live(ctx context.Context, tx *sql.Tx, serial uint64) ([]Record, error) {
	known, err := find(ctx, tx, "u.serial = ?1", bytes64(serial))
	if err != nil {
		return nil, err
	}
	if len(known) == 0 || known[0].Station != "" {
		return nil, ErrNotFound
	}
	for _, k := range known {
		if k.State == Void {
			return nil, ErrVoid
		}
	}
	return known, nil
}
