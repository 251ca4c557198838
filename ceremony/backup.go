package ceremony

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/internal/durable"
)

const maxMistyped = 32 // lines of shares; more are no mistakes of a person who reads them from paper

// backupName is the file of a key's backup.
func backupName(role string) string { return strings.ReplaceAll(role, " ", "-") + ".backup" }

// divide makes a key with a backup: the wrapped key is on the disk and each holder has his share on paper before the key is in any
// token. A run that stops between draws another key, and another secret: shares of the first are worth nothing.
func (p *performance) divide(ctx context.Context, u use, id []byte) (Key, error) {
	holders := p.plan.holders()
	b, err := p.keys.Divide(ctx, u.uri, u.shares.Needed, len(holders))
	if err != nil {
		return nil, err
	}
	if err := durable.Replace(filepath.Join(p.folder, backupName(u.role)), b.File()); err != nil {
		return nil, err
	}
	for i, page := range b.Pages() {
		if err := p.handOver(ctx, holders[i], page); err != nil {
			return nil, err
		}
		text := fmt.Sprintf("%s has share %d of %d of backup %s, of which any %d bring the key back.", holders[i], i+1, len(holders), b.Code(), u.shares.Needed)
		if err := p.journal.write(present, "", text); err != nil {
			return nil, err
		}
	}
	if u.shares.Copy != "" {
		second, err := b.Restore(ctx, u.shares.Copy, id)
		if err != nil {
			return nil, fmt.Errorf("second token: %w", err)
		}
		if err := second.Close(); err != nil {
			return nil, err
		}
	}
	return b.Restore(ctx, u.uri, id)
}

// handOver shows a share to its holder, and to nobody else; it is not in the transcript. A rehearsal has nothing to show.
func (p *performance) handOver(ctx context.Context, holder, page string) error {
	if p.rehearsal {
		return nil
	}
	if err := p.yes(ctx, fmt.Sprintf("%s alone looks at the screen now. Type Yes", holder)); err != nil {
		return err
	}
	p.Console.Tell(page)
	if err := p.yes(ctx, fmt.Sprintf("%s: is it on paper, and compared? Type Yes", holder)); err != nil {
		return err
	}
	p.Console.Wipe()
	return nil
}

// restore brings a key back from its backup, as soon as shares enough are typed.
func (p *performance) restore(ctx context.Context, u use, id []byte) (Key, error) {
	b, err := p.keys.Backup(u.backup)
	if err != nil {
		return nil, err
	}
	wanted, mistyped := 1, 0
	for wanted > 0 && !p.rehearsal {
		line, err := p.Console.Ask(ctx, fmt.Sprintf("A line of a share of backup %s", b.Code()))
		if err != nil {
			return nil, err
		}
		if line == "" {
			return nil, fmt.Errorf("shares of backup %s: %w", b.Code(), ErrDeclined)
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		left, err := b.Line(line)
		switch {
		case err == nil:
			wanted = left
		case mistyped == maxMistyped:
			return nil, fmt.Errorf("%w: %w", ErrDeclined, err)
		default:
			mistyped++
			p.Console.Tell(sentence(err) + "\n")
		}
	}
	p.Console.Wipe()
	return b.Restore(ctx, u.uri, id)
}

// restoration brings a key back.
type restoration struct {
	plain
	plan *RestorationPlan
	file []byte
}

func (*restoration) title() string { return "Show that the key is there." }

func (d *restoration) read(in *inputs) (err error) {
	d.file, err = in.file("backup", d.plan.Backup)
	return err
}

func (d *restoration) check(p *performance) error {
	p.authority = nil // nothing in its folder changes
	if _, err := p.Place(d.plan.Key); err != nil {
		return err
	}
	if _, err := p.Keys.Backup(d.file); err != nil {
		return fmt.Errorf("%s: %w: %w", d.plan.Backup, err, ca.ErrMalformed)
	}
	return nil
}

func (d *restoration) uses(p *performance) []use {
	return []use{{role: roleRestored, uri: p.placed(d.plan.Key), make: true, backup: d.file}}
}

func (*restoration) sign(*performance, string, map[string]Key) error { return nil }
