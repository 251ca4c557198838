package main

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/link/sim"
	"github.com/birthmark/birthmark/provision"
	"github.com/birthmark/birthmark/scripts/figures"
)

const (
	lineBaud = 115200
	lanes    = 8

	// A board's processor runs so many instructions in a journey (docs/performance.md), at the emulator's pace.
	instructions    = 15_800_000
	instructionTime = 32 * time.Nanosecond
	// A byte on the chip's single wire: 8 symbols of 9 bits.
	wireByte = 8 * 9 * time.Second / 230400

	timedRuns = 5 // units, one after the other; the figure is that of the median
)

// command is a command of the chip: its longest time, and the bytes of its group and of its answer.
type command struct {
	takes         time.Duration
	group, answer int
}

// Those that the floor names (docs/performance.md).
var (
	read      = command{5 * time.Millisecond, 7, 35}
	nonce     = command{20 * time.Millisecond, 39, 4}
	lock      = command{35 * time.Millisecond, 7, 4}
	writeWord = command{45 * time.Millisecond, 11, 4}
	write     = command{45 * time.Millisecond, 39, 4}
	ecdh      = command{75 * time.Millisecond, 71, 35}
	verify    = command{105 * time.Millisecond, 135, 4}
	genKey    = command{115 * time.Millisecond, 7, 67}
	sign      = command{115 * time.Millisecond, 7, 67}
)

// times is how often a journey's stage needs a command.
type times struct {
	count int
	command
}

// need is what one stage of a unit's journey needs: the floor of docs/performance.md.
type need struct {
	stage    provision.Stage
	commands []times
	request  []int // bytes of each request's payload, and of its reply's
	reply    []int
}

// journey is the floor's list for certificates of these sizes. 8 bytes are a request's head, 19 a reply's (docs/wire.md).
func journey(unit, order, station int) []need {
	shown := func(certificate int) int { return 4 + 2 + certificate + 2 + order } // ID_CRED_x by value
	message2 := 3 + 32 + 1 + shown(unit) + 66
	message3 := 3 + shown(station) + 66 + 8
	return []need{
		{stage: provision.Hello, commands: []times{{2, read}}, request: []int{8}, reply: []int{106}},
		{stage: provision.Prepare, commands: []times{{2, read}, {3, writeWord}, {2, write}, {4, read}, {2, lock}, {2, read}, {2, genKey}},
			request: []int{8}, reply: []int{215}},
		{stage: provision.Prove, commands: []times{{1, nonce}, {1, sign}, {1, nonce}, {1, genKey}, {1, sign}}, request: []int{48}, reply: []int{217}},
		{stage: provision.Check},
		{stage: provision.Install, commands: []times{{2, nonce}, {2, verify}, {13, write}, {13, read}, {1, nonce}, {1, sign}},
			request: []int{8 + 34 + 100 + 2 + order + 2 + unit}, reply: []int{85}},
		{stage: provision.Handshake, commands: []times{{1, genKey}, {1, ecdh}, {1, nonce}, {1, sign}, {2, nonce}, {2, verify}},
			request: []int{9 + 2 + 37, 9 + 3 + message3}, reply: []int{20 + 3 + message2 + 1, 20 + 10 + 1}},
		{stage: provision.Seal, commands: []times{{1, lock}, {1, read}}, request: []int{8}, reply: []int{26}},
		{stage: provision.Close},
	}
}

// frame is how many bytes a payload is on the line.
func frame(payload int) int {
	payload += 2 // CRC
	return payload + (payload+253)/254 + 1
}

// bytes is what a stage sends, both ways; the station's frames have a zero in front.
func (n need) bytes() int {
	sum := 0
	for i := range n.request {
		sum += 1 + frame(n.request[i]) + frame(n.reply[i])
	}
	return sum
}

// chip is what a stage's commands take.
func (n need) chip() time.Duration {
	var sum time.Duration
	for _, c := range n.commands {
		sum += time.Duration(c.count) * c.takes
	}
	return sum
}

func onLine(bytes, baud int) time.Duration {
	return time.Duration(bytes) * 10 * time.Second / time.Duration(baud)
}

// wire is what the commands and answers take on a board's single wire, each behind a flag.
func (n need) wire() time.Duration {
	sum := 0
	for _, c := range n.commands {
		sum += c.count * (1 + c.group + 1 + c.answer)
	}
	return time.Duration(sum) * wireByte
}

// floor is what a stage takes at least; the token's time is that of the station's own stages.
func (n need) floor(signature time.Duration) time.Duration {
	if n.stage == provision.Check {
		return signature
	}
	return n.chip() + onLine(n.bytes(), lineBaud)
}

// began is when a lane's unit reached a stage.
type began struct {
	stage provision.Stage
	at    time.Time
}

// share is how long each row's stages took of a journey that began and lasted so.
func share(rows []need, events []began, start time.Time, lasted time.Duration) []time.Duration {
	sums := make([]time.Duration, len(rows))
	row, since := 0, start
	for _, e := range events {
		sums[row] += e.at.Sub(since)
		since = e.at
		for row+1 < len(rows) && rows[row+1].stage <= e.stage {
			row++
		}
	}
	sums[row] += start.Add(lasted).Sub(since)
	return sums
}

// shop is a station on whose line units take the chip's and the line's time.
type shop struct {
	station *provision.Station
	image   device.Image
	folder  string
	made    int
	mutex   sync.Mutex
	events  map[string][]began
}

// newShop is a station with its order key in a token. One unit has been there: the station's certificate is made, and false peers were
// met.
func newShop(ctx context.Context, folder string, key crypto.Signer) (*shop, error) {
	station, err := newStation(ctx, folder, key)
	if err != nil {
		return nil, err
	}
	s := &shop{station: station, folder: folder, events: make(map[string][]began), image: device.Image{
		AnchorHash: station.Order.Anchor.Hash(), Product: station.Order.Profile.Product, Peers: station.Order.Profile.Peers,
	}}
	station.Watch = func(e provision.Event) {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.events[e.Port] = append(s.events[e.Port], began{e.Stage, time.Now()})
	}
	_, err = s.provision(ctx, 1, sim.Options{})
	return s, err
}

// trip is one unit's journey through the shop.
type trip struct {
	port   string
	start  time.Time
	lasted time.Duration
}

// provision takes so many new units on their way, side by side.
func (s *shop) provision(ctx context.Context, count int, o sim.Options) (trips []trip, err error) {
	o.Dir, o.Image = s.folder, s.image
	var ports []string
	for range count {
		o.Index = s.made
		s.made++
		u, err := sim.Start(o)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, u.Close()) }()
		ports = append(ports, u.Port())
	}
	return s.run(ctx, ports)
}

// provisionBoard takes a board that runs the firmware on its way.
func (s *shop) provisionBoard(ctx context.Context, firmware []byte) (_ []trip, err error) {
	up := &starting{up: make(chan struct{})}
	m, err := sim.StartMachine(sim.MachineOptions{Dir: s.folder, Index: s.made, TimeScale: 1, Baud: lineBaud, Firmware: firmware, Image: s.image, Console: up})
	if err != nil {
		return nil, err
	}
	s.made++
	defer func() { err = errors.Join(err, m.Kill()) }()
	select {
	case <-up.up:
	case <-m.Ended():
		return nil, errors.New("the board does not start")
	}
	return s.run(ctx, []string{m.Port()})
}

// starting is the console of a board that says something once it has started.
type starting struct {
	once sync.Once
	up   chan struct{}
}

func (s *starting) Write(said []byte) (int, error) {
	s.once.Do(func() { close(s.up) })
	return len(said), nil
}

func (s *shop) run(ctx context.Context, ports []string) (trips []trip, err error) {
	start := time.Now()
	s.station.Run(ctx, ports, func(r provision.Result) {
		trips = append(trips, trip{r.Port, start, r.Took})
		err = errors.Join(err, r.Err)
	})
	return trips, err
}

// unitTimes measures whole journeys of units that are as slow as real ones, one after the other, and then eight at once, and those
// of boards that run the firmware.
func unitTimes(ctx context.Context, folder string, key crypto.Signer, signature time.Duration) ([]figures.Figure, error) {
	s, err := newShop(ctx, filepath.Join(folder, "shop"), key)
	if err != nil {
		return nil, err
	}
	defer s.station.Book.Close()
	rows, err := s.journey(ctx)
	if err != nil {
		return nil, err
	}
	slow := sim.Options{TimeScale: 1, Baud: lineBaud}
	unit, err := middle(func() ([]trip, error) { return s.provision(ctx, 1, slow) })
	if err != nil {
		return nil, err
	}
	floors := make([]time.Duration, len(rows))
	for i, n := range rows {
		floors[i] = n.floor(signature)
	}
	floor := s.print("unit at 115200 baud", unit, rows, floors, 0)
	jig, err := s.provision(ctx, lanes, slow)
	if err != nil {
		return nil, err
	}
	slowest := slices.MaxFunc(jig, func(a, b trip) int { return cmp.Compare(a.lasted, b.lasted) }).lasted

	firmware, err := buildFirmware(folder)
	if err != nil {
		return nil, err
	}
	board, err := middle(func() ([]trip, error) { return s.provisionBoard(ctx, firmware) })
	if err != nil {
		return nil, err
	}
	for i, n := range rows {
		floors[i] += n.wire()
	}
	boardFloor := s.print("board at 115200 baud", board, rows, floors, instructions*instructionTime)
	return []figures.Figure{
		{Name: "unit_time_ratio", Value: float64(unit.lasted) / float64(floor), Floor: figures.Of(1), Bar: figures.Of(1.10),
			Note: fmt.Sprintf("%.0f ms of %.0f; median of %d simulated units", milliseconds(unit.lasted), milliseconds(floor), timedRuns)},
		{Name: "board_time_ratio", Value: float64(board.lasted) / float64(boardFloor), Floor: figures.Of(1),
			Note: fmt.Sprintf("%.0f ms of %.0f; median of %d boards in the emulator", milliseconds(board.lasted), milliseconds(boardFloor), timedRuns)},
		{Name: "lanes8_speedup", Value: lanes * float64(unit.lasted) / float64(slowest), Floor: figures.Of(lanes), Bar: figures.Of(7.5),
			Note: fmt.Sprintf("%d units in %.0f ms", lanes, milliseconds(slowest))},
	}, nil
}

// middle is the trip that took the middle of the times, of timedRuns one after the other. On a machine with other work an emulated
// board at times loses its chip; then another one is taken.
func middle(once func() ([]trip, error)) (trip, error) {
	var trips []trip
	for failures := 0; len(trips) < timedRuns; {
		one, err := once()
		switch {
		case errors.Is(err, provision.ErrRetry) && failures < timedRuns:
			failures++
		case err != nil:
			return trip{}, err
		default:
			trips = append(trips, one...)
		}
	}
	slices.SortFunc(trips, func(a, b trip) int { return cmp.Compare(a.lasted, b.lasted) })
	return trips[len(trips)/2], nil
}

// print shows a trip by stage, and gives the whole floor.
func (s *shop) print(title string, t trip, rows []need, floors []time.Duration, processor time.Duration) time.Duration {
	sum := processor
	fmt.Printf("%-34s %12s %12s\n", strings.ToUpper(title), "ms", "floor")
	for i, took := range share(rows, s.events[t.port], t.start, t.lasted) {
		sum += floors[i]
		fmt.Printf("%-34s %12.1f %12.1f\n", rows[i].stage, milliseconds(took), milliseconds(floors[i]))
	}
	if processor > 0 {
		fmt.Printf("%-34s %12s %12.1f\n", "the board's processor", "", milliseconds(processor))
	}
	fmt.Printf("%-34s %12.1f %12.1f %8.3f\n\n", "", milliseconds(t.lasted), milliseconds(sum), float64(t.lasted)/float64(sum))
	return sum
}

// buildFirmware gives the ELF file of the emulator's board.
func buildFirmware(folder string) ([]byte, error) {
	if out, err := exec.Command("scripts/firmware", folder).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build firmware: %w\n%s", err, out)
	}
	return os.ReadFile(filepath.Join(folder, "birthmark.elf"))
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// journey is the floor for certificates of the size that this line's have.
func (s *shop) journey(ctx context.Context) ([]need, error) {
	for e, err := range s.station.Book.Units(ctx) {
		if err != nil {
			return nil, err
		}
		// The station's certificate is a unit's, but for the serial number's last bytes.
		return journey(len(e.Certificate), len(s.station.Order.Certificate.Raw), len(e.Certificate)), nil
	}
	return nil, errors.New("the book is empty")
}
