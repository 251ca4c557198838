package ceremony

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/internal/durable"
)

// Roles of keys, as the transcript names them.
const (
	roleRoot  = "root"
	roleNext  = "next root"
	roleAfter = "root after the next"
	roleOld   = "old root"
	roleKey   = "key to destroy"

	roleRestored = "restored key"
)

// plain is what most deeds do not do.
type plain struct{}

func (plain) stand(*performance, throwaway) {}
func (plain) ends(*performance) []ending    { return nil }

// root is the birth of an authority.
type root struct {
	plain
	plan *RootPlan
	next *ca.Request
}

func (*root) title() string { return "Sign the root certificates." }

func (d *root) read(in *inputs) (err error) {
	d.next, err = in.future("next", d.plan.Next)
	return err
}

// request is Init's, for an authority in this folder.
func (d *root) request(p *performance, folder string) (r ca.InitRequest, err error) {
	r = ca.InitRequest{Folder: folder, Name: d.plan.Name, Test: d.plan.Test || p.rehearsal, Now: p.at}
	if r.Prefix, err = ca.ParsePrefix(d.plan.Prefix); err != nil {
		return r, err
	}
	if r.RootURI, err = p.Place(d.plan.Key); err != nil {
		return r, err
	}
	r.NextURI, err = p.Place(d.plan.Next.Key)
	return r, err
}

func (d *root) check(p *performance) error {
	r, err := d.request(p, p.home)
	if err != nil {
		return err
	}
	if err := p.copyable(d.plan.Backup); err != nil {
		return err
	}
	return r.Check()
}

func (d *root) uses(p *performance) []use {
	r, err := d.request(p, p.home)
	if err != nil {
		panic(err) // check was asked first
	}
	uses := []use{{role: roleRoot, uri: r.RootURI, make: true, shares: p.shares(d.plan.Backup)}}
	if d.next == nil {
		uses = append(uses, use{role: roleNext, uri: r.NextURI, make: true})
	}
	return uses
}

func (d *root) sign(p *performance, staged string, keys map[string]Key) error {
	r, err := d.request(p, staged)
	if err != nil {
		return err
	}
	next := crypto.Signer(keys[roleNext])
	if d.next != nil {
		next = absent{d.next.Key}
	}
	_, err = ca.Init(nil, keys[roleRoot], next, r)
	return err
}

// nextRoot makes a future root's key elsewhere, and a request that proves that it is there.
type nextRoot struct {
	plain
	plan *NextRootPlan
}

const nextRootFile = "next-root.pem"

func (*nextRoot) title() string { return "Sign the request that names the key." }

func (d *nextRoot) read(*inputs) error { return ca.CheckStation(d.plan.Name) }

func (d *nextRoot) check(p *performance) error {
	p.authority = nil // whatever is in the folder is none of this ceremony's
	if _, err := p.Place(d.plan.Key); err != nil {
		return err
	}
	return p.copyable(d.plan.Backup)
}

func (d *nextRoot) uses(p *performance) []use {
	return []use{{role: roleNext, uri: p.placed(d.plan.Key), make: true, shares: p.shares(d.plan.Backup)}}
}

func (d *nextRoot) sign(p *performance, _ string, keys map[string]Key) error {
	name := d.plan.Name
	if p.rehearsal {
		name = "REHEARSAL"
	}
	request, err := ca.NewRequest(nil, name, keys[roleNext])
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(p.folder, nextRootFile), request)
}

// rotation lets the next root take the newest one's place.
type rotation struct {
	plan  *RotationPlan
	after *ca.Request
}

func (*rotation) stand(*performance, throwaway) {}
func (*rotation) title() string {
	return "Sign the new root's certificates, the link to it and the status list."
}

func (d *rotation) read(in *inputs) (err error) {
	d.after, err = in.future("after", d.plan.After)
	return err
}

func (d *rotation) request(p *performance) ca.RotateRequest {
	return ca.RotateRequest{AfterURI: p.placed(d.plan.After.Key), Now: p.at}
}

func (d *rotation) check(p *performance) error {
	if err := p.isOf(d.plan.Authority); err != nil {
		return err
	}
	if _, err := p.Place(d.plan.After.Key); err != nil {
		return err
	}
	if err := p.compareBooks(d.plan.Stations); err != nil {
		return err
	}
	return p.authority.CanRotate(d.request(p))
}

// compareBooks holds the ledgers of exactly these stations against the authority's folder.
func (p *performance) compareBooks(stations []string) error {
	var had []string
	for _, b := range p.Books {
		if !slices.Contains(stations, b.Station) || slices.Contains(had, b.Station) {
			return fmt.Errorf("the ledger of station %q is given, and the plan compares %q: %w", b.Station, stations, ca.ErrPolicy)
		}
		had = append(had, b.Station)
		if err := b.Known(p.authority); err != nil {
			return err
		}
	}
	for _, station := range stations {
		if !slices.Contains(had, station) {
			return fmt.Errorf("the ledger of station %q is not given, and the plan compares it: %w", station, ca.ErrPolicy)
		}
	}
	return nil
}

func (d *rotation) uses(p *performance) []use {
	uri := p.authority.NextURI()
	if p.authority.Rotated(d.request(p)) { // by this run, which was interrupted afterwards
		uri = p.authority.RootURI()
	}
	uses := []use{{role: roleRoot, uri: uri}}
	if d.after == nil {
		uses = append(uses, use{role: roleAfter, uri: d.request(p).AfterURI, make: true})
	}
	return uses
}

func (d *rotation) sign(p *performance, staged string, keys map[string]Key) error {
	a, err := ca.Load(staged)
	if err != nil {
		return err
	}
	after := absent{}
	if d.after != nil {
		after.public = d.after.Key
	} else {
		after.public = keys[roleAfter].Public().(*ecdsa.PublicKey)
	}
	if err := a.Rotate(nil, keys[roleRoot], after.public, d.request(p)); err != nil {
		return err
	}
	return a.RenewList(nil, keys[roleRoot])
}

func (d *rotation) ends(p *performance) []ending {
	if !d.plan.DestroyOld {
		return nil
	}
	a, err := ca.Load(p.staged())
	if err != nil {
		panic(err) // it was just adopted
	}
	old, _ := a.Root(a.Epoch() - 1)
	return []ending{{role: roleOld, uri: a.OldURI(), public: old.Key()}}
}

// orders signs a batch.
type orders struct {
	plain
	plan     *OrdersPlan
	requests []ca.OrderRequest
}

func (d *orders) title() string { return fmt.Sprintf("Sign %d orders.", len(d.requests)) }

func (d *orders) read(in *inputs) error {
	if len(d.plan.Orders) == 0 {
		return fmt.Errorf("orders: none: %w", ca.ErrMalformed)
	}
	for i, o := range d.plan.Orders {
		r := ca.OrderRequest{Count: o.Count, Validity: days(o.Days)}
		what := fmt.Sprintf("order %d of the plan", i+1)
		var err error
		if r.Request, err = in.request(what, o.Request); err != nil {
			return err
		}
		if r.Profile, err = in.profile(o.Profile); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if o.First != "" {
			if r.First, err = ca.ParseEUI64(o.First); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
		d.requests = append(d.requests, r)
	}
	return nil
}

// check asks for the first order only: the others follow from it, which the throwaway keys show.
func (d *orders) check(p *performance) error {
	if err := p.isOf(d.plan.Authority); err != nil {
		return err
	}
	r := d.requests[0]
	r.Now = p.at
	return p.authority.CanOrder(r)
}

func (d *orders) uses(p *performance) []use { return p.newestRoot() }

// newestRoot is the key that signs orders and lists.
func (p *performance) newestRoot() []use {
	return []use{{role: roleRoot, uri: p.authority.RootURI(), public: p.authority.Newest().Key()}}
}

func (d *orders) sign(p *performance, staged string, keys map[string]Key) error {
	a, err := ca.Load(staged)
	if err != nil {
		return err
	}
	for i, r := range d.requests {
		r.Now = p.at
		if _, err := a.Order(nil, keys[roleRoot], r); err != nil {
			return fmt.Errorf("order %d of the plan: %w", i+1, err)
		}
	}
	return nil
}

// revocation signs a status list.
type revocation struct {
	plain
	plan    *RevocationPlan
	request ca.RevokeRequest
}

func (*revocation) title() string { return "Sign the status list." }

func (d *revocation) read(*inputs) error {
	d.request = ca.RevokeRequest{Orders: d.plan.Orders, Lift: d.plan.Lift}
	for _, text := range d.plan.Ranges {
		r, err := ca.ParseRange(text)
		if err != nil {
			return err
		}
		d.request.Ranges = append(d.request.Ranges, r)
	}
	for _, text := range d.plan.Serials {
		serial, err := ca.ParseEUI64(text)
		if err != nil {
			return err
		}
		d.request.Serials = append(d.request.Serials, serial)
	}
	if len(d.request.Orders)+len(d.request.Ranges)+len(d.request.Serials) == 0 {
		return fmt.Errorf("revocation of nothing: %w", ca.ErrMalformed)
	}
	return nil
}

func (d *revocation) check(p *performance) error {
	if err := p.isOf(d.plan.Authority); err != nil {
		return err
	}
	return p.authority.CanRevoke(d.request)
}

func (d *revocation) uses(p *performance) []use { return p.newestRoot() }

func (d *revocation) sign(p *performance, staged string, keys map[string]Key) error {
	a, err := ca.Load(staged)
	if err != nil {
		return err
	}
	return a.Revoke(nil, keys[roleRoot], d.request)
}

// destruction ends a key.
type destruction struct {
	plan   *DestructionPlan
	public *ecdsa.PublicKey
}

func (*destruction) title() string { return "Show that this is the key." }

func (d *destruction) read(in *inputs) error {
	data, err := in.file("of", d.plan.Of)
	if err != nil {
		return err
	}
	if strings.Contains(string(data), "CERTIFICATE REQUEST") {
		r, err := ca.ParseRequest(data)
		if err != nil {
			return fmt.Errorf("of: %s: %w", d.plan.Of, err)
		}
		d.public = r.Key
		return nil
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return fmt.Errorf("of: %s: want a certificate or a request in PEM: %w", d.plan.Of, ca.ErrMalformed)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("of: %s: %w: %w", d.plan.Of, err, ca.ErrMalformed)
	}
	key, ok := certificate.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return fmt.Errorf("of: %s: its key is not of ECDSA: %w", d.plan.Of, ca.ErrMalformed)
	}
	d.public = key
	return nil
}

// check refuses to destroy what the authority in the folder still needs.
func (d *destruction) check(p *performance) error {
	uri, err := p.Place(d.plan.Key)
	if err != nil {
		return err
	}
	if a := p.authority; a != nil && (uri == a.RootURI() || uri == a.NextURI() || a.Needs(d.public)) {
		return fmt.Errorf("%s is the key of the newest root or of the next one, without which the authority ends: %w", uri, ca.ErrPolicy)
	}
	p.authority = nil // nothing in its folder changes
	return nil
}

func (d *destruction) stand(p *performance, keys throwaway) {
	key := newThrowaway()
	keys[p.placed(d.plan.Key)], d.public = key, &key.PublicKey
}

func (d *destruction) uses(p *performance) []use {
	return []use{{role: roleKey, uri: p.placed(d.plan.Key), public: d.public}}
}

func (d *destruction) sign(*performance, string, map[string]Key) error { return nil }

func (d *destruction) ends(p *performance) []ending {
	return []ending{{role: roleKey, uri: p.placed(d.plan.Key), public: d.public}}
}

// placed is a URI of the plan as the authority's folder has it; check has asked whether it is one.
func (p *performance) placed(uri string) string {
	placed, err := p.Place(uri)
	if err != nil {
		panic(err)
	}
	return placed
}

// copyable refuses a second token's URI that is none.
func (p *performance) copyable(s *Shares) (err error) {
	if s != nil && s.Copy != "" {
		_, err = p.Place(s.Copy)
	}
	return err
}

// shares are those of the plan, with the second token's URI as the authority's folder has it.
func (p *performance) shares(s *Shares) *Shares {
	if s == nil || s.Copy == "" {
		return s
	}
	return &Shares{Needed: s.Needed, Copy: p.placed(s.Copy)}
}
