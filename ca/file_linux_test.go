package ca

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk that takes some bytes and no more, by the process's own limit: the order is not there, nothing half of it is,
// and with room again the next try makes it.
func TestOrderOnAFullDisk(t *testing.T) {
	w := newWorks(t)
	first := w.firstOrder(t, 10)
	r := w.request(t, 10)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1000, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	_, err := w.authority.Order(rand.Reader, w.root, r)
	if restore := unix.Setrlimit(unix.RLIMIT_FSIZE, &before); restore != nil {
		t.Fatal(restore)
	}
	if !errors.Is(err, unix.EFBIG) {
		t.Fatalf("an order of %d bytes: %v", len(first.File), err)
	}
	entries, err := os.ReadDir(w.path("orders"))
	if err != nil || len(entries) != 1 || !bytes.Equal(readFile(t, w.authority.OrderPath(first)), first.File) {
		t.Errorf("%v, %v", entries, err)
	}
	w.reload(t, 1)
	w.sign(t, r)
	w.reload(t, 2)
}
