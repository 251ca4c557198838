package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

const (
	applicationID = 0x424d524b // "BMRK", in the SQLite file header
	schemaVersion = 1          // PRAGMA user_version
)

// tables are listed so that each gets the triggers that keep its rows as they were written.
var tables = [...]string{"book", "orders", "units", "certificates", "journal", "hashes", "foreign_records"}

// schema holds the facts (orders, units, certificates, foreign_records), the order in which they came (journal) and the
// Merkle tree over the certificates (hashes). Serial numbers are 8-byte blobs, most significant byte first, so that they
// sort as numbers: SQLite's integers are signed. Times are unix seconds.
const schema = `
CREATE TABLE book (
	one       INTEGER PRIMARY KEY CHECK (one = 1),
	anchor    BLOB    NOT NULL CHECK (length(anchor) = 32),
	authority TEXT    NOT NULL,
	station   TEXT    NOT NULL,
	test      INTEGER NOT NULL CHECK (test IN (0, 1))
) STRICT;

CREATE TABLE orders (
	number      INTEGER PRIMARY KEY CHECK (number BETWEEN 0 AND 65535),
	fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
	first       BLOB    NOT NULL CHECK (length(first) = 8),
	last        BLOB    NOT NULL CHECK (length(last) = 8),
	count       INTEGER NOT NULL CHECK (count > 0),
	product     INTEGER NOT NULL CHECK (product BETWEEN 0 AND 4294967295),
	file        BLOB    NOT NULL
) STRICT;

CREATE TABLE units (
	serial       BLOB    PRIMARY KEY NOT NULL CHECK (length(serial) = 8),
	order_number INTEGER NOT NULL REFERENCES orders CHECK (order_number BETWEEN 0 AND 65535),
	chip         BLOB    NOT NULL UNIQUE CHECK (length(chip) = 9),
	key          BLOB    NOT NULL UNIQUE CHECK (length(key) = 64),
	issued_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX units_of_order ON units (order_number);

CREATE TABLE certificates (
	leaf        INTEGER PRIMARY KEY CHECK (leaf >= 0),
	serial      BLOB    NOT NULL UNIQUE REFERENCES units,
	certificate BLOB    NOT NULL CHECK (length(certificate) > 0),
	x509        BLOB
) STRICT;

-- event: 1 reserved, 2 committed, 3 closed, 4 void (a unit's state is its highest), 5 order added, 6 book imported
CREATE TABLE journal (
	sequence     INTEGER PRIMARY KEY CHECK (sequence > 0),
	event        INTEGER NOT NULL CHECK (event BETWEEN 1 AND 6),
	serial       BLOB    REFERENCES units CHECK ((serial IS NOT NULL) = (event <= 4)),
	order_number INTEGER REFERENCES orders CHECK ((order_number IS NOT NULL) = (event = 5) AND order_number BETWEEN 0 AND 65535),
	time         INTEGER NOT NULL,
	details      BLOB,
	chain        BLOB    NOT NULL CHECK (length(chain) = 32),
	UNIQUE (serial, event)
) STRICT;

CREATE TABLE hashes (
	position INTEGER PRIMARY KEY CHECK (position >= 0),
	hash     BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;

-- other stations' units as their books stood when they were imported; a later state of a unit is a further row
CREATE TABLE foreign_records (
	position     INTEGER PRIMARY KEY,
	imported     INTEGER NOT NULL REFERENCES journal DEFERRABLE INITIALLY DEFERRED,
	station      TEXT    NOT NULL,
	serial       BLOB    NOT NULL CHECK (length(serial) = 8),
	order_number INTEGER NOT NULL CHECK (order_number BETWEEN 0 AND 65535),
	fingerprint  BLOB    NOT NULL CHECK (length(fingerprint) = 32),
	chip         BLOB    NOT NULL CHECK (length(chip) = 9),
	key          BLOB    NOT NULL CHECK (length(key) = 64),
	issued_at    INTEGER NOT NULL,
	state        INTEGER NOT NULL CHECK (state BETWEEN 1 AND 4),
	certificate  BLOB,
	x509         BLOB,
	UNIQUE (serial, state)
) STRICT;
CREATE INDEX foreign_chips ON foreign_records (chip);
CREATE INDEX foreign_keys ON foreign_records (key);
`

// createSchema makes the empty tables of a new book, and the triggers that refuse every UPDATE and DELETE.
func createSchema(ctx context.Context, tx *sql.Tx) error {
	var b strings.Builder
	b.WriteString(schema)
	for _, table := range tables {
		for _, verb := range [...]string{"update", "delete"} {
			fmt.Fprintf(&b, "CREATE TRIGGER %[1]s_no_%[2]s BEFORE %[2]s ON %[1]s BEGIN\n"+
				"\tSELECT RAISE(ABORT, 'rows of %[1]s are never changed');\nEND;\n", table, verb)
		}
	}
	fmt.Fprintf(&b, "PRAGMA application_id = %d;\nPRAGMA user_version = %d;\n", applicationID, schemaVersion)
	_, err := tx.ExecContext(ctx, b.String())
	return err
}

// definitions returns the SQL text of every table, index and trigger by name.
func definitions(ctx context.Context, tx *sql.Tx) (map[string]string, error) {
	rows, err := tx.QueryContext(ctx, "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[string]string)
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		found[name] = text
	}
	return found, rows.Err()
}

// expectedDefinitions returns what definitions finds in a book that nobody has altered.
func expectedDefinitions(ctx context.Context) (map[string]string, error) {
	db, err := sql.Open(driverName, ":memory:")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	if err := createSchema(ctx, tx); err != nil {
		return nil, err
	}
	return definitions(ctx, tx)
}
