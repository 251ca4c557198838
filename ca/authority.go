package ca

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// MaxOrdersPerRoot is how many orders one root may sign: a unit has room for that many in the link that closes the root.
const MaxOrdersPerRoot = 32

const (
	authoritySchema = "authority/1"
	authorityFile   = "authority.yaml"
	ordersFolder    = "orders"
	maxAuthority    = 64 // bytes; a name in X.509 with "TEST", "Root" and numbers around it stays readable
)

// Authority is the officer's folder: who the authority is, its root certificates, and every order that it ever signed. It
// holds no key; the keys' places are URIs.
type Authority struct {
	Name     string
	Test     bool
	Prefix   Prefix
	RootURI  string // where the root key is
	NextURI  string // where the next root's key is
	Anchor   Anchor
	Orders   []*Order // number 1 first
	RootC509 []byte

	rootX509 *x509.Certificate
	folder   string
}

// authorityYAML is authority.yaml, decoded strictly. It repeats nothing that a certificate says.
type authorityYAML struct {
	Schema  string `yaml:"birthmark"`
	Name    string `yaml:"name"`
	Prefix  string `yaml:"prefix"`
	RootKey string `yaml:"root_key"`
	NextKey string `yaml:"next_key"`
	Anchor  string `yaml:"anchor"`
}

// InitRequest is what an officer decides on when an authority is born.
type InitRequest struct {
	Folder           string
	Name             string
	Test             bool
	Prefix           Prefix // nil draws a locally administered one
	RootURI, NextURI string
	Now              time.Time
}

// Check refuses a request that Init could not fulfil, so that it can be asked before a key is made: a folder that already
// holds an authority, a name that does not fit.
func (r InitRequest) Check() error {
	if _, err := os.Lstat(filepath.Join(r.Folder, authorityFile)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("folder %s already holds an authority: %w", r.Folder, ErrPolicy)
	}
	if r.Name == "" || len(r.Name) > maxAuthority {
		return fmt.Errorf("authority's name %q: %d bytes, want 1 to %d: %w", r.Name, len(r.Name), maxAuthority, ErrMalformed)
	}
	if !r.Test && !strings.HasPrefix(r.RootURI, "pkcs11:") {
		return fmt.Errorf("root key of a production authority in a file, %s: it belongs into a token: %w", r.RootURI, ErrPolicy)
	}
	if r.RootURI == r.NextURI {
		return fmt.Errorf("root and next root in one place, %s: %w", r.RootURI, ErrPolicy)
	}
	return nil
}

// Init makes an authority: root certificates over root's key, and an anchor that already names the hash of next's key
// (pre-rotation). authority.yaml is written last, so a folder without one holds no authority and Init may run again.
func Init(random io.Reader, root, next crypto.Signer, r InitRequest) (*Authority, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	rootKey, err := p256Key(root.Public())
	if err != nil {
		return nil, fmt.Errorf("root key: %w", err)
	}
	nextKey, err := p256Key(next.Public())
	if err != nil {
		return nil, fmt.Errorf("next root's key: %w", err)
	}
	if rootKey.Equal(nextKey) {
		return nil, fmt.Errorf("root and next root have one key: %w", ErrPolicy)
	}
	if r.Prefix == nil {
		r.Prefix = localPrefix()
	}
	name := newRootName(r.Test, 1)
	at := r.Now.UTC().Truncate(time.Second)
	der, err := rootX509(random, r.Name, name, root, at)
	if err != nil {
		return nil, err
	}
	native, err := signRootCertificate(random, root, name, at)
	if err != nil {
		return nil, err
	}
	anchor := newAnchor(name, rootKey, nextKey)
	text, err := yaml.Marshal(authorityYAML{
		Schema:  authoritySchema,
		Name:    r.Name,
		Prefix:  r.Prefix.String(),
		RootKey: r.RootURI,
		NextKey: r.NextURI,
		Anchor:  hex.EncodeToString(anchor[:]),
	})
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", authorityFile, err)
	}
	if err := os.MkdirAll(filepath.Join(r.Folder, ordersFolder), 0o755); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{rootPEM(1), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})},
		{rootNative(1), native},
		{authorityFile, text},
	} {
		if err := replaceFile(filepath.Join(r.Folder, f.name), f.data); err != nil {
			return nil, err
		}
	}
	return Load(r.Folder)
}

func rootPEM(epoch int) string    { return fmt.Sprintf("root-%d.pem", epoch) }
func rootNative(epoch int) string { return fmt.Sprintf("root-%d.c509", epoch) }

// localPrefix draws a locally administered, individual prefix of three octets (IEEE 802, 8.2.2): the quadrant that
// standards leave to whoever administers the network.
func localPrefix() Prefix {
	p := make(Prefix, 3)
	rand.Read(p)
	p[0] = p[0]&^0x0F | 0x02
	return p
}

// Load reads an authority's folder and verifies all of it: root certificates against the anchor, every order file, and the
// chain from each order to the one before.
func Load(folder string) (*Authority, error) {
	text, err := os.ReadFile(filepath.Join(folder, authorityFile))
	if err != nil {
		return nil, fmt.Errorf("authority in %s: %w", folder, err)
	}
	var y authorityYAML
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&y); err != nil || y.Schema != authoritySchema {
		return nil, fmt.Errorf("%s: not an %s file (%v): %w", filepath.Join(folder, authorityFile), authoritySchema, err, ErrMalformed)
	}
	raw, err := hex.DecodeString(y.Anchor)
	if err != nil {
		return nil, fmt.Errorf("anchor in %s: %w", authorityFile, ErrMalformed)
	}
	a := &Authority{Name: y.Name, RootURI: y.RootKey, NextURI: y.NextKey, folder: folder}
	if a.Anchor, err = ParseAnchor(raw); err != nil {
		return nil, err
	}
	a.Test = a.Anchor.Name().Test()
	if a.Prefix, err = ParsePrefix(y.Prefix); err != nil {
		return nil, err
	}
	if err := a.loadRoot(); err != nil {
		return nil, err
	}
	return a, a.loadOrders()
}

func (a *Authority) loadRoot() error {
	epoch := a.Anchor.Name().Epoch()
	file := filepath.Join(a.folder, rootPEM(epoch))
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s: no PEM block: %w", file, ErrMalformed)
	}
	if a.rootX509, err = x509.ParseCertificate(block.Bytes); err != nil {
		return fmt.Errorf("%s: %w: %w", file, err, ErrMalformed)
	}
	if !a.Anchor.Key().Equal(a.rootX509.PublicKey) {
		return fmt.Errorf("%s: another key than the anchor's: %w", file, ErrVerify)
	}
	if err := a.rootX509.CheckSignatureFrom(a.rootX509); err != nil {
		return fmt.Errorf("%s: %w: %w", file, err, ErrVerify)
	}
	file = filepath.Join(a.folder, rootNative(epoch))
	if a.RootC509, err = os.ReadFile(file); err != nil {
		return err
	}
	if err := verifyRootCertificate(a.RootC509, a.Anchor); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// loadOrders reads orders/00001.order, 00002.order and so on; a missing number, a foreign file or a broken hash is an error.
func (a *Authority) loadOrders() error {
	entries, err := os.ReadDir(filepath.Join(a.folder, ordersFolder))
	if err != nil {
		return err
	}
	previous := [32]byte{}
	for i, e := range entries {
		if e.Name() != orderFile(i+1) {
			return fmt.Errorf("%s: found %s where %s belongs: %w", ordersFolder, e.Name(), orderFile(i+1), ErrVerify)
		}
		file, err := os.ReadFile(a.orderPath(i + 1))
		if err != nil {
			return err
		}
		o, err := ParseOrder(file)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", e.Name(), err)
		case int(o.Number()) != i+1:
			return fmt.Errorf("%s: it holds order %d: %w", e.Name(), o.Number(), ErrVerify)
		case o.Anchor != a.Anchor:
			return fmt.Errorf("%s: another authority's order: %w", e.Name(), ErrVerify)
		case o.Previous != previous:
			return fmt.Errorf("%s: it does not follow order %d: %w", e.Name(), i, ErrVerify)
		}
		previous = o.hash()
		a.Orders = append(a.Orders, o)
	}
	return nil
}

func orderFile(number int) string { return fmt.Sprintf("%05d.order", number) }

func (a *Authority) orderPath(number int) string {
	return filepath.Join(a.folder, ordersFolder, orderFile(number))
}

// OrderPath is where an order's file is.
func (a *Authority) OrderPath(o *Order) string { return a.orderPath(int(o.Number())) }

// append records a signed order. The name is taken exclusively: of two officers' commands at once, one fails.
func (a *Authority) append(o *Order) error {
	if err := createFile(a.OrderPath(o), o.File); err != nil {
		return fmt.Errorf("record order %d: %w", o.Number(), err)
	}
	a.Orders = append(a.Orders, o)
	return nil
}

// Remaining is how many orders the present root may still sign.
func (a *Authority) Remaining() int { return max(0, MaxOrdersPerRoot-len(a.Orders)) }

// RootX509 is the root's X.509 certificate, DER.
func (a *Authority) RootX509() []byte { return a.rootX509.Raw }

func (a *Authority) isRoot(s crypto.Signer) error {
	key, err := p256Key(s.Public())
	if err != nil {
		return err
	}
	if !a.Anchor.Key().Equal(key) {
		return fmt.Errorf("the key at %s is not the root's: %w", a.RootURI, ErrVerify)
	}
	return nil
}

// createFile writes a new file completely or not at all, and never over another: a temporary name first, synced, then a
// hard link, which fails where the name is taken.
func createFile(path string, data []byte) error {
	return placeFile(path, data, os.Link)
}

// replaceFile is createFile for a file that an interrupted run may have left.
func replaceFile(path string, data []byte) error {
	return placeFile(path, data, os.Rename)
}

func placeFile(path string, data []byte, place func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := place(f.Name(), path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
