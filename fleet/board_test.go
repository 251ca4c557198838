//go:build cgo

package fleet

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/sim"
	"github.com/birthmark/birthmark/templates"
)

const (
	ctrlB = "\x02" // presses a board's button (device/firmware/board_lm3s6965.c)
	ctrlL = "\x0c" // holds it
)

// bench runs the boards of a test, one power-up after the other.
type bench struct {
	t       *testing.T
	request BoardRequest
	stop    func()
	boards  []Board
	console []*console
}

// console is a board's, as a person has it in front of him.
type console struct {
	file *os.File
	said []byte // all of it
	at   int    // what was said until here is forgotten
}

func newBench(t *testing.T, f factory) *bench {
	folder := t.TempDir()
	if out, err := exec.Command("../scripts/firmware", folder).CombinedOutput(); err != nil {
		t.Fatalf("build firmware: %v\n%s", err, out)
	}
	elf, err := os.ReadFile(filepath.Join(folder, "birthmark.elf"))
	if err != nil {
		t.Fatal(err)
	}
	product := f.order.Profile
	return &bench{t: t, stop: func() {}, request: BoardRequest{
		Units: 2, Dir: t.TempDir(), Firmware: elf, Anchor: f.order.Anchor.Hash(), Product: product.Product, Peers: product.Peers, Wired: true,
	}}
}

// power gives the boards power, after taking it away, with somebody in the second one's place or nobody.
func (b *bench) power(impostor Impostor) {
	b.t.Helper()
	b.stop()
	b.request.Impostor = impostor
	ctx, cancel := context.WithCancel(b.t.Context())
	ready, done := make(chan []Board, 1), make(chan error, 1)
	go func() { done <- ServeBoards(ctx, b.request, func(boards []Board) { ready <- boards }) }()
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
		for _, c := range b.console {
			c.file.Close()
		}
		b.stop, b.console = func() {}, nil
	}
	select {
	case b.boards = <-ready:
		for _, board := range b.boards {
			file, err := os.OpenFile(board.Console, os.O_RDWR, 0)
			if err != nil {
				b.t.Fatal(err)
			}
			b.console = append(b.console, &console{file: file})
		}
	case err := <-done:
		done <- nil
		b.t.Fatal(err)
	}
}

// types writes on a board's console.
func (b *bench) types(board int, text string) {
	b.t.Helper()
	if _, err := b.console[board].file.WriteString(text); err != nil {
		b.t.Fatal(err)
	}
}

// reads waits until a board has said something, and forgets what it said until then.
func (b *bench) reads(board int, pattern string) {
	b.t.Helper()
	c, wanted, deadline := b.console[board], regexp.MustCompile(pattern), time.Now().Add(60*time.Second)
	for buffer := make([]byte, 256); ; {
		if at := wanted.FindIndex(c.said[c.at:]); at != nil {
			c.at += at[1]
			return
		}
		if err := c.file.SetReadDeadline(deadline); err != nil {
			b.t.Fatal(err)
		}
		n, err := c.file.Read(buffer)
		if err != nil {
			b.t.Fatalf("board %d does not say %q behind %q but %q: %v", board+1, pattern, c.said[:c.at], c.said[c.at:], err)
		}
		c.said = append(c.said, buffer[:n]...)
	}
}

// Two boards pair at the press of a button and talk; power-cycled they meet again by themselves; an impostor in the place of one is
// refused; and when that one is broken another takes its place.
func TestBoards(t *testing.T) {
	f := newFactory(t)
	b := newBench(t, f)
	defer func() { b.stop() }()
	var units [3]string
	for i := range units {
		units[i] = f.unit(t, b.request.Dir, i+1)
	}

	b.power(Nobody)
	for i := range 2 {
		b.reads(i, "birthmark\nsealed\n")
		b.types(i, ctrlB)
	}
	for i := range 2 {
		b.reads(i, "ready 1 [0-9A-F]{16}\n")
	}
	b.types(0, "turn left\n")
	b.reads(1, "heard turn left\n")
	b.reads(0, "echo turn left\n")
	b.types(1, "did so\n")
	b.reads(0, "heard did so\n")
	b.reads(1, "echo did so\n")
	b.types(0, "\n")
	b.reads(0, "stack [0-9]+\n")

	b.power(Nobody)
	for i := range 2 {
		b.reads(i, "ready 0 [0-9A-F]{16}\n")
	}

	for _, impostor := range []Impostor{Copied, SelfMade} {
		b.power(impostor)
		b.reads(0, "failed -?[0-9]+\n")
		b.types(0, "are you there\n")
		b.reads(0, "failed -?[0-9]+\n")
		if bytes.Contains(b.console[0].said, []byte("ready")) || bytes.Contains(b.console[1].said, []byte("heard")) {
			t.Errorf("%s: accepted", impostor)
		}
	}

	b.stop()
	if err := sim.Copy(units[2], units[1]); err != nil {
		t.Fatal(err)
	}
	b.power(Nobody)
	b.reads(0, "failed -?[0-9]+\n")
	b.types(0, ctrlL)
	b.reads(0, "unpaired\n")
	time.Sleep(3 * time.Second) // it is down for 0.2 s more of the board's time, and a press begins with one that is up
	for i := range 2 {
		b.types(i, ctrlB)
	}
	for i := range 2 {
		b.reads(i, "ready 1 [0-9A-F]{16}\n")
	}
	b.types(1, "new here\n")
	b.reads(0, "heard new here\n")

	// Without the other one, with a station on the line: the unit is there for whom it hears, and looks for its peer again.
	b.request.Wired = false
	b.power(Nobody)
	for range 2 {
		b.reads(0, "failed -?[0-9]+\n")
		port, err := link.Open(b.boards[0].Port, 115200)
		if err != nil {
			t.Fatal(err)
		}
		c := link.Dial(port)
		if hello, err := c.Hello(t.Context()); err != nil || hello.State != link.Sealed || hello.Generation == nil {
			t.Errorf("%+v, %v", hello, err)
		}
		if err := port.Close(); err != nil {
			t.Fatal(err)
		}
		b.types(0, "where are you\n")
	}
	b.reads(0, "failed -?[0-9]+\n")
}

func TestServeBoardsRefuses(t *testing.T) {
	text, err := templates.Product("demo-sensor")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		request BoardRequest
		want    error
	}{
		{BoardRequest{}, ErrRange},
		{BoardRequest{Units: maxBoards + 1}, ErrRange},
		{BoardRequest{Units: 3, Wired: true}, ErrRange},
		{BoardRequest{Units: 2, Impostor: Copied}, ErrRange},
		{BoardRequest{Units: 2, Wired: true, Impostor: "twin"}, ErrRange},
		{BoardRequest{Units: 1, Baud: -1}, ErrRange},
		{BoardRequest{Units: 1, Firmware: text}, sim.ErrFirmware},
		{BoardRequest{Units: 1}, sim.ErrFirmware},
	} {
		test.request.Dir = t.TempDir()
		err := ServeBoards(t.Context(), test.request, func([]Board) { t.Error("served") })
		if !errors.Is(err, test.want) {
			t.Errorf("%+v: %v, not %v", test.request, err, test.want)
		}
	}
}
