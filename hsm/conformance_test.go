//go:build cgo

package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/birthmark/birthmark/hsm/hsmtest"
)

var update = flag.Bool("update", false, "write the table of docs/tokens.md")

// places are where a key can be, in the order of the table in docs/tokens.md.
var places = []struct {
	name string
	make func(folder, pin string, labels ...string) (*hsmtest.Store, error) // nil: a key file
}{
	{"SoftHSM2", hsmtest.SoftHSM},
	{"p11-kit remote", hsmtest.RemoteSoftHSM},
	{"tpm2-pkcs11", hsmtest.TPM},
	{"key file", nil},
}

// TestConformance holds every place to the same promises. In what else tokens differ is the table of docs/tokens.md.
func TestConformance(t *testing.T) {
	opinion := secondOpinion(t)
	reports := map[string]Report{}
	for _, place := range places {
		t.Run(place.name, func(t *testing.T) {
			folder := t.TempDir()
			path := secretFile(t, testPIN+"\n")
			options := Options{PIN: PINFromFile(path)}
			if place.make == nil {
				lifeOfKey(t, filepath.Join(folder, "order.key"), options)
				return
			}
			store, err := place.make(folder, testPIN, "factory-a", "factory-b")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { store.Pull() })
			setenv(t, store.Env)
			module := &conforming{store: store, options: options, pinFile: path}
			module.options.Module, module.faults = module.before(t, folder)

			settle := func() {
				t.Helper()
				if err := store.Settle(); err != nil {
					t.Fatal(err)
				}
			}
			lifeOfKey(t, order, module.options)
			settle()
			module.wrongPIN(t)
			settle()
			reports[place.name] = module.report(t)
			settle()
			module.pulled(t)
			settle()
			module.asked(t, opinion)
			settle()
			module.empty(t)
		})
	}
	if !t.Failed() && len(reports) == len(places)-1 {
		holdTable(t, reports)
	}
}

// lifeOfKey makes a key, opens it in the ways there are, lets it sign for many, and destroys it.
func lifeOfKey(t *testing.T, uri string, options Options) {
	t.Helper()
	ctx := context.Background()
	_, err := OpenKey(ctx, uri, options)
	wantError(t, err, ErrNoKey)
	k, err := CreateKey(ctx, uri, options)
	if err != nil {
		t.Fatal(err)
	}
	if der, err := k.Sign(rand.Reader, digest[:31], crypto.SHA256); err == nil || der != nil {
		t.Error("31 bytes were signed")
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 5 {
				if err := signOnce(k); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	public := k.Public().(*ecdsa.PublicKey)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = CreateKey(ctx, uri, options)
	wantError(t, err, ErrKeyExists)
	again, err := OpenKey(ctx, uri, options)
	if err != nil {
		t.Fatal(err)
	}
	if err := signOnce(again); err != nil || !public.Equal(again.Public()) {
		t.Error("another key came back", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if err := DestroyKey(ctx, uri, public, options); err != nil {
		t.Fatal(err)
	}
	_, err = OpenKey(ctx, uri, options)
	wantError(t, err, ErrNoKey)
}

// conforming is a module under test, with a proxy before it.
type conforming struct {
	store   *hsmtest.Store
	faults  *hsmtest.Faults
	options Options
	pinFile string
}

// before puts a proxy of its own before the module: a copy of its file, since a process loads each file once.
func (m *conforming) before(t *testing.T, folder string) (string, *hsmtest.Faults) {
	t.Helper()
	path := filepath.Join(folder, "fault.so")
	library, err := os.ReadFile(proxy.module)
	if err == nil {
		err = os.WriteFile(path, library, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	faults, env, err := hsmtest.NewFaults(filepath.Join(folder, "control"), m.store.Module)
	if err != nil {
		t.Fatal(err)
	}
	setenv(t, env)
	return path, faults
}

// wrongPIN: it is offered once, and the right one is taken afterwards.
func (m *conforming) wrongPIN(t *testing.T) {
	t.Helper()
	wrong := m.options
	wrong.PIN = PINFromFile(secretFile(t, testPIN+"x"))
	before := m.faults.Entry[hsmtest.Login].Calls()
	_, err := Open(context.Background(), URI{Token: "factory-a"}, wrong)
	wantError(t, err, ErrPIN)
	if n := m.faults.Entry[hsmtest.Login].Calls() - before; n != 1 {
		t.Errorf("%d logins with a wrong PIN", n)
	}
	token, err := Open(context.Background(), URI{Token: "factory-a"}, m.options)
	if err != nil {
		t.Fatal(err)
	}
	if err := token.Close(); err != nil {
		t.Error(err)
	}
}

// report runs Test, all of whose checks must pass.
func (m *conforming) report(t *testing.T) Report {
	t.Helper()
	r, err := Test(context.Background(), "pkcs11:token=factory-a", m.options)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checks {
		if !c.Passed {
			t.Errorf("%s: %s", c.Name, c.Detail)
		}
	}
	return r
}

// pulled: a key survives that its token is lost, and that the server behind the module dies; a signature with a wrong bit does
// not leave the package.
func (m *conforming) pulled(t *testing.T) {
	t.Helper()
	k, err := CreateKey(context.Background(), order, m.options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}()
	sign := &m.faults.Entry[hsmtest.Sign]
	logins := m.faults.Entry[hsmtest.Login].Calls()
	sign.Inject(pkcs11.CKR_DEVICE_REMOVED, 0, 1)
	if err := signOnce(k); err != nil {
		t.Error("lost and found again:", err)
	}
	if n := m.faults.Entry[hsmtest.Login].Calls() - logins; n != 1 {
		t.Errorf("%d logins for one recovery", n)
	}
	sign.Inject(hsmtest.FlipBit, 0, 1)
	if signOnce(k) == nil {
		t.Error("a wrong signature left the package")
	}
	if err := m.store.Pull(); err != nil {
		t.Fatal(err)
	}
	if err := signOnce(k); m.store.Served() && !errors.Is(err, ErrLost) {
		t.Error("the server is dead:", err)
	}
	if err := m.store.Return(); err != nil {
		t.Fatal(err)
	}
	if err := signOnce(k); err != nil {
		t.Error("the server is back:", err)
	}
}

// asked: another library finds the same key, and each takes the other's signatures.
func (m *conforming) asked(t *testing.T, program string) {
	t.Helper()
	k, err := OpenKey(context.Background(), order, m.options)
	if err != nil {
		t.Fatal(err)
	}
	public := k.Public().(*ecdsa.PublicKey)
	id := k.(tokenKey).pair.id
	ours, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err := errors.Join(err, k.Close(), m.store.Settle()); err != nil {
		t.Fatal(err)
	}
	uri := fmt.Sprintf("pkcs11:module-path=%s;token=factory-a;id=%s;object=order?pin-source=%s&max-sessions=4", m.store.Module, hex.EncodeToString(id), m.pinFile)
	c := exec.Command(program, uri, hex.EncodeToString(digest[:]), hex.EncodeToString(ours))
	var said strings.Builder
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("second opinion: %v\n%s", err, said.String())
	}
	var opinion struct {
		Point, Signature string
		Verified         bool
	}
	if err := json.Unmarshal(out, &opinion); err != nil {
		t.Fatal(err)
	}
	point, err := public.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := hex.DecodeString(opinion.Signature)
	if err != nil {
		t.Fatal(err)
	}
	if opinion.Point != hex.EncodeToString(point) || !opinion.Verified || !ecdsa.VerifyASN1(public, digest[:], theirs) {
		t.Errorf("second opinion: %s, and the key is %x", out, point)
	}
}

// empty: what the tests made can be destroyed, and nothing else is left.
func (m *conforming) empty(t *testing.T) {
	t.Helper()
	token, err := Open(context.Background(), URI{Token: "factory-a"}, m.options)
	if err != nil {
		t.Fatal(err)
	}
	if err := token.DestroyKey(context.Background(), Selector{Label: "order"}); err != nil {
		t.Error(err)
	}
	err = token.read(context.Background(), func(s session) error {
		left, err := s.find(nil)
		if len(left) > 0 {
			t.Errorf("%d objects are left", len(left))
		}
		return err
	})
	if err := errors.Join(err, token.Close()); err != nil {
		t.Error(err)
	}
}

// secondOpinion builds the program in testdata/kms, a module of its own: a login has one owner in a process, and its library
// needs another PKCS#11 library that Birthmark does not.
func secondOpinion(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secondopinion")
	if out, err := exec.Command("go", "build", "-C", "testdata/kms", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// holdTable compares the table in docs/tokens.md with what was measured.
func holdTable(t *testing.T, reports map[string]Report) {
	t.Helper()
	var lines []string
	row := func(cells []string) { lines = append(lines, "| "+strings.Join(cells, " | ")+" |") }
	head, rule, modules := []string{""}, []string{"---"}, []string{"module"}
	for _, place := range places {
		if r, ok := reports[place.name]; ok {
			head, rule, modules = append(head, place.name), append(rule, "---"), append(modules, r.Module)
		}
	}
	row(head)
	row(rule)
	row(modules)
	for i, trait := range reports[places[0].name].Traits {
		cells := []string{trait.Name}
		for _, place := range places {
			if r, ok := reports[place.name]; ok {
				cells = append(cells, r.Traits[i].Value)
			}
		}
		row(cells)
	}
	const document = "../docs/tokens.md"
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?m)^\|  \| SoftHSM2 .*\n(\|.*\n)*`)
	want := []byte(strings.Join(lines, "\n") + "\n")
	if have := table.Find(text); !slices.Equal(have, want) {
		if !*update {
			t.Errorf("%s has\n%s, measured was\n%s", document, have, want)
		} else if err := os.WriteFile(document, table.ReplaceAllLiteral(text, want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
