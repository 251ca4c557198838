package cmd

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/hsm"
)

// revocation is who to revoke as an officer types it.
type revocation struct {
	orders          []uint
	ranges, serials []string
	lift            bool
	out             string
}

func (p *program) caRevoke() *cobra.Command {
	var r revocation
	c := &cobra.Command{
		Use:   "revoke [--serial EUI ...] [--order N ...] [--range FIRST..LAST ...]",
		Short: "Put units, orders or ranges onto the status list, which units carry to each other",
		Long: `Signs the next status list: all that the last one has, and what is named here. A
listed unit is refused by every unit that has the list. A listed order or range
makes no new pairings, since there are honest units in it; these stay paired. No
station works under a listed order or makes a listed unit.

Give every station the new bundle ('birthmark ca bundle'): new units are born
with the list, and pass it on to those that they meet, or 'birthmark unit
update' does. A list takes 512 bytes; listing an order in place of its units
saves room. --lift takes what is named off the list again.`,
		Example: `  birthmark ca revoke --serial 02-1A-2B-00-00-00-00-07 --out bundle-2.cbor
  birthmark ca revoke --order 3 \
    --range 02-1A-2B-00-00-00-10-00..02-1A-2B-00-00-00-10-FF
  birthmark ca revoke --lift --serial 02-1A-2B-00-00-00-00-07`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			request, err := r.read()
			if err != nil {
				return err
			}
			return p.runRevoke(c.Context(), request, r.out)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&r.serials, "serial", nil, "serial number of a unit; may be given more than once")
	f.UintSliceVar(&r.orders, "order", nil, "number of an order; may be given more than once")
	f.StringArrayVar(&r.ranges, "range", nil, "first and last serial number; may be given more than once")
	f.BoolVar(&r.lift, "lift", false, "take these off the list")
	f.StringVar(&r.out, "out", "", "write the new bundle here as well")
	settingFlags(c, append(keySettings, "authority")...)
	return c
}

func (r revocation) read() (request ca.RevokeRequest, err error) {
	if len(r.serials)+len(r.orders)+len(r.ranges) == 0 {
		return request, usage("give --serial, --order or --range")
	}
	request.Lift = r.lift
	for _, text := range r.serials {
		serial, err := ca.ParseEUI64(text)
		if err != nil {
			return request, err
		}
		request.Serials = append(request.Serials, serial)
	}
	for _, number := range r.orders {
		if number > 65535 {
			return request, usage("--order %d: an order's number is 65535 at most", number)
		}
		request.Orders = append(request.Orders, uint16(number))
	}
	for _, text := range r.ranges {
		serials, err := ca.ParseRange(text)
		if err != nil {
			return request, err
		}
		request.Ranges = append(request.Ranges, serials)
	}
	return request, nil
}

func (p *program) runRevoke(ctx context.Context, r ca.RevokeRequest, out string) error {
	a, err := ca.Load(p.settings.Authority)
	if err != nil {
		return err
	}
	if err := a.CanRevoke(r); err != nil {
		return err
	}
	if out != "" {
		if err := absent(out); err != nil {
			return err
		}
	}
	root, err := p.rootKey(ctx, a)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := a.Revoke(nil, root, r); err != nil {
		return err
	}
	if out != "" {
		bundle, err := a.Publish()
		if err == nil {
			err = p.write(out, bundle.Encode())
		}
		if err != nil {
			return fmt.Errorf("status list %d is signed; write the bundle with 'birthmark ca bundle': %w", a.List.Number, err)
		}
	}
	view := listView(a)
	return p.answer(view, func() { view.write(p) })
}

// rootKey opens the key of the newest root.
func (p *program) rootKey(ctx context.Context, a *ca.Authority) (hsm.Key, error) {
	options, err := p.keyOptions(nil)
	if err != nil {
		return nil, err
	}
	uri, err := keyIn(p.settings.Authority, a.RootURI())
	if err != nil {
		return nil, err
	}
	root, err := hsm.OpenKey(ctx, uri, options)
	return root, inHSM(err)
}

// listJSON is a status list as --json shows it.
type listJSON struct {
	Root    int      `json:"root"` // epoch of the root that signed it
	Number  uint32   `json:"number"`
	Orders  []uint16 `json:"orders"`
	Ranges  []string `json:"ranges"` // FIRST..LAST
	Serials []string `json:"serials"`
	Bytes   int      `json:"bytes"`
	Room    int      `json:"room"` // serial numbers that still fit
}

func listView(a *ca.Authority) listJSON {
	l := a.List
	v := listJSON{Root: l.Root.Epoch(), Number: l.Number, Orders: []uint16{}, Ranges: []string{}, Serials: []string{}, Bytes: len(l.Object), Room: a.ListRoom()}
	for _, o := range l.Orders {
		v.Orders = append(v.Orders, o.Number())
	}
	for _, r := range l.Ranges {
		v.Ranges = append(v.Ranges, fmt.Sprintf("%v..%v", r.First, r.Last))
	}
	for _, s := range l.Serials {
		v.Serials = append(v.Serials, s.String())
	}
	return v
}

func (v listJSON) write(p *program) {
	fmt.Fprintf(p.Out, "status list  %d of root %d, %d bytes, room for %d more serial numbers\n", v.Number, v.Root, v.Bytes, v.Room)
	for _, o := range v.Orders {
		fmt.Fprintf(p.Out, "  order      %d\n", o)
	}
	for _, r := range v.Ranges {
		fmt.Fprintf(p.Out, "  range      %s\n", strings.Replace(r, "..", " to ", 1))
	}
	for _, s := range v.Serials {
		fmt.Fprintf(p.Out, "  unit       %s\n", s)
	}
}

func (p *program) caRelease() *cobra.Command {
	var serial, out string
	var generation uint32
	c := &cobra.Command{
		Use:   "release --serial EUI --generation G [--out FILE]",
		Short: "Sign the end of one pairing, for a unit whose peer is lost",
		Long: `Signs a release, which one unit takes once: its pairing is over, and it may pair
anew. 'birthmark unit inspect' shows the unit's serial number and the generation
of its pairing; 'birthmark unit update' hands it over.`,
		Example: `  birthmark ca release --serial 02-1A-2B-00-00-00-00-07 --generation 1 \
    --out 07.release`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			eui, err := ca.ParseEUI64(serial)
			if err != nil {
				return err
			}
			a, err := ca.Load(p.settings.Authority)
			if err != nil {
				return err
			}
			if out != "" {
				if err := absent(out); err != nil {
					return err
				}
			}
			root, err := p.rootKey(c.Context(), a)
			if err != nil {
				return err
			}
			defer root.Close()
			release, err := ca.SignRelease(nil, root, a.Newest(), eui, generation)
			if err != nil {
				return err
			}
			return p.write(out, release.Object)
		},
	}
	f := c.Flags()
	f.StringVar(&serial, "serial", "", "the unit's serial number")
	f.Uint32Var(&generation, "generation", 0, "generation of the pairing that ends")
	f.StringVar(&out, "out", "", "file to write (default: standard output)")
	settingFlags(c, append(keySettings, "authority")...)
	return required(c, "serial", "generation")
}
