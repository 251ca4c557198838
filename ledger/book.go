// Package ledger keeps the book of what an authority's station signed: which serial number went to which chip and key,
// the certificate, and what became of the unit.
//
// A book is one SQLite file in WAL mode, written with synchronous=FULL: what a method reports as done is on the disk.
// Rows are never changed, states are appended. Three structures hold it together:
//
//   - the rows themselves, under constraints and under triggers that refuse UPDATE and DELETE;
//   - the journal, one line per event, each with a SHA-256 chain over everything that the event wrote (journal.go);
//   - the log, an RFC 6962 Merkle tree with one leaf per certificate. A leaf holds the journal's chain, so a tree head
//     that somebody outside keeps covers orders, reservations and voids before it as well (log.go).
//
// Whoever can write the file can write a whole new one that verifies in itself. What he cannot do is make it agree with
// a tree head that is held elsewhere: see [Book.VerifyAgainst].
//
// A unit is reserved, then committed, then closed; a unit that is not closed yet may become void. Every step may be
// repeated after a crash and gives the same answer.
package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/birthmark/birthmark/internal/durable"
)

// What callers act on. Each method's comment says which of them its error may wrap.
var (
	ErrNotLedger      = errors.New("not a ledger")
	ErrVersion        = errors.New("ledger of another version")
	ErrOtherAuthority = errors.New("ledger of another authority")
	ErrNotFound       = errors.New("not in the ledger")
	ErrConflict       = errors.New("contradicts the ledger")
	ErrExhausted      = errors.New("order is exhausted")
	ErrVoid           = errors.New("unit is void")
	ErrClosed         = errors.New("unit is finished")
	ErrState          = errors.New("not in this state of the unit")
	ErrClock          = errors.New("clock is behind the ledger")
	ErrFull           = errors.New("disk is full, nothing was recorded")
	ErrDisk           = errors.New("disk failed, outcome unknown: stop this process, then look the unit up again")
	ErrDouble         = errors.New("one identity twice")
	ErrTampered       = errors.New("ledger is damaged or was altered")
	ErrRolledBack     = errors.New("ledger is not a continuation of the outside tree head")
)

const (
	driverName = "sqlite"

	// busyTimeout is how long one process waits for another's write; the longest is Import.
	busyTimeout = 10 * time.Second

	// checkpointEvery bounds the write-ahead log: commits between two checkpoints, of about five 4 KB pages each.
	checkpointEvery = 100
)

// Identity says whose book it is. It is written once, by Create.
type Identity struct {
	Anchor    [32]byte // SHA-256 of the authority's first trust anchor
	Authority string
	Station   string
	Test      bool // of a test authority
}

// Book is an open ledger. Its methods may be called from several goroutines, and several processes may have the same
// file open. Do not open the file by other means in a process that has a Book on it: closing any descriptor of it would
// drop SQLite's POSIX locks.
type Book struct {
	db       *sql.DB
	identity Identity

	mu      sync.Mutex // held over each write, so that nobody begins one before a failure is noted
	commits int        // since the last checkpoint
	failed  atomic.Pointer[error]
}

// Create makes a new book at path, readable by its owner only, and opens it. An existing file is left alone and the
// error wraps fs.ErrExist. After any other error no file remains.
func Create(path string, identity Identity) (*Book, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("create ledger: %w", err)
	}
	b, err := create(path, identity)
	if err != nil {
		for _, suffix := range [...]string{"", "-wal", "-shm"} {
			os.Remove(path + suffix)
		}
		return nil, fmt.Errorf("create ledger %s: %w", path, err)
	}
	return b, nil
}

func create(path string, identity Identity) (*Book, error) {
	if identity.Station == "" {
		return nil, errors.New("station has no name")
	}
	db, err := connect(path, "mode=rw")
	if err != nil {
		return nil, err
	}
	b := &Book{db: db, identity: identity}
	err = b.initialise()
	if err == nil {
		err = durable.SyncFolder(filepath.Dir(path))
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return b, nil
}

func (b *Book) initialise() error {
	ctx := context.Background()
	var mode string
	if err := b.db.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return full(err)
	}
	if mode != "wal" {
		return fmt.Errorf("file system has no shared memory for a write-ahead log (journal mode %s)", mode)
	}
	return b.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := createSchema(ctx, tx); err != nil {
			return err
		}
		id := b.identity
		_, err := tx.ExecContext(ctx, "INSERT INTO book VALUES (1, ?, ?, ?, ?)", id.Anchor[:], id.Authority, id.Station, id.Test)
		return err
	})
}

// Open opens an existing book for reading and writing. The error wraps fs.ErrNotExist, ErrNotLedger, ErrVersion, ErrFull, or
// ErrOtherAuthority if the book does not belong to anchor. A file that cannot be written is refused here, not at the
// first unit.
func Open(path string, anchor [32]byte) (*Book, error) {
	b, err := open(path, anchor, "mode=rw")
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	// The process before may have died after a failed fsync. Its last commit then is in the page cache, where we read
	// it, but perhaps not on the disk; to move the write-ahead log into the main file writes it again, checked.
	err = b.write(context.Background(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", schemaVersion)) // a write that changes nothing
		return err
	})
	if err == nil {
		err = b.checkpoint("PASSIVE")
	}
	if err != nil {
		b.db.Close()
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	return b, nil
}

// OpenReadOnly is Open without the right to write; every method that writes fails. The file may lie on a read-only
// medium if its last writer closed it.
func OpenReadOnly(path string, anchor [32]byte) (*Book, error) {
	b, err := open(path, anchor, "mode=ro")
	if primary := code(err) & primaryCode; primary == sqlite3.SQLITE_CANTOPEN || primary == sqlite3.SQLITE_READONLY {
		// SQLite wants to make the -shm file. Without a write-ahead log the main file is all there is, and it can be
		// read as it stands.
		if _, missing := os.Stat(path + "-wal"); errors.Is(missing, fs.ErrNotExist) {
			b, err = open(path, anchor, "mode=ro&immutable=1")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open ledger %s read-only: %w", path, err)
	}
	return b, nil
}

func open(path string, anchor [32]byte, mode string) (*Book, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	db, err := connect(path, mode)
	if err != nil {
		return nil, err
	}
	b := &Book{db: db}
	if b.identity, err = identify(db); err == nil && b.identity.Anchor != anchor {
		err = fmt.Errorf("%w: %q, anchor %x", ErrOtherAuthority, b.identity.Authority, b.identity.Anchor[:8])
	}
	if err != nil {
		db.Close()
		return nil, full(err)
	}
	return b, nil
}

// connect prepares connections to path; query holds SQLite's own URI parameters.
func connect(path, query string) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// Checkpoints are ours: SQLite's automatic ones swallow a failed fsync. _dqs, _defensive and trusted_schema are
	// SQLite's advice for files that may be hostile.
	query += "&_txlock=immediate&_dqs=0&_defensive=1&_error_rc=1" +
		"&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=wal_autocheckpoint(0)&_pragma=trusted_schema(0)" +
		fmt.Sprintf("&_busy_timeout=%d", busyTimeout.Milliseconds())
	return sql.Open(driverName, (&url.URL{Scheme: "file", Path: path, RawQuery: query}).String())
}

// identify reads whose book it is, and refuses what is none.
func identify(db *sql.DB) (Identity, error) {
	var application, version int
	err := db.QueryRow("SELECT application_id, user_version FROM pragma_application_id, pragma_user_version").Scan(&application, &version)
	if code(err)&primaryCode == sqlite3.SQLITE_NOTADB || err == nil && application != applicationID {
		return Identity{}, ErrNotLedger
	}
	if err != nil {
		return Identity{}, err
	}
	if version != schemaVersion {
		return Identity{}, fmt.Errorf("%w: %d, this program writes %d", ErrVersion, version, schemaVersion)
	}
	id, err := readIdentity(context.Background(), db)
	if errors.Is(err, sql.ErrNoRows) || code(err) == sqlite3.SQLITE_ERROR { // no such row; no such table or column
		return Identity{}, fmt.Errorf("%w: it names no authority", ErrNotLedger)
	}
	return id, err
}

// full names what SQLite says when there is no room for a book that is being made or opened, before anything is written
// to it: the plain error, or the one of a -shm file whose first page did not fit.
func full(err error) error {
	if c := code(err); c&primaryCode == sqlite3.SQLITE_FULL || c == sqlite3.SQLITE_IOERR_SHMSIZE {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// readIdentity reads the one row of book; q is a database or a transaction on one.
func readIdentity(ctx context.Context, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}) (Identity, error) {
	var id Identity
	err := q.QueryRowContext(ctx, "SELECT anchor, authority, station, test FROM book").
		Scan(blob(id.Anchor[:]), &id.Authority, &id.Station, &id.Test)
	return id, err
}

// Identity returns whose book it is.
func (b *Book) Identity() Identity { return b.identity }

// Close moves everything into the main file and closes the book. After an error that wraps ErrDisk the file must be
// opened again and looked at before anybody relies on it.
func (b *Book) Close() error {
	err := b.checkpoint("TRUNCATE")
	if code(err)&primaryCode == sqlite3.SQLITE_READONLY {
		err = nil
	}
	if err := errors.Join(err, b.db.Close()); err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}

// code returns SQLite's extended result code, or 0 if err is nil or not SQLite's.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}
