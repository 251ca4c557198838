package fleet

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/birthmark/birthmark/ca"
)

// stream keeps a fleet as one file that grows at its end.
type stream struct {
	head  func(h *Head, authority string) ([]byte, error)
	parse func(path string, r io.Reader) (*Head, error)
	add   func(to []byte, index int, u Unit, h *Head) ([]byte, error)
	// scan gives each whole unit and the place behind it.
	scan func(r io.Reader) iter.Seq2[Unit, int64]
	tail []byte // behind the last unit of a whole fleet
}

// sequence is a CBOR sequence (RFC 8742): the head, a map, then an array for each unit.
var sequence = stream{
	head: func(h *Head, _ string) ([]byte, error) { return cbor.Marshal(h) },
	parse: func(path string, r io.Reader) (*Head, error) {
		return parseHead(path, func(v any) error { return cbor.NewDecoder(r).Decode(v) })
	},
	add: func(to []byte, _ int, u Unit, _ *Head) ([]byte, error) {
		b, err := cbor.Marshal(u)
		return append(to, b...), err
	},
	scan: func(r io.Reader) iter.Seq2[Unit, int64] {
		return func(yield func(Unit, int64) bool) {
			d := cbor.NewDecoder(r)
			if d.Skip() != nil {
				return
			}
			for {
				var u Unit
				if d.Decode(&u) != nil || !yield(u, int64(d.NumBytesRead())) {
					return
				}
			}
		}
	},
}

// unitJSON is a unit in JSON lines.
type unitJSON struct {
	Serial      string   `json:"serial"`
	Order       uint16   `json:"order"`
	Key         hexBytes `json:"key"`
	Certificate hexBytes `json:"certificate"`
	X509        hexBytes `json:"x509,omitempty"`
}

// lines are JSON, the head in the first line and then a unit in each.
var lines = stream{
	head: func(h *Head, _ string) ([]byte, error) { return append(h.text(), '\n'), nil },
	parse: func(path string, r io.Reader) (*Head, error) {
		return parseHead(path, func(v any) error { return json.NewDecoder(r).Decode(v) })
	},
	add: func(to []byte, _ int, u Unit, _ *Head) ([]byte, error) {
		to = fmt.Appendf(to, `{"serial":"%v","order":%d,"key":"`, u.Serial, u.Order)
		to = hex.AppendEncode(to, u.Key[:])
		to = append(to, `","certificate":"`...)
		to = hex.AppendEncode(to, u.Certificate)
		if u.X509 != nil {
			to = append(to, `","x509":"`...)
			to = hex.AppendEncode(to, u.X509)
		}
		return append(to, "\"}\n"...), nil
	},
	scan: func(r io.Reader) iter.Seq2[Unit, int64] {
		return func(yield func(Unit, int64) bool) {
			b := bufio.NewReader(r)
			at := int64(0)
			for first := true; ; first = false {
				text, err := b.ReadBytes('\n')
				if err != nil {
					return
				}
				at += int64(len(text))
				var l unitJSON
				if first {
					continue
				}
				if json.Unmarshal(text, &l) != nil || len(l.Key) != 32 {
					return
				}
				serial, err := ca.ParseEUI64(l.Serial)
				if err != nil || !yield(Unit{Serial: serial, Order: l.Order, Key: [32]byte(l.Key), Certificate: l.Certificate, X509: l.X509}, at) {
					return
				}
			}
		}
	},
}

// tarball has the files of a folder, fleet.json first and then the units in order.
var tarball = stream{
	head: func(h *Head, authority string) ([]byte, error) {
		files, err := headFiles(h, authority)
		if err != nil {
			return nil, err
		}
		return appendTar(nil, files)
	},
	parse: func(path string, r io.Reader) (*Head, error) {
		t := tar.NewReader(r)
		if e, err := t.Next(); err != nil || e.Name != headFile {
			return nil, fmt.Errorf("%s: %w: a tar file whose first is not %s", path, ErrNotMade, headFile)
		}
		return parseHead(path, func(v any) error { return json.NewDecoder(t).Decode(v) })
	},
	add: func(to []byte, index int, u Unit, h *Head) ([]byte, error) {
		files, err := unitFiles(index, u, h)
		if err != nil {
			return nil, err
		}
		return appendTar(to, files)
	},
	scan: func(r io.Reader) iter.Seq2[Unit, int64] {
		return func(yield func(Unit, int64) bool) {
			t := tar.NewReader(r)
			at := int64(0)
			got := map[string][]byte{}
			wanted := 0
			for {
				e, err := t.Next()
				if err != nil {
					return
				}
				data, err := io.ReadAll(t)
				if err != nil {
					return
				}
				at += tarBlock + (int64(len(data))+tarBlock-1)/tarBlock*tarBlock
				if e.Name == headFile {
					var h Head
					if json.Unmarshal(data, &h) != nil {
						return
					}
					wanted = filesPerUnit(&h)
				}
				if !strings.HasPrefix(e.Name, unitsFolder+"/") {
					continue
				}
				got[filepath.Ext(e.Name)] = data
				if len(got) < wanted {
					continue
				}
				u, err := unitOf(got)
				if err != nil || !yield(u, at) {
					return
				}
				clear(got)
			}
		}
	},
	tail: make([]byte, 2*tarBlock),
}

const tarBlock = 512

func appendTar(to []byte, files []file) ([]byte, error) {
	b := bytes.NewBuffer(to)
	t := tar.NewWriter(b)
	for _, f := range files {
		mode := int64(0o644)
		if f.secret {
			mode = 0o600
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.data)), Mode: mode, ModTime: born, Format: tar.FormatUSTAR}); err != nil {
			return nil, err
		}
		if _, err := t.Write(f.data); err != nil {
			return nil, err
		}
	}
	err := t.Flush() // and no Close: the two empty blocks come behind the last unit
	return b.Bytes(), err
}

func (s stream) kept() kept {
	return kept{s.create, s.readHead, s.units, s.resume}
}

// create puts the head there whole or not at all.
func (s stream) create(path string, h *Head, authority string) error {
	data, err := s.head(h, authority)
	if err != nil {
		return err
	}
	return placeFile(path, data)
}

func placeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (s stream) readHead(path string) (*Head, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return s.parse(path, bufio.NewReader(f))
}

func (s stream) units(path string, _ *Head) iter.Seq2[Unit, error] {
	return func(yield func(Unit, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(Unit{}, err)
			return
		}
		defer f.Close()
		for u := range s.scan(bufio.NewReaderSize(f, 1<<20)) {
			if !yield(u, nil) {
				return
			}
		}
	}
}

// growing is a stream that is open at its end.
type growing struct {
	stream
	file *os.File
	h    *Head
	have int
}

func (s stream) resume(path string, h *Head, authority string) (_ form, have int, err error) {
	head, err := s.head(h, authority)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	end := int64(len(head))
	for _, end = range s.scan(bufio.NewReaderSize(f, 1<<20)) {
		have++
	}
	if err := f.Truncate(end); err != nil {
		return nil, 0, err
	}
	if _, err := f.Seek(end, io.SeekStart); err != nil {
		return nil, 0, err
	}
	return &growing{s, f, h, have}, have, nil
}

func (g *growing) encode(first int, units []Unit) func() error {
	var data []byte
	for i, u := range units {
		var err error
		if data, err = g.add(data, first+i, u, g.h); err != nil {
			return func() error { return err }
		}
	}
	return func() error {
		_, err := g.file.Write(data)
		g.have = first + len(units)
		return err
	}
}

func (g *growing) close() error {
	var err error
	if g.have == g.h.Units {
		_, err = g.file.Write(g.tail)
	}
	return errors.Join(err, g.file.Close())
}
