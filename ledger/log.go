package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

const leafVersion = 1

// leaf is the data of the entry's log leaf, 156 bytes with numbers big-endian:
//
//	version 1 (1), serial (8), order (2), chip (9), SHA-256 of the key X || Y (32), SHA-256 of the certificate as issued
//	(32), SHA-256 of its X.509 twin or zeros (32), issue time in unix seconds (8), journal chain before it (32)
//
// Its leaf hash is SHA-256(0x00 || data) (RFC 6962, section 2.1).
func (e Entry) leaf(chain [32]byte) []byte {
	key := sha256.Sum256(e.Key[:])
	certificate, x509 := e.fingerprints()
	b := append([]byte{leafVersion}, bytes64(e.Serial)...)
	b = binary.BigEndian.AppendUint16(b, e.Order)
	b = append(b, e.Chip[:]...)
	b = append(b, key[:]...)
	b = append(b, certificate[:]...)
	b = append(b, x509[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.IssuedAt.Unix()))
	return append(b, chain[:]...)
}

// fingerprints returns SHA-256 of both certificates; zeros stand for none.
func (e Entry) fingerprints() (certificate, x509 [32]byte) {
	if e.Certificate != nil {
		certificate = sha256.Sum256(e.Certificate)
	}
	if e.X509 != nil {
		x509 = sha256.Sum256(e.X509)
	}
	return certificate, x509
}

// Head returns the log's tree head: the number of leaves and the root hash (RFC 6962, section 2.1). The root of an empty
// log is SHA-256 of nothing.
func (b *Book) Head(ctx context.Context) (size int64, root [32]byte, err error) {
	err = b.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		size, root, err = head(ctx, tx)
		return err
	})
	if err != nil {
		return 0, root, fmt.Errorf("read tree head: %w", err)
	}
	return size, root, nil
}

func head(ctx context.Context, tx *sql.Tx) (int64, [32]byte, error) {
	size, err := logSize(ctx, tx)
	if err != nil {
		return 0, [32]byte{}, err
	}
	root, err := tlog.TreeHash(size, hashReader(ctx, tx))
	return size, root, err
}

func logSize(ctx context.Context, tx *sql.Tx) (size int64, err error) {
	err = tx.QueryRowContext(ctx, "SELECT coalesce(max(leaf) + 1, 0) FROM certificates").Scan(&size)
	return size, err
}

// hashReader reads the stored hashes: those of complete subtrees, in tlog's order.
func hashReader(ctx context.Context, tx *sql.Tx) tlog.HashReader {
	return tlog.HashReaderFunc(func(positions []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(positions))
		for i, p := range positions {
			err := tx.QueryRowContext(ctx, "SELECT hash FROM hashes WHERE position = ?", p).Scan(blob(hashes[i][:]))
			if err != nil {
				return nil, fmt.Errorf("read log hash %d: %w", p, err)
			}
		}
		return hashes, nil
	})
}

// Proof shows that one leaf is in the log of a tree head (RFC 6962, section 2.1.1). tlog.CheckRecord checks it.
type Proof struct {
	Leaf  []byte // its data, 156 bytes
	Index int64
	Size  int64
	Root  tlog.Hash
	Path  tlog.RecordProof
}

// Prove returns the inclusion proof of a leaf under the present tree head; the error wraps ErrNotFound if there is none
// of that index.
func (b *Book) Prove(ctx context.Context, leaf int64) (Proof, error) {
	p := Proof{Index: leaf}
	err := b.read(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		if p.Leaf, err = leafData(ctx, tx, leaf); err != nil {
			return err
		}
		if p.Size, p.Root, err = head(ctx, tx); err != nil {
			return err
		}
		p.Path, err = tlog.ProveRecord(p.Size, leaf, hashReader(ctx, tx))
		return err
	})
	if err != nil {
		return Proof{}, fmt.Errorf("prove leaf %d: %w", leaf, err)
	}
	return p, nil
}

// leafData builds a leaf again from its rows.
func leafData(ctx context.Context, tx *sql.Tx, leaf int64) ([]byte, error) {
	found, err := find(ctx, tx, "u.serial = (SELECT serial FROM certificates WHERE leaf = ?1)", leaf)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, ErrNotFound
	}
	// The first line of any journal adds an order, so the committed one has a line before it.
	var chain [32]byte
	err = tx.QueryRowContext(ctx, `SELECT chain FROM journal
WHERE sequence = (SELECT sequence - 1 FROM journal WHERE serial = ? AND event = ?)`, bytes64(found[0].Serial), Committed).Scan(blob(chain[:]))
	return found[0].leaf(chain), err
}

// VerifyAgainst holds the log to a tree head from outside: the error wraps ErrRolledBack if the log has fewer leaves, or
// others. That shows a book restored from yesterday, a tail that was cut and a history that was rewritten. It relies on
// the stored hashes, so run Verify as well.
func (b *Book) VerifyAgainst(ctx context.Context, size int64, root [32]byte) error {
	err := b.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		have, err := logSize(ctx, tx)
		if err != nil {
			return err
		}
		if size < 0 || have < size {
			return fmt.Errorf("%w: it has %d leaves", ErrRolledBack, have)
		}
		then, err := tlog.TreeHash(size, hashReader(ctx, tx))
		if err == nil && then != root {
			err = fmt.Errorf("%w: its root at that size is %x", ErrRolledBack, then[:])
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("compare log with %d leaves, root %x: %w", size, root, err)
	}
	return nil
}
