package fleet

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // driver "sqlite"

	"github.com/birthmark/birthmark/ca"
)

// madeID marks the file in SQLite's header: "BMFL".
const madeID = 0x424d464c

const madeSchema = `
CREATE TABLE fleet (
	one  INTEGER PRIMARY KEY CHECK (one = 1),
	head TEXT NOT NULL
) STRICT;

CREATE TABLE orders (
	number      INTEGER PRIMARY KEY,
	certificate BLOB NOT NULL,
	file        BLOB NOT NULL,
	key         BLOB NOT NULL CHECK (length(key) = 32)
) STRICT;

CREATE TABLE units (
	serial       INTEGER PRIMARY KEY,
	eui64        TEXT GENERATED ALWAYS AS (printf('%016X', serial)) VIRTUAL,
	order_number INTEGER NOT NULL REFERENCES orders,
	key          BLOB NOT NULL CHECK (length(key) = 32),
	certificate  BLOB NOT NULL,
	x509         BLOB
) STRICT;
`

// openDatabase: a fleet is made again sooner than it is repaired, so what power takes away is not waited for; what a killed process
// leaves is whole.
func openDatabase(path string) (*sql.DB, error) {
	path, err := filepath.Abs(path) // a relative one would be a host
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=synchronous(OFF)&_pragma=journal_mode(TRUNCATE)&_pragma=trusted_schema(0)"}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

func createDatabase(path string, h *Head, _ string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	db, err := openDatabase(path)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.Exec(madeSchema + fmt.Sprintf("PRAGMA application_id = %d", madeID)); err != nil {
		return err
	}
	if _, err := tx.Exec("INSERT INTO fleet VALUES (1, ?)", string(h.text())); err != nil {
		return err
	}
	for i, o := range h.Orders {
		order, err := ca.ParseOrder(o.File)
		if err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT INTO orders VALUES (?, ?, ?, ?)", i+1, order.Certificate.Raw, []byte(o.File), []byte(o.Key)); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func databaseHead(path string) (_ *Head, err error) {
	if _, err := os.Stat(path); err != nil { // SQLite would make the file
		return nil, err
	}
	db, err := openDatabase(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var text string
	if err := db.QueryRow("SELECT head FROM fleet, pragma_application_id WHERE application_id = ?", madeID).Scan(&text); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrNotMade, err)
	}
	return parseHead(path, func(v any) error { return json.Unmarshal([]byte(text), v) })
}

func databaseUnits(path string, _ *Head) iter.Seq2[Unit, error] {
	return func(yield func(Unit, error) bool) {
		db, err := openDatabase(path)
		if err != nil {
			yield(Unit{}, err)
			return
		}
		defer db.Close()
		rows, err := db.Query("SELECT serial, order_number, key, certificate, x509 FROM units ORDER BY serial")
		if err != nil {
			yield(Unit{}, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			var u Unit
			var key []byte
			err := rows.Scan(&u.Serial, &u.Order, &key, &u.Certificate, &u.X509)
			if err == nil {
				u.Key = [32]byte(key)
			}
			if !yield(u, err) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(Unit{}, err)
		}
	}
}

// database is a fleet in SQLite.
type database struct {
	db     *sql.DB
	insert *sql.Stmt
}

func resumeDatabase(path string, _ *Head, _ string) (_ form, have int, err error) {
	db, err := openDatabase(path)
	if err != nil {
		return nil, 0, err
	}
	f := &database{db: db}
	if err = db.QueryRow("SELECT count(*) FROM units").Scan(&have); err == nil {
		f.insert, err = db.Prepare("INSERT INTO units (serial, order_number, key, certificate, x509) VALUES (?, ?, ?, ?, ?)")
	}
	if err != nil {
		return nil, 0, errors.Join(err, db.Close())
	}
	return f, have, nil
}

func (f *database) encode(_ int, units []Unit) func() error {
	return func() error {
		tx, err := f.db.Begin()
		if err != nil {
			return err
		}
		defer tx.Rollback()
		insert := tx.Stmt(f.insert)
		for _, u := range units {
			if _, err := insert.Exec(int64(u.Serial), u.Order, u.Key[:], u.Certificate, u.X509); err != nil {
				return err
			}
		}
		return tx.Commit()
	}
}

// close leaves no journal behind.
func (f *database) close() error {
	_, err := f.db.Exec("PRAGMA journal_mode = DELETE")
	return errors.Join(err, f.insert.Close(), f.db.Close())
}
