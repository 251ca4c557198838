package cmd

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
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

// write puts an answer of bytes on standard output or into a new file.
func (p *program) write(out string, data []byte) error {
	if out != "" {
		return writeNew(out, data)
	}
	_, err := p.Out.Write(data)
	return err
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

// writeNew writes a new file and syncs it. An existing one is never overwritten, and none stays behind after an error.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// newFolder makes a folder with all that fill puts into it, or none: it gets its name last.
func newFolder(path string, fill func(folder string) error) error {
	path = filepath.Clean(path)
	if err := absent(path); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// The folder is made inside the temporary one, which is closed to others, so that it has the mode that umask gives.
	temporary, err := os.MkdirTemp(filepath.Dir(path), ".new-*")
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
	return os.Rename(folder, path)
}
