package hsm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// duplicate gives a descriptor that PINFromFD may close.
func duplicate(t *testing.T, f *os.File) int {
	t.Helper()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestPINLine(t *testing.T) {
	long := strings.Repeat("9", maxPIN)
	for _, c := range []struct{ text, pin, why string }{
		{"1234", "1234", ""},
		{"1234\n", "1234", ""},
		{"12+34 \n", "12+34 ", ""},
		{"%31", "%31", ""},
		{long + "\n", long, ""},
		{long + "9", "", "longer than 255"},
		{long + long + long, "", "longer than 255"},
		{"", "", "empty"},
		{"\n", "", "empty"},
		{"1234\n\n", "", "more than one line"},
		{"1234\n5678\n", "", "more than one line"},
		{"1234\r\n", "", "carriage return"},
		{"12\x0034", "", "NUL"},
	} {
		file := secretFile(t, c.text)
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(file))
		sources := []PINSource{PINFromFile(file), PINFromCredential("pin"), PINFromFD(duplicate(t, f))}
		f.Close()
		if !strings.Contains(c.text, "\x00") { // an environment cannot carry it
			t.Setenv("BIRTHMARK_TEST_PIN", c.text)
			sources = append(sources, PINFromEnv("BIRTHMARK_TEST_PIN"))
		}
		for _, source := range sources {
			pin, err := source.read(context.Background(), "PIN")
			switch {
			case c.why == "" && (err != nil || string(pin) != c.pin):
				t.Errorf("%s, %.20q: have %.20q, error %v", source, c.text, pin, err)
			case c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why) || pin != nil):
				t.Errorf("%s, %.20q: have %.20q, error %v, want %q", source, c.text, pin, err, c.why)
			case err != nil && (strings.Contains(err.Error(), "1234") || strings.Contains(err.Error(), "999")):
				t.Errorf("%s: the error shows the PIN: %v", source, err)
			}
		}
	}
}

func TestPINSourceThatCannotBeRead(t *testing.T) {
	folder := t.TempDir()
	fifo := filepath.Join(folder, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	withMode := func(mode os.FileMode) string {
		path := secretFile(t, "1234")
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(withMode(0o644)))
	for _, c := range []struct {
		source PINSource
		why    string
	}{
		{PINFromFile(filepath.Join(folder, "none")), "no such file"},
		{PINFromFile(folder), "not a regular file"},
		{PINFromFile(fifo), "not a regular file"},
		{PINFromFile(withMode(0o640)), "mode is 0640"},
		{PINFromFile(withMode(0o604)), "mode is 0604"},
		{PINFromFile(withMode(0o620)), "mode is 0620"},
		{PINFromFile(withMode(0o610)), "mode is 0610"},
		{PINFromCredential("pin"), "mode is 0644"},
		{PINFromCredential("none"), "no such file"},
		{PINFromCredential("../pin"), "a path, not a name"},
		{PINFromEnv("BIRTHMARK_TEST_NONE"), "not set"},
		{PINFromFD(-1), "not open"},
		{PINFromFD(1 << 20), "bad file descriptor"},
		{PINSource{name: filepath.Join(folder, "none")}, "without a terminal"},
		{PINSource{name: withMode(0o600)}, "inappropriate ioctl"},
	} {
		pin, err := c.source.read(context.Background(), "PIN")
		if err == nil || !strings.Contains(err.Error(), c.why) || pin != nil {
			t.Errorf("%s: have %q, error %v, want %q", c.source, pin, err, c.why)
		}
	}
	os.Unsetenv("CREDENTIALS_DIRECTORY")
	if _, err := PINFromCredential("pin").read(context.Background(), "PIN"); err == nil {
		t.Error("a credential without its folder")
	}
}

// systemd gives a service's user access to a credential by an ACL; then the group bits show its mask.
func TestCredentialWithACL(t *testing.T) {
	path := secretFile(t, "1234")
	if err := os.Chmod(path, 0o440); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(path))
	if pin, err := PINFromCredential("pin").read(context.Background(), "PIN"); err != nil || string(pin) != "1234" {
		t.Fatalf("have %q, error %v", pin, err)
	}
}

// typist opens a terminal where somebody answers each prompt with the next line. shown waits until all
// are typed and returns what the screen showed.
func typist(t *testing.T, lines ...string) (source PINSource, shown func() string) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	done := make(chan string, 1)
	go func() {
		var screen []byte
		seen := 0 // one read may bring the end of a line and the next prompt
		wait := func(end string) {
			for buffer := make([]byte, 256); !bytes.Contains(screen[seen:], []byte(end)); {
				n, err := master.Read(buffer)
				if err != nil {
					return // the test is over
				}
				screen = append(screen, buffer[:n]...)
			}
			seen += bytes.Index(screen[seen:], []byte(end)) + len(end)
		}
		for _, line := range lines {
			wait(": ")
			for echoes(slave) { // the prompt is written before echo goes off
				time.Sleep(time.Millisecond)
			}
			master.WriteString(line + "\n")
			wait("\n")
		}
		done <- string(screen)
	}()
	return PINSource{name: slave.Name()}, func() string { return <-done }
}

func echoes(tty *os.File) bool {
	state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	return err == nil && state.Lflag&unix.ECHO != 0
}

func TestTerminal(t *testing.T) {
	source, shown := typist(t, "648219+a")
	pin, err := source.read(context.Background(), "PIN of token \"a\"")
	if err != nil || string(pin) != "648219+a" {
		t.Fatalf("have %q, error %v", pin, err)
	}
	if screen := shown(); screen != "PIN of token \"a\": \r\n" {
		t.Fatalf("the screen shows %q", screen)
	}
}

func TestTerminalTwice(t *testing.T) {
	source, _ := typist(t, "correct horse", "correct horse")
	if pin, err := source.readNew(context.Background(), "passphrase"); err != nil || string(pin) != "correct horse" {
		t.Fatalf("have %q, error %v", pin, err)
	}
	source, _ = typist(t, "correct horse", "correct hose")
	if pin, err := source.readNew(context.Background(), "passphrase"); err == nil || pin != nil {
		t.Fatal("two entries that differ were taken")
	}
}

func TestTerminalCancelled(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for echoes(slave) {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	_, err = PINSource{name: slave.Name()}.read(ctx, "PIN")
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("have %v", err)
	}
	if !echoes(slave) {
		t.Fatal("the terminal was left without echo")
	}
}

func TestPINFromFDRefusesTerminal(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if _, err := PINFromFD(int(slave.Fd())).read(context.Background(), "PIN"); err == nil || !strings.Contains(err.Error(), "show the PIN") {
		t.Fatalf("have %v", err)
	}
	slave.Close()
}

func TestLoginKeepsOnlyWhatCannotBeHadAgain(t *testing.T) {
	path := secretFile(t, "1234")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		source PINSource
		keeps  bool
	}{{PINFromFD(duplicate(t, f)), true}, {PINFromFile(path), false}} {
		l := login{source: c.source}
		for range 2 { // the second time as after a lost token
			pin, err := l.pin(context.Background())
			if err != nil || string(pin) != "1234" {
				t.Fatalf("%s: have %q, error %v", c.source, pin, err)
			}
			clear(pin)
		}
		if (l.kept != nil) != c.keeps {
			t.Errorf("%s: kept is %v", c.source, l.kept != nil)
		}
		if err := errors.Join(l.forget(), l.forget()); err != nil || l.kept != nil {
			t.Error(err)
		}
	}
}

// PINs that tokens are delivered with are told from others, and not offered where an own one is wanted.
func TestDefaultPIN(t *testing.T) {
	for pin, want := range map[string]bool{"1234": true, "123456": true, "1234567890": true, "0000": true, "11111111": true, "abcdef": true, "Password": true, "changeme": true,
		"7": true, "648219+a": false, "135790": false, "112233": false, "4321": false, "12345679": false} {
		if isDefault([]byte(pin)) != want {
			t.Errorf("%q: %v", pin, !want)
		}
	}
	l := login{source: PINFromFile(secretFile(t, "123456\n")), own: true}
	_, err := l.pin(context.Background())
	if !errors.Is(err, ErrPINDefault) {
		t.Error(err)
	}
	l.own = false
	if pin, err := l.pin(context.Background()); err != nil || string(pin) != "123456" {
		t.Errorf("%q, %v", pin, err)
	}
}
