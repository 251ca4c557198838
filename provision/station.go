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
	"sync/atomic"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/link"
)

// What the caller branches on. Everything else is what the packages below say: ca.ErrPolicy, ledger's and link's errors.
var (
	// ErrRetry: the unit failed, and trying again may help.
	ErrRetry = errors.New("the unit failed")
	// ErrSetAside: this unit must not be tried again before a person has looked at it.
	ErrSetAside = errors.New("set this unit aside")
	// ErrKey: the station's key did not sign; the unit is as good as before.
	ErrKey = errors.New("the order key did not sign")
	// ErrProvisioned: the unit has had its journey; nothing was done to it.
	ErrProvisioned = errors.New("the unit is already provisioned")
)

// Station is what a line needs for any number of units: one order, its key, one book. It is safe for several lanes at once.
type Station struct {
	Order *ca.Order
	Key   crypto.Signer // the order key
	Book  *ledger.Book
	Test  bool             // a test authority is wanted; without it one is refused
	Twin  bool             // sign an X.509 twin as well
	Now   func() time.Time // the station's clock
	Baud  int
	Watch func(Event) // told of each stage as it begins; nil = nobody. Called from every lane

	signing atomic.Int64 // nanoseconds spent in Key
}

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
	Handshake // comes with the handshake library; until then receipts say that none was made
	Seal
	Close
)

func (s Stage) String() string {
	return [...]string{"", "hello", "prepare", "prove", "check", "reserve", "sign", "commit", "install", "handshake", "seal", "close"}[s]
}

// Result is what became of one port's unit.
type Result struct {
	Port    string
	Receipt *Receipt // nil if Err is set
	Err     error
	Stage   Stage         // where it ended
	Chip    string        // "" if the unit never said
	Took    time.Duration // the whole journey
	Waited  time.Duration // of it, waiting for the unit and the wire
}

// CheckReady refuses a shift that could not sign its first unit: the order's time and mark, the key, the book.
func (s *Station) CheckReady(ctx context.Context) error {
	if err := s.Order.Usable(s.Test, s.Now()); err != nil {
		return err
	}
	key, ok := s.Key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !key.Equal(s.Order.Certificate.Key) {
		return fmt.Errorf("the station's key is not that of order %d: %w", s.Order.Number(), ca.ErrPolicy)
	}
	return s.Book.AddOrder(ctx, ledger.Order{
		Number:      s.Order.Number(),
		Fingerprint: s.Order.Certificate.Fingerprint(),
		First:       uint64(s.Order.Certificate.Range.First),
		Last:        uint64(s.Order.Certificate.Range.Last),
		Count:       s.Order.Count,
		Product:     s.Order.Certificate.Product,
		File:        s.Order.File,
	})
}

// Run provisions the unit on each port, all lanes side by side, and reports each as it ends. A lane's failure touches no
// other lane. It returns when the last has ended; a cancelled context ends each at its next wait, with everything that
// was signed recorded.
func (s *Station) Run(ctx context.Context, ports []string, done func(Result)) {
	results := make(chan Result)
	for _, port := range ports {
		go func() { results <- s.lane(ctx, port) }()
	}
	for range ports {
		done(<-results)
	}
}

// lane opens the port, runs one unit and closes the port again.
func (s *Station) lane(ctx context.Context, path string) Result {
	start := s.Now()
	port, err := link.Open(path, s.Baud)
	if err != nil {
		return Result{Port: path, Err: err, Stage: Hello}
	}
	conversation := link.Dial(port)
	defer conversation.Close()
	u := &unit{station: s, port: path, conversation: conversation}
	receipt, err := u.journey(ctx)
	return Result{
		Port:    path,
		Receipt: receipt,
		Err:     err,
		Stage:   u.stage,
		Chip:    u.chipText(),
		Took:    s.Now().Sub(start),
		Waited:  u.conversation.Waited(),
	}
}

// Signing is the time spent in the order key so far, all lanes together.
func (s *Station) Signing() time.Duration { return time.Duration(s.signing.Load()) }

// timed counts the time that a token takes, so that the station's own part can be told from it.
type timed struct {
	crypto.Signer
	spent *atomic.Int64
}

func (t timed) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	start := time.Now()
	signature, err := t.Signer.Sign(random, digest, opts)
	t.spent.Add(int64(time.Since(start)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return signature, nil
}
