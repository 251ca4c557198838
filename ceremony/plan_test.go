package ceremony

import (
	"bytes"
	"encoding/hex"
	"io/fs"
	"strings"
	"testing"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/templates"
)

// The published example: a PGP fingerprint and its words.
const (
	exampleBytes = "E58294F2E9A227486E8B061B31CC528FD7FA3F19"
	exampleWords = "topmost Istanbul Pluto vagabond treadmill Pacific brackish dictator goldfish Medusa " +
		"afflict bravado chatter revolver Dupont midsummer stopwatch whimsical cowbell bottomless"
)

func TestWords(t *testing.T) {
	want, err := hex.DecodeString(exampleBytes)
	if err != nil {
		t.Fatal(err)
	}
	if have := Words(want); have != exampleWords {
		t.Errorf("words %q", have)
	}
	for _, list := range [][]string{evenWords, oddWords} {
		seen := map[string]bool{}
		for _, word := range list {
			seen[strings.ToLower(word)] = true
		}
		if len(seen) != 256 {
			t.Errorf("a list of %d words", len(seen))
		}
	}
}

// Templates are plans once people have names.
func TestTemplates(t *testing.T) {
	w := worlds(t)["orders"]()
	read := func(name string) ([]byte, error) {
		switch name {
		case "request.pem", "root-1.pem":
			return readInput(w.folder + "/a.pem")
		case "next-root.backup": // which a token reads, later
			return []byte("a backup"), nil
		}
		return nil, fs.ErrNotExist
	}
	for _, kind := range templates.Ceremonies() {
		text, err := templates.Ceremony(kind)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parsePlan(text, read)
		if kind == "revocation" {
			text = bytes.Replace(text, []byte("serials: []"), []byte("serials: [02-1A-2B-00-00-00-00-07]"), 1)
		} else {
			wantError(t, kind, err, ca.ErrMalformed) // nobody's names
		}
		for role, name := range map[string]string{"AN OFFICER": "Anna", "A WITNESS": "Ben", "A HOLDER": "Cem", "ANOTHER HOLDER": "Dora"} {
			text = bytes.Replace(text, []byte("NAME OF "+role), []byte(name), 1)
		}
		if p, err := parsePlan(text, read); err != nil || len(p.Canonical()) == 0 {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// What a plan may not be.
func TestPlanRefused(t *testing.T) {
	const rootDeed = "root: {name: ACME, prefix: 02-1A-2B, key: 'pkcs11:object=a', next: {key: 'pkcs11:object=b'}}\n"
	head := "birthmark: ceremony/1\ntitle: a test\n"
	for name, c := range map[string]struct {
		plan string
		want error
	}{
		"unknown field":            {head + people + rootDeed + "rot: 1\n", ca.ErrMalformed},
		"unknown in deed":          {head + people + "root: {nam: ACME}\n", ca.ErrMalformed},
		"another schema":           {"birthmark: ceremony/2\ntitle: a\n" + people + rootDeed, ca.ErrMalformed},
		"no title":                 {"birthmark: ceremony/1\n" + people + rootDeed, ca.ErrMalformed},
		"two documents":            {head + people + rootDeed + "---\n", ca.ErrMalformed},
		"a field twice":            {head + head + people + rootDeed, ca.ErrMalformed},
		"no deed":                  {head + people, ca.ErrMalformed},
		"two deeds":                {head + people + rootDeed + "next-root: {name: a, key: 'pkcs11:object=b'}\n", ca.ErrMalformed},
		"nobody":                   {head + rootDeed, ca.ErrPolicy},
		"no witness":               {head + "people: [{name: Anna, role: officer}]\n" + rootDeed, ca.ErrPolicy},
		"no officer":               {head + "people: [{name: Anna, role: witness}]\n" + rootDeed, ca.ErrPolicy},
		"one in two roles":         {head + "people: [{name: Anna  Meier, role: officer}, {name: anna meier, role: witness}]\n" + rootDeed, ca.ErrPolicy},
		"unknown role":             {head + "people: [{name: Anna, role: boss}]\n" + rootDeed, ca.ErrMalformed},
		"a file elsewhere":         {head + people + "destruction: {key: 'pkcs11:object=a', of: ../root-1.pem}\n", ca.ErrMalformed},
		"a file of ours":           {head + people + "destruction: {key: 'pkcs11:object=a', of: plan.yaml}\n", ca.ErrMalformed},
		"a file that is not there": {head + people + "destruction: {key: 'pkcs11:object=a', of: a.pem}\n", fs.ErrNotExist},
		"no orders":                {head + people + "orders: {authority: ACME}\n", ca.ErrMalformed},
		"no profile":               {head + people + "orders: {authority: ACME, orders: [{request: there.pem, profile: none, count: 1, days: 1}]}\n", ca.ErrMalformed},
		"nothing revoked":          {head + people + "revocation: {authority: ACME}\n", ca.ErrMalformed},
		"half a range":             {head + people + "revocation: {authority: ACME, ranges: [02-1A-2B-00-00-00-00-07]}\n", ca.ErrMalformed},
		"no next root":             {head + people + "root: {name: ACME, prefix: 02-1A-2B, key: 'pkcs11:object=a'}\n", ca.ErrMalformed},
	} {
		w := worlds(t)["orders"]()
		_, err := parsePlan([]byte(c.plan), func(name string) ([]byte, error) {
			if name == "there.pem" {
				return readInput(w.folder + "/a.pem")
			}
			return nil, fs.ErrNotExist
		})
		wantError(t, name, err, c.want)
	}
	if _, err := parsePlan([]byte(head+"people: [{name: Anna, role: officer}]\n"+strings.Replace(rootDeed, "ACME", "ACME, test: true", 1)), nil); err != nil {
		t.Errorf("a test authority without a witness: %v", err)
	}
}

// The digest is of what a plan says, not of how it is written; and of every byte of every file.
func TestDigest(t *testing.T) {
	w := worlds(t)["orders"]()
	digest := func() [32]byte {
		p, err := ReadPlan(w.folder)
		if err != nil {
			t.Fatal(err)
		}
		return p.Digest()
	}
	before := digest()
	text, err := readInput(w.folder + "/" + planFile)
	if err != nil {
		t.Fatal(err)
	}
	w.put(planFile, "# a comment\n"+strings.Replace(string(text), "title: a test", `title:   "a test"`, 1))
	if digest() != before {
		t.Error("a comment changed it")
	}
	w.put(planFile, strings.Replace(string(text), "count: 7", "count: 8", 1))
	if digest() == before {
		t.Error("a count did not change it")
	}
	w.put(planFile, string(text))
	w.request("b.pem", "line-2")
	if digest() == before {
		t.Error("a file did not change it")
	}
}
