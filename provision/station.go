// Package provision tells the story of one unit: from the first hello on the serial line to a receipt in the ledger. Each
// stage returns a value that only it can make and the next stage asks for, so that no stage can be left out or come
// too early (docs/design.md, "One unit's journey").
package provision

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link"
	"github.com/birthmark/birthmark/link/fixture"
)

// What the caller branches on. Everything else is what the packages below say: ca.ErrPolicy, ca.ErrOtherRoot, ledger's and
// link's errors, the context's own.
var (
	// ErrRetry: the unit failed, and trying again may help.
	ErrRetry = errors.New("the unit failed")
	// ErrSetAside: this unit must not be tried again before a person has looked at it.
	ErrSetAside = errors.New("set this unit aside")
	// ErrKey: the station's key did not sign, or signed something else; nothing was recorded, the unit is as good as before.
	ErrKey = errors.New("the order key did not sign")
	// ErrProvisioned: the unit has had its journey; nothing was done to it.
	ErrProvisioned = errors.New("the unit is already provisioned")
)

// Station is what a line needs for any number of units: one order, its key, one book. It is safe for several lanes at
// once, if Key is. Its fields are set before the first Run and not changed after it.
type Station struct {
	Order  *ca.Order
	Bundle *ca.Bundle    // of the authority: leads units from the root in their image to the order's, and has the status list
	Key    crypto.Signer // the order key
	Book   *ledger.Book
	// Captures are goods-in's lists under the order's profile, where that asks for captured chips; else nil will do.
	Captures *ca.Captures
	Test     bool             // a test authority is wanted; without it one is refused
	Twin     bool             // sign an X.509 twin as well; units that have their certificate already stay as they are
	Now      func() time.Time // the station's clock
	Baud     int              // of every port, bits a second
	Flash    string           // folder for the flash images of bare chips
	Watch    func(Event)      // told of each stage as it begins, by every lane, which waits for it; nil = nobody

	shift shift
}

// MaxLanes bounds the ports of one Run. A jig has 16 at most; the serial library waits with select(2), which takes
// descriptors below 1024, and a lane needs four.
const MaxLanes = 64

// KitPrefix begins the name of a port that has no unit but a bare chip in a kit, such as kit:/dev/ttyACM0.
const KitPrefix = "kit:"

// Event says that a lane's unit has reached a stage.
type Event struct {
	Port  string
	Stage Stage
	Chip  string // the chip's serial number, as soon as it is known
}

// Stage numbers the journey as docs/design.md does.
type Stage int

// The stages of one unit's journey.
const (
	Hello Stage = 1 + iota
	Prepare
	Prove
	Check
	Reserve
	Sign
	Commit
	Install
	Handshake
	Seal
	Close
)

// String gives the stage's name in docs/design.md.
func (s Stage) String() string {
	return [...]string{"", "hello", "prepare", "prove", "check", "reserve", "sign", "commit", "install", "handshake", "seal", "close"}[s]
}

// Result is what became of one port's unit.
type Result struct {
	Port     string
	Receipt  *Receipt     // nil if Err is set, and at goods-in
	Captured *ca.Captured // at goods-in alone; nil if Err is set
	Err      error
	Stage    Stage         // where it ended
	Chip     string        // "" if the unit never said
	Took     time.Duration // from opening the port to the end of the last stage; closing it comes after
	Waited   time.Duration // of it, waiting for the unit and the wire
	Signed   time.Duration // of it, waiting for the order key
}

// CheckReady refuses a shift that could not sign its first unit, and records the order in the book. It does not refuse an
// order that is used up: units that were begun under it can still be finished.
//
// Errors wrap ca.ErrTest (test and production mixed), ca.ErrPolicy (order expired or not yet valid, of another station or
// another key), ca.ErrUnknownRoot, ca.ErrClosedRoot, ca.ErrRevoked or ca.ErrVerify where the bundle does not admit the order, ca.ErrNotCaptured (captured chips are wanted and no list is there), device.ErrNoCgo since stage 9 needs the library, ledger.ErrOtherAuthority, ledger.ErrConflict (the book has another order of this number or range), or
// what the book's disk says.
func (s *Station) CheckReady(ctx context.Context) error {
	if err := s.Order.Usable(s.Test, s.Now()); err != nil {
		return err
	}
	if err := device.Available(); err != nil {
		return err
	}
	if err := s.Bundle.AdmitOrder(s.Order); err != nil {
		return err
	}
	number := s.Order.Number()
	key, ok := s.Key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !key.Equal(s.Order.Certificate.Key) {
		return fmt.Errorf("the station's key is not that of order %d: %w", number, ca.ErrPolicy)
	}
	switch book := s.Book.Identity(); {
	case book.Anchor != s.Bundle.Anchor.Hash():
		return fmt.Errorf("order %d is not of the ledger's authority %q: %w", number, book.Authority, ledger.ErrOtherAuthority)
	case book.Station != s.Order.Station:
		return fmt.Errorf("order %d is for station %q, the ledger is that of station %q: %w", number, s.Order.Station, book.Station, ca.ErrPolicy)
	}
	if s.Order.Profile.Captured() && (s.Captures == nil || s.Captures.Len() == 0) {
		return fmt.Errorf("profile %q takes captured chips alone, and there is no list: %w", s.Order.Profile.Name, ca.ErrNotCaptured)
	}
	return s.Book.AddOrder(ctx, row(s.Order))
}

// Run provisions the unit on each port, all lanes side by side, and reports each as it ends, one call of done at a time. A
// lane's failure touches no other lane. It returns when the last has ended. A cancelled context ends each lane at its
// next wait for unit or book; what was signed by then is recorded, and what was sealed has its receipt.
func (s *Station) Run(ctx context.Context, ports []string, done func(Result)) {
	lanes(ports, func(port string) Result {
		u := &unit{station: s, watch: s.Watch, bare: strings.HasPrefix(port, KitPrefix), key: timed{Signer: s.Key}}
		return u.lane(port, s.open, func(r *Result) (err error) {
			r.Receipt, err = u.journey(ctx)
			return err
		})
	}, done)
}

// lanes runs a lane for each port, side by side, and gives each result to done as it comes.
func lanes(ports []string, lane func(port string) Result, done func(Result)) {
	results := make(chan Result)
	for _, port := range ports {
		go func() { results <- lane(port) }()
	}
	for range ports {
		done(<-results)
	}
}

// lane opens the port, takes the unit on its way and closes the port again. Durations are by the machine's monotonic clock: the
// station's may be set while a unit is on its way.
func (u *unit) lane(path string, open func(path string) (io.ReadWriteCloser, error), way func(*Result) error) Result {
	start := time.Now()
	port, err := open(path)
	if err != nil {
		return Result{Port: path, Err: err, Stage: Hello, Took: time.Since(start)}
	}
	u.port, u.conversation = path, link.Dial(port)
	defer u.conversation.Close()
	r := Result{Port: path}
	r.Err = way(&r)
	r.Stage, r.Chip = u.stage, u.chipText()
	r.Took, r.Waited, r.Signed = time.Since(start), u.conversation.Waited(), u.key.spent
	return r
}

// open opens a unit's serial port, or makes one for a bare chip.
func (s *Station) open(path string) (io.ReadWriteCloser, error) {
	kit, bare := strings.CutPrefix(path, KitPrefix)
	if !bare {
		return link.Open(path, s.Baud)
	}
	firmware, err := s.Order.Profile.OnlyFirmware()
	if err != nil {
		return nil, err
	}
	return fixture.Open(kit, fixture.Options{Baud: s.Baud, Flash: s.Flash, Image: device.Image{
		AnchorHash:   s.Bundle.Anchor.Hash(),
		FirmwareHash: firmware,
		Product:      s.Order.Certificate.Product,
		Peers:        s.Order.Profile.Peers,
		IOKey:        s.Order.Profile.IOKey(),
	}})
}

// timed counts the time that a token takes, so that the station's own part can be told from it. One lane uses it.
type timed struct {
	crypto.Signer
	spent time.Duration
}

func (t *timed) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	start := time.Now()
	defer func() { t.spent += time.Since(start) }()
	return t.Signer.Sign(random, digest, opts)
}
