//go:build !cgo

package device

// Available says whether this program has the C library: it returns ErrNoCgo.
func Available() error { return ErrNoCgo }

// Judge needs cgo: it returns ErrNoCgo.
func Judge(anchorHash [32]byte, product uint32, b Birth) error { return ErrNoCgo }
