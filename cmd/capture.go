package cmd

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/hsm"
	"github.com/birthmark/birthmark/internal/durable"
	"github.com/birthmark/birthmark/provision"
)

const (
	captureSuffix = ".capture"
	begunName     = "begun.txt"
)

func (p *program) stationCapture() *cobra.Command {
	var name, profile, out string
	var ports []string
	var verbose bool
	c := &cobra.Command{
		Use:   "capture --profile FILE --key URI --name NAME --out FILE --port PORT [--port PORT ...]",
		Short: "At goods-in: prepare the chip of the unit on each port, and sign the list of them",
		Long: `For products whose profile says 'attestation: captured'. Configures and locks
the chip of the unit on each port, compares it with the profile, has it attest
its new key once, and signs the list of the chips with the key that each attests
by. A line with that list knows these chips again, and takes no others.

Goods-in is best another place than the line, with people of its own; its key is
made by 'birthmark station request', which says what the profile's goods_in has
to name. It takes blank chips alone: what was locked before may hold a key that
somebody put there. A file beside the list, begun.txt, has the chips that were
begun, so keep the lists of one goods-in in one folder.

What cannot be undone: the chip's configuration and data zone are locked. A
unit that fails is named and is not on the list. An interrupted run writes none:
run it again, the chips come back with the same keys.`,
		Example: `  birthmark station capture --name goods-in --profile ./meter.yaml \
    --key 'pkcs11:token=goods-in;object=capture-1' --out lists/monday.capture \
    --port /dev/ttyUSB0 --port /dev/ttyUSB1`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if filepath.Ext(out) != captureSuffix {
				return usage("--out %s: a list's name ends in %s, or no station finds it in its folder", out, captureSuffix)
			}
			if err := checkPorts(ports); err != nil {
				return err
			}
			g := &provision.GoodsIn{Baud: p.settings.Baud}
			if verbose {
				g.Watch = p.watch
			}
			return p.runCapture(c.Context(), g, name, profile, out, ports)
		},
	}
	f := c.Flags()
	f.StringVar(&name, "name", "", "goods-in's name, as receipts show it")
	f.StringVar(&profile, "profile", "", "product profile: a YAML file")
	f.StringVar(&out, "out", "", "file to write, NAME"+captureSuffix)
	f.StringArrayVar(&ports, "port", nil, "serial port of a unit; may be given up to 64 times")
	f.BoolVarP(&verbose, "verbose", "v", false, "say each stage as it begins")
	settingFlags(c, append(keySettings, "key", "baud")...)
	return required(c, "name", "profile", "out", "key")
}

// captureJSON is a capture list as --json shows it.
type captureJSON struct {
	File     string         `json:"file"`
	SHA256   string         `json:"sha256"` // of the list, as receipts name it
	Station  string         `json:"station"`
	Captured time.Time      `json:"captured"`
	Chips    []capturedJSON `json:"chips"`
}

// capturedJSON is one chip of a list.
type capturedJSON struct {
	Chip string `json:"chip"`
	Key  string `json:"key"` // compressed
}

func (p *program) runCapture(ctx context.Context, g *provision.GoodsIn, name, profile, out string, ports []string) (err error) {
	if err := ca.CheckStation(name); err != nil {
		return err
	}
	if g.Profile, err = readProfile(profile); err != nil {
		return err
	}
	if err := absent(out); err != nil {
		return err
	}
	options, err := p.keyOptions(nil)
	if err != nil {
		return err
	}
	key, err := hsm.OpenKey(ctx, p.settings.Key, options)
	if err != nil {
		return inHSM(err)
	}
	defer key.Close()
	if err := g.Profile.CheckGoodsIn(key.Public()); err != nil {
		return err
	}
	begun := filepath.Join(filepath.Dir(out), begunName)
	if g.Begun, err = provision.OpenBegun(begun); err != nil {
		return usage("%w", err)
	}
	defer g.Begun.Close()

	var chips []ca.Captured
	var failures []int
	g.Run(ctx, ports, func(r provision.Result) {
		if r.Err != nil {
			failures = append(failures, p.failed(r))
			return
		}
		chips = append(chips, *r.Captured)
		fmt.Fprintf(p.Err, "birthmark: captured chip %s, %s, %v\n", r.Chip, r.Port, r.Took.Round(time.Millisecond))
	})
	// An interrupted run is run again under the same name, and the whole list is signed then.
	if len(chips) > 0 && !slices.Contains(failures, exitInterrupted) {
		list, err := ca.SignCapture(nil, key, name, p.now(), chips)
		if err != nil {
			return err
		}
		if err := durable.WriteNew(out, list.Object, 0o644); err != nil {
			return err
		}
		if err := p.showCapture(out, list); err != nil {
			return err
		}
	}
	if len(failures) > 0 {
		return reported{worst(failures)}
	}
	return nil
}

func (p *program) showCapture(file string, list *ca.Capture) error {
	view := captureJSON{File: file, SHA256: fmt.Sprintf("%x", list.Fingerprint()), Station: list.Station, Captured: list.At}
	for _, c := range list.Chips {
		key, err := ca.FormatKey(c.Key)
		if err != nil {
			return err
		}
		view.Chips = append(view.Chips, capturedJSON{fmt.Sprintf("%x", c.Chip), key})
	}
	return p.answer(view, func() {
		for _, c := range view.Chips {
			fmt.Fprintf(p.Out, "chip %s  attests by %s\n", c.Chip, c.Key)
		}
		fmt.Fprintf(p.Out, "list %.8s  %d chips, captured by %q, in %s\n", view.SHA256, len(view.Chips), view.Station, view.File)
	})
}

// captures reads goods-in's lists, where the profile asks for them: else nil. That one is damaged or that nobody whom the profile
// names has signed it stops the station, so that it is found before the shift.
func (p *program) captures(profile *ca.Profile) (*ca.Captures, error) {
	if !profile.Captured() {
		return nil, nil
	}
	all := profile.NewCaptures()
	if p.settings.Captured == "" {
		return all, nil // CheckReady says that there is none
	}
	files := []string{p.settings.Captured}
	info, err := os.Stat(p.settings.Captured)
	if err != nil {
		return nil, fmt.Errorf("capture lists: %w", err)
	}
	if info.IsDir() {
		if files, err = fs.Glob(os.DirFS(p.settings.Captured), "*"+captureSuffix); err != nil {
			return nil, err
		}
		for i, file := range files {
			files[i] = filepath.Join(p.settings.Captured, file)
		}
	}
	for _, file := range files {
		object, err := readFile(file)
		if err != nil {
			return nil, fmt.Errorf("capture list: %w", err)
		}
		list, err := ca.ParseCapture(object)
		if err == nil {
			err = all.Add(list)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return all, nil
}
