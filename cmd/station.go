package cmd

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/hsm"
	"github.com/birthmark/birthmark/ledger"
	"github.com/birthmark/birthmark/provision"
)

func (p *program) station() *cobra.Command {
	c := &cobra.Command{Use: "station", Short: "A production line's station: order key, ledger, settings"}
	c.AddCommand(p.stationInit(), p.stationRequest(), p.stationCheck())
	return c
}

const (
	requestName = "request.pem"
	bundleName  = "bundle.cbor"
	ledgerName  = "ledger.db"
	orderName   = "current.order"
)

func (p *program) stationInit() *cobra.Command {
	var name, folder, bundle string
	var existing bool
	c := &cobra.Command{
		Use:   "init --name NAME --key URI --bundle FILE --dir DIR",
		Short: "Set a station up: its order key, its request, its ledger, its settings",
		Long: `Makes the station's first order key in its token and a folder with all that 'birthmark provision' needs beside it: a
request for the security officer (request.pem), an empty ledger that is bound to the authority in the bundle, and settings
(birthmark.yaml). Put the order file that comes back there as current.order.`,
		Example: `  birthmark station init --name line-1 --dir station --bundle bundle.cbor \
    --module /usr/lib/softhsm/libsofthsm2.so --key 'pkcs11:token=station;object=order-1'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.runStationInit(c.Context(), name, folder, bundle, existing)
		},
	}
	f := c.Flags()
	f.StringVar(&name, "name", "", "the station's name, as orders and receipts show it")
	f.StringVar(&folder, "dir", "", "folder to set up")
	f.StringVar(&bundle, "bundle", "", "the authority's bundle, from 'birthmark ca bundle'")
	f.String("key", "", "where the order key is made: PKCS#11 URI with an object, or a key file")
	f.BoolVar(&existing, "existing", false, "use the key that is at the URI already")
	keyFlags(c)
	return required(c, "name", "dir", "bundle", "key")
}

func (p *program) runStationInit(ctx context.Context, name, folder, bundle string, existing bool) error {
	file, err := os.ReadFile(bundle)
	if err != nil {
		return err
	}
	anchor, err := ca.ParseBundle(file)
	if err != nil {
		return fmt.Errorf("%s: %w", bundle, err)
	}
	if _, err := os.Lstat(filepath.Join(folder, settingsName)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds a station already: %w", folder, fs.ErrExist)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	text, err := yaml.Marshal(p.stationSettings())
	if err != nil {
		return err
	}
	request, err := p.makeRequest(ctx, name, existing)
	if err != nil {
		return err
	}
	hash := anchor.Hash()
	book, err := ledger.Create(filepath.Join(folder, ledgerName), ledger.Identity{
		Anchor: hash, Authority: hex.EncodeToString(hash[:4]), Station: name, Test: anchor.Name().Test(),
	})
	if err != nil {
		return inLedger(err)
	}
	if err := book.Close(); err != nil {
		return inLedger(err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{requestName, request}, {bundleName, file}, {settingsName, text}} {
		if err := writeNew(filepath.Join(folder, f.name), f.data); err != nil {
			return err
		}
	}
	fmt.Fprintf(p.Err, "birthmark: hand %s to the security officer; put the order that comes back at %s\n",
		filepath.Join(folder, requestName), filepath.Join(folder, orderName))
	fmt.Fprintln(p.Out, filepath.Join(folder, settingsName))
	return nil
}

// stationSettings is what the new station's file says. Paths inside the folder stay relative, so that it can be moved.
func (p *program) stationSettings() map[string]string {
	s := map[string]string{"key": p.settings.Key, "ledger": ledgerName, "order": orderName, "bundle": bundleName}
	for key, value := range map[string]string{"module": p.settings.Module, "pin-file": absolute(p.settings.PINFile), "pin-credential": p.settings.PINCredential} {
		if value != "" {
			s[key] = value
		}
	}
	return s
}

func absolute(path string) string {
	if path == "" {
		return ""
	}
	if a, err := filepath.Abs(path); err == nil {
		return a
	}
	return path
}

func (p *program) stationRequest() *cobra.Command {
	var name, out string
	var existing bool
	c := &cobra.Command{
		Use:     "request --name NAME --key URI --out FILE",
		Short:   "Make the key and the request for a further order",
		Long:    `Each order has a key of its own, so that destroying the key closes the order. Point key and order in the station's settings to the new ones when the order file is there.`,
		Example: `  birthmark station request --name line-1 --key 'pkcs11:token=station;object=order-2' --out request-2.pem`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			request, err := p.makeRequest(c.Context(), name, existing)
			if err != nil {
				return err
			}
			return p.write(out, request)
		},
	}
	f := c.Flags()
	f.StringVar(&name, "name", "", "the station's name")
	f.String("key", "", "where the order key is made")
	f.StringVar(&out, "out", "", "file to write (default: standard output)")
	f.BoolVar(&existing, "existing", false, "use the key that is at the URI already")
	keyFlags(c)
	return required(c, "name", "key")
}

func (p *program) makeRequest(ctx context.Context, name string, existing bool) ([]byte, error) {
	options, err := p.keyOptions(nil)
	if err != nil {
		return nil, err
	}
	open := hsm.CreateKey
	if existing {
		open = hsm.OpenKey
	}
	key, err := open(ctx, p.settings.Key, options)
	if err != nil {
		return nil, inHSM(err)
	}
	defer key.Close()
	return ca.NewRequest(nil, name, key)
}

func (p *program) stationCheck() *cobra.Command {
	var test bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Check before a shift that the first unit could be signed: order, key, ledger",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.atStation(c.Context(), test, func(s *provision.Station) error {
				summary, err := s.Book.Summary(c.Context(), s.Order.Number())
				if err != nil {
					return inLedger(err)
				}
				return p.answer(summary, func() {
					fmt.Fprintf(p.Out, "ready: order %d, product %s, %d of %d units left\n", s.Order.Number(), s.Order.Profile.Name, summary.Unused, summary.Ordered)
				})
			})
		},
	}
	stationFlags(c)
	c.Flags().BoolVar(&test, "test", false, "work for a test authority")
	return c
}

// stationFlags gives a command that works at a station the flags for its parts.
func stationFlags(c *cobra.Command) {
	f := c.Flags()
	f.String("order", "", "order file in force")
	f.String("bundle", "", "the authority's bundle")
	f.String("key", "", "the order key: PKCS#11 URI or key file")
	f.String("ledger", "", "the station's ledger")
	f.Int("baud", 0, "speed of the serial line, bits a second")
	keyFlags(c)
}

// atStation opens order, ledger and key, in that order, so that a refusal comes before a PIN is asked for, checks that
// they belong together, and closes them after use.
func (p *program) atStation(ctx context.Context, test bool, use func(*provision.Station) error) error {
	if p.settings.Order == "" || p.settings.Key == "" {
		return usage("no order or no key: give --order and --key, or --config with the station's settings")
	}
	file, err := os.ReadFile(p.settings.Order)
	if err != nil {
		return fmt.Errorf("order: %w", err)
	}
	order, err := ca.ParseOrder(file)
	if err != nil {
		return fmt.Errorf("%s: %w", p.settings.Order, err)
	}
	anchor, err := p.anchor()
	if err != nil {
		return err
	}
	if order.Anchor != anchor {
		return fmt.Errorf("%s is an order of another authority than %s names: %w", p.settings.Order, p.settings.Bundle, ca.ErrVerify)
	}
	if err := order.Usable(test, p.now()); err != nil {
		return err
	}
	book, err := ledger.Open(p.settings.Ledger, anchor.Hash())
	if err != nil {
		return inLedger(err)
	}
	defer book.Close()
	options, err := p.keyOptions(nil)
	if err != nil {
		return err
	}
	key, err := hsm.OpenKey(ctx, p.settings.Key, options)
	if err != nil {
		return inHSM(err)
	}
	defer key.Close()
	s := &provision.Station{Order: order, Key: key, Book: book, Test: test, Now: p.now, Baud: p.settings.Baud}
	if err := s.CheckReady(ctx); err != nil {
		return err
	}
	return use(s)
}

// anchor reads what this machine was told of its authority.
func (p *program) anchor() (ca.Anchor, error) {
	file, err := os.ReadFile(p.settings.Bundle)
	if err != nil {
		return ca.Anchor{}, fmt.Errorf("bundle: %w", err)
	}
	a, err := ca.ParseBundle(file)
	if err != nil {
		return ca.Anchor{}, fmt.Errorf("%s: %w", p.settings.Bundle, err)
	}
	return a, nil
}
