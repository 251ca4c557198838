//go:build !cgo

package hsm

import (
	"context"
	"errors"
	"testing"
)

func TestTokensNeedCgo(t *testing.T) {
	const uri = "pkcs11:token=a;object=b"
	_, open := OpenKey(context.Background(), uri, Options{})
	_, create := CreateKey(context.Background(), uri, Options{})
	_, list := List("/usr/lib/softhsm/libsofthsm2.so")
	for _, err := range []error{open, create, list} {
		if !errors.Is(err, ErrUnsupported) {
			t.Errorf("have %v, want ErrUnsupported", err)
		}
	}
}
