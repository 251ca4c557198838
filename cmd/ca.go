package cmd

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/hsm"
	"github.com/birthmark/birthmark/templates"
)

func (p *program) ca() *cobra.Command {
	c := &cobra.Command{Use: "ca", Short: "The manufacturer's authority: roots and orders"}
	c.AddCommand(p.caInit(), p.caOrder(), p.caBundle(), p.caShow())
	return c
}

func authorityFlag(c *cobra.Command) {
	c.Flags().String("authority", "authority", "the authority's folder")
}

func (p *program) caInit() *cobra.Command {
	var r ca.InitRequest
	var prefix string
	var existing bool
	c := &cobra.Command{
		Use:   "init --name NAME --root URI --next URI",
		Short: "Make an authority: root certificates, and the key that will replace the root",
		Long: `Makes the root key and the key of the root after it, and writes the authority's folder: the root's X.509 and C509
certificates and authority.yaml. Units will hold the hash of the next root's key, so that the root can be rotated even if it
is lost or stolen: keep the next key on another token, elsewhere.

A URI names a token (RFC 7512) or, for a test authority, an encrypted key file. Where two tokens have two PINs, give each
URI a pin-source.`,
		Example: `  birthmark ca init --name ACME --module /usr/lib/softhsm/libsofthsm2.so \
    --root 'pkcs11:token=officer;object=root-1' --next 'pkcs11:token=vault;object=root-2?pin-source=file:/media/stick/vault.pin'
  birthmark ca init --name ACME --test --root root-1.key --next root-2.key --pin-file passphrase`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r.Folder, r.Now = p.settings.Authority, p.now()
			if prefix != "" {
				var err error
				if r.Prefix, err = ca.ParsePrefix(prefix); err != nil {
					return err
				}
			}
			return p.runInit(c.Context(), r, existing)
		},
	}
	f := c.Flags()
	f.StringVar(&r.Name, "name", "", "the authority's name, as X.509 certificates show it")
	f.StringVar(&r.RootURI, "root", "", "where the root key is made: PKCS#11 URI with an object, or a key file")
	f.StringVar(&r.NextURI, "next", "", "where the next root's key is made: another token, or another key file")
	f.StringVar(&prefix, "prefix", "", "prefix of all serial numbers, such as an OUI 00-1A-2B (default: a locally administered one, drawn)")
	f.BoolVar(&r.Test, "test", false, "mark the authority as a test authority, for ever")
	f.BoolVar(&existing, "existing", false, "use the keys that are at the URIs already")
	authorityFlag(c)
	keyFlags(c)
	return required(c, "name", "root", "next")
}

func (p *program) runInit(ctx context.Context, r ca.InitRequest, existing bool) error {
	if err := r.Check(); err != nil {
		return err
	}
	open := hsm.CreateKey
	if existing {
		open = hsm.OpenKey
	}
	var modules hsm.Modules
	options, err := p.keyOptions(&modules)
	if err != nil {
		return err
	}
	root, err := open(ctx, r.RootURI, options)
	if err != nil {
		return inHSM(err)
	}
	defer root.Close()
	next, err := open(ctx, r.NextURI, options)
	if err != nil {
		return inHSM(fmt.Errorf("the root key is made (repeat with --existing once both are there); next root: %w", err))
	}
	defer next.Close()
	a, err := ca.Init(nil, root, next, r)
	if err != nil {
		return err
	}
	return p.showAuthority(a)
}

func (p *program) caOrder() *cobra.Command {
	var request, profile, first, last, validity, out string
	var count uint64
	c := &cobra.Command{
		Use:   "order --request FILE --profile NAME|FILE (--count N | --first EUI --last EUI)",
		Short: "Permit a station to build: sign an order for a product and a serial range",
		Long: `Signs the next order of the authority: an issuing certificate over the station's order key, limited to one product and one
range of serial numbers that every unit in the field checks, and around it what binds the station: count and time. Orders
are numbered and chained; ranges never overlap. The order file goes into the authority's folder; carry it to the station.`,
		Example: `  birthmark ca order --request request.pem --profile demo-sensor --count 1000 --validity 30d
  birthmark ca order --request request.pem --profile ./pump.yaml --first 02-1A-2B-00-00-00-10-00 --last 02-1A-2B-00-00-00-1F-FF --out pump.order`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := p.orderRequest(request, profile, first, last, validity, count)
			if err != nil {
				return err
			}
			return p.runOrder(c.Context(), r, out)
		},
	}
	f := c.Flags()
	f.StringVar(&request, "request", "", "the station's request, from 'birthmark station init'")
	f.StringVar(&profile, "profile", "", "product profile: one that is built in ("+strings.Join(templates.Products(), ", ")+"), or a YAML file")
	f.Uint64Var(&count, "count", 0, "how many units may be made")
	f.StringVar(&first, "first", "", "first serial number (default: the next free one)")
	f.StringVar(&last, "last", "", "last serial number; with --first, instead of --count")
	f.StringVar(&validity, "validity", "30d", "how long the station may use the order, in days (30d) or hours (12h)")
	f.StringVar(&out, "out", "", "write a copy of the order file here as well")
	authorityFlag(c)
	keyFlags(c)
	return required(c, "request", "profile")
}

// orderRequest reads the files and values that an officer named.
func (p *program) orderRequest(request, profile, first, last, validity string, count uint64) (r ca.OrderRequest, err error) {
	r = ca.OrderRequest{Count: count, Now: p.now()}
	file, err := os.ReadFile(request)
	if err != nil {
		return r, err
	}
	if r.Request, err = ca.ParseRequest(file); err != nil {
		return r, fmt.Errorf("%s: %w", request, err)
	}
	if r.Profile, err = readProfile(profile); err != nil {
		return r, err
	}
	if r.Validity, err = parseDays(validity); err != nil {
		return r, err
	}
	if first != "" {
		if r.First, err = ca.ParseEUI64(first); err != nil {
			return r, err
		}
	}
	if (last != "") == (count != 0) || last != "" && first == "" {
		return r, usage("give --count, or --first and --last")
	}
	if last != "" {
		end, err := ca.ParseEUI64(last)
		if err != nil {
			return r, err
		}
		if end < r.First {
			return r, usage("--last %v comes before --first %v", end, r.First)
		}
		r.Count = ca.Range{First: r.First, Last: end}.Size()
	}
	return r, nil
}

func (p *program) runOrder(ctx context.Context, r ca.OrderRequest, out string) error {
	a, err := ca.Load(p.settings.Authority)
	if err != nil {
		return err
	}
	if err := a.CanOrder(r); err != nil {
		return err
	}
	options, err := p.keyOptions(nil)
	if err != nil {
		return err
	}
	root, err := hsm.OpenKey(ctx, a.RootURI, options)
	if err != nil {
		return inHSM(err)
	}
	defer root.Close()
	o, err := a.Order(nil, root, r)
	if err != nil {
		return err
	}
	if out != "" {
		if err := writeNew(out, o.File); err != nil {
			return fmt.Errorf("order %d is signed and in %s; copy it from there: %w", o.Number(), a.OrderPath(o), err)
		}
	}
	fmt.Fprintf(p.Err, "birthmark: %d more orders fit under root %d; then rotate it\n", a.Remaining(), a.Anchor.Name().Epoch())
	return p.answer(orderView(a, o), func() { writeOrder(p.Out, a.OrderPath(o), o) })
}

func (p *program) caBundle() *cobra.Command {
	var out, profile string
	var asC bool
	c := &cobra.Command{
		Use:   "bundle [--c --profile NAME|FILE] [--out FILE]",
		Short: "Write what units are given: the bundle, or --c the constants for a firmware image",
		Example: `  birthmark ca bundle --out bundle.cbor
  birthmark ca bundle --c --profile demo-sensor --out birthmark_image.h`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a, err := ca.Load(p.settings.Authority)
			if err != nil {
				return err
			}
			if asC != (profile != "") {
				return usage("--c and --profile go together: the constants name a product")
			}
			data := a.Anchor.Bundle()
			if asC {
				product, err := readProfile(profile)
				if err != nil {
					return err
				}
				data = []byte(a.Anchor.ImageConstants(product))
			}
			return p.write(out, data)
		},
	}
	f := c.Flags()
	f.BoolVar(&asC, "c", false, "write a C header with the image's constants")
	f.StringVar(&profile, "profile", "", "the image's product, with --c")
	f.StringVar(&out, "out", "", "file to write (default: standard output)")
	authorityFlag(c)
	return c
}

func (p *program) caShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show",
		Short: "Verify the authority's folder and show its root and orders",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a, err := ca.Load(p.settings.Authority)
			if err != nil {
				return err
			}
			return p.showAuthority(a)
		},
	}
	authorityFlag(c)
	return c
}

func (p *program) showAuthority(a *ca.Authority) error {
	hash, next := a.Anchor.Hash(), a.Anchor.Next()
	view := map[string]any{
		"name": a.Name, "test": a.Test, "epoch": a.Anchor.Name().Epoch(), "prefix": a.Prefix.String(),
		"anchor": hex.EncodeToString(hash[:]), "next": hex.EncodeToString(next[:]),
		"root_key": a.RootURI, "next_key": a.NextURI, "orders": orderViews(a), "orders_left": a.Remaining(),
	}
	return p.answer(view, func() {
		kind := "production"
		if a.Test {
			kind = "TEST, its units must never be sold"
		}
		fmt.Fprintf(p.Out, "authority    %s (%s)\nroot         epoch %d, key at %s\nanchor       %x\nnext root    key %x at %s\nprefix       %v\norders       %d, room for %d more\n",
			a.Name, kind, a.Anchor.Name().Epoch(), a.RootURI, hash, next, a.NextURI, a.Prefix, len(a.Orders), a.Remaining())
		for _, o := range a.Orders {
			writeOrder(p.Out, a.OrderPath(o), o)
		}
	})
}

// readProfile takes the name of a built-in profile, or a path, which has a dot or a slash in it.
func readProfile(name string) (*ca.Profile, error) {
	var text []byte
	var err error
	if strings.ContainsAny(name, "./") {
		text, err = os.ReadFile(name)
	} else if text, err = templates.Product(name); err != nil {
		err = usage("%w", err)
	}
	if err != nil {
		return nil, err
	}
	profile, err := ca.ParseProfile(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return profile, nil
}

// parseDays reads a duration that may be given in days.
func parseDays(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, usage("duration %q: want days such as 30d, or hours such as 12h", s)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, usage("duration %q: want days such as 30d, or hours such as 12h", s)
	}
	return d, nil
}

// required names the flags that a command cannot do without.
func required(c *cobra.Command, names ...string) *cobra.Command {
	for _, name := range names {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined a few lines above
		}
	}
	return c
}

// write puts an answer of bytes on stdout or into a new file.
func (p *program) write(out string, data []byte) error {
	if out != "" {
		return writeNew(out, data)
	}
	_, err := p.Out.Write(data)
	return err
}

// writeNew writes a new file and syncs it; an existing one is never overwritten.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
