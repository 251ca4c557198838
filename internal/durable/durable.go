// Package durable puts files on the disk so that they are there, whole, after the power has failed.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Unfinished begins the names of files that Place and Replace are writing. What a crash leaves of them is to be passed over.
const Unfinished = ".new-"

// Replace puts a file, completely or not at all, where none or another is, with mode 0644.
func Replace(path string, data []byte) error { return place(path, data, os.Rename) }

// Place is Replace that never writes over another file (the error wraps fs.ErrExist). The folder has to be on a file system with hard
// links.
func Place(path string, data []byte) error { return place(path, data, os.Link) }

func place(path string, data []byte, name func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), Unfinished+"*")
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
	if err := name(f.Name(), path); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// WriteNew writes a new file that lasts once this returns, name and all, on any file system. One that is there already is never
// overwritten (the error wraps fs.ErrExist), and none stays behind after an error; but one cut short does where the power fails
// meanwhile.
func WriteNew(path string, data []byte, perm fs.FileMode) error {
	if err := Create(path, data, perm); err != nil {
		return err
	}
	if err := SyncFolder(filepath.Dir(path)); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// Create is WriteNew for one of several files: the names last once SyncFolder is called for their folder.
func Create(path string, data []byte, perm fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
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

// SyncFolder makes the names in a folder last. One that may be written and not read, a drop box, is left to the system.
func SyncFolder(path string) error {
	folder, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
