//go:build !cgo

package device

// Session is one side of what two units say to each other after a handshake. It needs cgo, and without it there is none.
type Session struct{}

// Session returns ErrNoCgo.
func (h *Handshake) Session() (*Session, error) { return nil, ErrNoCgo }

// Seal returns ErrNoCgo.
func (s *Session) Seal(text []byte) ([]byte, error) { return nil, ErrNoCgo }

// Open returns ErrNoCgo.
func (s *Session) Open(record []byte) ([]byte, error) { return nil, ErrNoCgo }

// Update returns ErrNoCgo.
func (s *Session) Update() error { return ErrNoCgo }

// Close has nothing to release.
func (s *Session) Close() {}
