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
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/birthmark/birthmark/internal/durable"
)

// MaxOrdersPerRoot is how many orders one root may sign: a unit has room for that many in the link that closes the root.
const MaxOrdersPerRoot = 32

// trustPage is what a unit keeps its anchor and all links in (docs/formats.md, "In the unit").
const trustPage = 2048 // bytes

const (
	authoritySchema = "authority/1"
	authorityFile   = "authority.yaml"
	ordersFolder    = "orders"
	listsFolder     = "lists"
	maxAuthority    = 47 // bytes: "TEST " before it and " Order 65535" after it, a commonName's 64 (RFC 5280, appendix A.1)
)

// Authority is the officer's folder: who the authority is, its root certificates, the links between its roots, and every order
// and status list that it ever signed. It holds no key; the keys' places are URIs.
type Authority struct {
	Name   string
	Test   bool
	Prefix Prefix
	Bundle          // its list may still be an older root's, see ListOutdated
	Orders []*Order // number 1 first

	keys   []string            // where the roots' keys are or were, root 1 first
	roots  []*x509.Certificate // root 1 first
	folder string
}

// RootURI is where the newest root's key is.
func (a *Authority) RootURI() string { return a.keys[a.Epoch()-1] }

// NextURI is where the key of the root after it is.
func (a *Authority) NextURI() string { return a.keys[a.Epoch()] }

// OldURI is where the key was of the root that the newest one replaced; "" if there was none.
func (a *Authority) OldURI() string {
	if a.Epoch() == 1 {
		return ""
	}
	return a.keys[a.Epoch()-2]
}

// authorityYAML is authority.yaml, decoded strictly. It repeats nothing that a certificate says.
type authorityYAML struct {
	Schema string   `yaml:"birthmark"`
	Name   string   `yaml:"name"`
	Prefix string   `yaml:"prefix"`
	Keys   []string `yaml:"keys"`
	Anchor string   `yaml:"anchor"` // the first root's
}

// write puts authority.yaml into its folder.
func (y authorityYAML) write(folder string, place func(path string, data []byte) error) error {
	text, err := yaml.Marshal(y)
	if err != nil {
		return fmt.Errorf("write %s: %w", authorityFile, err)
	}
	return place(filepath.Join(folder, authorityFile), text)
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
	certificates, err := signRoot(random, root, r.Name, name, r.Now)
	if err != nil {
		return nil, err
	}
	anchor := newAnchor(name, rootKey, nextKey)
	if err := os.MkdirAll(filepath.Join(r.Folder, ordersFolder), 0o755); err != nil {
		return nil, err
	}
	if err := certificates.write(r.Folder); err != nil {
		return nil, err
	}
	y := authorityYAML{authoritySchema, r.Name, r.Prefix.String(), []string{r.RootURI, r.NextURI}, hex.EncodeToString(anchor[:])}
	if err := y.write(r.Folder, durable.Place); err != nil {
		return nil, err
	}
	if err := durable.SyncFolder(filepath.Dir(filepath.Clean(r.Folder))); err != nil { // the folder's own name
		return nil, err
	}
	return Load(r.Folder)
}

func rootPEM(epoch int) string    { return fmt.Sprintf("root-%d.pem", epoch) }
func rootNative(epoch int) string { return fmt.Sprintf("root-%d.c509", epoch) }
func linkFile(epoch int) string   { return fmt.Sprintf("link-%d.cbor", epoch) }

// rootCertificates are a root's two, over one key.
type rootCertificates struct {
	epoch       int
	native, der []byte
}

func signRoot(random io.Reader, root crypto.Signer, authority string, name RootName, at time.Time) (c rootCertificates, err error) {
	c.epoch = name.Epoch()
	if c.native, err = signRootCertificate(random, root, name, at); err != nil {
		return c, err
	}
	c.der, err = rootX509(random, authority, name, root, at)
	return c, err
}

// write puts them where a run that was interrupted may have left others.
func (c rootCertificates) write(folder string) error {
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.der})
	if err := durable.Replace(filepath.Join(folder, rootPEM(c.epoch)), text); err != nil {
		return err
	}
	return durable.Replace(filepath.Join(folder, rootNative(c.epoch)), c.native)
}

// localPrefix draws a locally administered, individual prefix of three octets (IEEE 802, 8.2.2): the quadrant that
// standards leave to whoever administers the network.
func localPrefix() Prefix {
	p := make(Prefix, 3)
	rand.Read(p)
	p[0] = p[0]&^0x0F | 0x02
	return p
}

// Load reads an authority's folder and verifies all of it: the links from the first root to the newest, every root's certificates
// against its key and the name, every order file, the chain from each order to the one before, that each link closes exactly the
// orders of its root, and every status list. What authority.yaml alone says (the prefix, where the keys are, and until
// the first order or link the hash of the next key) is believed: who may write in the folder is the officer's to guard. Errors
// wrap ErrMalformed, ErrVerify or what the file system says.
func Load(folder string) (*Authority, error) {
	path := filepath.Join(folder, authorityFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("authority in %s: %w", folder, err)
	}
	var y authorityYAML
	if err := DecodeYAML(text, &y); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, err, ErrMalformed)
	}
	if y.Schema != authoritySchema {
		return nil, fmt.Errorf("%s: birthmark: %q, want %q: %w", path, y.Schema, authoritySchema, ErrMalformed)
	}
	raw, err := hex.DecodeString(y.Anchor)
	if err != nil {
		return nil, fmt.Errorf("%s: anchor: %w: %w", path, err, ErrMalformed)
	}
	a := &Authority{Name: y.Name, keys: y.Keys, folder: folder}
	if a.Anchor, err = ParseAnchor(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	a.Test = a.Anchor.Name().Test()
	if a.Prefix, err = ParsePrefix(y.Prefix); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, load := range []func() error{a.loadRoots, a.loadOrders, a.loadLists} {
		if err := load(); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// loadRoots follows the links to the newest root. authority.yaml names the keys of all these and of the next one, and one more
// while a rotation is prepared.
func (a *Authority) loadRoots() error {
	for epoch := 1; ; epoch++ {
		if err := a.loadRoot(epoch); err != nil {
			return err
		}
		object, err := os.ReadFile(filepath.Join(a.folder, linkFile(epoch+1)))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err == nil {
			err = a.follow(object)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", linkFile(epoch+1), err)
		}
	}
	if named := len(a.keys); named != a.Epoch()+1 && named != a.Epoch()+2 {
		return fmt.Errorf("%s: the keys of %d roots, and the links lead to root %d: %w", authorityFile, named, a.Epoch(), ErrVerify)
	}
	return nil
}

// loadRoot verifies the certificates of the newest root so far.
func (a *Authority) loadRoot(epoch int) error {
	anchor := a.Newest()
	path := filepath.Join(a.folder, rootPEM(epoch))
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s: no PEM block: %w", path, ErrMalformed)
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", path, err, ErrMalformed)
	}
	if err := sameX509(root, root, uint64(epoch), anchor.Key(), root.NotBefore); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if name := people(a.Name, a.Test, "Root", epoch); root.Subject.CommonName != name {
		return fmt.Errorf("%s: its name is %q, not %q: %w", path, root.Subject.CommonName, name, ErrVerify)
	}
	a.roots = append(a.roots, root)
	path = filepath.Join(a.folder, rootNative(epoch))
	native, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := verifyRootCertificate(native, anchor); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// numbered gives the files of a folder in their order, which must be those of name(1), name(2) and so on; a missing number or
// a foreign file is an error.
func (a *Authority) numbered(folder string, name func(int) string, read func(number int, file []byte) error) error {
	entries, err := os.ReadDir(filepath.Join(a.folder, folder))
	if err != nil {
		return err
	}
	number := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), durable.Unfinished) {
			continue
		}
		number++
		if e.Name() != name(number) {
			return fmt.Errorf("%s: found %s where %s belongs: %w", folder, e.Name(), name(number), ErrVerify)
		}
		file, err := os.ReadFile(filepath.Join(a.folder, folder, e.Name()))
		if err != nil {
			return err
		}
		if err := read(number, file); err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return nil
}

// loadOrders reads orders/00001.order, 00002.order and so on, and compares them with the links that closed their roots.
func (a *Authority) loadOrders() error {
	if err := a.numbered(ordersFolder, orderFile, a.loadOrder); err != nil {
		return err
	}
	for i, l := range a.Links {
		var hashes []OrderHash
		for _, o := range a.ordersOf(i + 1) {
			hashes = append(hashes, o.Certificate.Hash())
		}
		slices.SortFunc(hashes, compareHashes)
		if !slices.Equal(hashes, l.Orders) {
			return fmt.Errorf("%s: it closes root %d after %d orders, and these are not the %d in the folder: %w", linkFile(i+2), i+1, len(l.Orders), len(hashes), ErrVerify)
		}
	}
	return nil
}

func (a *Authority) loadOrder(number int, file []byte) error {
	o, err := ParseOrder(file)
	if err != nil {
		return err
	}
	root, known := a.Root(o.Epoch())
	switch {
	case int(o.Number()) != number:
		return fmt.Errorf("it holds order %d: %w", o.Number(), ErrVerify)
	case !known || o.Anchor != root:
		return fmt.Errorf("another authority's order: %w", ErrVerify)
	case o.Previous != a.lastHash():
		return fmt.Errorf("it does not follow order %d: %w", number-1, ErrVerify)
	case number > 1 && o.Epoch() < a.Orders[number-2].Epoch():
		return fmt.Errorf("it is of root %d and follows an order of root %d: %w", o.Epoch(), a.Orders[number-2].Epoch(), ErrVerify)
	}
	if err := a.admit(o.Certificate); err != nil {
		return fmt.Errorf("%w: %w", err, ErrVerify)
	}
	a.Orders = append(a.Orders, o)
	return nil
}

// ordersOf are those that the root of this epoch signed.
func (a *Authority) ordersOf(epoch int) (orders []*Order) {
	for _, o := range a.Orders {
		if o.Epoch() == epoch {
			orders = append(orders, o)
		}
	}
	return orders
}

func orderFile(number int) string { return fmt.Sprintf("%05d.order", number) }

func (a *Authority) orderPath(number int) string {
	return filepath.Join(a.folder, ordersFolder, orderFile(number))
}

// OrderPath is where an order's file is.
func (a *Authority) OrderPath(o *Order) string { return a.orderPath(int(o.Number())) }

// Remaining is how many orders the newest root may still sign.
func (a *Authority) Remaining() int {
	epoch := a.Epoch()
	return max(0, a.room(epoch)-len(a.ordersOf(epoch)))
}

// room is how many orders the root of this epoch may sign in all: as many as units can close with one more link, behind those that
// lead to this root; -1 where no further link fits.
func (a *Authority) room(epoch int) int {
	left := trustPage - recordSize(anchorSize)
	for _, l := range a.Links[:epoch-1] {
		left -= recordSize(len(l.Object))
	}
	return closable(left)
}

// RemainingInLife is how many orders the authority may still sign with all roots to come, if each signs as many as it can.
func (a *Authority) RemainingInLife() int {
	left := trustPage - recordSize(anchorSize)
	for _, l := range a.Links {
		left -= recordSize(len(l.Object))
	}
	orders := 0
	for n := closable(left); n > 0; n = closable(left) {
		orders += n
		left -= recordSize(linkSize(n))
	}
	return max(0, orders-len(a.ordersOf(a.Epoch())))
}

// closable is how many orders a link may close that has so many bytes of a unit's flash; -1 if that is too little for any.
func closable(left int) int {
	for n := MaxOrdersPerRoot; n >= 0; n-- {
		if recordSize(linkSize(n)) <= left {
			return n
		}
	}
	return -1
}

// recordSize is how much of a unit's flash a record of this payload takes (docs/formats.md, "In the unit").
func recordSize(payload int) int { return (payload + 6 + 7) &^ 7 }

// lastHash is the hash of the last order file, zeros before the first.
func (a *Authority) lastHash() [32]byte {
	if len(a.Orders) == 0 {
		return [32]byte{}
	}
	return a.Orders[len(a.Orders)-1].hash()
}

// lastIssued is when the authority last signed an order, or the certificates of the root of this epoch.
func (a *Authority) lastIssued(epoch int) time.Time {
	last := a.roots[epoch-1].NotBefore
	if n := len(a.Orders); n > 0 && a.Orders[n-1].Issued.After(last) {
		last = a.Orders[n-1].Issued
	}
	return last
}
