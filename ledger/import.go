package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
)

// Double is one identity that was given out twice: two records that should be the same and are not.
type Double struct {
	Serial, Key, Chip bool   // what both records have in common
	Here              Record // of this book, or of one imported before
	There             Record // of the book that is imported
}

// Findings is what Import learned from another station's book.
type Findings struct {
	Station string
	Size    int64 // its log's tree head
	Root    [32]byte
	Added   int // records, or newer states of known ones, copied into this book
	Doubles []Double
}

// source is what the journal keeps of an import, as JSON.
type source struct {
	Station string `json:"station"`
	Size    int64  `json:"size"`
	Root    []byte `json:"root"`
}

// Import brings another station's book of the same authority together with this one. The other book is verified first
// (without its certificates' signatures: call Verify with a check for that). Then each of its own units is compared with
// all that are known here, whatever their state: by serial number, by key and by chip. Those that contradict nothing are
// copied to the foreign records, apart from this station's units and log; Reserve and Commit look there too. Those that
// do contradict are not copied: the error wraps ErrDouble, the findings name both sides with their certificates, and the
// others are copied all the same. To import the same book again adds nothing and finds the same doubles.
func (b *Book) Import(ctx context.Context, other *Book) (Findings, error) {
	f, err := b.collect(ctx, other)
	if err != nil {
		f = Findings{}
	} else if len(f.Doubles) > 0 {
		err = fmt.Errorf("%w: %d found", ErrDouble, len(f.Doubles))
	}
	if err != nil {
		return f, fmt.Errorf("import ledger of station %q: %w", other.identity.Station, err)
	}
	return f, nil
}

func (b *Book) collect(ctx context.Context, other *Book) (Findings, error) {
	mine, theirs := b.identity, other.identity
	if mine.Anchor != theirs.Anchor || mine.Test != theirs.Test {
		return Findings{}, ErrOtherAuthority
	}
	f := Findings{Station: theirs.Station}
	err := other.read(ctx, func(ctx context.Context, from *sql.Tx) error {
		report, err := other.verify(ctx, from)
		if err != nil {
			return err
		}
		f.Size, f.Root = report.Size, report.Root
		return b.write(ctx, func(ctx context.Context, to *sql.Tx) error { return b.copy(ctx, from, to, &f) })
	})
	return f, err
}

// copy compares and copies the units of one book into the other, and adds the journal line.
func (b *Book) copy(ctx context.Context, from, to *sql.Tx, f *Findings) error {
	t, err := b.tip(ctx, to)
	if err != nil {
		return err
	}
	lookup, err := to.PrepareContext(ctx, everywhere("u.serial = ?1 OR u.chip = ?2 OR u.key = ?3"))
	if err != nil {
		return err
	}
	defer lookup.Close()
	var content []byte
	err = units(ctx, from, func(e Entry) error {
		r := Record{f.Station, e}
		doubles, known, err := compare(ctx, lookup, r)
		f.Doubles = append(f.Doubles, doubles...)
		if err != nil || known || len(doubles) > 0 {
			return err
		}
		f.Added++
		content = append(content, r.digest()...)
		return r.insert(ctx, to, t.sequence+1)
	})
	if err != nil || f.Added == 0 {
		return err
	}
	details, err := json.Marshal(source{f.Station, f.Size, f.Root[:]})
	if err != nil {
		return err
	}
	return record(ctx, to, t, line{event: bookImported, time: t.time, details: details, content: content})
}

// compare holds a record to all that is known of its serial number, key and chip. It is known if this book says as much
// or more.
func compare(ctx context.Context, lookup *sql.Stmt, there Record) (doubles []Double, known bool, err error) {
	found, err := records(lookup.QueryContext(ctx, bytes64(there.Serial), there.Chip[:], there.Key[:]))
	for _, here := range found {
		d := Double{
			Serial: here.Serial == there.Serial, Key: here.Key == there.Key, Chip: here.Chip == there.Chip,
			Here: here, There: there,
		}
		if contradict(here.Entry, there.Entry) {
			doubles = append(doubles, d)
		}
		known = known || here.State >= there.State
	}
	return doubles, known, err
}

// contradict reports whether two entries cannot be moments of one unit's life in one book.
func contradict(a, b Entry) bool {
	if a.Fingerprint != b.Fingerprint || !bytes.Equal(a.content(), b.content()) {
		return true
	}
	if a.Certificate == nil || b.Certificate == nil {
		return a.voidWithout() && b.Certificate != nil || b.voidWithout() && a.Certificate != nil
	}
	return !bytes.Equal(a.Certificate, b.Certificate) || !bytes.Equal(a.X509, b.X509)
}

func (e Entry) voidWithout() bool { return e.State == Void && e.Certificate == nil }

func (r Record) insert(ctx context.Context, tx *sql.Tx, imported int64) error {
	_, err := tx.ExecContext(ctx, `
INSERT INTO foreign_records (imported, station, serial, order_number, fingerprint, chip, key, issued_at, state, certificate, x509)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, imported, r.Station, bytes64(r.Serial), r.Order, r.Fingerprint[:], r.Chip[:], r.Key[:],
		r.IssuedAt.Unix(), r.State, orNull(r.Certificate), orNull(r.X509))
	return err
}

// digest is what the journal's chain covers of a foreign record:
//
//	SHA-256(content of its reservation (91) || order's fingerprint (32) || state (1) || SHA-256 of the certificate (32) ||
//	SHA-256 of its X.509 twin (32) || station)
//
// with zeros for a certificate that is not there.
func (r Record) digest() []byte {
	certificate, x509 := r.fingerprints()
	b := append(r.content(), r.Fingerprint[:]...)
	b = append(b, byte(r.State))
	b = append(b, certificate[:]...)
	b = append(b, x509[:]...)
	sum := sha256.Sum256(append(b, r.Station...))
	return sum[:]
}

// importedContents builds again what each import wrote, by the journal row that says so.
func importedContents(ctx context.Context, tx *sql.Tx) (map[int64][]byte, error) {
	rows, err := tx.QueryContext(ctx, "SELECT DISTINCT imported FROM foreign_records")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	contents := make(map[int64][]byte)
	for rows.Next() {
		var sequence int64
		if err := rows.Scan(&sequence); err != nil {
			return nil, err
		}
		contents[sequence] = nil
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for sequence := range contents {
		rows, err := tx.QueryContext(ctx, foreign+" WHERE u.imported = ? ORDER BY u.position", sequence)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for rows.Next() {
			r, err := scanRecord(rows)
			if err != nil {
				return nil, err
			}
			contents[sequence] = append(contents[sequence], r.digest()...)
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	return contents, nil
}
