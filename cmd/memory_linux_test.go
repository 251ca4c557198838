package cmd

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMemoryIsClosed(t *testing.T) {
	if code := Main([]string{"version"}, Streams{Out: io.Discard, Err: io.Discard}); code != exitGood {
		t.Fatalf("exit code %d", code)
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Errorf("dumpable is %d, error %v", dumpable, err)
	}
}
