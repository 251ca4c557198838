package hsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

const maxPIN = 255 // bytes; longer than any token's ulMaxPinLen, short enough to catch a wrong file

// PINSource is where a PIN or a passphrase comes from; it is not the PIN. The zero value is the
// terminal. A token with a pad of its own asks there and nothing here is read.
//
// A source that cannot be read, or is empty, is an error and never an empty PIN. The PIN is one line of
// at most 255 bytes; exactly one newline is taken off its end, and every other byte belongs to it.
type PINSource struct {
	kind pinKind
	name string // path or name
	fd   int
}

type pinKind int

const (
	pinTerminal pinKind = iota
	pinFD
	pinFile
	pinCredential
	pinEnv
)

const terminalPath = "/dev/tty"

// PINFromFD reads an inherited file descriptor to its end, once, and closes it.
func PINFromFD(fd int) PINSource { return PINSource{kind: pinFD, fd: fd} }

// PINFromFile reads a regular file that neither its group nor the world can open.
func PINFromFile(path string) PINSource { return PINSource{kind: pinFile, name: path} }

// PINFromCredential reads a systemd credential: the file $CREDENTIALS_DIRECTORY/name.
func PINFromCredential(name string) PINSource { return PINSource{kind: pinCredential, name: name} }

// PINFromEnv reads an environment variable. Other processes of this user can read it too, so it is
// never tried unless it is named.
func PINFromEnv(name string) PINSource { return PINSource{kind: pinEnv, name: name} }

// String names the source.
func (p PINSource) String() string {
	switch p.kind {
	case pinFD:
		return fmt.Sprintf("file descriptor %d", p.fd)
	case pinFile:
		return fmt.Sprintf("file %q", p.name)
	case pinCredential:
		return fmt.Sprintf("credential %q", p.name)
	case pinEnv:
		return fmt.Sprintf("environment variable %q", p.name)
	}
	return "terminal"
}

// repeats says whether the source gives its PIN again without a person.
func (p PINSource) repeats() bool { return p.kind != pinTerminal && p.kind != pinFD }

// read returns the PIN in memory that the caller wipes with clear.
func (p PINSource) read(ctx context.Context, prompt string) ([]byte, error) {
	raw, err := p.raw(ctx, prompt)
	if err != nil {
		return nil, fmt.Errorf("read PIN from %s: %w", p, err)
	}
	pin := bytes.TrimSuffix(raw, []byte("\n"))
	switch {
	case len(pin) == 0:
		err = errors.New("it is empty")
	case len(pin) > maxPIN:
		err = fmt.Errorf("it is longer than %d bytes", maxPIN)
	case bytes.IndexByte(pin, '\n') >= 0:
		err = errors.New("it has more than one line")
	case bytes.ContainsAny(pin, "\r\x00"):
		err = errors.New("it has a carriage return or a NUL byte")
	}
	if err != nil {
		clear(raw)
		return nil, fmt.Errorf("read PIN from %s: %w", p, err)
	}
	return pin, nil
}

// readNew reads a secret that is set for the first time: a person types it twice.
func (p PINSource) readNew(ctx context.Context, prompt string) ([]byte, error) {
	first, err := p.read(ctx, "new "+prompt)
	if err != nil || p.kind != pinTerminal {
		return first, err
	}
	second, err := p.read(ctx, "again, "+prompt)
	defer clear(second)
	if err == nil && !bytes.Equal(first, second) {
		err = errors.New("the two entries differ")
	}
	if err != nil {
		clear(first)
		return nil, err
	}
	return first, nil
}

func (p PINSource) raw(ctx context.Context, prompt string) ([]byte, error) {
	switch p.kind {
	case pinFD:
		return readFD(p.fd)
	case pinFile:
		return readPrivate(p.name, 0o077)
	case pinCredential:
		return readCredential(p.name)
	case pinEnv:
		value, ok := os.LookupEnv(p.name)
		if !ok {
			return nil, errors.New("it is not set")
		}
		return []byte(value), nil
	}
	path := p.name
	if path == "" {
		path = terminalPath
	}
	return readTerminal(ctx, path, prompt)
}

func readFD(fd int) ([]byte, error) {
	if term.IsTerminal(fd) {
		return nil, errors.New("it is a terminal, which would show the PIN")
	}
	f := os.NewFile(uintptr(fd), "PIN")
	if f == nil {
		return nil, errors.New("it is not open")
	}
	defer f.Close()
	return readLimited(f)
}

func readCredential(name string) ([]byte, error) {
	folder, ok := os.LookupEnv("CREDENTIALS_DIRECTORY")
	if !ok {
		return nil, errors.New("CREDENTIALS_DIRECTORY is not set: no credential was passed to this service")
	}
	if name != filepath.Base(name) {
		return nil, errors.New("it is a path, not a name")
	}
	// systemd gives the service's user access by an ACL, whose mask shows as the group's read bit.
	return readPrivate(filepath.Join(folder, name), 0o037)
}

// readPrivate reads a small regular file, unless one of the refused permission bits is set. It looks at
// the file that it opened, so that a symbolic link or a replacement in between changes nothing.
func readPrivate(path string, refused os.FileMode) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not block here
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	if mode := info.Mode().Perm(); mode&refused != 0 {
		return nil, fmt.Errorf("its mode is %04o, others than its owner have access; want 0600", mode)
	}
	return readLimited(f)
}

// readLimited reads to the end into one buffer, so that no copy of a PIN is left where it grew.
func readLimited(r io.Reader) ([]byte, error) {
	buffer := make([]byte, maxPIN+2) // a newline, and one byte that shows the input is too long
	n, err := io.ReadFull(r, buffer)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		clear(buffer)
		return nil, err
	}
	return buffer[:n], nil
}

// readTerminal asks a person, without echo. When ctx ends first, it puts the terminal back as it was
// and leaves the read behind: nothing interrupts it, and a process that was cancelled is about to end.
func readTerminal(ctx context.Context, path, prompt string) ([]byte, error) {
	tty, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("%w; without a terminal, name a file, a descriptor or a credential", err)
	}
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, errors.Join(err, tty.Close())
	}
	type answer struct {
		pin []byte
		err error
	}
	typed := make(chan answer, 1)
	fmt.Fprintf(tty, "%s: ", prompt)
	go func() {
		pin, err := term.ReadPassword(fd)
		fmt.Fprintln(tty)
		tty.Close()
		typed <- answer{pin, err}
	}()
	select {
	case a := <-typed:
		return a.pin, a.err
	case <-ctx.Done():
		err := term.Restore(fd, before)
		fmt.Fprintln(tty) // what is said next does not belong behind the prompt
		return nil, errors.Join(ctx.Err(), err)
	}
}

// login is the PIN of one token for as long as it is open. A lost token that comes back wants the PIN
// again. A file, a credential or a variable is read again then, so nothing is kept and a PIN that was
// changed meanwhile is right. What a person typed or a descriptor carried cannot be had again without
// stopping the line, so it stays in one page that is never swapped out, until the token is closed.
type login struct {
	source PINSource
	prompt string
	own    bool   // no default PIN
	kept   []byte // a whole page from unix.Mmap; nil while nothing is kept
	size   int    // bytes of kept that are the PIN
}

// pin returns the PIN in memory that the caller wipes with clear.
func (l *login) pin(ctx context.Context) ([]byte, error) {
	if l.kept != nil {
		return bytes.Clone(l.kept[:l.size]), nil
	}
	pin, err := l.source.read(ctx, l.prompt)
	if err == nil && l.own && isDefault(pin) {
		clear(pin)
		err = fmt.Errorf("read PIN from %s: %w", l.source, ErrPINDefault)
	}
	if err != nil || l.source.repeats() {
		return pin, err
	}
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil {
		if err = unix.Mlock(page); err != nil {
			err = errors.Join(err, unix.Munmap(page))
		}
	}
	if err != nil {
		clear(pin)
		return nil, fmt.Errorf("lock one page for the PIN (see ulimit -l): %w", err)
	}
	l.kept, l.size = page, copy(page, pin)
	return pin, nil
}

// isDefault says whether a PIN is one that tokens are delivered with, or that examples have: one character again and again, or counting.
func isDefault(pin []byte) bool {
	same, counting := true, true
	for i := 1; i < len(pin); i++ {
		same = same && pin[i] == pin[0]
		counting = counting && (pin[i] == pin[i-1]+1 || pin[i-1] == '9' && pin[i] == '0')
	}
	return same || counting || bytes.EqualFold(pin, []byte("password")) || bytes.EqualFold(pin, []byte("changeme"))
}

// forget wipes what is kept.
func (l *login) forget() error {
	if l.kept == nil {
		return nil
	}
	page := l.kept
	l.kept = nil
	clear(page)
	return unix.Munmap(page)
}
