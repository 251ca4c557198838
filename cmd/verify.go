package cmd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/device"
	"github.com/birthmark/birthmark/fleet"
)

// verification is what 'cert verify' was asked beside the file.
type verification struct {
	issuer, as, peerOf, key string
	fleet                   bool
	order, bundle           bool // they were typed
}

func (p *program) certVerify() *cobra.Command {
	var v verification
	c := &cobra.Command{
		Use:   "verify FILE [--order FILE | --issuer FILE | --as KIND | --fleet]",
		Short: "Verify a certificate or what a root signed, as a unit would; a certificate under any issuer; or a fleet",
		Long: `With --bundle, typed or configured, judges as a unit does that has the bundle:
a unit's C509 certificate under its --order, typed or configured, or a chain,
{25: [unit, order]} as a unit shows itself, which has its order in it: profile,
root, range, both signatures, status list. The unit's own C code, where this
build has it, must come to the same verdict. --peer-of asks whether units of a
product would pair with it, --public-key whether it is for this key.
With --as link, list or release, FILE is an object for units of that kind, which
must follow the bundle's newest root, or be signed by it.
With --issuer, verifies the signature alone, under the issuer's certificate in
any format; that says nothing about what the certificate may be used for.
With --fleet, FILE is what 'fleet make' made, and the certificates of all its
units are verified, on all cores: under the fleet's own authority, or that of
--bundle if it is typed.`,
		Example: `  birthmark cert verify certificates/02-1A-2B-00-00-00-00-01.c509 \
    --order station/current.order --bundle bundle.cbor
  birthmark cert verify fleet/units/0000/02-1A-2B-00-00-00-00-01.chain \
    --bundle fleet/bundle.cbor --peer-of demo-sensor
  birthmark cert verify authority/link-2.cbor --as link
  birthmark cert verify certificates/order-1.pem --issuer certificates/root.pem`,
		Args: exactly(1, "FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			v.order, v.bundle = c.Flags().Changed("order"), c.Flags().Changed("bundle")
			return p.verify(c.Context(), args[0], v)
		},
	}
	f := c.Flags()
	f.StringVar(&v.issuer, "issuer", "", "the issuer's certificate")
	f.StringVar(&v.as, "as", "", "FILE is what a root signed: link, list or release")
	f.StringVar(&v.peerOf, "peer-of", "", "product whose units would meet it, a profile as for 'birthmark ca order'")
	f.StringVar(&v.key, "public-key", "", "the key that it has to be for, PEM")
	f.BoolVar(&v.fleet, "fleet", false, "FILE is a fleet, whose units are all verified")
	settingFlags(c, "order", "bundle")
	return c
}

func (p *program) verify(ctx context.Context, path string, v verification) error {
	several := 0
	for _, given := range []bool{v.order, v.issuer != "", v.as != "", v.fleet} {
		if given {
			several++
		}
	}
	switch {
	case v.fleet && several > 1:
		return usage("--fleet goes with --bundle alone: a fleet has its own orders")
	case several > 1:
		return usage("give one of --order, --issuer and --as")
	case (v.peerOf != "" || v.key != "") && (v.issuer != "" || v.as != "" || v.fleet):
		return usage("--peer-of and --public-key are of a unit's certificate, under its order, or its chain")
	case v.fleet:
		return p.verifyFleet(ctx, path, v.bundle)
	case v.as != "":
		return p.verifyObject(path, v.as)
	case v.issuer != "":
		return p.verifySignature(path, v.issuer)
	}
	return p.verifyUnit(path, v)
}

// goodJSON is a certificate that was verified as --json shows it; all but Verified are of a unit's.
type goodJSON struct {
	Verified bool   `json:"verified"` // true: else there is no answer
	Serial   string `json:"serial,omitempty"`
	Product  uint32 `json:"product,omitempty"`
	Order    uint16 `json:"order,omitempty"`
	Code     string `json:"code,omitempty"`
	Agreed   bool   `json:"agreed,omitempty"` // the unit's own code agrees; absent where the build has none
}

// chainHead begins a chain: a map of one.
const chainHead = 0xA1

func (p *program) verifyUnit(path string, v verification) error {
	data, err := p.readInput(path)
	if err != nil {
		return err
	}
	chain := len(data) > 0 && data[0] == chainHead
	switch {
	case chain && v.order:
		return usage("%s is a chain, which has its order in it: leave --order out", path)
	case !chain && p.settings.Order == "":
		return usage("give --order for a unit's certificate, --issuer for any other, --as for what a root signed, or --fleet for a fleet")
	}
	j := judge{}
	if j.bundle, err = p.bundle(); err != nil {
		return err
	}
	if err := j.read(v); err != nil {
		return err
	}
	var o *ca.OrderCertificate
	var u *ca.UnitCertificate
	if chain {
		u, o, err = ca.ParseIDCred(data)
	} else {
		file, fault := p.order()
		if fault != nil {
			return fault
		}
		o = file.Certificate
		u, err = parseUnit(data)
	}
	var agreed bool
	if err == nil {
		agreed, err = j.unit(o, u)
	}
	if err != nil {
		return mark(fmt.Errorf("%s: %w", path, err), ca.ErrVerify)
	}
	view := goodJSON{
		Verified: true, Serial: u.Serial.String(), Product: o.Product, Order: o.Name.Number(), Code: u.Code(), Agreed: agreed,
	}
	return p.answer(view, func() {
		fmt.Fprintf(p.Out, "good: %s, product %d, order %d, CERT %s%s\n", view.Serial, view.Product, view.Order, view.Code, agreement(agreed))
	})
}

func agreement(agreed bool) string {
	if agreed {
		return "; the unit's own code agrees"
	}
	return ""
}

// parseUnit reads a unit's certificate in any format, though it is of the profile in one alone.
func parseUnit(data []byte) (*ca.UnitCertificate, error) {
	c, err := decodeCertificate(data)
	if err != nil {
		return nil, err
	}
	return ca.ParseUnitCertificate(c.Raw)
}

// judge is a unit that has the bundle.
type judge struct {
	bundle  *ca.Bundle
	profile *ca.Profile      // of its product; nil: anyone who has the bundle
	key     *ecdsa.PublicKey // that a certificate has to be for; nil: any
}

func (j *judge) read(v verification) (err error) {
	if v.peerOf != "" {
		if j.profile, err = readProfile(v.peerOf); err != nil {
			return err
		}
	}
	if v.key != "" {
		j.key, err = readPublicKey(v.key)
	}
	return err
}

// readPublicKey reads a key as openssl writes it: SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) in PEM.
func readPublicKey(path string) (*ecdsa.PublicKey, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(text); block != nil && block.Type == "PUBLIC KEY" {
		key, _ := x509.ParsePKIXPublicKey(block.Bytes)
		if key, ok := key.(*ecdsa.PublicKey); ok && key.Curve == elliptic.P256() {
			return key, nil
		}
	}
	return nil, mark(fmt.Errorf("%s: want a PEM block PUBLIC KEY of P-256", path), ca.ErrMalformed)
}

// unit judges a unit's certificates, and says whether the unit's own code agrees; it does not, which is no error, in a build that lacks it.
func (j *judge) unit(o *ca.OrderCertificate, u *ca.UnitCertificate) (agreed bool, err error) {
	if j.profile != nil {
		err = j.bundle.VerifyPeer(o, u, j.profile)
	} else {
		err = j.bundle.VerifyUnit(o, u)
	}
	if err != nil {
		return false, err
	}
	if j.key != nil && !u.Key.Equal(j.key) {
		return false, fmt.Errorf("%v has another key: %w", u.Serial, ca.ErrVerify)
	}
	if j.profile != nil {
		return opinion(device.JudgePeer(j.believed(), j.profile.Peers, ca.IDCred(u, o)))
	}
	key, err := u.Key.Bytes() // 04, X, Y
	if err != nil {
		return false, err
	}
	birth := j.believed()
	birth.Order, birth.Unit, birth.Key = o.Raw, u.Raw, key[1:]
	return opinion(device.Judge(j.bundle.Anchor.Hash(), o.Product, birth))
}

// believed is what a unit has of the bundle.
func (j *judge) believed() device.Birth {
	b := device.Birth{Anchor: j.bundle.Anchor[:]}
	for _, l := range j.bundle.Links {
		b.Links = append(b.Links, l.Object)
	}
	if j.bundle.List != nil {
		b.List = j.bundle.List.Object
	}
	return b
}

// opinion is that of the unit's own code.
func opinion(err error) (agreed bool, _ error) {
	if errors.Is(err, device.ErrNoCgo) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("the unit's own code refuses it: %w", err)
	}
	return true, nil
}

// goodObjectJSON is what a root signed and was verified as --json shows it.
type goodObjectJSON struct {
	Verified   bool    `json:"verified"`             // true: else there is no answer
	Object     string  `json:"object"`               // link, list or release
	Root       int     `json:"root"`                 // epoch of the root that a link leads to, or that signed
	Orders     *int    `json:"orders,omitempty"`     // that a link closes
	Number     *uint32 `json:"number,omitempty"`     // of a list
	Entries    *int    `json:"entries,omitempty"`    // of a list
	Serial     string  `json:"serial,omitempty"`     // that a release is for
	Generation *uint32 `json:"generation,omitempty"` // that it ends
	Agreed     bool    `json:"agreed,omitempty"`     // as of a certificate
}

func (p *program) verifyObject(path, kind string) error {
	if !slices.Contains([]string{"link", "list", "release"}, kind) {
		return usage("--as %q: want link, list or release", kind)
	}
	object, err := p.readInput(path)
	if err != nil {
		return err
	}
	j := judge{}
	if j.bundle, err = p.bundle(); err != nil {
		return err
	}
	view, text, err := j.object(kind, object)
	if err != nil {
		return mark(fmt.Errorf("%s: %w", path, err), ca.ErrVerify)
	}
	return p.answer(view, func() { fmt.Fprintf(p.Out, "good: %s%s\n", text, agreement(view.Agreed)) })
}

// object judges what a root signed: for programs, and for people.
func (j *judge) object(kind string, object []byte) (view goodObjectJSON, text string, err error) {
	view = goodObjectJSON{Verified: true, Object: kind}
	var fault error // of the unit's own code
	switch kind {
	case "link":
		l, err := ca.ParseLink(object)
		if err == nil {
			err = j.bundle.VerifyLink(l)
		}
		if err != nil {
			return view, "", err
		}
		fault = device.JudgeLink(j.believed(), object)
		orders := len(l.Orders)
		view.Root, view.Orders = l.Anchor.Name().Epoch(), &orders
		text = fmt.Sprintf("link to root %d, orders of root %d that stay good: %d", view.Root, view.Root-1, orders)
	case "list":
		l, err := ca.ParseStatusList(object)
		if err == nil {
			err = j.bundle.VerifyList(l)
		}
		if err != nil {
			return view, "", err
		}
		fault = device.JudgeList(j.believed(), object)
		entries := l.Entries()
		view.Root, view.Number, view.Entries = l.Root.Epoch(), &l.Number, &entries
		text = fmt.Sprintf("status list %d of root %d, %d entries", l.Number, view.Root, entries)
	case "release":
		r, err := ca.ParseRelease(object)
		if err == nil {
			err = r.Verify(j.bundle.Newest())
		}
		if err != nil {
			return view, "", err
		}
		fault = device.JudgeRelease(j.believed(), r.Serial.Bytes(), r.Generation, object)
		view.Root, view.Serial, view.Generation = r.Root.Epoch(), r.Serial.String(), &r.Generation
		text = fmt.Sprintf("release of %s, generation %d, by root %d", view.Serial, r.Generation, view.Root)
	}
	view.Agreed, err = opinion(fault)
	return view, text, err
}

// verifiedFleetJSON is a fleet that was verified as --json shows it.
type verifiedFleetJSON struct {
	Units   int           `json:"units"`
	Refused []refusedJSON `json:"refused"`
}

// refusedJSON is a unit of a fleet whose certificate does not hold.
type refusedJSON struct {
	Serial string `json:"serial"`
	Reason string `json:"reason"`
}

func (p *program) verifyFleet(ctx context.Context, path string, typed bool) error {
	f, err := fleet.Open(path)
	if err != nil {
		return err
	}
	bundle := f.Bundle
	if typed {
		if bundle, err = p.bundle(); err != nil {
			return err
		}
	}
	bar := newBar(p.Err, "cert verify", f.Head.Units, p.now)
	units, refused, err := f.Verify(ctx, bundle, bar.show)
	bar.clear()
	if err != nil {
		return err
	}
	view := verifiedFleetJSON{Units: units, Refused: []refusedJSON{}}
	for _, r := range refused {
		view.Refused = append(view.Refused, refusedJSON{r.Serial.String(), sentence(r.Reason)})
	}
	if len(refused) > 0 {
		err = mark(fmt.Errorf("%s: %d of %d units are refused", path, len(refused), units), ca.ErrVerify)
	}
	return errors.Join(p.answer(view, func() {
		for _, r := range view.Refused {
			fmt.Fprintf(p.Out, "refused: %s: %s\n", r.Serial, r.Reason)
		}
		fmt.Fprintf(p.Out, "good: %d of %d units, under %d orders, TEST\n", units-len(refused), units, len(f.Orders))
	}), err)
}

func (p *program) verifySignature(path, issuer string) error {
	c, err := p.readCertificate(path)
	if err != nil {
		return err
	}
	i, err := p.readCertificate(issuer)
	if err != nil {
		return err
	}
	key, err := i.Key()
	if err == nil {
		err = c.VerifySignature(key)
	}
	if err != nil {
		return mark(fmt.Errorf("%s under %s: %w", path, issuer, err), ca.ErrVerify)
	}
	return p.answer(goodJSON{Verified: true}, func() { fmt.Fprintf(p.Out, "good: signed by the key of %s\n", issuer) })
}
