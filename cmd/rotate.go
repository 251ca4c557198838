package cmd

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ceremony"
	"github.com/birthmark/birthmark/hsm"
	"github.com/birthmark/birthmark/ledger"
)

// rotation is a rotation as an officer types it.
type rotation struct {
	after, out               string
	ledgers                  []string
	existing, destroyOld, ok bool
}

func (p *program) caRotate() *cobra.Command {
	var r rotation
	c := &cobra.Command{
		Use:   "rotate --after URI",
		Short: "Let the next root take the present one's place, and name the key of the root after it",
		Long: `Makes the key of the root after the next, and lets the next root's key sign: the
new root's certificates, and the link, which units take as proof. The link names
the hash of the key after it and closes the old root: of the orders that the old
root signed, units take those in this folder from then on, and no others. The
old root's key is not needed, so that a lost or stolen root is replaced in the
same way. The status list is signed again by the new root.

Compare the ledgers of all stations with --ledger: an order that is missing in
the folder would be closed out, and its units refused. There is one rotation of
each root, for ever; a run that stopped half way is completed by the same
command, with --existing where it had made the key.

Afterwards destroy the old root's key: with --destroy-old, or where it is. Then
give every station the new bundle ('birthmark ca bundle'); units get the link
from new units that they meet, or by 'birthmark unit update'.`,
		Example: `  birthmark ca rotate --ledger line-1/ledger.db --ledger line-2/ledger.db \
    --module /usr/lib/softhsm/libsofthsm2.so \
    --after 'pkcs11:token=officer;object=root-3' --out bundle-2.cbor
  birthmark ca rotate --after 'pkcs11:token=officer;object=root-3' --destroy-old`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.runRotate(c.Context(), r) },
	}
	f := c.Flags()
	f.StringVar(&r.after, "after", "", "where the key of the root after the next is made: PKCS#11 URI with an object, or a key file")
	f.BoolVar(&r.existing, "existing", false, "use the key that is at the URI already, if there is one")
	f.StringArrayVar(&r.ledgers, "ledger", nil, "ledger of a station, whose orders must all be in the folder; may be given more than once")
	f.BoolVar(&r.destroyOld, "destroy-old", false, "destroy the old root's key afterwards, once Yes is typed")
	f.BoolVar(&r.ok, "yes", false, "do not ask before the old key is destroyed")
	f.StringVar(&r.out, "out", "", "write the new bundle here as well")
	settingFlags(c, append(keySettings, "authority")...)
	return required(c, "after")
}

func (p *program) runRotate(ctx context.Context, r rotation) error {
	a, err := ca.Load(p.settings.Authority)
	if err != nil {
		return err
	}
	request := ca.RotateRequest{Now: p.now()}
	if request.AfterURI, err = keySeenFrom(p.settings.Authority, r.after); err != nil {
		return err
	}
	if r.out != "" {
		if err := absent(r.out); err != nil {
			return err
		}
	}
	for _, path := range r.ledgers {
		book, err := readBook(ctx, a, path)
		if err != nil {
			return err
		}
		if err := book.Known(a); err != nil {
			return err
		}
	}
	var modules hsm.Modules
	options, err := p.keyOptions(&modules)
	if err != nil {
		return err
	}
	if err := p.rotate(ctx, a, r, request, options); err != nil {
		return err
	}
	bundle, err := a.Publish()
	if err != nil {
		return err
	}
	if r.out != "" {
		if err := p.write(r.out, bundle.Encode()); err != nil {
			return fmt.Errorf("root %d is in its place; write the bundle with 'birthmark ca bundle': %w", a.Epoch(), err)
		}
	}
	if r.destroyOld {
		if err := p.destroyOld(ctx, a, r.ok, options); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(p.Err, "birthmark: now destroy the key of root %d, at %s and wherever it was copied: the same command with --destroy-old does the first\n", a.Epoch()-1, a.OldURI())
	}
	return p.showAuthority(a)
}

// rotate makes the rotation, or finishes one that was cut short.
func (p *program) rotate(ctx context.Context, a *ca.Authority, r rotation, request ca.RotateRequest, options hsm.Options) error {
	signer := a.NextURI()
	done := a.Rotated(request)
	switch {
	case done && !a.ListOutdated():
		fmt.Fprintf(p.Err, "birthmark: root %d is in its place already, and the next one's key is at %s\n", a.Epoch(), a.NextURI())
		return nil
	case done:
		signer = a.RootURI()
	default:
		if err := a.CanRotate(request); err != nil {
			return err
		}
	}
	uri, err := keyIn(p.settings.Authority, signer)
	if err != nil {
		return err
	}
	root, err := hsm.OpenKey(ctx, uri, options)
	if err != nil {
		return fmt.Errorf("the next root's key: %w", inHSM(err))
	}
	defer root.Close()
	if !done {
		after, err := p.makeKey(ctx, r.after, options, r.existing)
		if err != nil {
			return err
		}
		defer after.Close()
		if err := a.Rotate(nil, root, after.Public().(*ecdsa.PublicKey), request); err != nil {
			return fmt.Errorf("the key of the root after the next is there, repeat with --existing; %w", err)
		}
	}
	if err := a.RenewList(nil, root); err != nil {
		return fmt.Errorf("root %d is in its place, the status list is not signed by it, repeat this command; %w", a.Epoch(), err)
	}
	return nil
}

// readBook reads a station's ledger, to be compared with the authority's folder.
func readBook(ctx context.Context, a *ca.Authority, path string) (b ceremony.Book, err error) {
	book, err := ledger.OpenReadOnly(path, a.Anchor.Hash())
	if err != nil {
		return b, inLedger(err)
	}
	defer func() { err = errors.Join(err, inLedger(book.Close())) }()
	orders, err := book.Orders(ctx)
	if err != nil {
		return b, inLedger(err)
	}
	b.Station = book.Identity().Station
	for _, o := range orders {
		b.Orders = append(b.Orders, ceremony.BookOrder{Number: o.Number, Fingerprint: o.Fingerprint})
	}
	return b, nil
}

// destroyOld destroys the key of the root that the newest one replaced, once the person agrees.
func (p *program) destroyOld(ctx context.Context, a *ca.Authority, agreed bool, options hsm.Options) error {
	epoch := a.Epoch() - 1
	if !agreed {
		fmt.Fprintf(p.Err, "birthmark: the key of root %d, at %s, will be destroyed for ever; type Yes to go on\n", epoch, a.OldURI())
		line, _ := bufio.NewReader(p.In).ReadString('\n') // an input that ends says no
		if strings.TrimSpace(line) != "Yes" {
			return usage("the key of root %d is not destroyed, Yes was not typed; root %d is in its place", epoch, a.Epoch())
		}
	}
	uri, err := keyIn(p.settings.Authority, a.OldURI())
	if err != nil {
		return err
	}
	old, _ := a.Root(epoch)
	switch err := hsm.DestroyKey(ctx, uri, old.Key(), options); {
	case errors.Is(err, hsm.ErrNoKey):
		fmt.Fprintf(p.Err, "birthmark: the key of root %d is not at %s any more\n", epoch, a.OldURI())
	case err != nil:
		return fmt.Errorf("root %d is in its place, the key of root %d is not destroyed, repeat this command; %w", a.Epoch(), epoch, inHSM(err))
	default:
		fmt.Fprintf(p.Err, "birthmark: destroyed the key of root %d, at %s; destroy its copies as well\n", epoch, a.OldURI())
	}
	return nil
}
