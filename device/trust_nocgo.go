//go:build !cgo

package device

// Trust is what a unit believes. It needs cgo, and without it there is none.
type Trust struct{}

// NewTrust needs cgo: it returns ErrNoCgo.
func NewTrust(image Image, flash Flash) (*Trust, error) { return nil, ErrNoCgo }

// Close has nothing to release.
func (t *Trust) Close() {}

// Learn returns ErrNoCgo.
func (t *Trust) Learn(anchor []byte, links [][]byte, list []byte) error { return ErrNoCgo }

// Resolve returns ErrNoCgo.
func (t *Trust) Resolve(attempt int, id []byte) (credential []byte, key [64]byte, err error) {
	return nil, key, ErrNoCgo
}
