package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/birthmark/birthmark/templates"
)

// morning is when everything in these tests begins.
var morning = time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)

// smallProfile is a profile with little text, for tests that try every byte of an order file.
const smallProfile = `birthmark: product/1
name: p
product: 7
peers: [7, 9]
chip: {type: ATECC608, attestation: none, mode: "00", options: "0000", slots: [0081 0013, 0082 0013, &k 8080 001c, *k, *k, *k, 8080 007c, *k, 0000 003c, *k, *k, *k, *k, *k, *k, *k]}
`

// works is a manufacturer in a temporary folder: an authority, its keys, and the key of its first order.
type works struct {
	root, next, order *ecdsa.PrivateKey
	authority         *Authority
	profile           *Profile
}

func newWorks(t testing.TB) *works {
	t.Helper()
	return newWorksWith(t, newKey(t), newKey(t), newKey(t))
}

func newWorksWith(t testing.TB, root, next, order *ecdsa.PrivateKey) *works {
	t.Helper()
	w := &works{root: root, next: next, order: order}
	text, err := templates.Product("demo-sensor")
	if err != nil {
		t.Fatal(err)
	}
	if w.profile, err = ParseProfile(text); err != nil {
		t.Fatal(err)
	}
	if w.authority, err = Init(rand.Reader, w.root, w.next, w.initRequest(filepath.Join(t.TempDir(), "authority"))); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *works) initRequest(folder string) InitRequest {
	return InitRequest{
		Folder: folder, Name: "ACME", Test: true, Prefix: Prefix{0x02, 0x1A, 0x2B},
		RootURI: "root.key", NextURI: "next.key", Now: morning,
	}
}

// request asks for count units, with a new order key.
func (w *works) request(t testing.TB, count uint64) OrderRequest {
	t.Helper()
	return OrderRequest{
		Request: &Request{Station: "line-1", Key: &newKey(t).PublicKey},
		Profile: w.profile, Count: count, Validity: 30 * 24 * time.Hour, Now: morning.Add(time.Hour),
	}
}

// firstOrder signs the first order, over w.order.
func (w *works) firstOrder(t testing.TB, count uint64) *Order {
	t.Helper()
	r := w.request(t, count)
	r.Request.Key = &w.order.PublicKey
	return w.sign(t, r)
}

func (w *works) sign(t testing.TB, r OrderRequest) *Order {
	t.Helper()
	o, err := w.authority.Order(rand.Reader, w.root, r)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// fixedKey is the same key in every process, as the workers of a fuzzer need it.
func fixedKey(t testing.TB, n byte) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{n}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// wantError reports an error that is not the one wanted.
func wantError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want: %v", what, err, want)
	}
}

// items are the items of a certificate but its signature, whatever they are: what these tests put together by hand knows
// nothing of this package or of c509.
type items []any

// The places of the items (docs/formats.md).
const (
	itemType = iota
	itemSerial
	itemAlgorithm
	itemIssuer
	itemNotBefore
	itemNotAfter
	itemSubject
	itemKeyAlgorithm
	itemKey
	itemExtensions
)

// with is a copy with one item replaced.
func (it items) with(place int, value any) items {
	changed := append(items{}, it...)
	changed[place] = value
	return changed
}

// encode gives the items in a row; cbor.RawMessage stands for itself.
func (it items) encode(t testing.TB) []byte {
	t.Helper()
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	var encoded []byte
	for _, item := range it {
		b, err := mode.Marshal(item)
		if err != nil {
			t.Fatal(err)
		}
		encoded = append(encoded, b...)
	}
	return encoded
}

// sign gives the certificate: the array's head, the items, the signature.
func (it items) sign(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	encoded := it.encode(t)
	certificate := append([]byte{0x80 | byte(len(it)+1)}, encoded...)
	return append(append(certificate, 0x58, 64), rawSign(t, key, encoded)...)
}

// rawSign is ECDSA with SHA-256, r || s, low s. It is deterministic (RFC 6979), which fuzzing wants.
func rawSign(t testing.TB, key *ecdsa.PrivateKey, message []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(message)
	der, err := key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var signature struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &signature); err != nil {
		t.Fatal(err)
	}
	n := elliptic.P256().Params().N
	if new(big.Int).Lsh(signature.S, 1).Cmp(n) > 0 {
		signature.S.Sub(n, signature.S)
	}
	return append(signature.R.FillBytes(make([]byte, 32)), signature.S.FillBytes(make([]byte, 32))...)
}

// negated is what ends in a signature, with n - s for s: the other signature of the same message.
func negated(signed []byte) []byte {
	changed := bytes.Clone(signed)
	s := changed[len(changed)-32:]
	n := elliptic.P256().Params().N
	new(big.Int).Sub(n, new(big.Int).SetBytes(s)).FillBytes(s)
	return changed
}

// compressed is 02 or 03 and X (SEC 1, 2.3.3).
func compressed(key *ecdsa.PublicKey) []byte {
	b := sec1(key)
	return append([]byte{2 + b[64]&1}, b[1:33]...)
}

// sec1 is 04, X, Y.
func sec1(key *ecdsa.PublicKey) []byte {
	b, err := key.Bytes()
	if err != nil {
		panic(err)
	}
	return b
}

func eui(serial uint64) []byte { return binary.BigEndian.AppendUint64(nil, serial) }

// errSigner is what a refusingSigner says.
var errSigner = errors.New("the token is gone")

// refusingSigner has a key and does not sign.
type refusingSigner struct{ crypto.Signer }

func (refusingSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errSigner
}

// candidate is a unit that fits the order.
func (w *works) candidate(o *Order, key *ecdsa.PrivateKey) Candidate {
	return Candidate{Key: point(&key.PublicKey), Anchor: o.Anchor.Hash(), Product: w.profile.Product, Configuration: goodZone()}
}

// issue takes a unit through Check and Sign, with an X.509 twin.
func (w *works) issue(t testing.TB, o *Order, key *ecdsa.PrivateKey, serial EUI64) *Issued {
	t.Helper()
	draft, err := Check(o, &w.authority.Bundle, w.candidate(o, key), true, morning.Add(2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	issued, err := draft.Sign(rand.Reader, w.order, serial, morning.Add(2*time.Hour), true)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// answeringSigner answers with fixed bytes.
type answeringSigner struct {
	crypto.Signer
	answer []byte
}

func (s answeringSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return s.answer, nil
}

// watchingSigner signs, and tells what it was asked.
type watchingSigner struct {
	crypto.Signer
	watch func(crypto.SignerOpts)
}

func (s watchingSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.watch(opts)
	return s.Signer.Sign(random, digest, opts)
}

// encodeDER is an Ecdsa-Sig-Value (RFC 5480, appendix A), whatever the numbers.
func encodeDER(t testing.TB, r, s *big.Int) []byte {
	t.Helper()
	b, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tiringSigner signs so many times.
type tiringSigner struct {
	crypto.Signer
	left int
}

func (s *tiringSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if s.left == 0 {
		return nil, errSigner
	}
	s.left--
	return s.Signer.Sign(random, digest, opts)
}
