package cmd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/birthmark/birthmark/fleet"
)

func (p *program) fleetMake() *cobra.Command {
	var r fleet.MakeRequest
	var profile string
	c := &cobra.Command{
		Use:   "make -n N --out PATH",
		Short: "Make a fleet of test units with keys and certificates, as files",
		Long: `Makes a test authority, its orders and N units with their keys and
certificates, on all cores. Nothing of it can be used in production: the
authority is marked as a test authority, whose units 'provision' and every
product's firmware refuse, and all keys lie open in what is written.

The end of PATH's name says in which form: .cbor is a CBOR sequence, .jsonl
JSON lines, .db an SQLite database, .tar a tar file of what any other name
gets, a folder: fleet.json, the authority's own folder, bundle.cbor, keys, and
for each unit SERIAL.key, .c509, .chain and, with --x509, .pem.

The same --seed gives the same bytes on every machine; without one a seed is
drawn, and shown. A run that was stopped goes on where it was, if it is started
again with the same values; a path that has another fleet is left alone.`,
		Example: `  birthmark fleet make -n 1000 --out fleet.jsonl --seed ci-1
  birthmark fleet make -n 20 --orders 2 --x509 --out fleet`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.runFleetMake(c.Context(), r, profile) },
	}
	f := c.Flags()
	f.IntVarP(&r.Units, "units", "n", 0, "how many units")
	f.StringVar(&r.Out, "out", "", "where to: NAME.cbor, NAME.jsonl, NAME.db, NAME.tar, or a folder")
	f.StringVar(&r.Seed, "seed", "", "any text, which gives all keys (default: drawn)")
	f.IntVar(&r.Orders, "orders", 1, "orders that share the units, 1 to 32")
	f.BoolVar(&r.X509, "x509", false, "each unit gets its X.509 twin as well")
	f.StringVar(&profile, "profile", "demo-sensor", "the units' product, as for 'birthmark ca order'")
	return required(c, "units", "out")
}

// madeJSON is a made fleet as --json shows it.
type madeJSON struct {
	Path   string `json:"path"`
	Seed   string `json:"seed"`
	Anchor string `json:"anchor"`
	Units  int    `json:"units"`
	Orders int    `json:"orders"`
	Had    int    `json:"had"`
}

func (p *program) runFleetMake(ctx context.Context, r fleet.MakeRequest, profile string) (err error) {
	if r.Profile, err = readProfile(profile); err != nil {
		return err
	}
	if r.Seed == "" {
		if r.Seed, err = seedOf(r.Out); err != nil {
			return err
		}
	}
	had := -1
	bar := newBar(p.Err, "fleet make", r.Units, p.now)
	err = fleet.Make(ctx, r, func(units int) {
		if had < 0 {
			had = units
		}
		bar.show(units)
	})
	bar.clear()
	if err != nil {
		return err
	}
	made, err := fleet.Open(r.Out)
	if err != nil {
		return err
	}
	anchor := made.Bundle.Anchor.Hash()
	view := madeJSON{r.Out, r.Seed, hex.EncodeToString(anchor[:]), made.Head.Units, len(made.Orders), had}
	return p.answer(view, func() {
		fmt.Fprintf(p.Out, "fleet   %s, TEST\n", view.Path)
		fmt.Fprintf(p.Out, "units   %d\n", view.Units)
		fmt.Fprintf(p.Out, "orders  %d\n", view.Orders)
		fmt.Fprintf(p.Out, "seed    %s\n", view.Seed)
		fmt.Fprintf(p.Out, "anchor  %s\n", view.Anchor)
	})
}

// seedOf gives the seed of the fleet that a stopped run has left at path, or a new one.
func seedOf(path string) (string, error) {
	made, err := fleet.Open(path)
	switch {
	case err == nil:
		return made.Seed, nil
	case !os.IsNotExist(err):
		return "", err
	}
	return strings.ToLower(rand.Text()), nil
}

// bar shows on a terminal how far a long job is; elsewhere it is silent.
type bar struct {
	out         io.Writer // nil: nobody looks
	name        string
	all         int
	now         func() time.Time
	began, last time.Time
	first       int // where it began
}

const barEvery = 200 * time.Millisecond

func newBar(out io.Writer, name string, all int, now func() time.Time) *bar {
	b := &bar{name: name, all: all, now: now}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		b.out = out
	}
	return b
}

func (b *bar) show(done int) {
	now := b.now()
	if b.began.IsZero() {
		b.began, b.first = now, done
	}
	if b.out == nil || now.Sub(b.last) < barEvery {
		return
	}
	b.last = now
	fmt.Fprintf(b.out, "\r\x1b[K%s  %s  %d of %d%s", b.name, gauge(done, b.all), done, b.all, b.pace(done, now))
}

// pace says how fast it goes and when it ends, once that can be said.
func (b *bar) pace(done int, now time.Time) string {
	took := now.Sub(b.began).Seconds()
	if took < 1 || done == b.first {
		return ""
	}
	rate := float64(done-b.first) / took
	left := time.Duration(float64(b.all-done) / rate * float64(time.Second))
	return fmt.Sprintf("  %.0f/s, %v left", rate, left.Round(time.Second))
}

func gauge(done, all int) string {
	const width = 30
	full := done * width / max(all, 1)
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}

func (b *bar) clear() {
	if b.out != nil && !b.last.IsZero() {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
}
