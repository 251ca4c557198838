package ceremony

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/templates"
)

const (
	schema   = "ceremony/1"
	planFile = "plan.yaml"
	maxInput = 1 << 20 // bytes of the plan, and of each file that it names; all are a few kilobytes
)

// Plan is what people reviewed: one YAML file, decoded strictly, and the files beside it that it names. Exactly one of its deeds is
// there.
type Plan struct {
	Schema string   `yaml:"birthmark" json:"birthmark"`
	Title  string   `yaml:"title" json:"title"`
	People []Person `yaml:"people" json:"people"`

	Root        *RootPlan        `yaml:"root" json:"root,omitempty"`
	NextRoot    *NextRootPlan    `yaml:"next-root" json:"next-root,omitempty"`
	Rotation    *RotationPlan    `yaml:"rotation" json:"rotation,omitempty"`
	Orders      *OrdersPlan      `yaml:"orders" json:"orders,omitempty"`
	Revocation  *RevocationPlan  `yaml:"revocation" json:"revocation,omitempty"`
	Restoration *RestorationPlan `yaml:"restoration" json:"restoration,omitempty"`
	Destruction *DestructionPlan `yaml:"destruction" json:"destruction,omitempty"`

	inputs map[string][]byte // by the name that the plan has for them
	deed   deed
}

// Person takes part, in one role.
type Person struct {
	Name string `yaml:"name" json:"name"`
	Role string `yaml:"role" json:"role"`
}

// Roles of people. An officer types, a witness watches; a holder keeps something, and is there.
var roles = []string{"officer", "witness", "holder"}

// RootPlan is the birth of an authority.
type RootPlan struct {
	Name   string     `yaml:"name" json:"name"`
	Test   bool       `yaml:"test" json:"test"`
	Prefix string     `yaml:"prefix" json:"prefix"`
	Key    string     `yaml:"key" json:"key"` // URI
	Backup *Shares    `yaml:"backup" json:"backup,omitempty"`
	Next   FutureRoot `yaml:"next" json:"next"`
}

// Shares is a key that is born with a backup: its holders have the shares of the secret that it is wrapped under.
type Shares struct {
	Needed int    `yaml:"needed" json:"needed"`                 // of as many as the plan has holders
	Copy   string `yaml:"copy,omitempty" json:"copy,omitempty"` // URI in a second token, which takes the key too
}

// FutureRoot is a key of which units will know the hash alone: made here, or made before, where its request was signed.
type FutureRoot struct {
	Key     string `yaml:"key" json:"key"`                             // URI
	Request string `yaml:"request,omitempty" json:"request,omitempty"` // file that a next-root ceremony left
}

// NextRootPlan makes a future root's key at another place, and by other people, than the root's.
type NextRootPlan struct {
	Name   string  `yaml:"name" json:"name"` // what the request says of itself
	Key    string  `yaml:"key" json:"key"`   // URI
	Backup *Shares `yaml:"backup" json:"backup,omitempty"`
}

// RotationPlan lets the next root take the newest one's place.
type RotationPlan struct {
	Authority  string     `yaml:"authority" json:"authority"` // its name
	After      FutureRoot `yaml:"after" json:"after"`
	Stations   []string   `yaml:"stations" json:"stations"` // whose ledgers are compared
	DestroyOld bool       `yaml:"destroy-old" json:"destroy-old"`
}

// OrdersPlan signs orders, in their order.
type OrdersPlan struct {
	Authority string      `yaml:"authority" json:"authority"`
	Orders    []OrderPlan `yaml:"orders" json:"orders"`
}

// OrderPlan is one order.
type OrderPlan struct {
	Request string `yaml:"request" json:"request"` // file
	Profile string `yaml:"profile" json:"profile"` // name of one that is built in, or a file
	Count   uint64 `yaml:"count" json:"count"`
	First   string `yaml:"first,omitempty" json:"first,omitempty"` // EUI-64; "": the next free one
	Days    int    `yaml:"days" json:"days"`
}

// RevocationPlan signs a status list.
type RevocationPlan struct {
	Authority string   `yaml:"authority" json:"authority"`
	Orders    []uint16 `yaml:"orders" json:"orders,omitempty"`
	Ranges    []string `yaml:"ranges" json:"ranges,omitempty"` // FIRST..LAST
	Serials   []string `yaml:"serials" json:"serials,omitempty"`
	Lift      bool     `yaml:"lift" json:"lift"`
}

// DestructionPlan ends a key.
type DestructionPlan struct {
	Key string `yaml:"key" json:"key"` // URI
	Of  string `yaml:"of" json:"of"`   // file: the root's certificate or the next root's request, which name the key
}

// RestorationPlan brings a key back from its backup and the shares of its holders.
type RestorationPlan struct {
	Key    string `yaml:"key" json:"key"`       // URI where it will be
	Backup string `yaml:"backup" json:"backup"` // file
}

// ReadPlan reads the plan in a ceremony's folder and the files that it names, all of which are in that folder. Errors wrap
// ca.ErrMalformed or what the file system says.
func ReadPlan(folder string) (*Plan, error) {
	path := filepath.Join(folder, planFile)
	text, err := readInput(path)
	if err != nil {
		return nil, err
	}
	p, err := parsePlan(text, func(name string) ([]byte, error) { return readInput(filepath.Join(folder, name)) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func readInput(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxInput+1))
	if err == nil && len(data) > maxInput {
		err = fmt.Errorf("%s: larger than %d bytes: %w", path, maxInput, ca.ErrMalformed)
	}
	return data, err
}

func parsePlan(text []byte, read func(name string) ([]byte, error)) (*Plan, error) {
	p := &Plan{inputs: map[string][]byte{}}
	if err := ca.DecodeYAML(text, p); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ca.ErrMalformed)
	}
	if p.Schema != schema {
		return nil, fmt.Errorf("birthmark: %q, want %q: %w", p.Schema, schema, ca.ErrMalformed)
	}
	if strings.TrimSpace(p.Title) == "" {
		return nil, fmt.Errorf("it has no title: %w", ca.ErrMalformed)
	}
	if err := p.chooseDeed(); err != nil {
		return nil, err
	}
	if err := p.deed.read(&inputs{p.inputs, read}); err != nil {
		return nil, err
	}
	return p, p.checkPeople()
}

// chooseDeed finds the one that the plan has.
func (p *Plan) chooseDeed() error {
	var deeds []deed
	for _, d := range []struct {
		there bool
		deed  deed
	}{
		{p.Root != nil, &root{plan: p.Root}},
		{p.NextRoot != nil, &nextRoot{plan: p.NextRoot}},
		{p.Rotation != nil, &rotation{plan: p.Rotation}},
		{p.Orders != nil, &orders{plan: p.Orders}},
		{p.Revocation != nil, &revocation{plan: p.Revocation}},
		{p.Restoration != nil, &restoration{plan: p.Restoration}},
		{p.Destruction != nil, &destruction{plan: p.Destruction}},
	} {
		if d.there {
			deeds = append(deeds, d.deed)
		}
	}
	if len(deeds) != 1 {
		return fmt.Errorf("it has %d deeds, want one of %s: %w", len(deeds), strings.Join(templates.Ceremonies(), ", "), ca.ErrMalformed)
	}
	p.deed = deeds[0]
	return nil
}

// checkPeople refuses a plan that one person could carry out unseen, unless nothing but a test authority comes of it.
func (p *Plan) checkPeople() error {
	count := map[string]int{}
	var names []string
	for _, person := range p.People {
		name := strings.ToLower(strings.Join(strings.Fields(person.Name), " "))
		switch {
		case name == "" || strings.HasPrefix(name, "name of "):
			return fmt.Errorf("people: %q is nobody's name: %w", person.Name, ca.ErrMalformed)
		case !slices.Contains(roles, person.Role):
			return fmt.Errorf("people: %s has the role %q, want %s: %w", person.Name, person.Role, strings.Join(roles, ", "), ca.ErrMalformed)
		case slices.Contains(names, name):
			return fmt.Errorf("people: %s is there twice, and nobody has two roles: %w", person.Name, ca.ErrPolicy)
		}
		names = append(names, name)
		count[person.Role]++
	}
	switch {
	case count["officer"] == 0:
		return fmt.Errorf("people: no officer: %w", ca.ErrPolicy)
	case !p.shared(count["holder"]):
		return fmt.Errorf("people: %d holders, and a key's backup has one share for each, of which 2 or more are needed: %w", count["holder"], ca.ErrMalformed)
	case count["witness"] == 0 && !(p.Root != nil && p.Root.Test):
		return fmt.Errorf("people: no witness: %w", ca.ErrPolicy)
	}
	return nil
}

// shared says whether so many holders can have the shares of the plan's backup, if it makes one.
func (p *Plan) shared(holders int) bool {
	var s *Shares
	switch {
	case p.Root != nil:
		s = p.Root.Backup
	case p.NextRoot != nil:
		s = p.NextRoot.Backup
	}
	return s == nil || s.Needed >= 2 && s.Needed <= holders
}

// holders are those who keep a share.
func (p *Plan) holders() (names []string) {
	for _, person := range p.People {
		if person.Role == "holder" {
			names = append(names, person.Name)
		}
	}
	return names
}

// inputs are the files that a plan names.
type inputs struct {
	all  map[string][]byte
	from func(name string) ([]byte, error)
}

// file reads one, which lies beside the plan.
func (in *inputs) file(what, name string) ([]byte, error) {
	switch {
	case name == "":
		return nil, fmt.Errorf("%s: no file is named: %w", what, ca.ErrMalformed)
	case name != filepath.Base(name) || strings.HasPrefix(name, ".") || reserved(name):
		return nil, fmt.Errorf("%s: %q: want the name of a file beside the plan: %w", what, name, ca.ErrMalformed)
	}
	data, err := in.from(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	in.all[name] = data
	return data, nil
}

// profile reads a product profile, built in or from a file.
func (in *inputs) profile(name string) (profile *ca.Profile, err error) {
	var text []byte
	if strings.Contains(name, ".") {
		text, err = in.file("profile", name)
	} else if text, err = templates.Product(name); err == nil {
		in.all["profile "+name] = text
	} else {
		err = fmt.Errorf("%w; a file's name has a dot in it: %w", err, ca.ErrMalformed)
	}
	if err != nil {
		return nil, err
	}
	if profile, err = ca.ParseProfile(text); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return profile, nil
}

// future reads a future root's request, if it has one in place of a URI.
func (in *inputs) future(what string, f FutureRoot) (*ca.Request, error) {
	switch {
	case f.Key == "":
		return nil, fmt.Errorf("%s: no key: want the URI where it is made, or where it is and its request: %w", what, ca.ErrMalformed)
	case f.Request == "":
		return nil, nil
	}
	return in.request(what, f.Request)
}

func (in *inputs) request(what, name string) (*ca.Request, error) {
	data, err := in.file(what, name)
	if err != nil {
		return nil, err
	}
	r, err := ca.ParseRequest(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", what, name, err)
	}
	return r, nil
}

// Canonical is the plan in the one form that is hashed: JSON with every field in its place, and SHA-256 of each file that it names.
// Comments and spaces of the YAML are not in it.
func (p *Plan) Canonical() []byte {
	form := struct {
		*Plan
		Files map[string]string `json:"files"`
	}{p, map[string]string{}}
	for name, data := range p.inputs {
		form.Files[name] = hashed(data)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(form); err != nil {
		panic(err) // strings, numbers and flags
	}
	return b.Bytes()
}

// Digest is SHA-256 of the canonical form, which people compare by its Words.
func (p *Plan) Digest() [32]byte { return sha256.Sum256(p.Canonical()) }

func hashed(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

// days is a number of days as a time.
func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }
