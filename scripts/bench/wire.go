package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/link/sim"
	"github.com/birthmark/birthmark/scripts/figures"
)

const (
	partSize     = 112 // bytes of a message in one frame (docs/peerlink.md)
	partOverhead = 10  // header, CRC, COBS, a zero before and one behind
	messageSize  = 547 // the longest of an application
	messages     = 20
	maxMeeting   = 30 * time.Second
)

// wire joins two units, each on a clock of its own: the chip's commands and the line's bytes take their time, and nothing else does.
type wire struct {
	baud int
	ends [2]*end
}

// end is one unit on it.
type end struct {
	peer  *device.Peer
	clock time.Duration // how far it has come
	free  time.Duration // its transmitter, from then on
	inbox []arrival
	ready bool
	heard int // bytes of messages
}

// arrival is a frame that has come as a whole at that time.
type arrival struct {
	at    time.Duration
	frame []byte
}

// newWire joins two units whose files are free; close closes them.
func newWire(baud int, ports []string) (_ *wire, close func() error, err error) {
	w := &wire{baud: baud, ends: [2]*end{{}, {}}}
	var boards []*sim.Board
	close = func() error {
		var errs []error
		for _, e := range w.ends {
			if e.peer != nil {
				e.peer.Close()
			}
		}
		for _, b := range boards {
			errs = append(errs, b.Close())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, close())
		}
	}()
	for i, e := range w.ends {
		sleep := func(d time.Duration) {
			if e.peer != nil {
				w.say(i) // what is on its way is not held up
			}
			e.clock += d
		}
		board, err := sim.OpenBoard(ports[i], sleep, func() time.Time { return time.Time{}.Add(e.clock) })
		if err != nil {
			return nil, nil, err
		}
		boards = append(boards, board)
		if e.peer, err = device.NewPeer(board.Image, board.Parts, device.PeerOptions{Policy: device.Wired{}}); err != nil {
			return nil, nil, err
		}
	}
	start := max(w.ends[0].clock, w.ends[1].clock)
	w.ends[0].clock, w.ends[1].clock = start, start
	return w, close, nil
}

// say puts on the line what a unit has said by now.
func (w *wire) say(i int) {
	e := w.ends[i]
	for said := e.peer.Out(); len(said) > 0; {
		size := 1 + bytes.IndexByte(said[1:], 0) + 1 // a zero, the frame, a zero
		e.free = max(e.free, e.clock) + onLine(size, w.baud)
		other := w.ends[1-i]
		other.inbox = append(other.inbox, arrival{e.free, said[:size]})
		said = said[size:]
	}
}

// next is when a unit does something again: a frame has come, or its tick.
func (e *end) next() time.Duration {
	tick := e.clock.Truncate(time.Millisecond) + time.Millisecond
	if len(e.inbox) > 0 {
		return min(tick, max(e.clock, e.inbox[0].at))
	}
	return tick
}

// run lets time pass until done says so, and gives how long it took.
func (w *wire) run(done func() bool) (time.Duration, error) {
	start := min(w.ends[0].clock, w.ends[1].clock)
	for !done() {
		i := 0
		if w.ends[1].next() < w.ends[0].next() {
			i = 1
		}
		e := w.ends[i]
		e.clock = e.next()
		if e.clock > start+maxMeeting {
			return 0, errors.New("two units come to no end")
		}
		if len(e.inbox) > 0 && e.inbox[0].at <= e.clock {
			e.peer.Receive(e.inbox[0].frame)
			e.inbox = e.inbox[1:]
		}
		e.peer.Tick(uint32(e.clock.Milliseconds()))
		w.say(i)
		for _, told := range e.peer.Events() {
			e.ready = e.ready || told.Kind == device.PeerReady
			e.heard += len(told.Message)
		}
	}
	return max(w.ends[0].clock, w.ends[1].clock) - start, nil
}

// meet is the time from one unit's wish until both are ready.
func (w *wire) meet() (time.Duration, error) {
	for _, e := range w.ends {
		e.ready = false
	}
	if err := w.ends[0].peer.Connect(); err != nil {
		return 0, err
	}
	return w.run(func() bool { return w.ends[0].ready && w.ends[1].ready })
}

// send is the time that so many of the longest messages take, each as soon as the one before it is there.
func (w *wire) send() (time.Duration, error) {
	from, to := w.ends[0], w.ends[1]
	text := make([]byte, messageSize)
	sent := 0
	to.heard = 0
	return w.run(func() bool {
		if sent < messages && from.peer.State() == device.PeerOpen && from.peer.Send(text) == nil {
			sent++
		}
		return to.heard == messages*messageSize
	})
}

// meetingFloor is that of docs/performance.md, with these messages of EDHOC.
func meetingFloor(baud int, hides bool, edhoc []int) time.Duration {
	authentication := 1 // signatures to verify
	if !hides {
		authentication = 3
	}
	needs := []times{{2, genKey}, {2, ecdh}, {2 + 2*authentication, nonce}, {2, sign}, {2 * authentication, verify}}
	size := 0
	for _, n := range append([]int{6, 6, 13, 13}, edhoc...) { // trust, trust, pair, paired
		size += n + (n+partSize-1)/partSize*partOverhead
	}
	return need{commands: needs}.chip() + onLine(size, baud)
}

// handshakeTimes measures meetings of units that have not met before, four of them, and of the same again. edhoc are the sizes of the
// messages, by value and by hash.
func handshakeTimes(ports []string, edhoc [2][]int) (list []figures.Figure, err error) {
	var worst figures.Figure
	fmt.Printf("%-34s %12s %12s %8s\n", "TWO UNITS MEET", "ms", "floor", "")
	for n, baud := range []int{9600, lineBaud} {
		w, close, err := newWire(baud, ports[2*n:])
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, close()) }()
		for form, name := range []string{"by value", "by hash"} {
			took, err := w.meet()
			if err != nil {
				return nil, err
			}
			floor := meetingFloor(baud, form == 1, edhoc[form])
			ratio := float64(took) / float64(floor)
			fmt.Printf("%-34s %12.1f %12.1f %8.3f\n", fmt.Sprintf("%d baud, %s", baud, name), milliseconds(took), milliseconds(floor), ratio)
			if ratio > worst.Value {
				worst = figures.Figure{Name: "board_handshake_ratio", Value: ratio, Floor: figures.Of(1),
					Note: fmt.Sprintf("%.0f ms of %.0f, the worst of four: %d baud, %s", milliseconds(took), milliseconds(floor), baud, name)}
			}
		}
		took, err := w.send()
		if err != nil {
			return nil, err
		}
		list = append(list, figures.Figure{Name: fmt.Sprintf("session_bytes_per_second_%d", baud), Value: messages * messageSize / took.Seconds(), Unit: "B/s",
			Floor: figures.Of(float64(baud) / 10), Note: fmt.Sprintf("messages of %d bytes, one way; floor: the line's own rate", messageSize)})
	}
	fmt.Println()
	return slices.Concat([]figures.Figure{worst}, list), nil
}
