package provision

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/birthmark/birthmark/internal/durable"
)

// Begun remembers, in a file, the chips whose configuration goods-in found open (docs/formats.md, "Capture list"). What is locked
// when it comes can hold keys that somebody put there, and no chip tells those from its own; but what goods-in locked itself
// and then lost sight of, by a cut of power or a lost list, it may take up again.
type Begun struct {
	mu   sync.Mutex
	file *os.File
	ever map[[9]byte]bool
	now  map[[9]byte]bool // in this run
	err  error            // of the first write that failed: what follows would stand behind half a line
}

// OpenBegun opens the file, or makes it. A last line without its end, as a cut of power leaves one, is removed: what it stands
// for was not locked. The error says which line is none.
func OpenBegun(path string) (*Begun, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	b := &Begun{file: file, ever: make(map[[9]byte]bool), now: make(map[[9]byte]bool)}
	if err := b.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	if err := durable.SyncFolder(filepath.Dir(path)); err != nil { // so that a new file's name stays
		return nil, errors.Join(err, file.Close())
	}
	return b, nil
}

func (b *Begun) read() error {
	text, err := io.ReadAll(b.file)
	if err != nil {
		return err
	}
	whole := strings.LastIndexByte(string(text), '\n') + 1
	number := 0
	for line := range strings.Lines(string(text[:whole])) {
		number++
		chip, err := hex.DecodeString(strings.TrimSuffix(line, "\n"))
		if err != nil || len(chip) != 9 {
			return fmt.Errorf("line %d is not a chip's serial number, 18 hexadecimal digits", number)
		}
		b.ever[[9]byte(chip)] = true
	}
	if whole < len(text) {
		return b.file.Truncate(int64(whole))
	}
	return nil
}

// Close closes the file.
func (b *Begun) Close() error { return b.file.Close() }

// admit says whether a chip may be captured, and records it before its configuration is locked. One that came locked, and one
// that two units of a run say they are, is to be set aside.
func (b *Begun) admit(chip [9]byte, locked bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.now[chip]:
		return fmt.Errorf("chip %x: another unit says that it is this one: %w", chip, ErrSetAside)
	case !b.ever[chip] && locked:
		return fmt.Errorf("chip %x was locked before goods-in saw it, and may hold a key that was put there: %w", chip, ErrSetAside)
	case !b.ever[chip] && b.err == nil:
		_, err := fmt.Fprintf(b.file, "%x\n", chip)
		b.err = errors.Join(err, b.file.Sync())
	}
	if !b.ever[chip] && b.err != nil {
		return b.err
	}
	b.ever[chip], b.now[chip] = true, true
	return nil
}
