package ledger

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestCreateIsExclusive(t *testing.T) {
	b, path := newBook(t)
	addOrder(t, b, testOrder(1, 1))
	_, err := Create(path, station)
	wantError(t, err, fs.ErrExist)
	if list, err := b.Orders(context.Background()); err != nil || len(list) != 1 {
		t.Errorf("the book was touched: %v, %v", list, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}

	_, err = Create(filepath.Join(t.TempDir(), "missing", "book.db"), station)
	wantError(t, err, fs.ErrNotExist)

	path = filepath.Join(t.TempDir(), "book.db")
	if _, err := Create(path, Identity{Anchor: station.Anchor}); err == nil {
		t.Error("a station without a name was accepted")
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a book that was not made is there: %v", err)
	}
}

func TestOpen(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "odd name?#%41 &mode=memory.db")
	id := Identity{Anchor: [32]byte{1, 2, 3}, Authority: "TEST Acme", Station: "line 2", Test: true}
	b, err := Create(path, id)
	if err != nil {
		t.Fatal(err)
	}
	addOrder(t, b, testOrder(1, 1))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(folder)
	if err != nil || len(names) != 1 {
		t.Errorf("a closed book is one file; found %v, %v", names, err)
	}
	for _, c := range []struct {
		name  string
		open  func(string, [32]byte) (*Book, error)
		order Order
	}{{"Open", Open, testOrder(2, 1)}, {"OpenReadOnly", OpenReadOnly, testOrder(3, 1)}} {
		t.Run(c.name, func(t *testing.T) {
			b, err := c.open(path, id.Anchor)
			if err != nil {
				t.Fatal(err)
			}
			if b.Identity() != id {
				t.Errorf("identity %+v, want %+v", b.Identity(), id)
			}
			verify(t, b)
			err = b.AddOrder(context.Background(), c.order)
			if written := err == nil; written != (c.name == "Open") {
				t.Errorf("add order: %v", err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			_, err = c.open(path, [32]byte{1, 2})
			wantError(t, err, ErrOtherAuthority)
			_, err = c.open(path+"x", id.Anchor)
			wantError(t, err, fs.ErrNotExist)
		})
	}
}

func TestNotALedger(t *testing.T) {
	_, path := newBook(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	database := func(statements ...string) func(string) error {
		return func(path string) error {
			db, err := sql.Open(driverName, path)
			if err != nil {
				return err
			}
			defer db.Close()
			for _, s := range statements {
				if _, err := db.Exec(s); err != nil {
					return err
				}
			}
			return nil
		}
	}
	file := func(content []byte) func(string) error {
		return func(path string) error { return os.WriteFile(path, content, 0o600) }
	}
	for name, c := range map[string]struct {
		make func(string) error
		want error // nil: any error
	}{
		"empty file":     {file(nil), ErrNotLedger},
		"text":           {file([]byte("serial;chip;key\n1;2;3\n")), ErrNotLedger},
		"cut in a page":  {file(whole[:1000]), nil},
		"a folder":       {func(path string) error { return os.Mkdir(path, 0o700) }, nil},
		"other database": {database("CREATE TABLE book (anchor, authority, station, test)"), ErrNotLedger},
		"only the marks": {database("PRAGMA application_id = 0x424d524b", "PRAGMA user_version = 1"), ErrNotLedger},
		"no identity": {database("PRAGMA application_id = 0x424d524b", "PRAGMA user_version = 1",
			"CREATE TABLE book (anchor, authority, station, test)"), ErrNotLedger},
		"later version": {database("PRAGMA application_id = 0x424d524b", "PRAGMA user_version = 2"), ErrVersion},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(path)
			for _, open := range []func(string, [32]byte) (*Book, error){Open, OpenReadOnly} {
				b, err := open(path, station.Anchor)
				if err == nil {
					b.Close()
					t.Fatal("it was opened")
				}
				if c.want != nil {
					wantError(t, err, c.want)
				}
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("a foreign file was changed")
			}
		})
	}
}

// TestUnwritable runs in a child, which gives up root's right to write everything.
func TestUnwritable(t *testing.T) {
	b, path := newBook(t)
	addOrder(t, b, testOrder(1, 2))
	reserve(t, b, 1, 1)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(path)
	for _, mode := range [...]fs.FileMode{0o777, 0o555} {
		for name, mode := range map[string]fs.FileMode{path: 0o444, folder: mode, filepath.Dir(folder): 0o755} {
			if err := os.Chmod(name, mode); err != nil {
				t.Fatal(err)
			}
		}
		runChild(t, "unwritable", path)
	}
	if err := os.Chmod(folder, 0o755); err != nil { // or its contents could not be removed
		t.Fatal(err)
	}
}

func childUnwritable(path string) error {
	if b, err := Open(path, station.Anchor); err == nil {
		return errors.Join(errors.New("opened for writing"), b.Close())
	}
	b, err := OpenReadOnly(path, station.Anchor)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if _, err := b.Verify(ctx, nil); err != nil {
		return err
	}
	if _, err := b.Reserve(ctx, 1, unitKey(2), morning); err == nil {
		return errors.New("a read-only book reserved")
	}
	return b.Close()
}

func TestConnectionSettings(t *testing.T) {
	b, _ := newBook(t)
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "wal_autocheckpoint": "0", "trusted_schema": "0",
		"busy_timeout": "10000", "application_id": "1112363595", "user_version": "1",
	} {
		var have string
		if err := b.db.QueryRow("PRAGMA " + pragma).Scan(&have); err != nil || have != want {
			t.Errorf("%s is %s (%v), want %s", pragma, have, err, want)
		}
	}
}
