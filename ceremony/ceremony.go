// Package ceremony carries out what is done with an authority's keys before witnesses: from a reviewed plan, rehearsed by the same code
// on throwaway keys, recorded in a transcript that is chained, signed and sealed, and verified offline from its folder. What is
// signed, package ca signs; this package never opens a key itself.
package ceremony

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/internal/durable"
)

var (
	// ErrNotRehearsed is wrapped where the plan that is to be run was not rehearsed as it stands, by this build. It wraps ca.ErrPolicy.
	ErrNotRehearsed = fmt.Errorf("this plan was not rehearsed: %w", ca.ErrPolicy)
	// ErrDeclined is wrapped where a person was asked and did not type Yes.
	ErrDeclined = errors.New("no Yes was typed")
	// ErrKeyTaken is wrapped where a key is to be made and one is there.
	ErrKeyTaken = errors.New("a key is there already")
	// ErrNoReturn is wrapped where a run is to be aborted that has gone too far: it can only be finished. It wraps ca.ErrPolicy.
	ErrNoReturn = fmt.Errorf("it can only be finished: %w", ca.ErrPolicy)
	// ErrComplete is wrapped where a ceremony is to be changed that has come to its end. It wraps ca.ErrPolicy.
	ErrComplete = fmt.Errorf("the ceremony is complete: %w", ca.ErrPolicy)
	// ErrNoRun is wrapped where there is nothing to abort.
	ErrNoRun = errors.New("no run has begun")
)

// Key signs, and is closed afterwards.
type Key interface {
	crypto.Signer
	io.Closer
	Description() string // where it is, for people
}

// Keys are tokens and key files, by their URIs as the authority's folder has them. id is the new key's own, by which it is found again after a
// crash; nil names any key of that URI.
type Keys interface {
	// Look finds out, without a PIN, what token it is, and whether a key is there already.
	Look(uri string) (where string, taken bool, err error)
	Make(ctx context.Context, uri string, id []byte) (Key, error)
	Open(ctx context.Context, uri string, id []byte) (Key, error)
	// Discard destroys what a Make left that was cut short, or made a key that is given up, and says whether anything was there.
	Discard(ctx context.Context, uri string, id []byte) (found bool, err error)
	// Destroy destroys this key, and says whether it was there.
	Destroy(ctx context.Context, uri string, key *ecdsa.PublicKey) (found bool, err error)
	// Divide makes a key in the token of uri that is nowhere but in its backup, whose secret is divided into shares.
	Divide(ctx context.Context, uri string, needed, shares int) (Backup, error)
	// Backup reads a backup's file; it takes the lines of shares then.
	Backup(file []byte) (Backup, error)
}

// Backup is a key outside of any token: as a token wrapped it, and the secret that it was wrapped under, in shares.
type Backup interface {
	Code() string // how its shares are named
	File() []byte // no secret
	// Pages are the shares as they go onto paper, which is their only place; none where the backup was read from its file.
	Pages() []string
	// Line takes one line of a share as it was typed, and says how many shares are still wanted. What is mistyped changes nothing.
	Line(text string) (wanted int, err error)
	// Restore puts the key into a token, which has signed for the backup's public key then.
	Restore(ctx context.Context, uri string, id []byte) (Key, error)
}

// Console is where the people of the plan are asked.
type Console interface {
	// Tell shows them text.
	Tell(text string)
	// Ask shows a question and waits for a line, which is empty, without its end, when no more will come.
	Ask(ctx context.Context, question string) (string, error)
	// Wipe takes off the screen what was shown before.
	Wipe()
}

// Book is what a station's ledger says of its orders.
type Book struct {
	Station string
	Orders  []BookOrder
}

// BookOrder names one by its number and SHA-256 of its certificate.
type BookOrder struct {
	Number      uint16
	Fingerprint [32]byte
}

// Known refuses a ledger that has an order which the authority's folder has not. Errors wrap ca.ErrUnknownOrder.
func (b Book) Known(a *ca.Authority) error {
	for _, o := range b.Orders {
		if err := a.Knows(o.Number, o.Fingerprint); err != nil {
			return fmt.Errorf("ledger of station %q: %w", b.Station, err)
		}
	}
	return nil
}

// Ceremony is a folder with a plan, and what this machine has for it.
type Ceremony struct {
	Folder    string
	Authority string                           // the authority's folder
	Keys      Keys                             // not for rehearsals
	Place     func(uri string) (string, error) // a key's URI in the plan, as the authority's folder has it
	Console   Console
	Books     []Book
	Build     string // of this program
	Now       func() time.Time

	journal *journal // of the run, while there is one
	cut     func() error
}

// Called records a call of a token's module in the transcript. It is for hsm.Modules.Trace.
func (c *Ceremony) Called(function, code string) {
	if j := c.journal; j != nil {
		_ = j.write(call, "", function+" "+code, "function", function, "code", code) // the next entry fails in the same way
	}
}

// Names of what a ceremony's folder holds.
const (
	runFolder       = "run"
	rehearsalPrefix = "rehearsal-"
	abortedPrefix   = "aborted-"
)

// reserved says whether a name is not for a plan's files.
func reserved(name string) bool {
	return name == planFile || name == runFolder || strings.HasPrefix(name, rehearsalPrefix) || strings.HasPrefix(name, abortedPrefix)
}

// Rehearse does what the plan says with keys that live in memory, on a mirror of the authority that is marked as a test authority, and
// leaves a folder of its own like that of a run. It asks nobody. Errors are those that Run could meet before it reaches a token.
func (c *Ceremony) Rehearse(ctx context.Context) (*Outcome, error) {
	plan, err := ReadPlan(c.Folder)
	if err != nil {
		return nil, err
	}
	if leftovers, _ := filepath.Glob(filepath.Join(c.Folder, durable.Unfinished+"*")); len(leftovers) > 0 {
		for _, path := range leftovers { // of rehearsals that were killed
			if err := os.RemoveAll(path); err != nil {
				return nil, err
			}
		}
	}
	folder, err := os.MkdirTemp(c.Folder, durable.Unfinished+"*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	staging := filepath.Join(folder, "rehearsal")
	if err := os.Mkdir(staging, 0o755); err != nil {
		return nil, err
	}
	p, err := c.rehearse(ctx, plan, staging, filepath.Join(folder, "mirror"))
	if err != nil {
		return nil, fmt.Errorf("rehearsal: %w", err)
	}
	final, err := free(c.Folder, rehearsalPrefix)
	if err == nil {
		err = os.Rename(staging, final)
	}
	if err == nil {
		err = durable.SyncFolder(c.Folder)
	}
	if err != nil {
		return nil, err
	}
	p.folder = final
	return p.outcome()
}

// rehearse performs the plan in an empty folder, on a mirror that it makes.
func (c *Ceremony) rehearse(ctx context.Context, plan *Plan, folder, mirror string) (*performance, error) {
	actual := &performance{Ceremony: c, plan: plan, home: c.Authority, at: c.Now().UTC().Truncate(time.Second)}
	if err := actual.check(); err != nil {
		return nil, err
	}
	keys := throwaway{}
	p := &performance{Ceremony: c, plan: plan, folder: folder, home: mirror, at: actual.at, keys: keys, rehearsal: true}
	if actual.authority != nil {
		signers := make([]crypto.Signer, actual.authority.Epoch()+1)
		for i := range signers {
			signers[i] = newThrowaway()
		}
		m, err := actual.authority.Mirror(nil, mirror, true, signers)
		if err != nil {
			return nil, err
		}
		keys[m.RootURI()], keys[m.NextURI()] = signers[m.Epoch()-1].(throwawayKey), signers[m.Epoch()].(throwawayKey)
		p.authority = m
	}
	plan.deed.stand(p, keys)
	journal, _, err := openJournal(filepath.Join(folder, transcriptFile), c.Now)
	if err != nil {
		return nil, err
	}
	defer journal.Close()
	p.journal = journal
	return p, p.perform(ctx)
}

// Run does what the plan says. It refuses a plan that was not rehearsed as it stands (ErrNotRehearsed), checks all that can be checked,
// asks the people (ErrDeclined) and only then reaches for a token. Called again after it was stopped, wherever that was, it goes on; and
// until the authority's folder is written, Abort takes everything back.
func (c *Ceremony) Run(ctx context.Context) (*Outcome, error) {
	plan, err := ReadPlan(c.Folder)
	if err != nil {
		return nil, err
	}
	p := &performance{Ceremony: c, plan: plan, folder: filepath.Join(c.Folder, runFolder), home: c.Authority, keys: c.Keys}
	if done(p.folder) {
		return verifyPerformance(p.folder)
	}
	if err := c.rehearsed(plan); err != nil {
		return nil, err
	}
	before, err := p.before()
	if err != nil {
		return nil, err
	}
	if _, over := before.last(sealed, ""); over {
		return p.complete(before)
	}
	fresh := len(before) == 0
	p.at = c.Now().UTC().Truncate(time.Second)
	if fresh {
		if err := p.check(); err != nil {
			return nil, err
		}
		if err := p.lookAround(); err != nil {
			return nil, err
		}
		if err := p.prelint(ctx); err != nil {
			return nil, err
		}
	}
	attendance, err := p.ask(ctx, fresh)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(p.folder, 0o755); err != nil {
		return nil, err
	}
	journal, torn, err := openJournal(filepath.Join(p.folder, transcriptFile), c.Now)
	if err != nil {
		return nil, err
	}
	defer journal.Close()
	journal.cut = c.cut
	p.journal, c.journal = journal, journal
	defer func() { c.journal = nil }()
	if err := durable.SyncFolder(c.Folder); err != nil {
		return nil, err
	}
	if err := p.resume(torn); err != nil {
		return nil, err
	}
	if err := attendance.record(journal); err != nil {
		return nil, err
	}
	if !fresh {
		if err := p.prelint(ctx); err != nil {
			return nil, p.stop(err)
		}
	}
	if err := p.perform(ctx); err != nil {
		return nil, p.stop(err)
	}
	return p.outcome()
}

// before is the transcript of a run that was stopped; empty if none has begun.
func (p *performance) before() (Transcript, error) {
	data, err := os.ReadFile(filepath.Join(p.folder, transcriptFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t, _, err := parseTranscript(data)
	return t, err
}

// complete finishes a run that was stopped after its transcript was sealed: only the manifest is missing.
func (p *performance) complete(t Transcript) (*Outcome, error) {
	if _, aborted := t.last(undone, stepAbort); aborted {
		return nil, fmt.Errorf("%s was being taken back: repeat 'birthmark ceremony abort': %w", p.folder, ErrComplete)
	}
	if err := p.writeManifest(); err != nil {
		return nil, err
	}
	return verifyPerformance(p.folder)
}

// rehearsed looks for a finished rehearsal of this plan by this build.
func (c *Ceremony) rehearsed(plan *Plan) error {
	found, err := filepath.Glob(filepath.Join(c.Folder, rehearsalPrefix+"*"))
	if err != nil {
		return err
	}
	digest, why := plan.Digest(), "there is no rehearsal"
	for _, folder := range found {
		r, err := verifyPerformance(folder)
		switch {
		case err != nil:
			why = err.Error()
		case r.Digest != digest:
			why = "the plan was changed since it was rehearsed"
		case r.Build != c.Build:
			why = fmt.Sprintf("it was rehearsed with another build, %s", r.Build)
		default:
			return nil
		}
	}
	return fmt.Errorf("%s: %w", why, ErrNotRehearsed)
}

// free finds the first number that no folder has yet.
func free(folder, prefix string) (string, error) {
	for n := 1; ; n++ {
		path := filepath.Join(folder, fmt.Sprintf("%s%d", prefix, n))
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return path, nil
		} else if err != nil {
			return "", err
		}
	}
}
