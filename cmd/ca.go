package cmd

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/hsm"
	"github.com/birthmark/birthmark/templates"
)

func (p *program) ca() *cobra.Command {
	c := &cobra.Command{Use: "ca", Short: "The manufacturer's authority: roots, orders, revocation"}
	c.AddCommand(p.caInit(), p.caOrder(), p.caRotate(), p.caRevoke(), p.caRelease(), p.caBundle(), p.caShow())
	return c
}

func (p *program) caInit() *cobra.Command {
	var r ca.InitRequest
	var prefix string
	var existing bool
	c := &cobra.Command{
		Use:   "init --name NAME --root URI --next URI",
		Short: "Make an authority: root certificates, and the key that will replace the root",
		Long: `Makes the root key and the key of the root after it, and writes the authority's
folder: the root's X.509 and C509 certificates and authority.yaml. Units will
hold the hash of the next root's key, so that the root can be rotated even if it
is lost or stolen: keep the next key on another token, elsewhere.

A URI names a token (RFC 7512) or an encrypted key file; a root in a file is for
test authorities only. Where two keys have two PINs, give each token's URI a
pin-source. The folder names key files by their path from the folder.

A run that stopped after it made a key is completed with --existing.`,
		Example: `  birthmark ca init --name ACME --module /usr/lib/softhsm/libsofthsm2.so \
    --root 'pkcs11:token=officer;object=root-1' \
    --next 'pkcs11:token=vault;object=root-2?pin-source=file:/media/stick/pin'
  birthmark ca init --name CI --test --root root-1.key --next root-2.key \
    --pin-file passphrase`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if prefix != "" {
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
	f.StringVar(&prefix, "prefix", "", "prefix of all serial numbers, such as the OUI 00-1A-2B (default: one that is locally administered, drawn)")
	f.BoolVar(&r.Test, "test", false, "mark the authority as a test authority, for ever")
	f.BoolVar(&existing, "existing", false, "use a key that is at its URI already, make the one that is not")
	settingFlags(c, append(keySettings, "authority")...)
	return required(c, "name", "root", "next")
}

func (p *program) runInit(ctx context.Context, r ca.InitRequest, existing bool) (err error) {
	r.Folder, r.Now = p.settings.Authority, p.now()
	rootURI, nextURI := r.RootURI, r.NextURI
	if r.RootURI, err = keySeenFrom(r.Folder, rootURI); err != nil {
		return err
	}
	if r.NextURI, err = keySeenFrom(r.Folder, nextURI); err != nil {
		return err
	}
	if err := r.Check(); err != nil {
		return err
	}
	var modules hsm.Modules
	options, err := p.keyOptions(&modules)
	if err != nil {
		return err
	}
	root, err := p.makeKey(ctx, rootURI, options, existing)
	if err != nil {
		return err
	}
	defer root.Close()
	next, err := p.makeKey(ctx, nextURI, options, existing)
	if err != nil {
		return fmt.Errorf("the root key is there, complete the authority with --existing; next root: %w", err)
	}
	defer next.Close()
	a, err := ca.Init(nil, root, next, r)
	if errors.Is(err, ca.ErrPolicy) {
		return err
	}
	if err != nil {
		return fmt.Errorf("both keys are there, complete the authority with --existing; %w", err)
	}
	return p.showAuthority(a)
}

func (p *program) caBundle() *cobra.Command {
	var out, profile string
	var asC bool
	c := &cobra.Command{
		Use:   "bundle [--c --profile NAME|FILE] [--out FILE]",
		Short: "Write what stations and units are given: the bundle, or --c the constants for a firmware image",
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
			bundle, err := a.Publish()
			if err != nil {
				return err
			}
			data := bundle.Encode()
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
	f.StringVar(&profile, "profile", "", "the image's product, with --c: built in ("+strings.Join(templates.Products(), ", ")+"), or a YAML file")
	f.StringVar(&out, "out", "", "file to write (default: standard output)")
	settingFlags(c, "authority")
	return c
}

func (p *program) caShow() *cobra.Command {
	c := &cobra.Command{
		Use:     "show",
		Short:   "Verify the authority's folder and show its root and orders",
		Example: `  birthmark ca show`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a, err := ca.Load(p.settings.Authority)
			if err != nil {
				return err
			}
			return p.showAuthority(a)
		},
	}
	settingFlags(c, "authority")
	return c
}

// authorityJSON is an authority as --json shows it.
type authorityJSON struct {
	Name       string      `json:"name"`
	Test       bool        `json:"test"`
	Epoch      int         `json:"epoch"`
	Prefix     string      `json:"prefix"`
	Anchor     string      `json:"anchor"`   // SHA-256, what a firmware image holds
	RootKey    string      `json:"root_key"` // URI
	NextKey    string      `json:"next_key"` // URI
	NextHash   string      `json:"next_hash"`
	Orders     []orderJSON `json:"orders"`
	OrdersLeft int         `json:"orders_left"`    // under this root
	LeftInLife int         `json:"orders_in_life"` // under this root and all to come
	List       *listJSON   `json:"list,omitempty"` // the status list
}

func (p *program) showAuthority(a *ca.Authority) error {
	anchor, next, epoch := a.Anchor.Hash(), a.Newest().Next(), a.Epoch()
	view := authorityJSON{
		Name: a.Name, Test: a.Test, Epoch: epoch, Prefix: a.Prefix.String(),
		Anchor: hex.EncodeToString(anchor[:]), RootKey: a.RootURI(), NextKey: a.NextURI(), NextHash: hex.EncodeToString(next[:]),
		Orders: make([]orderJSON, 0, len(a.Orders)), OrdersLeft: a.Remaining(), LeftInLife: a.RemainingInLife(),
	}
	for _, o := range a.Orders {
		view.Orders = append(view.Orders, orderView(a, o))
	}
	if a.List != nil {
		list := listView(a)
		view.List = &list
	}
	return p.answer(view, func() {
		kind := "production"
		if a.Test {
			kind = "TEST, its units must never be sold"
		}
		fmt.Fprintf(p.Out, "authority    %s (%s)\nroot         epoch %d, key at %s\nanchor       %s\nnext root    key at %s\n             SHA-256 %s\nprefix       %s\norders       %d, room for %d more under this root, %d in all\n",
			view.Name, kind, view.Epoch, view.RootKey, view.Anchor, view.NextKey, view.NextHash, view.Prefix, len(view.Orders), view.OrdersLeft, view.LeftInLife)
		for _, o := range view.Orders {
			o.write(p.Out)
		}
		if view.List != nil {
			view.List.write(p)
		}
		if a.ListOutdated() {
			fmt.Fprintf(p.Out, "NOT DONE     the status list is not signed by root %d: repeat 'birthmark ca rotate'\n", view.Epoch)
		}
	})
}

// readProfile takes the name of a built-in profile, or a path, which has a dot or a slash in it.
func readProfile(name string) (*ca.Profile, error) {
	var text []byte
	var err error
	if strings.ContainsAny(name, "./") {
		text, err = readFile(name)
	} else if text, err = templates.Product(name); err != nil {
		err = usage("%w; a file's name has a dot or a slash in it", err)
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

// required names the flags that a command cannot do without.
func required(c *cobra.Command, names ...string) *cobra.Command {
	for _, name := range names {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined a few lines above
		}
	}
	return c
}
