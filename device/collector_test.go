//go:build cgo

package device

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"
)

// Go's collector, running all the time, does not trip over what C's memory had before a resolver's credential: there, the address of an
// object that is gone.
func TestResolverBesideTheCollector(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHandshake(Responder, HandshakeConfig{
		Identity: key, ID: []byte{0}, Credential: []byte{0}, Methods: 1 << 0, Suites: []byte{2}, Connection: []byte{0},
		Resolve: func(int, []byte) ([]byte, [64]byte, error) { return bytes.Repeat([]byte{1}, 100), [64]byte{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var over atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !over.Load() {
			runtime.GC()
		}
	}()
	defer func() {
		over.Store(true)
		<-ended
	}()
	type object struct {
		next *object
		_    [40]byte
	}
	var kept []*object // every other, so that the memory of those between stays the collector's
	var gone []uintptr
	for i := range 4000 {
		if o := new(object); i%2 == 0 {
			kept = append(kept, o)
		} else {
			gone = append(gone, uintptr(unsafe.Pointer(o)))
		}
	}
	runtime.GC()
	for i := range 10 * len(gone) {
		h.resolveOver(gone[i%len(gone)], []byte{0})
	}
	runtime.KeepAlive(kept)
}
