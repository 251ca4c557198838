package ledger

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"
)

// State is how far a unit has come. It only grows.
type State uint8

const (
	Reserved  State = 1 + iota // has a serial number
	Committed                  // has a certificate, which is in the log
	Closed                     // sealed; has a receipt
	Void                       // set aside; its serial number is never used again
)

func (s State) String() string {
	switch s {
	case Reserved:
		return "reserved"
	case Committed:
		return "committed"
	case Closed:
		return "closed"
	case Void:
		return "void"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// UnitKey is what a unit is recognised by.
type UnitKey struct {
	Chip [9]byte  // serial number of the coprocessor
	Key  [64]byte // P-256 public key, X || Y
}

// Reservation binds a serial number to a unit.
type Reservation struct {
	UnitKey
	Serial      uint64 // EUI-64
	Order       uint16
	Fingerprint [32]byte  // SHA-256 of the order's certificate
	IssuedAt    time.Time // whole seconds, UTC; the certificate's notBefore
	State       State
}

// content is what the journal's chain covers of a reservation, see tip.
func (r Reservation) content() []byte {
	b := bytes64(r.Serial)
	b = binary.BigEndian.AppendUint16(b, r.Order)
	b = append(b, r.Chip[:]...)
	b = append(b, r.Key[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(r.IssuedAt.Unix()))
}

// Entry is all that the book has about a unit.
type Entry struct {
	Reservation
	Leaf        int64  // index in the log, or -1
	Certificate []byte // C509, or nil
	X509        []byte // its DER twin, or nil
	Details     []byte // receipt of a closed unit, reason of a void one, or nil
}

// Record is an entry and the station whose book has it.
type Record struct {
	Station string
	Entry
}

// own and foreign select the same columns, those that scanRecord wants, of units that are called u.
const (
	own = `
SELECT '' AS station, u.serial, u.order_number, o.fingerprint, u.chip, u.key, u.issued_at, j.event, j.details,
	c.leaf, c.certificate, c.x509
FROM units u
JOIN orders o ON o.number = u.order_number
JOIN journal j ON j.serial = u.serial AND j.event = (SELECT max(event) FROM journal WHERE serial = u.serial)
LEFT JOIN certificates c ON c.serial = u.serial`

	foreign = `
SELECT u.station, u.serial, u.order_number, u.fingerprint, u.chip, u.key, u.issued_at, u.state, NULL,
	NULL, u.certificate, u.x509
FROM foreign_records u`
)

func scanRecord(rows *sql.Rows) (Record, error) {
	var r Record
	var issuedAt int64
	var leaf sql.NullInt64
	err := rows.Scan(&r.Station, (*number64)(&r.Serial), &r.Order, blob(r.Fingerprint[:]), blob(r.Chip[:]), blob(r.Key[:]),
		&issuedAt, &r.State, &r.Details, &leaf, &r.Certificate, &r.X509)
	r.IssuedAt = time.Unix(issuedAt, 0).UTC()
	r.Leaf = -1
	if leaf.Valid {
		r.Leaf = leaf.Int64
	}
	return r, err
}

// everywhere selects what is known under a condition on u, in this book (first, with station "") and in imported ones.
func everywhere(where string) string {
	return own + " WHERE " + where + " UNION ALL " + foreign +
		" WHERE u.state = (SELECT max(state) FROM foreign_records WHERE serial = u.serial) AND (" + where + ") ORDER BY station"
}

func find(ctx context.Context, tx *sql.Tx, where string, arguments ...any) ([]Record, error) {
	return records(tx.QueryContext(ctx, everywhere(where), arguments...))
}

// records reads the answer of a query to its end.
func records(rows *sql.Rows, err error) ([]Record, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []Record
	for rows.Next() {
		r, err := scanRecord(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, rows.Err()
}

// Unit returns the entry of the unit with this chip; the error wraps ErrNotFound if this book has none.
func (b *Book) Unit(ctx context.Context, chip [9]byte) (Entry, error) {
	e, err := b.entry(ctx, "u.chip = ?1", chip[:])
	if err != nil {
		return Entry{}, fmt.Errorf("look up chip %x: %w", chip, err)
	}
	return e, nil
}

// Serial returns the entry of the unit with this serial number; the error wraps ErrNotFound if this book has none.
func (b *Book) Serial(ctx context.Context, serial uint64) (Entry, error) {
	e, err := b.entry(ctx, "u.serial = ?1", bytes64(serial))
	if err != nil {
		return Entry{}, fmt.Errorf("look up serial %s: %w", eui(serial), err)
	}
	return e, nil
}

func (b *Book) entry(ctx context.Context, where string, key []byte) (Entry, error) {
	var found []Record
	err := b.read(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		found, err = find(ctx, tx, where, key)
		return err
	})
	if err != nil {
		return Entry{}, err
	}
	if len(found) == 0 || found[0].Station != "" {
		return Entry{}, ErrNotFound
	}
	return found[0].Entry, nil
}

// Units yields the entries of this book by serial number, all from one moment. After an error it ends.
func (b *Book) Units(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		err := b.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
			return units(ctx, tx, func(e Entry) error {
				if !yield(e, nil) {
					return errStop
				}
				return nil
			})
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(Entry{}, fmt.Errorf("list units: %w", err))
		}
	}
}

var errStop = errors.New("reader wants no more units")

// units calls visit for every entry of this book by serial number, up to the first error.
func units(ctx context.Context, tx *sql.Tx, visit func(Entry) error) error {
	rows, err := tx.QueryContext(ctx, own+" ORDER BY u.serial")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scanRecord(rows)
		if err != nil {
			return err
		}
		if err := visit(r.Entry); err != nil {
			return err
		}
	}
	return rows.Err()
}
