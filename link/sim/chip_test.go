package sim

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/birthmark/birthmark/chip"
	"github.com/birthmark/birthmark/link"
)

// serveChip serves a chip until the test calls end.
func serveChip(t *testing.T, r ChipRequest) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- ServeChip(ctx, r, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the chip is served on")
		}
	}
}

func TestServeKit(t *testing.T) {
	dir := t.TempDir()
	r := ChipRequest{EEPROM: filepath.Join(dir, "eeprom"), Kit: filepath.Join(dir, "kit")}
	for range 2 {
		end := serveChip(t, r)
		port, err := link.Open(r.Kit, 115200)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(port, "e:w()\n")
		if got, err := bufio.NewReader(port).ReadString('\n'); got != "00(04113343)\n" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		port.Close()
		end()
		if _, err := os.Lstat(r.Kit); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the port is still there: %v", err)
		}
	}
}

// word is 32 bits on the wire, low bit first.
func word(bits string) string { return strings.NewReplacer("0", "\x7d", "1", "\x7f").Replace(bits) }

// Each host finds the chip asleep, with what it wrote into the EEPROM; a socket that a killed process has left is no hindrance.
func TestServeSocket(t *testing.T) {
	dir := t.TempDir()
	r := ChipRequest{EEPROM: filepath.Join(dir, "eeprom"), Socket: filepath.Join(dir, "socket")}
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: r.Socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	end := serveChip(t, r)
	if info, err := os.Stat(r.Socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}

	const transmit = "00010001"
	awake := word("00100000" + "10001000" + "11001100" + "11000010") // 04 11 33 43
	for range 2 {
		host, err := net.Dial("unix", r.Socket)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(host, word(transmit)) // asleep: no answer
		io.WriteString(host, "\x00"+word(transmit))
		heard := make([]byte, len(awake))
		if _, err := io.ReadFull(host, heard); err != nil || string(heard) != awake {
			t.Errorf("%x, %v", heard, err)
		}
		host.Close()
	}
	if err := ServeChip(t.Context(), ChipRequest{EEPROM: filepath.Join(dir, "other"), Socket: r.Socket}, nil); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("a second chip at the same socket: %v", err)
	}
	end()
	if _, err := os.Lstat(r.Socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestServeChipRefuses(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.WriteFile(taken, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	eeprom := filepath.Join(dir, "eeprom")
	end := serveChip(t, ChipRequest{EEPROM: eeprom, Kit: filepath.Join(dir, "kit")})
	defer end()
	free := filepath.Join(dir, "free")
	for name, c := range map[string]struct {
		r    ChipRequest
		want error
	}{
		"a kit in place of a file":    {ChipRequest{EEPROM: free, Kit: taken}, fs.ErrExist},
		"a socket in place of a file": {ChipRequest{EEPROM: free, Socket: taken}, fs.ErrExist},
		"a socket in no folder":       {ChipRequest{EEPROM: free, Socket: filepath.Join(dir, "no", "socket")}, fs.ErrNotExist},
		"no EEPROM":                   {ChipRequest{EEPROM: taken, Kit: filepath.Join(dir, "kit-2")}, chip.ErrImage},
		"an EEPROM in use":            {ChipRequest{EEPROM: eeprom, Kit: filepath.Join(dir, "kit-2")}, syscall.EAGAIN},
	} {
		if err := ServeChip(t.Context(), c.r, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if text, err := os.ReadFile(taken); string(text) != "text" {
		t.Errorf("the file is %q, %v", text, err)
	}
}
