package ceremony

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/templates"
)

var morning = time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)

// TestMain keeps worlds in memory, where there is a place for that: they sync every entry of every transcript.
func TestMain(m *testing.M) {
	if folder, err := os.MkdirTemp("/dev/shm", "birthmark-*"); err == nil {
		os.Setenv("TMPDIR", folder)
		defer os.RemoveAll(folder)
	}
	m.Run()
}

// errKilled is a process that dies.
var errKilled = errors.New("killed")

// token is a token that outlives processes. Each call of it and each entry of the journal is a point where the process may die: before
// it has an effect, or right after.
type token struct {
	keys map[string]tokenKey // by URI
	left int                 // points until the process dies; below 0 it lives for ever
	dead bool
}

type tokenKey struct {
	throwawayKey
	id   string
	half bool // only the public half is there
}

func (t *token) point() error {
	if t.left == 0 {
		t.dead = true
	}
	if t.dead {
		return errKilled
	}
	t.left--
	return nil
}

func (t *token) Look(uri string) (string, bool, error) {
	_, taken := t.keys[uri]
	return "a token", taken, nil
}

func (t *token) Make(_ context.Context, uri string, id []byte) (Key, error) {
	if err := t.point(); err != nil {
		return nil, err
	}
	if _, taken := t.keys[uri]; taken {
		return nil, fmt.Errorf("%s: %w", uri, ErrKeyTaken)
	}
	key := tokenKey{newThrowaway(), string(id), true}
	t.keys[uri] = key
	if err := t.point(); err != nil {
		return nil, err
	}
	key.half = false
	t.keys[uri] = key
	return heldKey{t, key}, t.point()
}

func (t *token) Open(_ context.Context, uri string, id []byte) (Key, error) {
	if err := t.point(); err != nil {
		return nil, err
	}
	key, there := t.keys[uri]
	if !there || key.half || id != nil && key.id != string(id) {
		return nil, fmt.Errorf("%s: no such key", uri)
	}
	return heldKey{t, key}, nil
}

func (t *token) Discard(_ context.Context, uri string, id []byte) (bool, error) {
	if err := t.point(); err != nil {
		return false, err
	}
	key, there := t.keys[uri]
	if there = there && key.id == string(id); there {
		delete(t.keys, uri)
	}
	return there, t.point()
}

func (t *token) Destroy(_ context.Context, uri string, public *ecdsa.PublicKey) (bool, error) {
	if err := t.point(); err != nil {
		return false, err
	}
	key, there := t.keys[uri]
	if there && !public.Equal(&key.PublicKey) {
		return false, errors.New("another key is there")
	}
	delete(t.keys, uri)
	return there, t.point()
}

// paper is a backup of the tests: two lines "share" bring the key back.
type paper struct {
	token  *token
	key    throwawayKey
	pages  []string
	wanted int
}

func (t *token) Divide(_ context.Context, _ string, needed, shares int) (Backup, error) {
	if err := t.point(); err != nil {
		return nil, err
	}
	return &paper{t, newThrowaway(), slices.Repeat([]string{"SECRET share\n"}, shares), needed}, t.point()
}

func (t *token) Backup(file []byte) (Backup, error) {
	der, err := hex.DecodeString(string(file))
	if err != nil {
		return nil, err
	}
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		return nil, err
	}
	return &paper{t, throwawayKey{key}, nil, 2}, nil
}

func (*paper) Code() string      { return "12AB-34CD" }
func (b *paper) Pages() []string { return b.pages }

func (b *paper) File() []byte {
	der, err := x509.MarshalECPrivateKey(b.key.PrivateKey)
	if err != nil {
		panic(err)
	}
	return []byte(hex.EncodeToString(der))
}

func (b *paper) Line(text string) (int, error) {
	if text != "Yes\n" { // what the room says to everything
		return b.wanted, errors.New("mistyped")
	}
	b.wanted--
	return b.wanted, nil
}

func (b *paper) Restore(_ context.Context, uri string, id []byte) (Key, error) {
	if err := b.token.point(); err != nil {
		return nil, err
	}
	if _, taken := b.token.keys[uri]; taken {
		return nil, fmt.Errorf("%s: %w", uri, ErrKeyTaken)
	}
	key := tokenKey{b.key, string(id), false}
	b.token.keys[uri] = key
	return heldKey{b.token, key}, b.token.point()
}

// heldKey is a key of the token in the hands of a process.
type heldKey struct {
	token *token
	tokenKey
}

func (k heldKey) Description() string { return "key of the token" }

func (k heldKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := k.token.point(); err != nil {
		return nil, err
	}
	return k.tokenKey.Sign(random, digest, opts)
}

// room is where the people are, who say what they are told to.
type room struct{ says, told string }

func (r *room) Tell(text string) { r.told += text }

func (r *room) Ask(_ context.Context, question string) (string, error) {
	r.told += question + "\n"
	return r.says, nil
}

func (*room) Wipe() {}

// world is a place where a ceremony is held: a token, an authority, a folder with a plan.
type world struct {
	t      *testing.T
	token  *token
	room   *room
	folder string
	home   string // the authority's
	books  []Book
	build  string
}

const people = "people: [{name: Anna Meier, role: officer}, {name: Ben Okafor, role: witness}]\n"

// newWorld has no authority yet.
func newWorld(t *testing.T, plan string) *world {
	t.Helper()
	folder := t.TempDir()
	w := &world{t: t, token: &token{keys: map[string]tokenKey{}, left: -1}, room: &room{says: "Yes\n"}, folder: filepath.Join(folder, "ceremony"),
		home: filepath.Join(folder, "authority"), build: "this build"}
	if err := os.Mkdir(w.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	w.put(planFile, "birthmark: ceremony/1\ntitle: a test\n"+people+plan)
	return w
}

func (w *world) put(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.folder, name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// grown has an authority with an order and a status list, the keys of whose root and next root are in the token.
func (w *world) grown() *world {
	w.t.Helper()
	for _, name := range []string{"root-1", "root-2"} {
		w.token.keys["pkcs11:object="+name] = tokenKey{newThrowaway(), name, false}
	}
	root := w.token.keys["pkcs11:object=root-1"]
	a, err := ca.Init(rand.Reader, root, w.token.keys["pkcs11:object=root-2"], ca.InitRequest{
		Folder: w.home, Name: "ACME", Prefix: ca.Prefix{2, 0x1A, 0x2B}, RootURI: "pkcs11:object=root-1", NextURI: "pkcs11:object=root-2", Now: morning,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := templates.Product("demo-sensor")
	if err != nil {
		w.t.Fatal(err)
	}
	profile, err := ca.ParseProfile(text)
	if err != nil {
		w.t.Fatal(err)
	}
	o, err := a.Order(rand.Reader, root, ca.OrderRequest{Request: &ca.Request{Station: "line-1", Key: &newThrowaway().PublicKey}, Profile: profile,
		Count: 10, Validity: time.Hour, Now: morning})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := a.Revoke(rand.Reader, root, ca.RevokeRequest{Serials: []ca.EUI64{o.Certificate.Range.First}}); err != nil {
		w.t.Fatal(err)
	}
	w.books = []Book{{"line-1", []BookOrder{{1, o.Certificate.Fingerprint()}}}}
	return w
}

// request puts a request into the ceremony's folder.
func (w *world) request(file, station string) {
	w.t.Helper()
	text, err := ca.NewRequest(rand.Reader, station, newThrowaway())
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(file, string(text))
}

// ceremony is a new process, which dies after so many points; below 0 it lives.
func (w *world) ceremony(points int) *Ceremony {
	w.token.left, w.token.dead = points, false
	now := morning.Add(time.Hour)
	return &Ceremony{Folder: w.folder, Authority: w.home, Keys: w.token, Console: w.room, Build: w.build, Books: w.books,
		Place: func(uri string) (string, error) { return uri, nil },
		Now:   func() time.Time { now = now.Add(time.Second); return now },
		cut:   w.token.point,
	}
}

func (w *world) rehearse() *Outcome {
	w.t.Helper()
	o, err := w.ceremony(-1).Rehearse(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

func (w *world) run() *Outcome {
	w.t.Helper()
	o, err := w.ceremony(-1).Run(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// state is all that a ceremony may change: keys, and the authority's files.
func (w *world) state() string {
	w.t.Helper()
	var b strings.Builder
	for _, uri := range slices.Sorted(maps.Keys(w.token.keys)) {
		key := w.token.keys[uri]
		fmt.Fprintf(&b, "%s %v %s\n", uri, key.half, encodeKey(&key.PublicKey))
	}
	if _, err := os.Stat(w.home); err == nil {
		files, err := hashFiles(w.home)
		if err != nil {
			w.t.Fatal(err)
		}
		b.WriteString(files.String())
	}
	return b.String()
}

// like makes a world that is a copy of this one.
func (w *world) like() *world {
	w.t.Helper()
	folder := w.t.TempDir()
	c := *w
	c.token = &token{keys: maps.Clone(w.token.keys), left: -1}
	c.room = &room{says: "Yes\n"}
	c.folder, c.home = filepath.Join(folder, "ceremony"), filepath.Join(folder, "authority")
	for from, to := range map[string]string{w.folder: c.folder, w.home: c.home} {
		if _, err := os.Stat(from); err != nil {
			continue
		}
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			w.t.Fatal(err)
		}
	}
	return &c
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want: %v", what, err, want)
	}
}

// worlds has a ceremony of each kind, by its name.
func worlds(t *testing.T) map[string]func() *world {
	return map[string]func() *world{
		"root": func() *world {
			return newWorld(t, "root: {name: ACME, prefix: 02-1A-2B, key: 'pkcs11:object=root-1', next: {key: 'pkcs11:object=root-2'}}\n")
		},
		"root whose next root was made before": func() *world {
			w := newWorld(t, "root: {name: ACME, prefix: 02-1A-2B, key: 'pkcs11:object=root-1', next: {key: 'pkcs11:object=root-2', request: next-root.pem}}\n")
			w.request("next-root.pem", "ACME root 2")
			return w
		},
		"next-root": func() *world { return newWorld(t, "next-root: {name: ACME root 2, key: 'pkcs11:object=root-2'}\n") },
		"rotation": func() *world {
			return newWorld(t, "rotation: {authority: ACME, after: {key: 'pkcs11:object=root-3'}, stations: [line-1], destroy-old: true}\n").grown()
		},
		"rotation to a key made before": func() *world {
			w := newWorld(t, "rotation: {authority: ACME, after: {key: 'pkcs11:object=root-3', request: after.pem}, stations: [line-1]}\n").grown()
			w.request("after.pem", "ACME root 3")
			return w
		},
		"orders": func() *world {
			w := newWorld(t, `orders: {authority: ACME, orders: [{request: a.pem, profile: demo-sensor, count: 5, days: 30},
  {request: b.pem, profile: demo-sensor, count: 7, days: 1}]}`).grown()
			w.request("a.pem", "line-1")
			w.request("b.pem", "line-2")
			return w
		},
		"revocation": func() *world {
			return newWorld(t, "revocation: {authority: ACME, orders: [1]}\n").grown()
		},
		"next-root with a backup": func() *world {
			w := newWorld(t, "next-root: {name: ACME root 2, key: 'pkcs11:object=root-2', backup: {needed: 2, copy: 'pkcs11:object=copy'}}\n")
			text, err := readInput(filepath.Join(w.folder, planFile))
			if err != nil {
				t.Fatal(err)
			}
			w.put(planFile, strings.Replace(string(text), "people: [", "people: [{name: Cem, role: holder}, {name: Dora, role: holder}, {name: Emil, role: holder}, ", 1))
			return w
		},
		"restoration": func() *world {
			w := newWorld(t, "restoration: {key: 'pkcs11:object=root-2', backup: next-root.backup}\n")
			w.put("next-root.backup", string((&paper{key: newThrowaway()}).File()))
			return w
		},
		"destruction": func() *world {
			w := newWorld(t, "destruction: {key: 'pkcs11:object=spare', of: spare.pem}\n").grown()
			spare := tokenKey{newThrowaway(), "spare", false}
			w.token.keys["pkcs11:object=spare"] = spare
			text, err := ca.NewRequest(rand.Reader, "spare", spare)
			if err != nil {
				t.Fatal(err)
			}
			w.put("spare.pem", string(text))
			return w
		},
	}
}
