package ca

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/birthmark/birthmark/internal/durable"
)

// Copy makes a copy of the authority's folder at a path that is free, so that what is signed there can still be thrown away. Adopt
// takes it over.
func (a *Authority) Copy(folder string) (*Authority, error) {
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(folder)), 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		return nil, err
	}
	files, err := authorityFiles(a.folder)
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		if err := copyFile(filepath.Join(a.folder, name), filepath.Join(folder, name)); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Join(folder, ordersFolder), 0o755); err != nil {
		return nil, err
	}
	return Load(folder)
}

// Adopt gives the folder all that a copy of it has more: a root, a link, orders, a list. Each file is placed whole, in an order in which
// the folder holds an authority after each, and a folder that holds none yet becomes one with the last file. A call that was cut
// short may be repeated. If another command signed in the folder since the copy was made, nothing changes and the error wraps ErrPolicy.
func Adopt(folder, staged string) (*Authority, error) {
	if _, err := Load(staged); err != nil {
		return nil, err
	}
	files, err := authorityFiles(staged)
	if err != nil {
		return nil, err
	}
	have, err := authorityFiles(folder)
	if err != nil {
		return nil, err
	}
	born := slices.Contains(have, authorityFile)
	rotates := slices.ContainsFunc(files, func(name string) bool { return isLink(name) && !slices.Contains(have, name) })
	for _, name := range have {
		if name == authorityFile && rotates {
			continue // it names one key more
		}
		same, err := sameFile(filepath.Join(folder, name), filepath.Join(staged, name))
		if err != nil {
			return nil, err
		}
		if !same {
			return nil, fmt.Errorf("%s in %s is not what the copy has: another command signed meanwhile: %w", name, folder, ErrPolicy)
		}
	}
	for _, sub := range []string{ordersFolder, listsFolder} {
		if _, err := os.Stat(filepath.Join(staged, sub)); err == nil {
			if err := os.MkdirAll(filepath.Join(folder, sub), 0o755); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(files, func(a, b string) int { return adoptionRank(a, born) - adoptionRank(b, born) })
	for _, name := range files {
		if err := adoptFile(filepath.Join(staged, name), filepath.Join(folder, name), name == authorityFile); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(durable.SyncFolder(folder), durable.SyncFolder(filepath.Dir(filepath.Clean(folder)))); err != nil {
		return nil, err
	}
	return Load(folder)
}

func isLink(name string) bool { return strings.HasPrefix(name, "link-") }

// adoptionRank sorts files by when they may be placed: what others rest on first.
func adoptionRank(name string, born bool) int {
	switch {
	case name == authorityFile && born:
		return 0
	case strings.HasPrefix(name, "root-"):
		return 1
	case strings.HasPrefix(name, ordersFolder):
		return 2
	case isLink(name):
		return 3
	case strings.HasPrefix(name, listsFolder):
		return 4
	}
	return 5
}

// adoptFile places a file, or finds that it is there already.
func adoptFile(from, to string, replace bool) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if replace {
		return durable.Replace(to, data)
	}
	err = durable.Place(to, data)
	if errors.Is(err, fs.ErrExist) {
		if same, _ := sameFile(from, to); same {
			return nil
		}
	}
	return err
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return durable.Place(to, data)
}

func sameFile(a, b string) (bool, error) {
	x, err := os.ReadFile(a)
	if err != nil {
		return false, err
	}
	y, err := os.ReadFile(b)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return bytes.Equal(x, y), err
}

// authorityFiles are the files of an authority's folder, by their paths from it; none where there is no such folder.
func authorityFiles(folder string) (names []string, err error) {
	for _, sub := range []string{"", ordersFolder, listsFolder} {
		entries, err := os.ReadDir(filepath.Join(folder, sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			name := filepath.Join(sub, e.Name())
			if e.Type().IsRegular() && (sub != "" && !strings.HasPrefix(e.Name(), durable.Unfinished) ||
				name == authorityFile || strings.HasPrefix(name, "root-") || isLink(name)) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// Mirror makes an authority at a path that is free that is like this one in all but its keys: as many roots, signed orders of the same
// stations, ranges and times, the same lists. What this one would refuse, a mirror refuses. keys are those of root 1 and so
// on to the next root's; test marks the mirror, which is for rehearsals.
func (a *Authority) Mirror(random io.Reader, folder string, test bool, keys []crypto.Signer) (*Authority, error) {
	m, err := Init(random, keys[0], keys[1], InitRequest{
		Folder: folder, Name: a.Name, Test: test, Prefix: a.Prefix,
		RootURI: a.keys[0], NextURI: a.keys[1], Now: a.roots[0].NotBefore,
	})
	if err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	for epoch := 1; ; epoch++ {
		root := keys[epoch-1]
		for _, o := range a.ordersOf(epoch) {
			_, err := m.Order(random, root, OrderRequest{
				Request: &Request{Station: o.Station, Key: o.Certificate.Key}, Profile: o.Profile, Count: o.Count,
				First: o.Certificate.Range.First, Validity: o.Expires.Sub(o.Issued), Now: o.Issued,
			})
			if err != nil {
				return nil, fmt.Errorf("mirror of order %d: %w", o.Number(), err)
			}
		}
		if err := a.mirrorLists(random, m, root); err != nil {
			return nil, fmt.Errorf("mirror of the status lists: %w", err)
		}
		if epoch == a.Epoch() {
			return m, nil
		}
		after, err := p256Key(keys[epoch+1].Public())
		if err == nil {
			err = m.Rotate(random, keys[epoch], after, RotateRequest{AfterURI: a.keys[epoch+1], Now: a.roots[epoch].NotBefore})
		}
		if err != nil {
			return nil, fmt.Errorf("mirror of the link to root %d: %w", epoch+1, err)
		}
	}
}

// mirrorLists signs the lists of the mirror's newest root.
func (a *Authority) mirrorLists(random io.Reader, m *Authority, root crypto.Signer) error {
	err := a.numbered(listsFolder, listFile, func(_ int, file []byte) error {
		l, err := ParseStatusList(file)
		if err != nil || l.Root.Epoch() != m.Epoch() {
			return err
		}
		entries := &StatusList{Ranges: l.Ranges, Serials: l.Serials}
		for _, o := range l.Orders {
			entries.Orders = append(entries.Orders, newOrderName(newRootName(m.Test, o.Root().Epoch()), o.Number()))
		}
		return m.issueList(random, root, entries)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
