package ceremony

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/birthmark/birthmark/internal/durable"
)

const stepAbort = "abort"

// Abort takes a run back that was stopped: the keys that it made are destroyed, what it signed is removed, and the transcript stays in
// a folder of its own. Once the authority's folder was written, or a key destroyed, it refuses (ErrNoReturn): then Run finishes. It
// may be repeated where it was stopped itself. Errors wrap ErrNoRun, ErrComplete, ErrDeclined, or are those of the tokens.
func (c *Ceremony) Abort(ctx context.Context) (*Outcome, error) {
	folder := filepath.Join(c.Folder, runFolder)
	switch _, err := os.Lstat(filepath.Join(folder, transcriptFile)); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", folder, ErrNoRun)
	case err != nil:
		return nil, err
	}
	journal, torn, err := openJournal(filepath.Join(folder, transcriptFile), c.Now)
	if err != nil {
		return nil, err
	}
	defer journal.Close()
	journal.cut = c.cut
	p := &performance{Ceremony: c, folder: folder, keys: c.Keys, journal: journal, home: c.Authority}
	if err := p.returnable(); err != nil {
		return nil, err
	}
	if _, over := journal.last(sealed, ""); !over {
		if err := p.abort(ctx, torn); err != nil {
			return nil, err
		}
	}
	if err := p.writeManifest(); err != nil {
		return nil, err
	}
	outcome, err := p.outcome()
	if err != nil {
		return nil, err
	}
	if outcome.Folder, err = free(c.Folder, abortedPrefix); err != nil {
		return nil, err
	}
	if err := os.Rename(folder, outcome.Folder); err != nil {
		return nil, err
	}
	return outcome, durable.SyncFolder(c.Folder)
}

// returnable refuses what cannot be taken back.
func (p *performance) returnable() error {
	_, aborted := p.journal.last(undone, stepAbort)
	if _, over := p.journal.last(sealed, ""); over && !aborted {
		return fmt.Errorf("%s: %w", p.folder, ErrComplete)
	}
	if p.published() {
		return fmt.Errorf("the run in %s has begun to write the authority's folder: %w", p.folder, ErrNoReturn)
	}
	for _, e := range p.journal.Transcript {
		if step := e.Fields["step"]; e.What == intends && strings.HasPrefix(step, stepDestroy) {
			return fmt.Errorf("the run in %s has begun to %s: %w", p.folder, step, ErrNoReturn)
		}
	}
	return nil
}

// abort destroys what the run made, newest first.
func (p *performance) abort(ctx context.Context, torn bool) error {
	var made []use
	var text strings.Builder
	for _, e := range p.journal.Transcript {
		if role, is := strings.CutPrefix(e.Fields["step"], stepKey); is && e.What == intends {
			made = append([]use{{role: role, uri: e.Fields["uri"]}}, made...)
			fmt.Fprintf(&text, "The key %s at %s is destroyed, if this run made it.\n", role, e.Fields["uri"])
		}
	}
	p.Console.Tell(text.String() + "What the run signed is removed; its transcript stays.\n")
	if err := p.yes(ctx, "Shall the run be taken back? Type Yes"); err != nil {
		return err
	}
	note := "The run is taken back."
	if torn {
		note += " Its last entry was torn and is cut off."
	}
	if len(p.journal.Transcript) == 0 { // it died before its first entry was whole
		if err := p.journal.write(begin, "", note, "key", p.journal.public(), "plan", strings.Repeat("0", 64), "build", p.Build,
			"time", p.journal.now().UTC().Format(time.RFC3339), "rehearsal", "false"); err != nil {
			return err
		}
	} else if err := p.journal.write(resumed, "", note, "key", p.journal.public()); err != nil {
		return err
	}
	if err := p.journal.write(agreed, "", "Yes was typed to take the run back."); err != nil {
		return err
	}
	p.Ceremony.journal = p.journal
	defer func() { p.Ceremony.journal = nil }()
	for _, u := range made {
		if err := p.discard(ctx, u); err != nil {
			return p.stop(fmt.Errorf("%s: %w", u.role, err))
		}
	}
	entries, err := os.ReadDir(p.folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != transcriptFile {
			if err := os.RemoveAll(filepath.Join(p.folder, e.Name())); err != nil {
				return p.stop(err)
			}
		}
	}
	if err := p.journal.write(undone, stepAbort, "Everything is as it was before the run: its keys are destroyed, and nothing that it signed is left."); err != nil {
		return err
	}
	if err := p.journal.write(files, "", "No file is left but this transcript."); err != nil {
		return err
	}
	return p.journal.seal()
}
