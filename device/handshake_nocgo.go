//go:build !cgo

package device

// Handshake is one side of an EDHOC handshake. It needs cgo, and without it there is none.
type Handshake struct{}

// NewHandshake needs cgo: it returns ErrNoCgo.
func NewHandshake(role Role, config HandshakeConfig) (*Handshake, error) { return nil, ErrNoCgo }

// Write returns ErrNoCgo.
func (h *Handshake) Write() ([]byte, error) { return nil, ErrNoCgo }

// Read returns ErrNoCgo.
func (h *Handshake) Read(message []byte) error { return ErrNoCgo }

// ErrorMessage has none to give.
func (h *Handshake) ErrorMessage() []byte { return nil }

// Selected is 0.
func (h *Handshake) Selected() int { return 0 }

// Export returns ErrNoCgo.
func (h *Handshake) Export(label uint32, context []byte, size int) ([]byte, error) {
	return nil, ErrNoCgo
}

// KeyUpdate returns ErrNoCgo.
func (h *Handshake) KeyUpdate(context []byte) error { return ErrNoCgo }

// Close has nothing to release.
func (h *Handshake) Close() {}
