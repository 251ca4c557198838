package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
	sqlite3 "modernc.org/sqlite/lib"
)

// Report is what Verify found in a good book.
type Report struct {
	Size   int64 // leaves of the log
	Root   [32]byte
	Orders []Summary
}

// Verify reads the whole book as it is at one moment: SQLite's own checks, the schema with its triggers, every journal
// line with the rows it wrote (chain, clock, state machine, ranges, counts), rows that no line wrote, and the Merkle
// tree, computed again from the leaves. Then it calls check, unless that is nil, for every unit that has a certificate.
// An error names the first bad row; it wraps ErrTampered, or what check returned.
func (b *Book) Verify(ctx context.Context, check func(Entry) error) (Report, error) {
	var report Report
	err := b.read(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		if report, err = b.verify(ctx, tx); err != nil || check == nil {
			return err
		}
		return units(ctx, tx, func(e Entry) error {
			if e.Leaf < 0 {
				return nil
			}
			if err := check(e); err != nil {
				return fmt.Errorf("certificate of serial %s: %w", eui(e.Serial), err)
			}
			return nil
		})
	})
	if primary := code(err) & primaryCode; primary == sqlite3.SQLITE_CORRUPT || primary == sqlite3.SQLITE_NOTADB {
		err = tampered("%w", err)
	}
	if err != nil {
		return Report{}, fmt.Errorf("verify ledger: %w", err)
	}
	return report, nil
}

func tampered(format string, arguments ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrTampered}, arguments...)...)
}

// verifyFile checks the file's structure and its schema.
func verifyFile(ctx context.Context, tx *sql.Tx) error {
	var result string
	if err := tx.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return tampered("%s", result)
	}
	want, err := expectedDefinitions(ctx)
	if err != nil {
		return err
	}
	have, err := definitions(ctx, tx)
	if err != nil {
		return err
	}
	for name, text := range have {
		if want[name] != text {
			return tampered("schema: %s is not as it was made", name)
		}
		delete(want, name)
	}
	for name := range want {
		return tampered("schema: %s is missing", name)
	}
	return nil
}

// verify is Verify without the certificates' signatures.
func (b *Book) verify(ctx context.Context, tx *sql.Tx) (Report, error) {
	if err := verifyFile(ctx, tx); err != nil {
		return Report{}, err
	}
	a, err := b.newAudit(ctx, tx)
	if err != nil {
		return Report{}, err
	}
	if err := a.journal(ctx, tx); err != nil {
		return Report{}, err
	}
	if err := a.strays(ctx, tx); err != nil {
		return Report{}, err
	}
	if err := a.hashes(ctx, tx); err != nil {
		return Report{}, err
	}
	root, err := tlog.TreeHash(a.size, a.reader())
	if err != nil {
		return Report{}, err
	}
	counts, err := summaries(ctx, tx, "")
	return Report{a.size, root, counts}, err
}

// strays finds rows that no journal line wrote. Those that a line did write are under its chain already.
func (a *audit) strays(ctx context.Context, tx *sql.Tx) error {
	for number, order := range a.orders {
		if !order.added {
			return tampered("orders row %d: the journal does not have it", number)
		}
	}
	for sequence := range a.books {
		return tampered("foreign_records of import %d: the journal does not have it", sequence)
	}
	for table, event := range map[string]State{"units": Reserved, "certificates": Committed} {
		var serial []byte
		err := tx.QueryRowContext(ctx, "SELECT serial FROM "+table+
			" WHERE serial NOT IN (SELECT serial FROM journal WHERE event = ?) ORDER BY serial LIMIT 1", event).Scan(&serial)
		if err == nil {
			return tampered("%s row %x: the journal does not have it", table, serial)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	return nil
}

// hashes compares the stored tree with the one that the leaves make.
func (a *audit) hashes(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, "SELECT position, hash FROM hashes ORDER BY position")
	if err != nil {
		return err
	}
	defer rows.Close()
	var next int64
	for ; rows.Next(); next++ {
		var position int64
		var hash tlog.Hash
		if err := rows.Scan(&position, blob(hash[:])); err != nil {
			return err
		}
		switch {
		case position > next && next < int64(len(a.tree)):
			return tampered("hashes row %d is missing", next)
		case position >= int64(len(a.tree)):
			return tampered("hashes row %d: the log is not that long", position)
		case hash != a.tree[position]:
			return tampered("hashes row %d is not what the leaves make", position)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if next < int64(len(a.tree)) {
		return tampered("hashes row %d is missing", next)
	}
	return nil
}
