//go:build !cgo

package device

// Available says whether this program has the C library: it returns ErrNoCgo.
func Available() error { return ErrNoCgo }

// Judge needs cgo: it returns ErrNoCgo.
func Judge(anchorHash [32]byte, product uint32, b Birth) error { return ErrNoCgo }

// JudgePeer needs cgo: it returns ErrNoCgo.
func JudgePeer(b Birth, peers []uint32, id []byte) error { return ErrNoCgo }

// JudgeLink needs cgo: it returns ErrNoCgo.
func JudgeLink(b Birth, link []byte) error { return ErrNoCgo }

// JudgeList needs cgo: it returns ErrNoCgo.
func JudgeList(b Birth, list []byte) error { return ErrNoCgo }

// JudgeRelease needs cgo: it returns ErrNoCgo.
func JudgeRelease(b Birth, serial [8]byte, generation uint32, release []byte) error { return ErrNoCgo }
