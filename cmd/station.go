package cmd

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/hsm"
	"github.com/birthmark/birthmark/internal/durable"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/provision"
)

func (p *program) station() *cobra.Command {
	c := &cobra.Command{Use: "station", Short: "A production line's station: order key, ledger, settings"}
	c.AddCommand(p.stationInit(), p.stationRequest(), p.stationCheck(), p.stationCapture())
	return c
}

// What is in a station's folder, beside its settings.
const (
	requestName = "request.pem"
	orderName   = "current.order"
)

func (p *program) stationInit() *cobra.Command {
	var name, folder string
	var existing bool
	c := &cobra.Command{
		Use:   "init --name NAME --key URI --bundle FILE --dir DIR",
		Short: "Set a station up: its order key, its request, its ledger, its settings",
		Long: `Makes the station's first order key in its token and a new folder with all that
'birthmark provision' needs beside it: a request for the security officer
(request.pem), an empty ledger that is bound to the authority in the bundle, and
settings (birthmark.yaml). Put the order file that comes back there as
current.order.

The folder may be moved: its settings name what is in it by relative paths. It
is never made anew for an order that is in use: a second ledger would give out
the same serial numbers again.`,
		Example: `  birthmark station init --name line-1 --dir station --bundle bundle.cbor \
    --module /usr/lib/softhsm/libsofthsm2.so \
    --key 'pkcs11:token=station;object=order-1'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.runStationInit(c.Context(), name, folder, existing)
		},
	}
	f := c.Flags()
	f.StringVar(&name, "name", "", "the station's name, as orders and receipts show it")
	f.StringVar(&folder, "dir", "", "folder to make")
	f.BoolVar(&existing, "existing", false, "use the key that is at the URI already, if there is one")
	settingFlags(c, append(keySettings, "key", "bundle")...)
	return required(c, "name", "dir", "key")
}

// stationJSON is a new station as --json shows it.
type stationJSON struct {
	Settings string `json:"settings"`
	Request  string `json:"request"`
	Order    string `json:"order"` // where the order file belongs
}

func (p *program) runStationInit(ctx context.Context, name, folder string, existing bool) error {
	bundle, err := p.bundle()
	if err != nil {
		return err
	}
	if err := absent(folder); err != nil {
		return err
	}
	text, err := p.stationSettings(folder)
	if err != nil {
		return err
	}
	request, err := p.makeRequest(ctx, name, existing)
	if err != nil {
		return err
	}
	err = newFolder(folder, func(folder string) error {
		hash := bundle.Anchor.Hash()
		book, err := ledger.Create(filepath.Join(folder, defaultLedger), ledger.Identity{
			Anchor: hash, Authority: hex.EncodeToString(hash[:4]), Station: name, Test: bundle.Anchor.Name().Test(),
		})
		if err != nil {
			return inLedger(err)
		}
		if err := book.Close(); err != nil {
			return inLedger(err)
		}
		for name, data := range map[string][]byte{requestName: request, defaultBundle: bundle.Encode(), settingsName: text} {
			if err := durable.Create(filepath.Join(folder, name), data, 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("the order key is there, repeat with --existing; %w", err)
	}
	view := stationJSON{Settings: filepath.Join(folder, settingsName), Request: filepath.Join(folder, requestName), Order: filepath.Join(folder, orderName)}
	fmt.Fprintf(p.Err, "birthmark: hand %s to the security officer; put the order that comes back at %s\n", view.Request, view.Order)
	return p.answer(view, func() { fmt.Fprintln(p.Out, view.Settings) })
}

// stationSettings is what the new station's file says. Paths inside the folder stay relative, so that it can be moved.
func (p *program) stationSettings(folder string) ([]byte, error) {
	key, err := keySeenFrom(folder, p.settings.Key)
	if err != nil {
		return nil, err
	}
	pinFile := p.settings.PINFile
	if pinFile != "" {
		if pinFile, err = filepath.Abs(pinFile); err != nil {
			return nil, err
		}
	}
	s := map[string]string{"key": key, "ledger": defaultLedger, "order": orderName, "bundle": defaultBundle}
	for name, value := range map[string]string{"module": p.settings.Module, "pin-file": pinFile, "pin-env": p.settings.PINEnv, "pin-credential": p.settings.PINCredential} {
		if value != "" {
			s[name] = value
		}
	}
	return yaml.Marshal(s)
}

func (p *program) stationRequest() *cobra.Command {
	var name, out string
	var existing bool
	c := &cobra.Command{
		Use:   "request --name NAME --key URI [--out FILE]",
		Short: "Make the key and the request for a further order",
		Long: `Each order has a key of its own, so that destroying the key closes the order.
When the order file is there, point key and order in the station's settings to
the new ones.`,
		Example: `  birthmark station request --name line-1 \
    --key 'pkcs11:token=station;object=order-2' --out request-2.pem`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if out != "" {
				if err := absent(out); err != nil {
					return err
				}
			}
			request, err := p.makeRequest(c.Context(), name, existing)
			if err != nil {
				return err
			}
			if err := p.write(out, request); err != nil {
				return fmt.Errorf("the order key is there, repeat with --existing; %w", err)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&name, "name", "", "the station's name, the same as in its first order")
	f.StringVar(&out, "out", "", "file to write (default: standard output)")
	f.BoolVar(&existing, "existing", false, "use the key that is at the URI already, if there is one")
	settingFlags(c, append(keySettings, "key")...)
	return required(c, "name", "key")
}

func (p *program) makeRequest(ctx context.Context, name string, existing bool) ([]byte, error) {
	if err := ca.CheckStation(name); err != nil {
		return nil, err
	}
	options, err := p.keyOptions(new(hsm.Modules))
	if err != nil {
		return nil, err
	}
	key, err := p.makeKey(ctx, p.settings.Key, options, existing)
	if err != nil {
		return nil, err
	}
	defer key.Close()
	public, err := ca.FormatKey(key.Public())
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(p.Err, "birthmark: its public key is %s\n", public)
	request, err := ca.NewRequest(nil, name, key)
	if err != nil {
		return nil, fmt.Errorf("the order key is there, repeat with --existing; %w", err)
	}
	return request, nil
}

func (p *program) stationCheck() *cobra.Command {
	var test bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Check before a shift that the first unit could be signed: order, key, ledger",
		Long: `Opens what 'birthmark provision' will open, checks that it belongs together, and
says how many units are left. A shift is refused here, not at unit 37.`,
		Example: `  birthmark station check --config station/birthmark.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.atStation(c.Context(), test, func(s *provision.Station) error {
				summary, err := s.Book.Summary(c.Context(), s.Order.Number())
				if err != nil {
					return inLedger(err)
				}
				view := readyJSON{
					Order: s.Order.Number(), Station: s.Order.Station, Product: s.Order.Certificate.Product, Profile: s.Order.Profile.Name,
					Expires: s.Order.Expires, Ordered: summary.Ordered, Unused: summary.Unused, Test: s.Order.Test(),
				}
				note := ""
				if s.Captures != nil {
					view.Captured = s.Captures.Len()
					note = fmt.Sprintf(", %d chips captured", view.Captured)
				}
				return p.answer(view, func() {
					fmt.Fprintf(p.Out, "ready: station %q, order %d, product %d (%s), %d of %d units left%s\n",
						view.Station, view.Order, view.Product, view.Profile, view.Unused, view.Ordered, note)
				})
			})
		},
	}
	c.Flags().BoolVar(&test, "test", false, "work for a test authority; without it one is refused")
	stationFlags(c)
	return c
}

// readyJSON is a station that is ready as --json shows it.
type readyJSON struct {
	Station  string    `json:"station"`
	Order    uint16    `json:"order"`
	Product  uint32    `json:"product"`
	Profile  string    `json:"profile"`
	Expires  time.Time `json:"expires"`
	Ordered  uint64    `json:"ordered"`
	Unused   uint64    `json:"unused"`
	Captured int       `json:"captured,omitempty"` // chips on goods-in's lists
	Test     bool      `json:"test"`
}

// stationFlags gives a command that works at a station the flags for its parts.
func stationFlags(c *cobra.Command) {
	settingFlags(c, append(keySettings, "key", "order", "bundle", "captured", "ledger")...)
}

// atStation opens order, ledger and key, in that order, so that a refusal comes before a PIN is asked for, checks that
// they belong together, and closes them after use.
func (p *program) atStation(ctx context.Context, test bool, use func(*provision.Station) error) (err error) {
	if p.settings.Order == "" || p.settings.Key == "" {
		return usage("no order or no key: give --order and --key, or --config with the station's settings")
	}
	order, err := p.order()
	if err != nil {
		return err
	}
	bundle, err := p.bundle()
	if err != nil {
		return err
	}
	if root, known := bundle.Root(order.Epoch()); known && order.Anchor != root {
		return fmt.Errorf("%s is an order of another authority than %s names: %w", p.settings.Order, p.settings.Bundle, ca.ErrVerify)
	}
	if err := bundle.AdmitOrder(order); err != nil {
		return fmt.Errorf("%s with %s: %w", p.settings.Order, p.settings.Bundle, err)
	}
	if err := order.Usable(test, p.now()); err != nil {
		return err
	}
	captures, err := p.captures(order.Profile)
	if err != nil {
		return err
	}
	book, err := ledger.Open(p.settings.Ledger, bundle.Anchor.Hash())
	if err != nil {
		return inLedger(err)
	}
	defer func() {
		closing := inLedger(book.Close())
		if closing != nil && err != error(reported{exitLedger}) { // whose units said the same
			err = errors.Join(err, closing)
		}
	}()
	options, err := p.keyOptions(nil)
	if err != nil {
		return err
	}
	key, err := hsm.OpenKey(ctx, p.settings.Key, options)
	if err != nil {
		return inHSM(err)
	}
	defer key.Close()
	s := &provision.Station{Order: order, Bundle: bundle, Key: key, Book: book, Captures: captures, Test: test, Now: p.now, Baud: p.settings.Baud}
	if err := s.CheckReady(ctx); err != nil {
		return err
	}
	return use(s)
}

// bundle reads what this machine was told of its authority.
func (p *program) bundle() (*ca.Bundle, error) {
	file, err := readFile(p.settings.Bundle)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	b, err := ca.ParseBundle(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.settings.Bundle, err)
	}
	return b, nil
}

// bundleIfAny is bundle for a command that can do without: nil if none is named and none is where one would be.
func (p *program) bundleIfAny() (*ca.Bundle, error) {
	b, err := p.bundle()
	if errors.Is(err, fs.ErrNotExist) && p.settings.Bundle == defaultBundle {
		return nil, nil
	}
	return b, err
}

// order reads the order file of the settings.
func (p *program) order() (*ca.Order, error) {
	file, err := readFile(p.settings.Order)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage("no order at %s: the security officer signs it for the station's request ('birthmark ca order')", p.settings.Order)
	}
	if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	o, err := ca.ParseOrder(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.settings.Order, err)
	}
	return o, nil
}
