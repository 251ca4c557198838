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
