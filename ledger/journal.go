package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// clockTolerance is how far a caller's clock may be behind the book: time servers step clocks back by less.
const clockTolerance = 2 * time.Minute

// event is the kind of a journal row: a unit's new State, or one of two more.
type event uint8

const (
	orderAdded event = 5 + iota
	bookImported
)

func (e event) String() string {
	switch e {
	case orderAdded:
		return "order added"
	case bookImported:
		return "book imported"
	}
	return State(e).String()
}

// line is what one event adds to the journal.
type line struct {
	event   event
	serial  []byte // of the unit, or nil
	order   any    // number of the order that was added, or nil
	time    int64
	details []byte
	content []byte // bytes of the rows that the event wrote elsewhere; with details, what the chain covers
}

// tip is the end of the journal. The chain starts from the book's identity,
//
//	SHA-256("birthmark ledger 1" || anchor (32) || test (1) || length of authority (8) || authority || station),
//
// and each line makes of it
//
//	SHA-256(chain (32) || event (1) || sequence (8) || time (8) || SHA-256(content) || details)
//
// with numbers big-endian. The content is, by event:
//
//	reserved       serial (8), order (2), chip (9), key (64), issue time (8)
//	committed      the log leaf, see log.go
//	closed, void   serial (8)
//	order added    number (2), fingerprint (32), first (8), last (8), count (8), product (4), file
//	book imported  SHA-256 of each foreign record in turn, see import.go
type tip struct {
	sequence int64
	time     int64 // the newest that the book was ever told
	chain    [32]byte
}

// start is the tip of an empty journal.
func (id Identity) start() tip {
	b := append([]byte("birthmark ledger 1"), id.Anchor[:]...)
	b = append(b, 0)
	if id.Test {
		b[len(b)-1] = 1
	}
	b = binary.BigEndian.AppendUint64(b, uint64(len(id.Authority)))
	b = append(b, id.Authority...)
	return tip{chain: sha256.Sum256(append(b, id.Station...))}
}

// next is the tip once l was appended.
func (t tip) next(l line) tip {
	content := sha256.Sum256(l.content)
	b := append(t.chain[:], byte(l.event))
	b = binary.BigEndian.AppendUint64(b, uint64(t.sequence+1))
	b = binary.BigEndian.AppendUint64(b, uint64(l.time))
	b = append(b, content[:]...)
	return tip{t.sequence + 1, l.time, sha256.Sum256(append(b, l.details...))}
}

// clock is the time to record when a caller says it is now: never before what the book already says.
func (t tip) clock(now time.Time) (int64, error) {
	if newest := time.Unix(t.time, 0); now.Before(newest.Add(-clockTolerance)) {
		return 0, fmt.Errorf("%w: it says %s, the book has %s", ErrClock, now.UTC().Format(time.RFC3339), newest.UTC().Format(time.RFC3339))
	}
	return max(now.Unix(), t.time), nil
}

func (b *Book) tip(ctx context.Context, tx *sql.Tx) (tip, error) {
	var t tip
	err := tx.QueryRowContext(ctx, "SELECT sequence, time, chain FROM journal ORDER BY sequence DESC LIMIT 1").
		Scan(&t.sequence, &t.time, blob(t.chain[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return b.identity.start(), nil
	}
	return t, err
}

// record appends l to the journal that ends at t.
func record(ctx context.Context, tx *sql.Tx, t tip, l line) error {
	n := t.next(l)
	_, err := tx.ExecContext(ctx, "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)",
		n.sequence, l.event, orNull(l.serial), l.order, n.time, orNull(l.details), n.chain[:])
	return err
}
