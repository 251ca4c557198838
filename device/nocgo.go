//go:build !cgo

package device

// Judge needs cgo: it returns ErrNoCgo.
func Judge(anchorHash [32]byte, product uint32, b Birth) error { return ErrNoCgo }
