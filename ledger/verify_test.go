package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// story makes a book with every kind of row: units 1 to 4 of order 1 are closed, committed, reserved and void, order 2 is
// unused, and two units were imported. It returns the closed file.
func story(t *testing.T) string {
	t.Helper()
	b, path := newBook(t)
	addOrder(t, b, testOrder(1, 10))
	addOrder(t, b, testOrder(2, 5))
	for n := 1; n <= 4; n++ {
		serial := reserve(t, b, 1, n).Serial
		if n != 3 {
			commit(t, b, serial)
		}
		switch n {
		case 1:
			closeUnit(t, b, serial)
		case 4:
			if err := b.Void(context.Background(), serial, "scratched"); err != nil {
				t.Fatal(err)
			}
		}
	}
	other := otherStation(t, "line 2")
	addOrder(t, other, testOrder(3, 10))
	for n := 5; n <= 6; n++ {
		commit(t, other, reserve(t, other, 3, n).Serial)
	}
	if f, err := b.Import(context.Background(), other); err != nil || f.Added != 2 {
		t.Fatalf("%+v, %v", f, err)
	}
	verify(t, b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func otherStation(t *testing.T, name string) *Book {
	t.Helper()
	id := station
	id.Station = name
	b, err := Create(filepath.Join(t.TempDir(), "other.db"), id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// tamper alters a closed book behind the program's back: it drops the triggers, runs the statements without foreign
// keys, and makes the triggers again.
func tamper(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open(driverName, path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
	if err != nil {
		t.Fatal(err)
	}
	var drop, restore []string
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			t.Fatal(err)
		}
		drop, restore = append(drop, "DROP TRIGGER "+name), append(restore, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, s := range append(append(drop, statements...), restore...) {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// wantTampered opens the book and wants Verify to name what was altered.
func wantTampered(t *testing.T, path, named string) {
	t.Helper()
	b, err := Open(path, station.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	_, err = b.Verify(context.Background(), nil)
	wantError(t, err, ErrTampered)
	if !strings.Contains(err.Error(), named) {
		t.Errorf("got %q, want it to name %q", err, named)
	}
}

func TestTriggersRefuse(t *testing.T) {
	path := story(t)
	b, err := Open(path, station.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, table := range tables {
		for _, statement := range []string{"DELETE FROM " + table, "UPDATE " + table + " SET rowid = rowid"} {
			if table == "units" {
				statement = strings.ReplaceAll(statement, "rowid", "issued_at")
			}
			if _, err := b.db.Exec(statement); err == nil || !strings.Contains(err.Error(), "never changed") {
				t.Errorf("%s: %v", statement, err)
			}
		}
	}
	verify(t, b)
}

func TestTampering(t *testing.T) {
	// The journal: 1 and 2 orders; 3 to 5 serial ..0, 6 and 7 ..1, 8 ..2, 9 to 11 ..3, 12 the import.
	const serial = "x'800000000001000%d'"
	whole, err := os.ReadFile(story(t))
	if err != nil {
		t.Fatal(err)
	}
	one, two, three := fmt.Sprintf(serial, 0), fmt.Sprintf(serial, 1), fmt.Sprintf(serial, 2)
	for _, c := range []struct{ name, statement, named string }{
		{"book altered", "UPDATE book SET test = 1", "journal row 1 (order 1 added)"},
		{"order altered", "UPDATE orders SET count = 9999 WHERE number = 2", "journal row 2 (order 2 added)"},
		{"order's file altered", "UPDATE orders SET file = x'00' WHERE number = 1", "journal row 1 (order 1 added)"},
		{"order deleted", "DELETE FROM orders WHERE number = 2", "journal row 2 (order 2 added): ledger is damaged or was altered: its row of orders is missing"},
		{"order inserted", "INSERT INTO orders SELECT 9, fingerprint, first, last, count, product, file FROM orders WHERE number = 2", "orders row 9"},
		{"reserved unit altered", "UPDATE units SET chip = x'010203040506070809' WHERE serial = " + three, "journal row 8 (serial 8000000000010002 reserved)"},
		{"committed unit altered", "UPDATE units SET key = zeroblob(64) WHERE serial = " + two, "journal row 6 (serial 8000000000010001 reserved)"},
		{"unit given to another order", "UPDATE units SET order_number = 2 WHERE serial = " + two, "journal row 6"},
		{"unit redated", "UPDATE units SET issued_at = issued_at - 60 WHERE serial = " + one, "journal row 3"},
		{"unit deleted", "DELETE FROM units WHERE serial = " + two, "journal row 6 (serial 8000000000010001 reserved): ledger is damaged or was altered: its row of units is missing"},
		{"unit inserted", "INSERT INTO units VALUES (x'8000000000010004', 1, zeroblob(9), zeroblob(64), 1)", "units row 8000000000010004"},
		{"certificate altered", "UPDATE certificates SET certificate = x'00' WHERE leaf = 1", "journal row 7 (serial 8000000000010001 committed)"},
		{"twin inserted", "UPDATE certificates SET x509 = x'00' WHERE leaf = 0", "journal row 4 (serial 8000000000010000 committed)"},
		{"certificate deleted", "DELETE FROM certificates WHERE leaf = 1", "journal row 7 (serial 8000000000010001 committed): ledger is damaged or was altered: its row of certificates is missing"},
		{"certificate inserted", "INSERT INTO certificates VALUES (3, " + three + ", x'00', NULL)", "certificates row 8000000000010002"},
		{"leaf moved", "UPDATE certificates SET leaf = 9 WHERE leaf = 2", "journal row 10 (serial 8000000000010003 committed)"},
		{"journal redated", "UPDATE journal SET time = time + 1 WHERE sequence = 6", "journal row 6"},
		{"receipt altered", "UPDATE journal SET details = x'7b7d' WHERE sequence = 5", "journal row 5 (serial 8000000000010000 closed)"},
		{"reason altered", "UPDATE journal SET details = x'00' WHERE sequence = 11", "journal row 11 (serial 8000000000010003 void)"},
		{"void undone", "UPDATE journal SET event = 3 WHERE sequence = 11", "journal row 11"},
		{"chain altered", "UPDATE journal SET chain = zeroblob(32) WHERE sequence = 8", "journal row 8"},
		{"journal row deleted", "DELETE FROM journal WHERE sequence = 5", "row 5 is missing"},
		{"first journal row deleted", "DELETE FROM journal WHERE sequence = 1", "row 1 is missing"},
		{"last journal row deleted", "DELETE FROM journal WHERE sequence = 12", "foreign_records of import 12"},
		{"journal row inserted", "INSERT INTO journal SELECT 13, 4, " + three + ", NULL, time, NULL, chain FROM journal WHERE sequence = 12", "journal row 13 (serial 8000000000010002 void)"},
		{"hash altered", "UPDATE hashes SET hash = zeroblob(32) WHERE position = 1", "hashes row 1"},
		{"hash deleted", "DELETE FROM hashes WHERE position = 0", "hashes row 0"},
		{"last hash deleted", "DELETE FROM hashes WHERE position = 3", "hashes row 3"},
		{"hash inserted", "INSERT INTO hashes VALUES (4, zeroblob(32))", "hashes row 4"},
		{"foreign record altered", "UPDATE foreign_records SET station = 'line 9' WHERE position = 1", "journal row 12 (book imported)"},
		{"foreign certificate altered", "UPDATE foreign_records SET certificate = x'00' WHERE position = 2", "journal row 12 (book imported)"},
		{"foreign record deleted", "DELETE FROM foreign_records WHERE position = 2", "journal row 12 (book imported)"},
		{"foreign records deleted", "DELETE FROM foreign_records", "journal row 12 (book imported)"},
		{"foreign record inserted", "INSERT INTO foreign_records SELECT 3, 12, station, zeroblob(8), order_number, fingerprint, chip, key, issued_at, state, NULL, NULL FROM foreign_records WHERE position = 1", "journal row 12 (book imported)"},
		{"foreign record of no import", "INSERT INTO foreign_records SELECT 3, 77, station, zeroblob(8), order_number, fingerprint, chip, key, issued_at, state, NULL, NULL FROM foreign_records WHERE position = 1", "foreign_records of import 77"},
		{"table added", "CREATE TABLE notes (text)", "schema: notes"},
		{"index dropped", "DROP INDEX units_of_order", "schema: units_of_order is missing"},
		{"column against its CHECK", "PRAGMA ignore_check_constraints = 1; UPDATE units SET order_number = 65537 WHERE serial = " + two, "CHECK constraint failed in units"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "book.db")
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			tamper(t, path, c.statement)
			wantTampered(t, path, c.named)
		})
	}
	t.Run("trigger dropped", func(t *testing.T) {
		path := story(t)
		tamper(t, path)
		db, err := sql.Open(driverName, path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec("DROP TRIGGER journal_no_delete"); err != nil {
			t.Fatal(err)
		}
		db.Close()
		wantTampered(t, path, "schema: journal_no_delete is missing")
	})
}

// TestDamage overwrites single bytes all over the file: it must not open, or not verify, or say what it said before
// (SQLite leaves old bytes in unused space).
func TestDamage(t *testing.T) {
	path := story(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := contents(t, path)
	found := 0
	for at := 0; at < len(whole); at += 499 {
		damaged := append([]byte(nil), whole...)
		damaged[at] ^= 0x55
		path := filepath.Join(t.TempDir(), "book.db")
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := Open(path, station.Anchor)
		if err != nil {
			found++
			continue
		}
		_, err = b.Verify(context.Background(), nil)
		b.Close()
		if err != nil {
			found++
			wantError(t, err, ErrTampered)
		} else if contents(t, path) != want {
			t.Errorf("byte %d was changed and nobody noticed", at)
		}
	}
	if found == 0 {
		t.Error("no damage was found")
	}
}

// contents returns every row of every table.
func contents(t *testing.T, path string) string {
	t.Helper()
	db, err := sql.Open(driverName, path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var all strings.Builder
	for _, table := range tables {
		rows, err := db.Query("SELECT * FROM " + table + " ORDER BY 1")
		if err != nil {
			t.Fatal(err)
		}
		names, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values, pointers := make([]any, len(names)), make([]any, len(names))
			for i := range values {
				pointers[i] = &values[i]
			}
			if err := rows.Scan(pointers...); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&all, "%s %x\n", table, values)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// TestForgery writes books that are whole in themselves (rows, chain, tree) and yet tell of something that the program
// never does.
func TestForgery(t *testing.T) {
	type forger func(context.Context, *Book, *sql.Tx) error
	write := func(ctx context.Context, b *Book, tx *sql.Tx, l line, statement string, arguments ...any) error {
		tip, err := b.tip(ctx, tx)
		if err != nil {
			return err
		}
		if l.time == 0 {
			l.time = tip.time
		}
		if statement != "" {
			if _, err := tx.ExecContext(ctx, statement, arguments...); err != nil {
				return err
			}
		}
		return record(ctx, tx, tip, l)
	}
	order := func(o Order) forger {
		return func(ctx context.Context, b *Book, tx *sql.Tx) error {
			return write(ctx, b, tx, line{event: orderAdded, order: o.Number, content: o.content()},
				"INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", o.Number, o.Fingerprint[:],
				bytes64(o.First), bytes64(o.Last), o.Count, o.Product, o.File)
		}
	}
	unit := func(serial uint64, order uint16, at, issuedAt time.Time) forger {
		r := Reservation{UnitKey: unitKey(int(serial)), Serial: serial, Order: order, IssuedAt: issuedAt}
		return func(ctx context.Context, b *Book, tx *sql.Tx) error {
			return write(ctx, b, tx, line{event: event(Reserved), serial: bytes64(serial), time: at.Unix(), content: r.content()},
				"INSERT INTO units VALUES (?, ?, ?, ?, ?)", bytes64(serial), order, r.Chip[:], r.Key[:], issuedAt.Unix())
		}
	}
	end := func(s State, serial uint64) forger {
		return func(ctx context.Context, b *Book, tx *sql.Tx) error {
			return write(ctx, b, tx, ending(s, serial, 0, nil), "")
		}
	}
	outside := testOrder(2, 5)
	outside.Count = 0x10001
	overlap := testOrder(2, 5)
	overlap.First = testOrder(1, 1).Last
	first := testOrder(1, 1).First // closed; first + 1 is reserved; the order is for three
	for name, c := range map[string]struct {
		forge []forger
		named string
	}{
		"nothing":                 {nil, ""},
		"an honest unit":          {[]forger{unit(first+2, 1, morning, morning)}, ""},
		"count over the range":    {[]forger{order(outside)}, "count 65537 does not fit"},
		"overlapping order":       {[]forger{order(overlap)}, "its range touches that of order 1"},
		"serial skipped":          {[]forger{unit(first+3, 1, morning, morning)}, "not the next serial number"},
		"serial of another range": {[]forger{order(testOrder(2, 5)), unit(first+2, 2, morning, morning)}, "not the next serial number"},
		"one unit too many":       {[]forger{unit(first+2, 1, morning, morning), unit(first+3, 1, morning, morning)}, "not the next serial number"},
		"unit before its order": {[]forger{
			func(ctx context.Context, b *Book, tx *sql.Tx) error {
				o := testOrder(2, 5)
				_, err := tx.ExecContext(ctx, "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", o.Number, o.Fingerprint[:],
					bytes64(o.First), bytes64(o.Last), o.Count, o.Product, o.File)
				return err
			},
			unit(testOrder(2, 5).First, 2, morning, morning),
		}, "order 2 was not added before"},
		"time runs backwards":          {[]forger{unit(first+2, 1, morning.Add(-time.Hour), morning.Add(-time.Hour))}, "time runs backwards"},
		"issue time of its own":        {[]forger{unit(first+2, 1, morning, morning.Add(-time.Hour))}, "issue time"},
		"closed without a certificate": {[]forger{end(Closed, first+1)}, "closed cannot follow reserved"},
		"closed unit voided":           {[]forger{end(Void, first)}, "void cannot follow closed"},
		"leaf skipped": {[]forger{func(ctx context.Context, b *Book, tx *sql.Tx) error {
			found, err := find(ctx, tx, "u.serial = ?1", bytes64(first+1))
			if err != nil {
				return err
			}
			e := found[0].Entry
			e.Certificate = []byte("x")
			tip, err := b.tip(ctx, tx)
			if err != nil {
				return err
			}
			return write(ctx, b, tx, line{event: event(Committed), serial: bytes64(e.Serial), content: e.leaf(tip.chain)},
				"INSERT INTO certificates VALUES (7, ?, ?, NULL)", bytes64(e.Serial), e.Certificate)
		}}, "leaf 7 is not the next"},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := newBook(t)
			addOrder(t, b, testOrder(1, 3))
			serial := reserve(t, b, 1, 1).Serial
			commit(t, b, serial)
			closeUnit(t, b, serial)
			reserve(t, b, 1, 2)
			for _, forge := range c.forge {
				if err := b.write(context.Background(), func(ctx context.Context, tx *sql.Tx) error { return forge(ctx, b, tx) }); err != nil {
					t.Fatal(err)
				}
			}
			_, err := b.Verify(context.Background(), nil)
			if c.named == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantError(t, err, ErrTampered)
			if !strings.Contains(err.Error(), c.named) {
				t.Errorf("got %q, want %q", err, c.named)
			}
		})
	}
}

func TestIdentityAlteredWhileOpen(t *testing.T) {
	path := story(t)
	b, err := Open(path, station.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	tamper(t, path, "UPDATE book SET station = 'line 9'")
	_, err = b.Verify(context.Background(), nil)
	wantError(t, err, ErrTampered)
}

func TestVerifyChecksEachCertificate(t *testing.T) {
	path := story(t)
	b, err := Open(path, station.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var seen []State
	if _, err := b.Verify(context.Background(), func(e Entry) error {
		seen = append(seen, e.State)
		return nil
	}); err != nil || fmt.Sprint(seen) != "[closed committed void]" {
		t.Errorf("checked %v, %v", seen, err)
	}
	forged := errors.New("signature does not verify")
	_, err = b.Verify(context.Background(), func(e Entry) error {
		if e.Leaf == 1 {
			return forged
		}
		return nil
	})
	wantError(t, err, forged)
	if !strings.Contains(err.Error(), "serial 80-00-00-00-00-01-00-01") {
		t.Errorf("%q does not name the serial number", err)
	}
}
