package hsm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"regexp"
	"strings"
	"testing"
)

// sharing makes a backup of a key in memory, whose wrapped form is not looked at.
func sharing(t testing.TB, needed, shares int) (*Backup, *Secret, []Share) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &Backup{Public: &key.PublicKey, Needed: needed, Shares: shares, wrapped: bytes.Repeat([]byte{7}, 152)}
	secret := drawSecret()
	secret.code = b.code()
	list, commitments, err := secret.split(needed, shares)
	if err != nil {
		t.Fatal(err)
	}
	b.commitments = commitments
	return b, secret, list
}

func wrappingKey(t testing.TB, s *Secret) string {
	t.Helper()
	key, err := s.wrappingKey()
	if err != nil || len(key) != 32 {
		t.Fatal(len(key), err)
	}
	return string(key)
}

// Any three of five bring the secret back, fewer do not, and a share that is none is known for itself.
func TestShares(t *testing.T) {
	b, secret, shares := sharing(t, 3, 5)
	want := wrappingKey(t, secret)
	for set := range 1 << len(shares) {
		var some []Share
		for i, s := range shares {
			if set>>i&1 == 1 {
				some = append(some, s, s) // typed twice adds nothing
			}
		}
		got, err := b.Combine(some)
		if len(some)/2 < 3 {
			if !errors.Is(err, ErrShare) {
				t.Errorf("set %b: %v", set, err)
			}
		} else if err != nil || wrappingKey(t, got) != want {
			t.Errorf("set %b: %v", set, err)
		}
	}
	for i := range shares[0].value {
		for bit := range 8 {
			s := shares[0]
			s.value[i] ^= 1 << bit
			if err := b.Check(s); !errors.Is(err, ErrShare) {
				t.Fatalf("bit %d of byte %d flipped: %v", bit, i, err)
			}
		}
	}
	s := shares[0]
	s.Number = 2
	if err := b.Check(s); !errors.Is(err, ErrShare) {
		t.Errorf("under another number: %v", err)
	}
	_, _, others := sharing(t, 3, 5)
	if _, err := b.Combine([]Share{shares[0], shares[1], others[2]}); !errors.Is(err, ErrShare) || !strings.Contains(err.Error(), "is of backup") {
		t.Errorf("with another backup's: %v", err)
	}
	for _, n := range [][2]int{{1, 5}, {0, 0}, {3, 2}, {2, MaxShares + 1}} {
		if err := checkSharing(n[0], n[1]); !errors.Is(err, ErrShare) {
			t.Errorf("%d of %d: %v", n[0], n[1], err)
		}
	}
}

// What is printed can be typed: in any order and any case, with what is mistyped told at once and nothing lost by it.
func TestShareLines(t *testing.T) {
	b, _, shares := sharing(t, 2, 3)
	form := regexp.MustCompile(`^[1-3]-[1-4]  ([0-9A-F]{4} ){3}[0-9A-F]{4}  [0-9A-F]{4}$`)
	r := NewReader(b)
	var whole []Share
	for line := range shareLines {
		for _, s := range shares {
			text := s.Lines()[shareLines-1-line]
			if !form.MatchString(text) {
				t.Fatalf("line %q", text)
			}
			for at := range text {
				wrong := []byte(text)
				wrong[at] ^= 1
				if string(wrong) == text || strings.Join(strings.Fields(string(wrong)), "") == strings.Join(strings.Fields(text), "") {
					continue
				}
				if got, err := r.Line(string(wrong)); !errors.Is(err, ErrShare) || got != nil {
					t.Fatalf("%q: %v, %v", wrong, got, err)
				}
			}
			got, err := r.Line("  " + strings.ToLower(text))
			if err != nil || (got != nil) != (line == shareLines-1) {
				t.Fatalf("%q: %v, %v", text, got, err)
			}
			if got != nil {
				if *got != s {
					t.Errorf("share %d: %+v, not %+v", s.Number, got, s)
				}
				whole = append(whole, *got)
			}
		}
	}
	if _, err := b.Combine(whole); err != nil {
		t.Error(err)
	}
	other, _, _ := sharing(t, 2, 3)
	if _, err := NewReader(other).Line(shares[0].Lines()[0]); !errors.Is(err, ErrShare) {
		t.Errorf("a line for another backup: %v", err)
	}
}

// One encoding is a backup, and every flipped bit of it another or none.
func TestBackupFile(t *testing.T) {
	b, _, _ := sharing(t, 2, 3)
	file, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseBackup(file)
	if err != nil || again.Code() != b.Code() || again.Needed != 2 || again.Shares != 3 || !again.Public.Equal(b.Public) || !bytes.Equal(again.wrapped, b.wrapped) {
		t.Fatalf("%+v, %v", again, err)
	}
	for i := range file {
		for bit := range 8 {
			wrong := bytes.Clone(file)
			wrong[i] ^= 1 << bit
			if b, err := ParseBackup(wrong); err == nil {
				if back, err := b.Encode(); err != nil || !bytes.Equal(back, wrong) {
					t.Fatalf("byte %d: read, and written as %x: %v", i, back, err)
				}
			}
		}
		if _, err := ParseBackup(file[:i]); err == nil {
			t.Fatalf("the first %d bytes are a backup", i)
		}
	}
	if _, err := ParseBackup(append(bytes.Clone(file), 0)); err == nil {
		t.Error("with a byte more")
	}
}
