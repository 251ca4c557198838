//go:build !cgo

package sim

import (
	"errors"
	"testing"

	"github.com/birthmark/birthmark/device"
)

func TestNoCgo(t *testing.T) {
	if _, err := Start(Options{Dir: t.TempDir()}); !errors.Is(err, device.ErrNoCgo) {
		t.Error(err)
	}
}
