package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// treeHash is MTH of RFC 6962, section 2.1, word for word.
func treeHash(leaves [][]byte) [32]byte {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	default:
		k := 1
		for k*2 < n {
			k *= 2
		}
		left, right := treeHash(leaves[:k]), treeHash(leaves[k:])
		return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
	}
}

func TestLeafLayout(t *testing.T) {
	e := Entry{Certificate: []byte("certificate"), X509: []byte("twin")}
	e.Serial, e.Order, e.IssuedAt = 0x0102030405060708, 0x090a, morning
	for i := range e.Chip {
		e.Chip[i] = 0xc0 | byte(i)
	}
	const want = "01" + "0102030405060708" + "090a" + "c0c1c2c3c4c5c6c7c8" +
		"f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b" + // SHA-256 of 64 zeros
		"03d66dd08835c1ca3f128cceacd1f31ac94163096b20f445ae84285bc0832d72" + // SHA-256 of "certificate"
		"72b33a1cb0bfc9cdd3db0102962414c7a0d85aad94eba64cd8c33265242f7f9f" + // SHA-256 of "twin"
		"0000000069a52760" +
		"1100000000000000000000000000000000000000000000000000000000000000"
	got := hex.EncodeToString(e.leaf([32]byte{0x11}))
	if got != want {
		t.Errorf("leaf is\n%s, want\n%s", got, want)
	}
	e.X509 = nil
	if twin := e.leaf([32]byte{0x11})[84:116]; [32]byte(twin) != [32]byte{} {
		t.Errorf("a missing twin is %x, want zeros", twin)
	}
}

// lastChain is the journal's chain after its last line.
func lastChain(t *testing.T, b *Book) (chain [32]byte) {
	t.Helper()
	err := b.db.QueryRow("SELECT chain FROM journal ORDER BY sequence DESC LIMIT 1").Scan(blob(chain[:]))
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func TestLog(t *testing.T) {
	ctx := context.Background()
	b, _ := newBook(t)
	addOrder(t, b, testOrder(1, 100))
	type head struct {
		size int64
		root [32]byte
	}
	var heads []head
	var leaves [][]byte
	for n := range 20 {
		report := verify(t, b)
		if report.Size != int64(n) || report.Root != treeHash(leaves) {
			t.Fatalf("head of %d leaves: %d, %x", n, report.Size, report.Root)
		}
		heads = append(heads, head{report.Size, report.Root})
		r := reserve(t, b, 1, n)
		chain := lastChain(t, b)
		e := commit(t, b, r.Serial)
		if e.Leaf != report.Size {
			t.Fatalf("unit %d is leaf %d", n, e.Leaf)
		}
		leaves = append(leaves, e.leaf(chain))
	}
	for _, h := range heads {
		if err := b.VerifyAgainst(ctx, h.size, h.root); err != nil {
			t.Error(err)
		}
		h.root[0] ^= 1
		wantError(t, b.VerifyAgainst(ctx, h.size, h.root), ErrRolledBack)
	}
	wantError(t, b.VerifyAgainst(ctx, 21, [32]byte{}), ErrRolledBack)
	wantError(t, b.VerifyAgainst(ctx, -1, [32]byte{}), ErrRolledBack)
}

// TestRestoredBook puts yesterday's file back: it is a good book in itself, and a head held outside shows it, at once and
// also after the station worked on.
func TestRestoredBook(t *testing.T) {
	ctx := context.Background()
	path := story(t)
	yesterday, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(path, station.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, b, reserve(t, b, 1, 7).Serial)
	head := verify(t, b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(t.TempDir(), "book.db")
	if err := os.WriteFile(restored, yesterday, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err = Open(restored, station.Anchor); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for n := 8; n < 11; n++ {
		verify(t, b)
		wantError(t, b.VerifyAgainst(ctx, head.Size, head.Root), ErrRolledBack)
		commit(t, b, reserve(t, b, 1, n).Serial)
	}
}

// TestTailCut removes the end of a book so thoroughly that it verifies: only a head from outside shows it. As each leaf
// holds the journal's chain, that also goes for a void that was undone before the last leaf.
func TestTailCut(t *testing.T) {
	ctx := context.Background()
	path := story(t)
	b, err := Open(path, station.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	head := verify(t, b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	tamper(t, path, // keep unit 1 and the reservation of unit 2
		"DELETE FROM foreign_records", "DELETE FROM journal WHERE sequence > 6", "DELETE FROM certificates WHERE leaf > 0",
		"DELETE FROM hashes WHERE position > 0", "DELETE FROM units WHERE serial > x'8000000000010001'")
	if b, err = Open(path, station.Anchor); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	verify(t, b)
	wantError(t, b.VerifyAgainst(ctx, head.Size, head.Root), ErrRolledBack)
}

func TestLeafCoversHistory(t *testing.T) {
	roots := make(map[[32]byte]bool)
	for _, void := range []bool{false, true} {
		b, _ := newBook(t)
		addOrder(t, b, testOrder(1, 3))
		first, second := reserve(t, b, 1, 1), reserve(t, b, 1, 2)
		if void {
			if err := b.Void(context.Background(), first.Serial, "scratched"); err != nil {
				t.Fatal(err)
			}
		}
		commit(t, b, second.Serial)
		roots[verify(t, b).Root] = true
	}
	if len(roots) != 2 {
		t.Error("the tree head does not tell whether a unit was voided before")
	}
}
