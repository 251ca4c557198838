package ca

import (
	"errors"
	"os"
	"path/filepath"
)

// unfinished begins the names of files that are being written. What a crash leaves of them is no part of an authority.
const unfinished = ".new-"

// createFile writes a new file completely or not at all, and never over another: a temporary name first, synced, then a
// hard link, which fails where the name is taken. The folder has to be on a file system with hard links.
func createFile(path string, data []byte) error {
	return placeFile(path, data, os.Link)
}

// replaceFile is createFile for a file that an interrupted run may have left.
func replaceFile(path string, data []byte) error {
	return placeFile(path, data, os.Rename)
}

func placeFile(path string, data []byte, place func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), unfinished+"*")
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
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
