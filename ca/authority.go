package ca

import (
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
	maxAuthority    = 47 // bytes: "TEST " before it and " Order 65535" after it, a commonName's 64 (RFC 5280, appendix A.1)
)

// Authority is the officer's folder: who the authority is, its root certificates, and every order that it ever signed. It
// holds no key; the keys' places are URIs.
type Authority struct {
	Name    string
	Test    bool
	Prefix  Prefix
	RootURI string // where the root key is
	NextURI string // where the next root's key is
	Anchor  Anchor
	Orders  []*Order // number 1 first

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
// holds an authority (ErrPolicy), keys that are not where they belong (ErrPolicy), a name or prefix that is none (ErrMalformed).
func (r InitRequest) Check() error {
	switch _, err := os.Lstat(filepath.Join(r.Folder, authorityFile)); {
	case err == nil:
		return fmt.Errorf("folder %s already holds an authority: %w", r.Folder, ErrPolicy)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := checkTitle("authority's name", r.Name, maxAuthority); err != nil {
		return err
	}
	if r.Prefix != nil {
		if _, err := ParsePrefix(r.Prefix.String()); err != nil {
			return err
		}
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
// (pre-rotation). authority.yaml is written last, so a folder without one holds no authority and Init may run again. Errors
// wrap those of Check, or ErrPolicy where both keys are one; what the signer and the folder say is wrapped as it is.
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
	native, err := signRootCertificate(random, root, name, r.Now)
	if err != nil {
		return nil, err
	}
	der, err := rootX509(random, r.Name, name, root, r.Now)
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
	if err := replaceFile(filepath.Join(r.Folder, rootPEM(1)), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil {
		return nil, err
	}
	if err := replaceFile(filepath.Join(r.Folder, rootNative(1)), native); err != nil {
		return nil, err
	}
	if err := createFile(filepath.Join(r.Folder, authorityFile), text); err != nil {
		return nil, err
	}
	if err := syncFolder(filepath.Dir(filepath.Clean(r.Folder))); err != nil { // the folder's own name
		return nil, err
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

// Load reads an authority's folder and verifies all of it: root certificates against the anchor and the name, every order
// file, and the chain from each order to the one before. What authority.yaml alone says (the prefix, where the keys are,
// and until the first order the hash of the next key) is believed: who may write in the folder is the officer's to guard.
// Errors wrap ErrMalformed, ErrVerify or what the file system says.
func Load(folder string) (*Authority, error) {
	path := filepath.Join(folder, authorityFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("authority in %s: %w", folder, err)
	}
	var y authorityYAML
	if err := decodeYAML(text, &y); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, err, ErrMalformed)
	}
	if y.Schema != authoritySchema {
		return nil, fmt.Errorf("%s: birthmark: %q, want %q: %w", path, y.Schema, authoritySchema, ErrMalformed)
	}
	raw, err := hex.DecodeString(y.Anchor)
	if err != nil {
		return nil, fmt.Errorf("%s: anchor: %w: %w", path, err, ErrMalformed)
	}
	a := &Authority{Name: y.Name, RootURI: y.RootKey, NextURI: y.NextKey, folder: folder}
	if a.Anchor, err = ParseAnchor(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	a.Test = a.Anchor.Name().Test()
	if a.Prefix, err = ParsePrefix(y.Prefix); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := a.loadRoot(); err != nil {
		return nil, err
	}
	if err := a.loadOrders(); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Authority) loadRoot() error {
	epoch := a.Anchor.Name().Epoch()
	path := filepath.Join(a.folder, rootPEM(epoch))
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s: no PEM block: %w", path, ErrMalformed)
	}
	if a.rootX509, err = x509.ParseCertificate(block.Bytes); err != nil {
		return fmt.Errorf("%s: %w: %w", path, err, ErrMalformed)
	}
	if err := sameX509(a.rootX509, a.rootX509, uint64(epoch), a.Anchor.Key(), a.rootX509.NotBefore); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if name := people(a.Name, a.Test, "Root", epoch); a.rootX509.Subject.CommonName != name {
		return fmt.Errorf("%s: its name is %q, not %q: %w", path, a.rootX509.Subject.CommonName, name, ErrVerify)
	}
	path = filepath.Join(a.folder, rootNative(epoch))
	native, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := verifyRootCertificate(native, a.Anchor); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// loadOrders reads orders/00001.order, 00002.order and so on; a missing number, a foreign file or a broken hash is an error.
func (a *Authority) loadOrders() error {
	entries, err := os.ReadDir(filepath.Join(a.folder, ordersFolder))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) {
			continue
		}
		number := len(a.Orders) + 1
		if e.Name() != orderFile(number) {
			return fmt.Errorf("%s: found %s where %s belongs: %w", ordersFolder, e.Name(), orderFile(number), ErrVerify)
		}
		file, err := os.ReadFile(a.orderPath(number))
		if err != nil {
			return err
		}
		o, err := ParseOrder(file)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", e.Name(), err)
		case int(o.Number()) != number:
			return fmt.Errorf("%s: it holds order %d: %w", e.Name(), o.Number(), ErrVerify)
		case o.Anchor != a.Anchor:
			return fmt.Errorf("%s: another authority's order: %w", e.Name(), ErrVerify)
		case o.Previous != a.lastHash():
			return fmt.Errorf("%s: it does not follow order %d: %w", e.Name(), number-1, ErrVerify)
		}
		if err := a.admit(o.Certificate); err != nil {
			return fmt.Errorf("%s: %w: %w", e.Name(), err, ErrVerify)
		}
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

// Remaining is how many orders the present root may still sign.
func (a *Authority) Remaining() int { return MaxOrdersPerRoot - len(a.Orders) }

// lastHash is the hash of the last order file, zeros before the first.
func (a *Authority) lastHash() [32]byte {
	if len(a.Orders) == 0 {
		return [32]byte{}
	}
	return a.Orders[len(a.Orders)-1].hash()
}

// lastIssued is when the authority last signed an order, or its root certificates.
func (a *Authority) lastIssued() time.Time {
	if len(a.Orders) == 0 {
		return a.rootX509.NotBefore
	}
	return a.Orders[len(a.Orders)-1].Issued
}
