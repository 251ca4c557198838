//go:build !cgo

package device

// Unit is a simulated unit. It needs cgo, and without it there is none.
type Unit struct{}

// NewUnit needs cgo: it returns ErrNoCgo.
func NewUnit(image Image, board Board) (*Unit, error) { return nil, ErrNoCgo }

// Receive answers nothing.
func (u *Unit) Receive(p []byte) []byte { return nil }

// Certificates gives none.
func (u *Unit) Certificates() (unit, order []byte) { return nil, nil }

// Trust goes nowhere.
func (u *Unit) Trust() Version { return Version{} }

// Pairing is a fault.
func (u *Unit) Pairing() Pairing { return Pairing{} }

// Close has nothing to release.
func (u *Unit) Close() {}
