package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/link/sim"
)

// Impostor is somebody who has all of a unit but what never leaves its chip: he knows its certificates, its firmware and whom it
// is paired with, and runs them on another chip with a key of his own.
type Impostor string

// The impostors.
const (
	Nobody   Impostor = ""
	SelfMade Impostor = "self-made" // shows the unit's names, in certificates under a root that he made himself
	Copied   Impostor = "copied"    // shows the unit's certificates
)

// Slots of a unit's chip (docs/formats.md, "In the unit").
const (
	identitySlot    = 0
	certificateSlot = 8
)

func checkImpostor(i Impostor) error {
	if i == Nobody || i == SelfMade || i == Copied {
		return nil
	}
	return fmt.Errorf("impostor %q, want %s or %s: %w", i, SelfMade, Copied, ErrRange)
}

// make makes the impostor from the unit at path; remove removes him.
func (i Impostor) make(path string) (impostor string, remove func() error, err error) {
	folder, err := os.MkdirTemp("", "birthmark-impostor-")
	if err != nil {
		return "", nil, err
	}
	remove = func() error { return os.RemoveAll(folder) }
	impostor = filepath.Join(folder, filepath.Base(path))
	if err := sim.Copy(path, impostor); err != nil {
		return "", nil, errors.Join(err, remove())
	}
	if err := i.change(impostor); err != nil {
		return "", nil, errors.Join(fmt.Errorf("%s: %w", path, err), remove())
	}
	return impostor, remove, nil
}

// change gives the copy of a unit the impostor's key, and certificates where they are his own.
func (i Impostor) change(path string) (err error) {
	board, err := sim.OpenBoard(path, func(time.Duration) {}, time.Now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, board.Close()) }()
	p, err := look(board)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := key.ECDH()
	if err != nil {
		return err
	}
	board.Chip.PutPrivateKey(identitySlot, private)
	if i == Copied {
		return nil
	}
	unit, order, err := p.Unit.Forge(rand.Reader, p.Order, &key.PublicKey)
	if err != nil {
		return err
	}
	board.Chip.PutSlot(certificateSlot, ca.IDCred(unit, order))
	return nil
}
