//go:build !cgo

package device

// Peer is a simulated unit on its peer link. It needs cgo, and without it there is none.
type Peer struct{}

// NewPeer needs cgo: it returns ErrNoCgo.
func NewPeer(image Image, board Board, options PeerOptions) (*Peer, error) { return nil, ErrNoCgo }

// Receive does nothing.
func (p *Peer) Receive(line []byte) {}

// Tick does nothing.
func (p *Peer) Tick(now uint32) {}

// Press does nothing.
func (p *Peer) Press() {}

// Lift does nothing.
func (p *Peer) Lift() {}

// Connect returns ErrNoCgo.
func (p *Peer) Connect() error { return ErrNoCgo }

// Send returns ErrNoCgo.
func (p *Peer) Send(message []byte) error { return ErrNoCgo }

// Unpair returns ErrNoCgo.
func (p *Peer) Unpair() error { return ErrNoCgo }

// State is PeerIdle.
func (p *Peer) State() PeerState { return PeerIdle }

// Met knows nobody.
func (p *Peer) Met() (serial [8]byte, code [4]byte, ok bool) { return serial, code, false }

// Out is empty.
func (p *Peer) Out() []byte { return nil }

// Events is empty.
func (p *Peer) Events() []PeerEvent { return nil }

// Close has nothing to release.
func (p *Peer) Close() {}
