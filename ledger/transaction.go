package ledger

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"
)

const primaryCode = 0xff // SQLite's extended result codes carry the primary one in the low byte

// write runs change in one durable transaction. When it returns nil, everything is on the disk; when the error wraps
// ErrDisk, nobody knows, and every later call fails the same way; after any other error nothing was recorded. The
// context counts until the transaction begins: a write that began is brought to its end.
func (b *Book) write(ctx context.Context, change func(context.Context, *sql.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if failed := b.failed.Load(); failed != nil {
		return *failed
	}
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return b.judge(err)
	}
	defer tx.Rollback()
	if err := change(ctx, tx); err != nil {
		return b.judge(err)
	}
	if err := tx.Commit(); err != nil {
		if code(err)&primaryCode == sqlite3.SQLITE_FULL {
			return b.judge(err)
		}
		return b.fail(err)
	}
	if b.commits++; b.commits < checkpointEvery {
		return nil
	}
	err = b.move("PASSIVE")
	if code(err)&primaryCode == sqlite3.SQLITE_FULL {
		return nil // the commit stands in the write-ahead log; the next one tries again
	}
	return err
}

// judge sorts an error of an unfinished transaction.
func (b *Book) judge(err error) error {
	switch code(err) & primaryCode {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %w", ErrFull, err)
	case sqlite3.SQLITE_IOERR:
		return b.fail(err)
	}
	return err
}

// fail notes that the disk failed. After a failed fsync the kernel may drop the pages and report the next fsync as good
// (so no retry is honest); only a new process, which reads the file again, can know what it holds.
func (b *Book) fail(err error) error {
	err = fmt.Errorf("%w: %w", ErrDisk, err)
	b.failed.Store(&err)
	return err
}

// checkpoint is move for callers that do not hold the lock.
func (b *Book) checkpoint(mode string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if failed := b.failed.Load(); failed != nil {
		return *failed
	}
	return b.move(mode)
}

// move copies the write-ahead log into the main file and syncs it, as far as other processes' readers allow. The caller
// holds the lock.
func (b *Book) move(mode string) error {
	var busy, frames, moved int
	err := b.db.QueryRow("PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &frames, &moved)
	if err != nil {
		return b.judge(err)
	}
	b.commits = 0
	return nil
}

// read runs look on one unchanging view of the book.
func (b *Book) read(ctx context.Context, look func(context.Context, *sql.Tx) error) error {
	if failed := b.failed.Load(); failed != nil {
		return *failed
	}
	tx, err := b.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	return look(ctx, tx)
}

// blob is the destination of a column that holds exactly len(blob) bytes. NULL leaves it as it is.
type blob []byte

func (b blob) Scan(value any) error {
	if value == nil {
		return nil
	}
	v, ok := value.([]byte)
	if !ok || len(v) != len(b) {
		return fmt.Errorf("want a blob of %d bytes", len(b))
	}
	copy(b, v)
	return nil
}

// number64 is an unsigned 64-bit number as it is stored, see schema.
type number64 uint64

func (n *number64) Scan(value any) error {
	var b [8]byte
	if err := blob(b[:]).Scan(value); err != nil {
		return err
	}
	*n = number64(binary.BigEndian.Uint64(b[:]))
	return nil
}

func bytes64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// orNull keeps "none" apart from "empty": nil becomes NULL.
func orNull(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}
