//go:build cgo

package device

import (
	"bytes"
	"testing"
)

// Copying and wiping touch what they are told to and no byte beside it.
func TestCopyAndWipe(t *testing.T) {
	for size := range 10 {
		background := bytes.Repeat([]byte{0xee}, 12)
		source := []byte("ninebytes")[:min(size, 9)]

		want := bytes.Clone(background)
		copy(want[1:], source)
		if got := copyOver(bytes.Clone(background), 1, source); !bytes.Equal(got, want) {
			t.Errorf("copied %d bytes: %x, not %x", len(source), got, want)
		}

		want = bytes.Clone(background)
		clear(want[1 : 1+size])
		if got := wipeOver(bytes.Clone(background), 1, size); !bytes.Equal(got, want) {
			t.Errorf("wiped %d bytes: %x, not %x", size, got, want)
		}
	}
}
