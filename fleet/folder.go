package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/birthmark/birthmark/ca"
)

const (
	headFile    = "fleet.json"
	madeFile    = "made" // how many units are there whole, in a folder
	unitsFolder = "units"
	shard       = 1000 // units in one folder of units/
)

// file is one of a folder, or of a tar file; name has slashes.
type file struct {
	name   string
	data   []byte
	secret bool
}

// headFiles are all but the units': fleet.json, the bundle, the authority's folder and the keys, in clear.
func headFiles(h *Head, authority string) ([]file, error) {
	files := []file{{headFile, append(h.text(), '\n'), true}, {"bundle.cbor", h.Bundle, false}}
	err := filepath.WalkDir(authority, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		under, err := filepath.Rel(filepath.Dir(authority), at)
		files = append(files, file{filepath.ToSlash(under), data, false})
		return err
	})
	if err != nil {
		return nil, err
	}
	for i, key := range h.Roots {
		if files, err = appendKey(files, fmt.Sprintf("keys/root-%d.pem", i+1), key); err != nil {
			return nil, err
		}
	}
	for i, o := range h.Orders {
		if files, err = appendKey(files, fmt.Sprintf("keys/order-%05d.pem", i+1), o.Key); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// appendKey adds a key as PKCS#8 in PEM, as openssl reads it; birthmark itself opens no key that lies open.
func appendKey(files []file, name string, scalar []byte) ([]file, error) {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return append(files, file{name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), true}), err
}

// Ends of a unit's files.
const (
	keyEnd         = ".key"   // PKCS#8, PEM
	certificateEnd = ".c509"  // the certificate
	chainEnd       = ".chain" // {25: [unit, order]}, as a unit shows itself
	x509End        = ".pem"   // X.509: the twin, the order, the root
)

func filesPerUnit(h *Head) int {
	if h.X509 {
		return 4
	}
	return 3
}

// unitFiles are a unit's.
func unitFiles(index int, u Unit, h *Head) ([]file, error) {
	name := unitName(index, u.Serial)
	o := h.orders[u.Order-1]
	files, err := appendKey(nil, name+keyEnd, u.Key[:])
	if err != nil {
		return nil, err
	}
	files = append(files, file{name + certificateEnd, u.Certificate, false},
		file{name + chainEnd, ca.IDCred(&ca.UnitCertificate{Raw: u.Certificate}, o.Certificate), false})
	if u.X509 != nil {
		var text []byte
		order, root := o.X509()
		for _, der := range [][]byte{u.X509, order, root} {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		}
		files = append(files, file{name + x509End, text, false})
	}
	return files, nil
}

func unitName(index int, serial ca.EUI64) string {
	return path.Join(unitsFolder, fmt.Sprintf("%04d", index/shard), serial.String())
}

// unitOf reads a unit's files, by the ends of their names.
func unitOf(files map[string][]byte) (u Unit, err error) {
	block, _ := pem.Decode(files[keyEnd])
	if block == nil {
		return u, fmt.Errorf("no key: %w", ErrNotMade)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return u, fmt.Errorf("%w: %w", ErrNotMade, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return u, fmt.Errorf("a key of another kind: %w", ErrNotMade)
	}
	c, err := ca.ParseUnitCertificate(files[certificateEnd])
	if err != nil {
		return u, err
	}
	u = Unit{Serial: c.Serial, Order: c.Order.Number(), Key: [32]byte(scalar(key)), Certificate: files[certificateEnd]}
	if twin, _ := pem.Decode(files[x509End]); twin != nil {
		u.X509 = twin.Bytes
	}
	return u, nil
}

// folder is a fleet as files.
type folder struct {
	path string
	h    *Head
}

// createFolder writes the head's files beside the place and moves them there at once.
func createFolder(at string, h *Head, authority string) error {
	files, err := headFiles(h, authority)
	if err != nil {
		return err
	}
	under, err := os.MkdirTemp(filepath.Dir(filepath.Clean(at)), "."+filepath.Base(at)+"-*")
	if err != nil {
		return err
	}
	if err = os.Chmod(under, 0o755); err == nil {
		err = writeFiles(under, append(files, file{madeFile, []byte("0\n"), false}))
	}
	if err == nil {
		err = os.Rename(under, at)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(under))
	}
	return nil
}

func writeFiles(under string, files []file) error {
	for _, f := range files {
		at := filepath.Join(under, filepath.FromSlash(f.name))
		mode := fs.FileMode(0o644)
		if f.secret {
			mode = 0o600
		}
		err := os.WriteFile(at, f.data, mode)
		if errors.Is(err, fs.ErrNotExist) {
			if err = os.MkdirAll(filepath.Dir(at), 0o755); err == nil {
				err = os.WriteFile(at, f.data, mode)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func folderHead(at string) (*Head, error) {
	text, err := os.ReadFile(filepath.Join(at, headFile))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(at); err == nil {
			return nil, fmt.Errorf("%s: %w: it has no %s", at, ErrNotMade, headFile)
		}
	}
	if err != nil {
		return nil, err
	}
	return parseHead(at, func(v any) error { return json.Unmarshal(text, v) })
}

func folderMade(at string) (int, error) {
	text, err := os.ReadFile(filepath.Join(at, madeFile))
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s: %w: %s says %q", at, ErrNotMade, madeFile, text)
	}
	return n, nil
}

func folderUnits(at string, h *Head) iter.Seq2[Unit, error] {
	return func(yield func(Unit, error) bool) {
		made, err := folderMade(at)
		if err != nil {
			yield(Unit{}, err)
			return
		}
		for shardAt := 0; shardAt < made; shardAt += shard {
			folder := filepath.Join(at, unitsFolder, fmt.Sprintf("%04d", shardAt/shard))
			entries, err := os.ReadDir(folder) // sorted, and serial numbers sort as their names do
			if err != nil {
				yield(Unit{}, err)
				return
			}
			entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return filepath.Ext(e.Name()) != certificateEnd })
			for _, e := range entries[:min(len(entries), made-shardAt)] {
				if !yield(readUnit(folder, strings.TrimSuffix(e.Name(), certificateEnd), h)) {
					return
				}
			}
		}
	}
}

func readUnit(folder, name string, h *Head) (Unit, error) {
	files := map[string][]byte{}
	for _, end := range []string{keyEnd, certificateEnd, chainEnd, x509End}[:filesPerUnit(h)] {
		data, err := os.ReadFile(filepath.Join(folder, name+end))
		if err != nil {
			return Unit{}, err
		}
		files[end] = data
	}
	u, err := unitOf(files)
	if err != nil {
		return Unit{}, fmt.Errorf("%s: %w", filepath.Join(folder, name), err)
	}
	return u, nil
}

func resumeFolder(at string, h *Head, _ string) (form, int, error) {
	made, err := folderMade(at)
	return &folder{at, h}, made, err
}

// encode writes the units themselves, since files do not stand in each other's way; what is left is to count them.
func (f *folder) encode(first int, units []Unit) func() error {
	for i, u := range units {
		files, err := unitFiles(first+i, u, f.h)
		if err == nil {
			err = writeFiles(f.path, files)
		}
		if err != nil {
			return func() error { return err }
		}
	}
	return func() error {
		return placeFile(filepath.Join(f.path, madeFile), fmt.Appendf(nil, "%d\n", first+len(units)))
	}
}

func (f *folder) close() error { return nil }
