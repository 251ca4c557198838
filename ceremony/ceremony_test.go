package ceremony

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/birthmark/birthmark/ca"
)

// Every kind of ceremony is rehearsed, run and verified, and leaves what it is for.
func TestEveryKind(t *testing.T) {
	for name, build := range worlds(t) {
		t.Run(name, func(t *testing.T) {
			w := build()
			before := w.state()
			r := w.rehearse()
			if w.state() != before || !r.Rehearsal || w.room.told != "" {
				t.Fatalf("the rehearsal changed something, or asked: %+v", r)
			}
			o := w.run()
			if w.state() == before && name != "next-root" || o.By == "" || o.Rehearsal || o.Digest != r.Digest {
				t.Errorf("%+v", o)
			}
			again := w.run()
			if again.By != o.By {
				t.Errorf("run again: %+v", again)
			}
			report, err := Verify(w.folder)
			if err != nil || report.Run() == nil || len(report.Runs) != 2 {
				t.Errorf("%+v, %v", report, err)
			}
			_, err = w.ceremony(-1).Abort(context.Background())
			wantError(t, "abort", err, ErrComplete)
		})
	}
}

// What each kind leaves.
func TestResults(t *testing.T) {
	held := func(name string) (*world, *ca.Authority) {
		w := worlds(t)[name]()
		w.rehearse()
		w.run()
		a, err := ca.Load(w.home)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return w, a
	}
	_, a := held("root")
	if a.Name != "ACME" || a.Test || a.RootURI() != "pkcs11:object=root-1" {
		t.Errorf("root: %+v", a)
	}
	w, a := held("rotation")
	if _, there := w.token.keys["pkcs11:object=root-1"]; there || a.Epoch() != 2 || a.ListOutdated() || a.NextURI() != "pkcs11:object=root-3" || len(a.Links[0].Orders) != 1 {
		t.Errorf("rotation: %+v", a)
	}
	_, a = held("orders")
	if len(a.Orders) != 3 || a.Orders[2].Station != "line-2" || a.Orders[2].Count != 7 {
		t.Errorf("orders: %+v", a.Orders)
	}
	_, a = held("revocation")
	if a.List.Number != 2 || len(a.List.Orders) != 1 || len(a.List.Serials) != 1 {
		t.Errorf("revocation: %+v", a.List)
	}
	w, _ = held("destruction")
	if _, there := w.token.keys["pkcs11:object=spare"]; there || len(w.token.keys) != 2 {
		t.Errorf("destruction: %v", w.token.keys)
	}
	w, _ = held("restoration")
	if _, there := w.token.keys["pkcs11:object=root-2"]; !there || len(w.token.keys) != 1 {
		t.Errorf("restoration: %v", w.token.keys)
	}
	w, _ = held("next-root with a backup")
	if key, second := w.token.keys["pkcs11:object=root-2"], w.token.keys["pkcs11:object=copy"]; !key.Equal(second.PrivateKey) ||
		strings.Count(w.room.told, "SECRET") != 3 {
		t.Errorf("backup: %v, %s", w.token.keys, w.room.told)
	}
	if _, err := os.Stat(filepath.Join(w.folder, runFolder, "next-root.backup")); err != nil {
		t.Error(err)
	}
	filepath.WalkDir(w.folder, func(path string, entry fs.DirEntry, err error) error {
		if text, _ := os.ReadFile(path); strings.Contains(string(text), "SECRET") {
			t.Errorf("%s has a share in it", path)
		}
		return err
	})
	for _, name := range []string{"root whose next root was made before", "rotation to a key made before"} {
		if w, _ := held(name); len(w.token.keys) > 2 {
			t.Errorf("%s: %v", name, w.token.keys)
		}
	}
}

// A process that dies anywhere is followed by one that finishes, or by one that takes back what was done: to the key and the byte.
func TestKilledAnywhere(t *testing.T) {
	for name := range worlds(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fresh := worlds(t)[name]()
			fresh.rehearse()
			before := fresh.state()
			whole := fresh.like()
			whole.run()
			keys := len(whole.token.keys)
			cuts, taken, step := 0, 0, 4
			if name == "root" || name == "rotation" { // the longest have every point tried
				step = 1
			}
			for ; ; cuts += step {
				w := fresh.like()
				_, err := w.ceremony(cuts).Run(context.Background())
				if !w.token.dead {
					if err != nil {
						t.Fatal(err)
					}
					break
				}
				forward := w.like()
				forward.run()
				if _, err := Verify(forward.folder); err != nil || len(forward.token.keys) != keys {
					t.Fatalf("cut %d, finished: %v, %d keys, want %d", cuts, err, len(forward.token.keys), keys)
				}
				if w.takenBack(cuts, before) {
					taken++
				}
			}
			if taken == 0 || cuts < 10 {
				t.Errorf("%d cuts, %d of them taken back", cuts, taken)
			}
			t.Logf("%d cuts, %d of them taken back", cuts, taken)
		})
	}
}

// takenBack aborts a run that was killed, itself killed on its way for some, unless it has gone too far.
func (w *world) takenBack(cut int, before string) bool {
	t := w.t
	t.Helper()
	_, err := w.like().ceremony(-1).Abort(context.Background())
	switch {
	case errors.Is(err, ErrNoReturn), errors.Is(err, ErrComplete):
		return false
	case errors.Is(err, ErrNoRun):
	case err != nil:
		t.Fatalf("cut %d, abort: %v", cut, err)
	case cut%8 != 0:
		if _, err := w.ceremony(-1).Abort(context.Background()); err != nil {
			t.Fatalf("cut %d, abort: %v", cut, err)
		}
	default: // killed itself on its way, at each third point
		for k := 0; ; k += 3 {
			c := w.like()
			_, err := c.ceremony(k).Abort(context.Background())
			if c.token.dead {
				_, err = c.ceremony(-1).Abort(context.Background())
			} else if err == nil {
				*w = *c
				break
			}
			if err != nil {
				t.Fatalf("cut %d, abort cut at %d: %v", cut, k, err)
			}
			if c.state() != before {
				t.Fatalf("cut %d, abort cut at %d: not as before:\n%s\nbefore:\n%s", cut, k, c.state(), before)
			}
		}
	}
	if w.state() != before {
		t.Fatalf("cut %d: not as before:\n%s\nbefore:\n%s", cut, w.state(), before)
	}
	w.run() // a new run of the same plan
	if _, err := Verify(w.folder); err != nil {
		t.Fatalf("cut %d, taken back and run again: %v", cut, err)
	}
	return true
}

// What is refused before a key is touched.
func TestRunRefused(t *testing.T) {
	for name, c := range map[string]struct {
		kind  string
		spoil func(*world)
		want  error
	}{
		"not rehearsed": {"root", func(w *world) { os.RemoveAll(filepath.Join(w.folder, "rehearsal-1")) }, ErrNotRehearsed},
		"another build": {"root", func(w *world) { w.build = "that build" }, ErrNotRehearsed},
		"plan changed since": {"revocation", func(w *world) {
			w.put(planFile, "birthmark: ceremony/1\ntitle: another\n"+people+"revocation: {authority: ACME, orders: [1]}\n")
		}, ErrNotRehearsed},
		"input changed since":  {"orders", func(w *world) { w.request("a.pem", "line-1") }, ErrNotRehearsed},
		"rehearsal tampered":   {"root", func(w *world) { w.put("rehearsal-1/plan.json", "{}") }, ErrNotRehearsed},
		"nobody says Yes":      {"root", func(w *world) { w.room.says = "yes\n" }, ErrDeclined},
		"key is there already": {"root", func(w *world) { w.token.keys["pkcs11:object=root-2"] = tokenKey{newThrowaway(), "x", false} }, ErrKeyTaken},
		"authority is there already": {"root", func(w *world) {
			w.token.keys = map[string]tokenKey{}
			w.grown()
			w.token.keys = map[string]tokenKey{}
		}, ca.ErrPolicy},
		"another authority": {"orders", func(w *world) {
			text, _ := os.ReadFile(filepath.Join(w.home, "authority.yaml"))
			os.WriteFile(filepath.Join(w.home, "authority.yaml"), []byte(strings.Replace(string(text), "ACME", "EMCA", 1)), 0o644)
		}, ca.ErrVerify},
		"a ledger is not given":          {"rotation", func(w *world) { w.books = nil }, ca.ErrPolicy},
		"another station's ledger":       {"rotation", func(w *world) { w.books[0].Station = "line-2" }, ca.ErrPolicy},
		"an order that the folder lacks": {"rotation", func(w *world) { w.books[0].Orders[0].Fingerprint[0]++ }, ca.ErrUnknownOrder},
	} {
		t.Run(name, func(t *testing.T) {
			w := worlds(t)[c.kind]()
			w.rehearse()
			c.spoil(w)
			before := w.state()
			_, err := w.ceremony(-1).Run(context.Background())
			wantError(t, name, err, c.want)
			if w.state() != before {
				t.Error("something changed")
			}
			if _, err := os.Stat(filepath.Join(w.folder, runFolder)); err == nil {
				t.Error("a run has begun")
			}
			_, err = w.ceremony(-1).Abort(context.Background())
			wantError(t, "abort", err, ErrNoRun)
		})
	}
}

// A token that has another key than the plan or the authority means is found before anything is signed.
func TestOtherKeys(t *testing.T) {
	for kind, uri := range map[string]string{"orders": "root-1", "revocation": "root-1", "rotation": "root-2", "destruction": "spare"} {
		w := worlds(t)[kind]()
		w.rehearse()
		w.token.keys["pkcs11:object="+uri] = tokenKey{newThrowaway(), "x", false}
		before := w.state()
		_, err := w.ceremony(-1).Run(context.Background())
		wantError(t, kind, err, ca.ErrVerify)
		if _, err := w.ceremony(-1).Abort(context.Background()); err != nil {
			t.Errorf("%s: abort: %v", kind, err)
		}
		if w.state() != before {
			t.Errorf("%s: something changed", kind)
		}
	}
}

// Another officer who signs meanwhile stops the run; his orders stand, and the run is taken back.
func TestBesideOthers(t *testing.T) {
	w := worlds(t)["orders"]()
	w.rehearse()
	other := w.like()
	other.run()
	c := w.ceremony(-1)
	c.cut = func() error {
		if text, _ := os.ReadFile(filepath.Join(w.folder, runFolder, transcriptFile)); strings.Contains(string(text), `"what":"vouched"`) {
			if _, err := ca.Adopt(w.home, other.home); err != nil {
				t.Fatal(err)
			}
			c.cut, c.journal.cut = nil, nil
		}
		return nil
	}
	_, err := c.Run(context.Background())
	wantError(t, "run", err, ca.ErrPolicy)
	_, err = w.ceremony(-1).Run(context.Background())
	wantError(t, "run again", err, ca.ErrPolicy)
	if _, err := w.ceremony(-1).Abort(context.Background()); err != nil {
		t.Errorf("abort: %v", err)
	}
	if w.state() != other.state() {
		t.Error("the other's orders are gone")
	}
}

// Ctrl+C at any point stops the run at its next step, which the transcript tells; it goes on.
func TestInterrupted(t *testing.T) {
	for after := 1; after < 40; after += 3 {
		w := worlds(t)["root"]()
		w.rehearse()
		ctx, cancel := context.WithCancel(context.Background())
		c := w.ceremony(-1)
		points := 0
		c.cut = func() error {
			if points++; points == after {
				cancel()
			}
			return nil
		}
		_, err := c.Run(ctx)
		if err != nil {
			wantError(t, "interrupted", err, context.Canceled)
			text, err := os.ReadFile(filepath.Join(w.folder, runFolder, transcriptFile))
			if err != nil || !strings.Contains(string(text), `"what":"stopped"`) || !strings.Contains(string(text), "interrupted") {
				t.Errorf("after %d: %s, %v", after, text, err)
			}
		} else if after < 10 {
			t.Errorf("after %d: it was not interrupted", after)
		}
		w.run()
		if _, err := Verify(w.folder); err != nil {
			t.Errorf("after %d: %v", after, err)
		}
		cancel()
	}
}

// One process runs a ceremony at a time, and what it was begun with stays.
func TestOneRun(t *testing.T) {
	w := worlds(t)["root"]()
	w.rehearse()
	if _, err := w.ceremony(5).Run(context.Background()); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	j, _, err := openJournal(filepath.Join(w.folder, runFolder, transcriptFile), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.ceremony(-1).Run(context.Background())
	wantError(t, "a second run", err, unix.EAGAIN)
	_, err = w.ceremony(-1).Abort(context.Background())
	wantError(t, "an abort beside it", err, unix.EAGAIN)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	w.put(planFile, "birthmark: ceremony/1\ntitle: another\n"+people+"root: {name: ACME, prefix: 02-1A-2B, key: 'pkcs11:object=root-1', next: {key: 'pkcs11:object=root-2'}}\n")
	w.rehearse()
	_, err = w.ceremony(-1).Run(context.Background())
	wantError(t, "with another plan", err, ca.ErrPolicy)
	if _, err := w.ceremony(-1).Abort(context.Background()); err != nil {
		t.Errorf("abort with another plan: %v", err)
	}
	w.run()
}

// A key that the authority needs is not destroyed by any plan.
func TestDestructionRefused(t *testing.T) {
	for _, name := range []string{"root-1", "root-2"} {
		w := newWorld(t, "destruction: {key: 'pkcs11:object="+name+"', of: it.pem}\n").grown()
		text, err := ca.NewRequest(nil, "it", w.token.keys["pkcs11:object="+name])
		if err != nil {
			t.Fatal(err)
		}
		w.put("it.pem", string(text))
		_, err = w.ceremony(-1).Rehearse(context.Background())
		wantError(t, name, err, ca.ErrPolicy)
	}
}
