package fleet

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/birthmark/birthmark/ca"
)

// hexBytes are bytes that JSON shows as hexadecimal, and CBOR as they are.
type hexBytes []byte

// MarshalText gives lower case.
func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

// UnmarshalText takes either case.
func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.AppendDecode(nil, text)
	return err
}

// form is one way of keeping a made fleet, open for the units that are to come.
type form interface {
	// encode prepares units on end, of which the first has the index; several goroutines may do so at a time. What it returns
	// is called batch after batch and writes them.
	encode(first int, units []Unit) (write func() error)
	close() error
}

// kept is a way of keeping fleets, by the end of the file's name.
type kept struct {
	// create puts the head of a fleet without units where nothing is.
	create func(path string, h *Head, authority string) error
	// head reads it. Errors wrap ErrNotMade.
	head func(path string) (*Head, error)
	// units gives those that are there whole, in order, and stops without an error at one that is torn.
	units func(path string, h *Head) iter.Seq2[Unit, error]
	// resume drops what is behind the last whole unit, and says how many there are.
	resume func(path string, h *Head, authority string) (_ form, have int, err error)
}

func keptAt(path string) kept {
	switch filepath.Ext(path) {
	case ".cbor":
		return sequence.kept()
	case ".jsonl":
		return lines.kept()
	case ".tar":
		return tarball.kept()
	case ".db":
		return kept{createDatabase, databaseHead, databaseUnits, resumeDatabase}
	}
	return kept{createFolder, folderHead, folderUnits, resumeFolder}
}

// openForm makes a fleet's place, or finds it there already, and says how many of its units it has.
func openForm(path string, h *Head, authority string) (form, int, error) {
	k := keptAt(path)
	switch _, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		if err := k.create(path, h, authority); err != nil {
			return nil, 0, err
		}
	case err != nil:
		return nil, 0, err
	}
	there, err := k.head(path)
	if err != nil {
		return nil, 0, err
	}
	if is, want := there.text(), h.text(); !bytes.Equal(is, want) {
		return nil, 0, fmt.Errorf("%s holds %w: seed %q, %d units of %d orders", path, ErrOther, there.Seed, there.Units, len(there.Orders))
	}
	return k.resume(path, h, authority)
}

func (h *Head) text() []byte {
	b, err := json.Marshal(h)
	if err != nil {
		panic(err) // of text, numbers and bytes
	}
	return b
}

func parseHead(path string, unmarshal func(v any) error) (*Head, error) {
	h := new(Head)
	if err := unmarshal(h); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrNotMade, err)
	}
	if h.Birthmark != headSchema {
		return nil, fmt.Errorf("%s: %w: it begins with %q", path, ErrNotMade, h.Birthmark)
	}
	return h, nil
}

// Fleet is a made fleet that is read.
type Fleet struct {
	*Head
	Bundle *ca.Bundle
	Orders []*ca.Order

	path string
}

// Open reads the head of what Make has made at path. Errors wrap ErrNotMade, ca.ErrMalformed or ca.ErrVerify, ca.ErrTest for a head
// with a production authority's order, or what the system says.
func Open(path string) (*Fleet, error) {
	h, err := keptAt(path).head(path)
	if err != nil {
		return nil, err
	}
	f := &Fleet{Head: h, path: path}
	if f.Bundle, err = ca.ParseBundle(h.Bundle); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, o := range h.Orders {
		order, err := ca.ParseOrder(o.File)
		if err == nil {
			err = f.Bundle.VerifyFile(order)
		}
		if err == nil && !order.Test() {
			err = ca.ErrTest
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		f.Orders = append(f.Orders, order)
	}
	return f, nil
}

// Units gives the fleet's units in the order of their serial numbers. A fleet that was not finished ends early.
func (f *Fleet) Units() iter.Seq2[Unit, error] { return keptAt(f.path).units(f.path, f.Head) }

// Order gives the order of a unit's number.
func (f *Fleet) Order(number uint16) (*ca.Order, bool) {
	if number < 1 || int(number) > len(f.Orders) {
		return nil, false
	}
	return f.Orders[number-1], true
}
