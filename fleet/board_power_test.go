//go:build cgo

package fleet

import (
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/link/sim"
)

var everyCut = flag.Bool("every-cut", false, "cut a board's power at each write to its flash, not at a sample of them")

// pair is two boards on a wire, each with a supply of its own.
type pair struct {
	t       *testing.T
	options sim.MachineOptions
	boards  [2]*sim.Machine

	mutex sync.Mutex
	wire  [2]net.Conn // the test's end of each board's
	said  [2]strings.Builder
}

// power gives a board power, for that many writes to its flash or without end.
func (p *pair) power(i int, writes uint32) {
	p.t.Helper()
	near, far := net.Pipe()
	o := p.options
	o.Index, o.Writes, o.Wire, o.Console = i+1, writes, far, writer(func(text []byte) {
		p.mutex.Lock()
		defer p.mutex.Unlock()
		p.said[i].Write(text)
	})
	p.mutex.Lock()
	p.wire[i] = near
	p.said[i].Reset()
	p.mutex.Unlock()
	go func() { // until the board closes its end
		for buffer := make([]byte, 256); ; {
			n, err := near.Read(buffer)
			if err != nil {
				return
			}
			p.mutex.Lock()
			other := p.wire[1-i]
			p.mutex.Unlock()
			if other != nil {
				_, _ = other.Write(buffer[:n]) // one without power hears nothing
			}
		}
	}()
	var err error
	if p.boards[i], err = sim.StartMachine(o); err != nil {
		p.t.Fatal(err)
	}
}

type writer func([]byte)

func (w writer) Write(text []byte) (int, error) {
	w(text)
	return len(text), nil
}

func (p *pair) off() {
	p.t.Helper()
	for _, board := range p.boards {
		if board == nil {
			continue
		}
		if err := board.Kill(); err != nil {
			p.t.Error(err)
		}
	}
}

func (p *pair) types(i int, text string) {
	p.t.Helper()
	console, err := os.OpenFile(p.boards[i].Console(), os.O_WRONLY, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	defer console.Close()
	if _, err := io.WriteString(console, text); err != nil {
		p.t.Fatal(err)
	}
}

// says waits until a board has said it since its power came, or until the patience is over or the board has no power left.
func (p *pair) says(i int, pattern string, patience time.Duration) bool {
	p.t.Helper()
	wanted := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		p.mutex.Lock()
		found := wanted.MatchString(p.said[i].String())
		p.mutex.Unlock()
		if found {
			return true
		}
		select {
		case <-p.boards[i].Ended():
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// press presses both buttons, once both units listen to them.
func (p *pair) press() {
	for i := range p.boards {
		if !p.says(i, "sealed\n", time.Minute) {
			p.t.Fatalf("board %d says %q", i+1, p.said[i].String())
		}
		p.types(i, ctrlB)
	}
}

// Power fails at one of two boards while they pair, at a write to its flash, at each of them with -every-cut. When it is back they
// become each other's peers, if need be at one more press of their buttons, and talk.
func TestBoardPairingPowerCut(t *testing.T) {
	t.Parallel()
	f := newFactory(t)
	b := newBench(t, f)
	var fresh [2]string
	for i := range fresh {
		fresh[i] = f.unit(t, b.request.Dir, i+1)
	}
	step := uint32(1)
	if !*everyCut {
		step = 7
	}
	points := 0
	for who := range fresh {
		for at := uint32(1); ; at += step {
			p := &pair{t: t, options: sim.MachineOptions{Dir: t.TempDir(), Firmware: b.request.Firmware,
				Image: device.Image{AnchorHash: b.request.Anchor, Product: b.request.Product, Peers: b.request.Peers}}}
			for _, path := range fresh {
				if err := sim.Copy(path, filepath.Join(p.options.Dir, filepath.Base(path))); err != nil {
					t.Fatal(err)
				}
			}
			cut := p.loses(who, at)
			p.off()
			if !cut {
				if at == 1 {
					t.Fatal("units pair without a write")
				}
				break
			}
			points++
		}
	}
	t.Logf("powercut pairings: %d points", points)
}

// loses pairs two new units of which one's power fails at a write, and reports whether it did; else they are paired without.
func (p *pair) loses(who int, write uint32) bool {
	p.t.Helper()
	const ready = "ready [01] [0-9A-F]{16}\n"
	p.power(who, write)
	p.power(1-who, 0)
	p.press()
	cut := !p.says(who, ready, time.Minute)
	if cut {
		select {
		case <-p.boards[who].Ended():
		default:
			p.t.Fatalf("board %d, write %d: no power cut, and no peer: %q", who+1, write, p.said[who].String())
		}
		p.power(who, 0)
		if !p.says(who, ready, 3*time.Second) {
			p.press()
		}
	}
	for i := range p.boards {
		if !p.says(i, ready, time.Minute) {
			p.t.Fatalf("cut at write %d of board %d: board %d says %q", write, who+1, i+1, p.said[i].String())
		}
	}
	p.types(who, "here again\n")
	if !p.says(1-who, "heard here again\n", time.Minute) {
		p.t.Fatalf("cut at write %d of board %d: no word of it: %q, %q", write, who+1, p.said[0].String(), p.said[1].String())
	}
	return cut
}
