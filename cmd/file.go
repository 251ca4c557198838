package cmd

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/birthmark/birthmark/internal/durable"
)

// answer prints a command's answer: v as JSON with --json, else what text writes.
func (p *program) answer(v any, text func()) error {
	if !p.json {
		text()
		return nil
	}
	e := json.NewEncoder(p.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// write puts an answer of bytes on standard output or into a new file that stays.
func (p *program) write(out string, data []byte) error {
	if out != "" {
		return durable.WriteNew(out, data, 0o644)
	}
	_, err := p.Out.Write(data)
	return err
}

// maxFile bounds each file and input that a person names: certificates, orders and profiles take a few kilobytes.
const maxFile = 1 << 20 // bytes

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path)
}

func readAll(in io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = usage("%s: larger than %d bytes", name, maxFile)
	}
	return data, err
}

// absent refuses a path that is taken, before work is done whose result could not be put there.
func absent(path string) error {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = &fs.PathError{Op: "create", Path: path, Err: syscall.EEXIST}
	}
	return err
}

// newFolder makes a folder with all that fill puts into it, or none: it gets its name last, and both are on the disk then.
func newFolder(path string, fill func(folder string) error) error {
	path = filepath.Clean(path)
	if err := absent(path); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// The folder is made inside the temporary one, which is closed to others, so that it has the mode that umask gives.
	temporary, err := os.MkdirTemp(filepath.Dir(path), durable.Unfinished+"*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	folder := filepath.Join(temporary, filepath.Base(path))
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	if err := fill(folder); err != nil {
		return err
	}
	if err := durable.SyncFolder(folder); err != nil {
		return err
	}
	if err := os.Rename(folder, path); err != nil {
		return err
	}
	return durable.SyncFolder(filepath.Dir(path))
}
