package hsm

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"
	"github.com/fxamacker/cbor/v2"
)

const (
	backupTitle = "birthmark backup 1"
	maxBackup   = 4096 // bytes of a backup file; a wrapped P-256 key takes about 150
	// MaxShares bounds the custodians of a backup: their numbers are one digit or two.
	MaxShares = 16
)

// ErrShare is wrapped where a share is mistyped, of another backup, or one too few.
var ErrShare = errors.New("share")

// Backup is a key as a token wrapped it, with what says whether a share of the wrapping secret is one: Feldman's commitments, in the
// group Ristretto255. Nobody can use it without as many shares as Needed.
type Backup struct {
	Public      *ecdsa.PublicKey
	Needed      int
	Shares      int
	commitments []group.Element
	wrapped     []byte // PKCS#8 under AES-256, CKM_AES_KEY_WRAP_PAD (RFC 5649)
}

// backupFile is the file, deterministic CBOR (docs/formats.md, "Backup of a key").
type backupFile struct {
	_           struct{} `cbor:",toarray"`
	Title       string
	Public      [33]byte
	Needed      int
	Shares      int
	Commitments [][32]byte
	Wrapped     []byte
}

// Secret is what a key was wrapped under, as long as it is whole.
type Secret struct {
	scalar group.Scalar
	code   [4]byte // of the backup: the first bytes of the SHA-256 of its public key
}

// wrappingKey is the AES-256 key that the secret stands for.
func (s *Secret) wrappingKey() ([]byte, error) {
	b, err := s.scalar.MarshalBinary()
	if err != nil {
		return nil, err
	}
	defer clear(b)
	return hkdf.Key(sha256.New, b, nil, backupTitle, 32)
}

func drawSecret() *Secret {
	return &Secret{scalar: group.Ristretto255.RandomNonZeroScalar(rand.Reader)}
}

// NewBackup makes a P-256 key in the token that uri names, wraps it there and forgets it: it is in the backup and nowhere else, until
// RestoreKey puts it into the token where it will work. So its shares can be handed out before anything depends on them. Errors are
// those of OpenKey, and ErrShare for numbers that make no sharing.
func NewBackup(ctx context.Context, uri string, options Options, needed, shares int) (*Backup, *Secret, []Share, error) {
	u, err := ParseURI(uri)
	if err != nil {
		return nil, nil, nil, err
	}
	if u.File != "" {
		return nil, nil, nil, errKeyFile
	}
	token, err := Open(ctx, u, options)
	if err != nil {
		return nil, nil, nil, err
	}
	b, secret, list, err := token.newBackup(ctx, needed, shares)
	return b, secret, list, errors.Join(err, token.Close())
}

// RestoreKey puts a backup's key into the token and under the label and id that uri names, as CreateKey does, and opens it. It has signed under the backup's public
// key by then. What CreateKey promises of a key holds, but that it was made in this token: its attributes say that it was not. Errors
// are those of CreateKey.
func RestoreKey(ctx context.Context, uri string, options Options, b *Backup, secret *Secret) (Key, error) {
	return withKey(ctx, uri, options, func(context.Context, string, PINSource) (Key, error) { return nil, errKeyFile },
		func(ctx context.Context, token *Token, u URI) (*Signer, error) {
			return token.restore(ctx, u.Object, u.ID, b, secret)
		})
}

var errKeyFile = errors.New("backups are of keys in tokens: of a key file the copy is the backup")

// Share is one custodian's part of a backup's secret.
type Share struct {
	Number int
	value  [32]byte
	code   [4]byte
}

// split gives the shares of a secret, of which any needed bring it back, and the commitments to them.
func (s *Secret) split(needed, shares int) ([]Share, []group.Element, error) {
	sharing := secretsharing.New(rand.Reader, uint(needed-1), s.scalar)
	var list []Share
	for i, share := range sharing.Share(uint(shares)) {
		b, err := share.Value.MarshalBinary()
		if err != nil {
			return nil, nil, err
		}
		list = append(list, Share{Number: i + 1, value: [32]byte(b), code: s.code})
		clear(b)
	}
	return list, sharing.CommitSecret(), nil
}

func checkSharing(needed, shares int) error {
	if needed < 2 || shares < needed || shares > MaxShares {
		return fmt.Errorf("%w: %d of %d, want 2 or more of at most %d", ErrShare, needed, shares, MaxShares)
	}
	return nil
}

// Encode gives the file, which is no secret.
func (b *Backup) Encode() ([]byte, error) {
	f := backupFile{Title: backupTitle, Public: compressed(b.Public), Needed: b.Needed, Shares: b.Shares, Wrapped: b.wrapped}
	for _, c := range b.commitments {
		raw, err := c.MarshalBinaryCompress()
		if err != nil {
			return nil, err
		}
		f.Commitments = append(f.Commitments, [32]byte(raw))
	}
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, err
	}
	return mode.Marshal(f)
}

// ParseBackup reads a backup's file; one encoding is accepted. Whether it holds the key says Restore alone.
func ParseBackup(file []byte) (*Backup, error) {
	b, err := parseBackup(file)
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	return b, nil
}

func parseBackup(file []byte) (*Backup, error) {
	var f backupFile
	if len(file) > maxBackup {
		return nil, fmt.Errorf("%d bytes, at most %d", len(file), maxBackup)
	}
	if err := cbor.Unmarshal(file, &f); err != nil {
		return nil, err
	}
	if err := checkSharing(f.Needed, f.Shares); err != nil {
		return nil, err
	}
	x, y := elliptic.UnmarshalCompressed(elliptic.P256(), f.Public[:])
	if f.Title != backupTitle || x == nil || len(f.Commitments) != f.Needed {
		return nil, errors.New("not the backup of a P-256 key")
	}
	point := [65]byte{4} // SEC 1, section 2.3.3
	x.FillBytes(point[1:33])
	y.FillBytes(point[33:])
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point[:])
	if err != nil {
		return nil, err
	}
	b := &Backup{Public: public, Needed: f.Needed, Shares: f.Shares, wrapped: f.Wrapped}
	for _, raw := range f.Commitments {
		c := group.Ristretto255.NewElement()
		if err := c.UnmarshalBinary(raw[:]); err != nil {
			return nil, err
		}
		b.commitments = append(b.commitments, c)
	}
	again, err := b.Encode()
	if err != nil || !bytes.Equal(again, file) {
		return nil, errors.New("not the one encoding of a backup")
	}
	return b, nil
}

// compressed gives 02 or 03, then X (SEC 1, section 2.3.3).
func compressed(key *ecdsa.PublicKey) [33]byte {
	point, err := key.Bytes()
	if err != nil {
		panic(err) // every key is on P-256
	}
	short := [33]byte(point)
	short[0] = 2 | point[64]&1
	return short
}

// code is what the shares of a backup have in common.
func (b *Backup) code() [4]byte {
	point := compressed(b.Public)
	sum := sha256.Sum256(point[:])
	return [4]byte(sum[:4])
}

// Code is how a backup is named on its shares: 9F3A-77C1.
func (b *Backup) Code() string { return codeText(b.code()) }

func codeText(code [4]byte) string { return fmt.Sprintf("%X-%X", code[:2], code[2:]) }

// Combine brings a secret back from shares, each of which is held against the commitments first. Errors wrap ErrShare.
func (b *Backup) Combine(shares []Share) (*Secret, error) {
	var list []secretsharing.Share
	var seen []int
	for _, s := range shares {
		if slices.Contains(seen, s.Number) {
			continue // twice the same adds nothing
		}
		share, err := b.check(s)
		if err != nil {
			return nil, err
		}
		list, seen = append(list, share), append(seen, s.Number)
	}
	if len(list) < b.Needed {
		return nil, fmt.Errorf("%w: %d of backup %s, and it takes %d", ErrShare, len(list), b.Code(), b.Needed)
	}
	scalar, err := secretsharing.Recover(uint(b.Needed-1), list[:b.Needed])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrShare, err)
	}
	return &Secret{scalar: scalar, code: b.code()}, nil
}

// Check says whether this is one of the backup's shares. Errors wrap ErrShare.
func (b *Backup) Check(s Share) error {
	_, err := b.check(s)
	return err
}

func (b *Backup) check(s Share) (share secretsharing.Share, err error) {
	if s.code != b.code() {
		return share, fmt.Errorf("%w %d is of backup %s, and this is %s", ErrShare, s.Number, codeText(s.code), b.Code())
	}
	share = secretsharing.Share{ID: group.Ristretto255.NewScalar().SetUint64(uint64(s.Number)), Value: group.Ristretto255.NewScalar()}
	if s.Number < 1 || s.Number > b.Shares || share.Value.UnmarshalBinary(s.value[:]) != nil || !secretsharing.Verify(uint(b.Needed-1), share, b.commitments) {
		return share, fmt.Errorf("%w %d is none of this backup's", ErrShare, s.Number)
	}
	return share, nil
}

// A share on paper has four lines of this form: number of the share and of the line, 8 bytes, and a checksum over the backup's code
// and all of that, so that a line of another share, or of another backup, is told at once:
//
//	2-1  0123 4567 89AB CDEF  3F2A
const (
	shareLines = 4
	lineBytes  = 8
)

// Lines give the share as it is printed.
func (s Share) Lines() []string {
	var lines []string
	for i := range shareLines {
		part := s.value[i*lineBytes : (i+1)*lineBytes]
		var groups []string
		for at := 0; at < lineBytes; at += 2 {
			groups = append(groups, fmt.Sprintf("%X", part[at:at+2]))
		}
		lines = append(lines, fmt.Sprintf("%d-%d  %s  %04X", s.Number, i+1, strings.Join(groups, " "), lineSum(s.code, s.Number, i+1, part)))
	}
	return lines
}

func lineSum(code [4]byte, share, line int, part []byte) uint16 {
	h := sha256.New()
	h.Write(code[:])
	h.Write([]byte{byte(share), byte(line)})
	h.Write(part)
	return binary.BigEndian.Uint16(h.Sum(nil))
}

// Reader takes the lines of shares as people type them, in any order, and gives each share that is whole.
type Reader struct {
	backup *Backup
	parts  map[int]map[int][]byte // share, line
}

// NewReader reads shares of a backup.
func NewReader(b *Backup) *Reader { return &Reader{b, map[int]map[int][]byte{}} }

// Line takes one line. It returns a share once its last line has come, nil before that. What is mistyped wraps ErrShare and changes
// nothing.
func (r *Reader) Line(text string) (*Share, error) {
	head, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	var share, line int
	if n, err := fmt.Sscanf(head, "%d-%d", &share, &line); n != 2 || err != nil || head != fmt.Sprintf("%d-%d", share, line) ||
		share < 1 || share > r.backup.Shares || line < 1 || line > shareLines {
		return nil, fmt.Errorf("%w: %q begins no line of a share: want 1-1 to %d-%d", ErrShare, head, r.backup.Shares, shareLines)
	}
	all, err := hex.DecodeString(strings.Join(strings.Fields(rest), ""))
	if err != nil || len(all) != lineBytes+2 {
		return nil, fmt.Errorf("%w: line %s: want five groups of four, 0 to 9 and A to F, the last is the checksum", ErrShare, head)
	}
	if part := all[:lineBytes]; lineSum(r.backup.code(), share, line, part) != binary.BigEndian.Uint16(all[lineBytes:]) {
		return nil, fmt.Errorf("%w: line %s: its checksum does not hold: mistyped, or of another backup than %s", ErrShare, head, r.backup.Code())
	}
	if r.parts[share] == nil {
		r.parts[share] = map[int][]byte{}
	}
	r.parts[share][line] = all[:lineBytes]
	if len(r.parts[share]) < shareLines {
		return nil, nil
	}
	s := &Share{Number: share, code: r.backup.code()}
	for i := range shareLines {
		copy(s.value[i*lineBytes:], r.parts[share][i+1])
	}
	delete(r.parts, share)
	return s, r.backup.Check(*s)
}
