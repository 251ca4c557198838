package ceremony

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/birthmark/birthmark/ca"
)

const idSize = 16 // bytes of a new key's id, drawn and recorded before the key is made

// performance is one pass through a plan: a rehearsal, or a run with all its interruptions.
type performance struct {
	*Ceremony
	plan      *Plan
	folder    string // what it leaves
	home      string // the authority's folder, or its mirror
	keys      Keys
	rehearsal bool
	at        time.Time // when the run began: what is signed bears this time, however often it was interrupted
	journal   *journal

	authority *ca.Authority // as it was before; nil where none is touched or there is none yet
	rehearsed []string      // what the authority is to become, as a mirror became it in this run
}

// deed is what one kind of plan does. Only sign and the steps after it reach a token.
type deed interface {
	title() string
	// read reads the files that the plan names, and refuses values that are none.
	read(*inputs) error
	// check refuses what could not be done with the authority as it is.
	check(*performance) error
	// stand puts throwaway keys where a rehearsal opens others than the authority's.
	stand(*performance, throwaway)
	// uses are the keys that are opened and made, in this order. The first one vouches for the transcript.
	uses(*performance) []use
	// sign makes what the ceremony is for, in the staged authority's folder or, where there is none, in the ceremony's.
	sign(p *performance, staged string, keys map[string]Key) error
	// ends are the keys that are destroyed when everything else is done.
	ends(*performance) []ending
}

// use is a key that a deed needs.
type use struct {
	role   string // its name in the transcript
	uri    string
	make   bool             // it is not there yet
	shares *Shares          // it is born with a backup
	backup []byte           // or comes back from one
	public *ecdsa.PublicKey // of one that is there; nil: the token's word is taken, the deed checks it
}

// ending is a key that a deed destroys.
type ending struct {
	role, uri string
	public    *ecdsa.PublicKey
}

// Steps, as the transcript names them. A key's is "key " and its role.
const (
	stepSign    = "sign"
	stepPublish = "publish"
	stepDestroy = "destroy "
	stepKey     = "key "
)

// check loads the authority, if the deed is about one, and lets the deed refuse.
func (p *performance) check() error {
	a, err := ca.Load(p.home)
	switch {
	case err == nil:
		p.authority = a
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return p.plan.deed.check(p)
}

// isOf refuses to touch another authority than the plan names.
func (p *performance) isOf(name string) error {
	if p.authority == nil {
		return fmt.Errorf("authority in %s: %w", p.home, fs.ErrNotExist)
	}
	if p.authority.Name != name {
		return fmt.Errorf("the plan is for the authority %q, and the folder %s holds %q: %w", name, p.home, p.authority.Name, ca.ErrPolicy)
	}
	if p.authority.ListOutdated() {
		return fmt.Errorf("a rotation was cut short: repeat 'birthmark ca rotate' first: %w", ca.ErrPolicy)
	}
	return nil
}

// lookAround finds, without a PIN, that each key that is to be opened has its token, and that each that is to be made has a free name.
func (p *performance) lookAround() error {
	for _, u := range p.plan.deed.uses(p) {
		where, taken, err := p.keys.Look(u.uri)
		if err != nil {
			return fmt.Errorf("%s: %w", u.role, err)
		}
		if u.make && taken {
			return fmt.Errorf("%s, in %s: %w", u.uri, where, ErrKeyTaken)
		}
		if u.shares != nil && u.shares.Copy != "" {
			switch where, taken, err := p.keys.Look(u.shares.Copy); {
			case err != nil:
				return fmt.Errorf("copy of the %s: %w", u.role, err)
			case taken:
				return fmt.Errorf("%s, in %s: %w", u.shares.Copy, where, ErrKeyTaken)
			}
		}
	}
	return nil
}

// prelint does everything once with throwaway keys and forgets it, right before the real keys are used: what would be refused is refused
// here, and the real run must come to the same result.
func (p *performance) prelint(ctx context.Context) error {
	if p.published() {
		return nil // it would be done twice
	}
	folder, err := os.MkdirTemp("", "birthmark-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	staging := filepath.Join(folder, "rehearsal")
	if err := os.Mkdir(staging, 0o755); err != nil {
		return err
	}
	plan, err := ReadPlan(p.Folder) // its deed keeps what it made
	if err != nil {
		return err
	}
	c := *p.Ceremony
	c.Now = func() time.Time { return p.at }
	r, err := c.rehearse(ctx, plan, staging, filepath.Join(folder, "mirror"))
	if err != nil {
		return fmt.Errorf("with a throwaway key: %w", err)
	}
	p.rehearsed = r.rehearsed
	return nil
}

// published says whether the authority's folder was written, or may have been.
func (p *performance) published() bool {
	if p.journal == nil {
		return false
	}
	e, began := p.journal.last(intends, stepPublish)
	refused, _ := p.journal.last(undone, stepPublish)
	return began && e.Number > refused.Number
}

// publish lets the authority's folder take over what was signed. If it takes nothing, since somebody else signed there meanwhile, the run
// can still be taken back.
func (p *performance) publish() (string, []string, error) {
	_, err := ca.Adopt(p.home, p.staged())
	if errors.Is(err, ca.ErrPolicy) {
		if some, e := p.adopted(); e != nil || some {
			return "", nil, errors.Join(err, e)
		}
		if e := p.journal.write(undone, stepPublish, "The authority's folder took nothing of it."); e != nil {
			return "", nil, e
		}
	}
	return "The authority's folder has it.", nil, err
}

// adopted says whether the authority's folder has any of the files that were signed.
func (p *performance) adopted() (bool, error) {
	signed, err := hashFiles(p.staged())
	if err != nil {
		return false, err
	}
	have, err := hashFiles(p.home)
	if err != nil {
		return false, err
	}
	e, _ := p.journal.last(did, stepSign)
	for _, name := range strings.Fields(e.Fields["adds"]) {
		if have[name] == signed[name] {
			return true, nil
		}
	}
	return false, nil
}

// resume begins the transcript, or goes on with one.
func (p *performance) resume(torn bool) error {
	digest := p.plan.Digest()
	if len(p.journal.Transcript) == 0 {
		text := p.plan.Title
		if p.rehearsal {
			text = "REHEARSAL: " + text
		}
		return p.journal.write(begin, "", text, "plan", hex.EncodeToString(digest[:]), "build", p.Build, "key", p.journal.public(),
			"time", p.at.Format(time.RFC3339), "rehearsal", fmt.Sprint(p.rehearsal))
	}
	first := p.journal.Transcript[0]
	if first.What != begin || first.Fields["plan"] != hex.EncodeToString(digest[:]) {
		return fmt.Errorf("the run in %s is of another plan: abort it with the plan that it has: %w", p.folder, ca.ErrPolicy)
	}
	if first.Fields["build"] != p.Build {
		return fmt.Errorf("the run was begun with another build, %s: %w", first.Fields["build"], ErrNotRehearsed)
	}
	at, err := time.Parse(time.RFC3339, first.Fields["time"])
	if err != nil {
		return fmt.Errorf("transcript: time: %w: %w", err, ca.ErrVerify)
	}
	p.at = at
	text := "The run goes on where it stopped."
	if torn {
		text += " Its last entry was torn and is cut off."
	}
	if err := p.journal.write(resumed, "", text, "key", p.journal.public()); err != nil {
		return err
	}
	if !p.published() {
		return p.check()
	}
	p.authority, err = ca.Load(p.staged()) // check would refuse what is done already
	return err
}

// stop records why a run did not come to its end.
func (p *performance) stop(err error) error {
	_ = p.journal.write(stopped, "", "The run stopped: "+sentence(err)) // what cannot be recorded was the reason, then
	return err
}

// perform does the plan's steps that are not done yet.
func (p *performance) perform(ctx context.Context) error {
	if p.rehearsal {
		if err := p.resume(false); err != nil {
			return err
		}
	}
	keys, err := p.openKeys(ctx)
	if err == nil {
		err = p.useKeys(ctx, keys)
	}
	for _, k := range keys {
		err = errors.Join(err, k.Close()) // logs out, which is in the transcript too
	}
	if err != nil {
		return err
	}
	return p.finish()
}

// useKeys does what the keys are opened for.
func (p *performance) useKeys(ctx context.Context, keys map[string]Key) error {
	d, staged := p.plan.deed, p.staged()
	if err := p.step(ctx, stepSign, d.title(), func() (string, []string, error) { return p.sign(staged, keys) }); err != nil {
		return err
	}
	if err := p.vouch(keys); err != nil {
		return err
	}
	if _, err := os.Stat(staged); err == nil {
		text := "The authority's folder takes over what was signed. From here the ceremony can only be finished."
		if err := p.step(ctx, stepPublish, text, p.publish); err != nil {
			return err
		}
	}
	for _, end := range d.ends(p) {
		if err := p.destroy(ctx, end); err != nil {
			return err
		}
	}
	return nil
}

// staged is where the authority is changed before it is.
func (p *performance) staged() string { return filepath.Join(p.folder, "authority") }

// step does one thing, once: what a transcript says is done is not done again.
func (p *performance) step(ctx context.Context, name, text string, do func() (result string, more []string, err error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, is := p.journal.last(did, name); is {
		return nil
	}
	if err := p.journal.write(intends, name, text); err != nil {
		return err
	}
	result, more, err := do()
	if err != nil {
		return err
	}
	return p.journal.write(did, name, result, more...)
}

// sign lets the deed sign in a copy of the authority, and lints what came of it.
func (p *performance) sign(staged string, keys map[string]Key) (string, []string, error) {
	if err := os.RemoveAll(staged); err != nil { // what an attempt that was cut short signed was never anywhere else
		return "", nil, err
	}
	before := []string{}
	if p.authority != nil {
		if _, err := p.authority.Copy(staged); err != nil {
			return "", nil, err
		}
		before = description(p.authority)
	}
	if err := p.plan.deed.sign(p, staged, keys); err != nil {
		return "", nil, err
	}
	if _, err := os.Stat(staged); errors.Is(err, fs.ErrNotExist) {
		return "Signed.", nil, nil
	}
	a, err := ca.Load(staged) // verifies all of it
	if err != nil {
		return "", nil, fmt.Errorf("read back: %w", err)
	}
	after := description(a)
	if p.rehearsal {
		p.rehearsed = after
	} else if !slices.Equal(after, p.rehearsed) {
		return "", nil, fmt.Errorf("what was signed is not what the throwaway key signed: %w", ca.ErrVerify)
	}
	sums, err := hashFiles(staged)
	if err != nil {
		return "", nil, err
	}
	added, err := p.added(sums)
	if err != nil {
		return "", nil, err
	}
	result := []string{}
	for _, line := range after {
		if !slices.Contains(before, line) {
			result = append(result, line)
		}
	}
	return "Signed, read back and verified: " + strings.Join(result, "; ") + ".", []string{"sha256", hashed([]byte(sums.String())), "adds", added}, nil
}

// added names the files of the staged folder that the authority's has not.
func (p *performance) added(staged sums) (string, error) {
	have := sums{}
	if p.authority != nil {
		var err error
		if have, err = hashFiles(p.home); err != nil {
			return "", err
		}
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(staged)) {
		if _, there := have[name]; !there {
			names = append(names, name)
		}
	}
	return strings.Join(names, " "), nil
}

// vouch lets the ceremony's first key sign the transcript up to here, unless it has done so in this process, or is destroyed.
func (p *performance) vouch(keys map[string]Key) error {
	if e, is := p.journal.last(did, stepSign); is && e.Fields["sha256"] != "" {
		sums, err := hashFiles(p.staged())
		if err != nil {
			return err
		}
		if hashed([]byte(sums.String())) != e.Fields["sha256"] {
			return fmt.Errorf("%s is not what the run signed: %w", p.staged(), ca.ErrVerify)
		}
	}
	role := p.plan.deed.uses(p)[0].role
	key, there := keys[role]
	if !there {
		return nil // it is destroyed; the transcript says so, and that the run was interrupted then
	}
	lines, head := len(p.journal.Transcript), p.journal.head()
	signature, err := key.Sign(nil, vouching(head), crypto.SHA256)
	if err != nil {
		return fmt.Errorf("sign the transcript: %w", err)
	}
	return p.journal.write(vouched, "", fmt.Sprintf("The key %s signed the transcript up to entry %d.", role, lines), "lines", strconv.Itoa(lines),
		"key", encodeKey(key.Public().(*ecdsa.PublicKey)), "signature", hex.EncodeToString(signature))
}

// destroy ends a key. What a run that was cut short had destroyed is not there any more, which is as good.
func (p *performance) destroy(ctx context.Context, end ending) error {
	return p.step(ctx, stepDestroy+end.role, "Destroy the key "+end.role+", at "+end.uri+", for ever.", func() (string, []string, error) {
		found, err := p.keys.Destroy(ctx, end.uri, end.public)
		text := "Destroyed the key " + end.role + "; copies of it are not reached from here."
		if !found {
			text = "The key " + end.role + " is not at " + end.uri + " any more."
		}
		return text, nil, err
	})
}

// description is all that an authority says, but for keys, times and the mark of a test authority: a mirror says the same.
func description(a *ca.Authority) []string {
	lines := []string{fmt.Sprintf("authority %s with prefix %v", a.Name, a.Prefix)}
	for epoch := 1; epoch <= a.Epoch(); epoch++ {
		lines = append(lines, fmt.Sprintf("root %d", epoch))
	}
	for _, l := range a.Links {
		lines = append(lines, fmt.Sprintf("link to root %d, which closes the root before it after %d orders", l.Anchor.Name().Epoch(), len(l.Orders)))
	}
	for _, o := range a.Orders {
		lines = append(lines, fmt.Sprintf("order %d of root %d: %d units of product %d (%s) at station %s, %v to %v, for %d hours",
			o.Number(), o.Epoch(), o.Count, o.Certificate.Product, o.Profile.Name, o.Station, o.Certificate.Range.First, o.Certificate.Range.Last, o.Expires.Sub(o.Issued)/time.Hour))
	}
	if l := a.List; l != nil {
		text := fmt.Sprintf("status list %d of root %d:", l.Number, l.Root.Epoch())
		for _, o := range l.Orders {
			text += fmt.Sprintf(" order %d", o.Number())
		}
		for _, r := range l.Ranges {
			text += fmt.Sprintf(" %v to %v", r.First, r.Last)
		}
		for _, s := range l.Serials {
			text += " " + s.String()
		}
		lines = append(lines, text)
	}
	return append(lines, "key of the newest root at "+a.RootURI(), "key of the next root at "+a.NextURI())
}
