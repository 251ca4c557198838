package cmd

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/hsm"
	"github.com/birthmark/birthmark/templates"
)

// orderFlags are an order as an officer types it.
type orderFlags struct {
	request, profile, first, last, validity, out string
	count                                        uint64
}

func (p *program) caOrder() *cobra.Command {
	var o orderFlags
	c := &cobra.Command{
		Use:   "order --request FILE --profile NAME|FILE (--count N | --first EUI --last EUI)",
		Short: "Permit a station to build: sign an order for a product and a serial range",
		Long: `Signs the next order of the authority: an issuing certificate over the station's
order key, limited to one product and one range of serial numbers that every
unit in the field checks, and around it what binds the station: count and time.
Orders are numbered and chained; ranges never overlap. The order file goes into
the authority's folder; carry it, or the copy of --out, to the station.`,
		Example: `  birthmark ca order --request request.pem --profile demo-sensor --count 1000
  birthmark ca order --request request.pem --profile ./pump.yaml --validity 7d \
    --first 02-1A-2B-00-00-00-10-00 --last 02-1A-2B-00-00-00-1F-FF`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := o.read(p.now())
			if err != nil {
				return err
			}
			return p.runOrder(c.Context(), r, o.out)
		},
	}
	f := c.Flags()
	f.StringVar(&o.request, "request", "", "the station's request, from 'birthmark station init'")
	f.StringVar(&o.profile, "profile", "", "product profile: built in ("+strings.Join(templates.Products(), ", ")+"), or a YAML file")
	f.Uint64Var(&o.count, "count", 0, "how many units may be made")
	f.StringVar(&o.first, "first", "", "first serial number (default: the next free one)")
	f.StringVar(&o.last, "last", "", "last serial number; with --first, instead of --count")
	f.StringVar(&o.validity, "validity", "30d", "how long the station may use the order, in days (30d) or hours (12h)")
	f.StringVar(&o.out, "out", "", "write a copy of the order file here as well")
	settingFlags(c, append(keySettings, "authority")...)
	return required(c, "request", "profile")
}

// read reads the files and values that the officer named.
func (o orderFlags) read(now time.Time) (r ca.OrderRequest, err error) {
	r = ca.OrderRequest{Count: o.count, Now: now}
	file, err := readFile(o.request)
	if err != nil {
		return r, err
	}
	if r.Request, err = ca.ParseRequest(file); err != nil {
		return r, fmt.Errorf("%s: %w", o.request, err)
	}
	if r.Profile, err = readProfile(o.profile); err != nil {
		return r, err
	}
	if r.Validity, err = parseDays(o.validity); err != nil {
		return r, err
	}
	if (o.last != "") == (o.count != 0) || o.last != "" && o.first == "" {
		return r, usage("give --count, or --first and --last")
	}
	if o.first != "" {
		if r.First, err = ca.ParseEUI64(o.first); err != nil {
			return r, err
		}
	}
	if o.last != "" {
		last, err := ca.ParseEUI64(o.last)
		if err != nil {
			return r, err
		}
		if last < r.First {
			return r, usage("--last %v comes before --first %v", last, r.First)
		}
		r.Count = ca.Range{First: r.First, Last: last}.Size()
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
	if out != "" {
		if err := absent(out); err != nil {
			return err
		}
	}
	options, err := p.keyOptions(nil)
	if err != nil {
		return err
	}
	uri, err := keyIn(p.settings.Authority, a.RootURI())
	if err != nil {
		return err
	}
	root, err := hsm.OpenKey(ctx, uri, options)
	if err != nil {
		return inHSM(err)
	}
	defer root.Close()
	o, err := a.Order(nil, root, r)
	if err != nil {
		return err
	}
	if out != "" {
		if err := p.write(out, o.File); err != nil {
			return fmt.Errorf("order %d is signed and in %s; copy it from there: %w", o.Number(), a.OrderPath(o), err)
		}
	}
	fmt.Fprintf(p.Err, "birthmark: %d more orders fit under root %d; then rotate it (%d in all, which units have room to close)\n",
		a.Remaining(), a.Epoch(), a.RemainingInLife())
	view := orderView(a, o)
	return p.answer(view, func() { view.write(p.Out) })
}

// parseDays reads a duration that may be given in days.
func parseDays(s string) (time.Duration, error) {
	const day = 24 * time.Hour
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * day, nil
		}
	} else if d, err := time.ParseDuration(s); err == nil {
		return d, nil
	}
	return 0, usage("duration %q: want days such as 30d, or hours such as 12h", s)
}

// orderJSON is an order as --json shows it.
type orderJSON struct {
	File        string    `json:"file"`
	Number      uint16    `json:"number"`
	Root        int       `json:"root"` // epoch of the root that signed it
	Station     string    `json:"station"`
	Product     uint32    `json:"product"`
	Profile     string    `json:"profile"`
	First       string    `json:"first"` // EUI-64
	Last        string    `json:"last"`
	Count       uint64    `json:"count"`
	Issued      time.Time `json:"issued"`
	Expires     time.Time `json:"expires"`
	Certificate string    `json:"certificate"` // SHA-256
	Test        bool      `json:"test"`
}

func orderView(a *ca.Authority, o *ca.Order) orderJSON {
	fingerprint := o.Certificate.Fingerprint()
	return orderJSON{
		File:        a.OrderPath(o),
		Number:      o.Number(),
		Root:        o.Epoch(),
		Station:     o.Station,
		Product:     o.Certificate.Product,
		Profile:     o.Profile.Name,
		First:       o.Certificate.Range.First.String(),
		Last:        o.Certificate.Range.Last.String(),
		Count:       o.Count,
		Issued:      o.Issued,
		Expires:     o.Expires,
		Certificate: hex.EncodeToString(fingerprint[:]),
		Test:        o.Test(),
	}
}

func (o orderJSON) write(w io.Writer) {
	fmt.Fprintf(w, "order %-6d %d units of product %d (%s) at station %q\n             %s to %s, until %s UTC, root %d\n             %s\n",
		o.Number, o.Count, o.Product, o.Profile, o.Station, o.First, o.Last, o.Expires.Format("2006-01-02 15:04"), o.Root, o.File)
}
