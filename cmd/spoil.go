package cmd

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/fleet"
	"github.com/birthmark/birthmark/fleet/spoil"
	"github.com/birthmark/birthmark/internal/durable"
)

func (p *program) fleetSpoil() *cobra.Command {
	var path, out string
	c := &cobra.Command{
		Use:   "spoil --fleet PATH --out DIR",
		Short: "Make negative units of a made fleet: one thing wrong with each",
		Long: `Makes certificates, links, status lists and releases from the first unit of a
fleet that 'fleet make' made, with one thing wrong with each and everything else
as it should be: who should sign has signed it as it is. They are for whoever
writes or changes what judges units: a check that lets its kinds pass is missing
or wrong.

DIR gets one file of each kind, good ones beside them, the bundles and keys that
they are judged with, and manifest.json, which says of each kind which check has
to refuse it and why, what the unit's C library returns, and with which
arguments and exit code 'birthmark cert verify' says the same. The same fleet
gives the same bytes.`,
		Example: `  birthmark fleet spoil --fleet fleet.jsonl --out spoiled
  birthmark cert verify spoiled/unit-high-s.chain --bundle spoiled/bundle.cbor`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.runFleetSpoil(c.Context(), path, out) },
	}
	f := c.Flags()
	f.StringVar(&path, "fleet", "", "what 'birthmark fleet make' made")
	f.StringVar(&out, "out", "", "folder to make")
	return required(c, "fleet", "out")
}

// spoiledJSON is a spoiled fleet as --json shows it.
type spoiledJSON struct {
	Path   string `json:"path"`
	Anchor string `json:"anchor"`
	Kinds  int    `json:"kinds"`
	Good   int    `json:"good"`
	Checks int    `json:"checks"`
}

func (p *program) runFleetSpoil(ctx context.Context, path, out string) error {
	made, err := fleet.Open(path)
	if err != nil {
		return err
	}
	s, err := spoil.Make(made)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	view := spoiledJSON{Path: out, Anchor: s.Anchor}
	checks := map[string]bool{}
	for _, k := range s.Kinds {
		if k.Check == "" {
			view.Good++
			continue
		}
		view.Kinds++
		checks[k.Check] = true
	}
	view.Checks = len(checks)
	err = newFolder(out, func(folder string) error {
		for name, data := range s.Files() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := durable.Create(filepath.Join(folder, name), data, 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.answer(view, func() {
		fmt.Fprintf(p.Out, "spoiled  %s, TEST\n", view.Path)
		fmt.Fprintf(p.Out, "kinds    %d of %d checks, and %d good ones\n", view.Kinds, view.Checks, view.Good)
		fmt.Fprintf(p.Out, "anchor   %s\n", view.Anchor)
	})
}
