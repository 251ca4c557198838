package cmd

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/birthmark/birthmark/hsm/hsmtest"
)

var everyFault = flag.Bool("every-fault", false, "each kind of fault at each PKCS#11 call, not one kind at each")

// A deed is a command that uses tokens, and what must be true once it is done.
type deed struct {
	name  string
	ready func(*world) error // what comes before it, in a world with empty tokens; nil: it goes on after the deed before it
	line  string
	keeps bool              // it has --existing
	abort string            // a command that takes back what a fault left
	unit  bool              // a blank unit is at units/unit-01
	every uint64            // in a sample, one call in so many meets a fault; 0 is 1
	holds map[string]string // a command, and what it prints
	then  string            // a command that leads to the next deed
}

// deeds are done one after the other.
var deeds = []deed{
	{
		name:  "ca init",
		keeps: true,
		ready: func(*world) error { return nil },
		every: 3,
		line:  "ca init --name ACME --prefix 02-1A-2B --root pkcs11:token=officer;object=root-1 --next pkcs11:token=vault;object=root-2",
		holds: map[string]string{"ca show": `(?m)^root +epoch 1, key at pkcs11:token=officer;object=root-1$`},
		then:  "ca bundle --out bundle.cbor",
	},
	{
		name:  "station init",
		keeps: true,
		every: 4,
		line:  "station init --name line-1 --dir station --bundle bundle.cbor --key pkcs11:token=station;object=order-1",
		holds: map[string]string{"ledger verify --ledger station/ledger.db": `(?m)^good: 0 certificates`},
	},
	{
		name:  "ca order",
		line:  "ca order --request station/request.pem --profile demo-sensor --out station/current.order --count 10",
		holds: map[string]string{"station check --config station/birthmark.yaml": `(?m)^ready: .* 10 of 10 units left$`},
	},
	{
		name: "provision",
		line: "provision -v --config station/birthmark.yaml --port units/unit-01",
		unit: true,
		holds: map[string]string{
			"ledger verify --config station/birthmark.yaml": `(?m)^order 1: 10 ordered = 1 issued \(1 closed\) \+ 0 reserved \+ 0 void \+ 9 unused$`,
			"unit inspect --port units/unit-01":             `02-1A-2B-00-00-00-00-01`,
		},
	},
	{
		name:  "ca revoke",
		every: 4,
		line:  "ca revoke --serial 02-1A-2B-00-00-00-00-05",
		holds: map[string]string{"ca show": `02-1A-2B-00-00-00-00-05`},
	},
	{
		name:  "ca rotate",
		keeps: true,
		every: 6,
		line:  "ca rotate --after pkcs11:token=officer;object=root-3 --destroy-old --yes",
		holds: map[string]string{"ca show": `(?m)^root +epoch 2, key at pkcs11:token=vault;object=root-2$`},
	},
	{
		name:  "hsm test",
		every: 12,
		line:  "hsm test --key pkcs11:token=vault",
	},
	{
		name:  "ceremony run",
		every: 8,
		ready: planRoot,
		line:  "ceremony run --dir c",
		abort: "ceremony abort --dir c",
		holds: map[string]string{
			"ceremony verify --dir c": `(?m)^good +the plan was carried out$`,
			"ca show":                 `(?m)^root +epoch 1, key at pkcs11:token=officer;object=root-1$`,
		},
	},
}

// planRoot readies the ceremony of an authority's first root, rehearsed.
func planRoot(w *world) error {
	if err := w.must("ceremony plan root --dir c"); err != nil {
		return err
	}
	path := filepath.Join(w.folder, "c", "plan.yaml")
	plan, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	plan = []byte(strings.NewReplacer("NAME OF AN OFFICER", "Anna Meier", "NAME OF A WITNESS", "Ben Okafor").Replace(string(plan)))
	if err := os.WriteFile(path, plan, 0o644); err != nil {
		return err
	}
	return w.must("ceremony rehearse --dir c")
}

// A fault is injected at one call: of any function, or of one.
type fault struct {
	name  string
	kind  uint64
	count uint64
	entry int   // of CK_FUNCTION_LIST, or anyEntry
	ends  []int // the exit codes that it may lead to
}

const (
	anyEntry = -1
	anywhere = 11 // faults of any entry, which come first
)

var (
	doneOrRefused = []int{exitGood, exitHSM}
	done          = []int{exitGood}
	dead          = []int{exitGood, byKill} // the call may come at the end
)

const byKill = -1 // as os.ProcessState says it

var faults = []fault{
	{"CKR_FUNCTION_FAILED", 0x06, 1, anyEntry, doneOrRefused},
	{"CKR_DEVICE_REMOVED", 0x32, 1, anyEntry, doneOrRefused},
	{"the answer lost", hsmtest.AnswerLost | 0x30, 1, anyEntry, doneOrRefused},
	{"pulled", hsmtest.Pulled, hsmtest.Forever, anyEntry, doneOrRefused},
	{"pulled and put back", hsmtest.Pulled, 1, anyEntry, doneOrRefused},
	{"CKR_GENERAL_ERROR", 0x05, 1, anyEntry, doneOrRefused},
	{"CKR_SESSION_HANDLE_INVALID", 0xB3, 1, anyEntry, doneOrRefused},
	{"CKR_HOST_MEMORY", 0x02, 1, anyEntry, doneOrRefused},
	{"a delay", hsmtest.Delay | 20, 1, anyEntry, done},
	{"killed before", hsmtest.Kill, 1, anyEntry, dead},
	{"killed after", hsmtest.Kill | 1, 1, anyEntry, dead},

	{"a flipped bit", hsmtest.FlipBit, 1, hsmtest.Sign, doneOrRefused},
	{"a wrong PIN", 0xA0, 1, hsmtest.Login, doneOrRefused},
	{"a login that fails", 0x05, 1, hsmtest.Login, doneOrRefused},
	{"two tokens alike", hsmtest.Twice, hsmtest.Forever, hsmtest.GetSlotList, doneOrRefused},
	{"no token", hsmtest.NoSlots, hsmtest.Forever, hsmtest.GetSlotList, doneOrRefused},
}

// TestHSMFaults lets each deed meet faults at each of its calls into the module. It must be done all the same, or be refused
// with exit code 7, a sentence and a hint, and then be completed as the message says, with no other objects in the tokens than
// without the fault. No process offers a PIN after a login that failed, and no PIN is anywhere but in its file.
func TestHSMFaults(t *testing.T) {
	library, err := hsmtest.BuildProxy(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var base string
	for _, d := range deeds {
		if d.ready != nil {
			if base, err = newBase(t.TempDir()); err != nil {
				t.Fatal(err)
			}
		}
		before := filepath.Join(t.TempDir(), "before")
		clean, after, err := doDeed(d, base, before, library)
		if err != nil {
			t.Fatalf("%s without a fault: %v", d.name, err)
		}
		injectAll(t, d, before, library, clean, after)
	}
}

// A token that does not answer holds a command up until Ctrl+C is pressed twice, and no longer.
func TestTokenThatDoesNotAnswer(t *testing.T) {
	library, err := hsmtest.BuildProxy(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	base, err := newBase(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w, err := enter(base, library, deeds[0])
	if err != nil {
		t.Fatal(err)
	}
	const minute = 60_000
	sign := &w.faults.Entry[hsmtest.Sign]
	sign.Inject(hsmtest.Delay|minute, 0, 1)
	c := w.command(deeds[0].line)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for sign.Calls() == 0 && time.Since(start) < 20*time.Second {
		time.Sleep(time.Millisecond)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	press := func() {
		if err := c.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
	}
	press()
	select {
	case err := <-ended:
		t.Fatalf("it ended in the middle of a call: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	press()
	select {
	case err := <-ended:
		if status, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGINT {
			t.Error("not ended by the signal:", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it waits on")
		c.Process.Kill()
	}
}

// newBase makes a world with empty tokens.
func newBase(folder string) (string, error) {
	if err := os.WriteFile(filepath.Join(folder, "pin"), []byte(pin+"\n"), 0o600); err != nil {
		return "", err
	}
	_, err := hsmtest.SoftHSM(filepath.Join(folder, "softhsm"), pin, "officer", "vault", "station")
	return folder, err
}

// doDeed does a deed without a fault. It keeps a copy of the world before it, and tells how often which function was called and
// what is in the tokens afterwards.
func doDeed(d deed, base, before, library string) (*hsmtest.Faults, map[string]int, error) {
	if d.ready != nil {
		w, err := enter(base, library, d)
		if err != nil {
			return nil, nil, err
		}
		if err := errors.Join(d.ready(w), w.leave()); err != nil {
			return nil, nil, err
		}
	}
	if out, err := exec.Command("cp", "-a", base, before).CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("cp: %w\n%s", err, out)
	}
	w, err := enter(base, library, d)
	if err != nil {
		return nil, nil, err
	}
	err = w.must(d.line)
	clean := *w.faults
	err = errors.Join(err, w.holds(d), w.leave())
	if err == nil && d.then != "" {
		err = w.must(d.then)
	}
	if err != nil {
		return nil, nil, err
	}
	after, err := w.objects()
	return &clean, after, err
}

// injectAll counts what becomes of a deed at each point.
func injectAll(t *testing.T, d deed, before, library string, clean *hsmtest.Faults, after map[string]int) {
	type point struct {
		fault
		skip uint64
	}
	var points []point
	for i, f := range faults {
		calls := clean.Any.Calls()
		if f.entry != anyEntry {
			calls = clean.Entry[f.entry].Calls()
		}
		for skip := range calls {
			if *everyFault || skip%max(1, d.every) == 0 && (f.entry != anyEntry || skip/max(1, d.every)%anywhere == uint64(i)) {
				points = append(points, point{f, skip})
			}
		}
	}
	var recovered, refused, died atomic.Int64
	folder := t.TempDir()
	queue := make(chan int)
	var group sync.WaitGroup
	for range 4 * runtime.GOMAXPROCS(0) { // they wait for the disk
		group.Go(func() {
			for i := range queue {
				p := points[i]
				own := filepath.Join(folder, fmt.Sprint(i))
				code, err := suffer(d, p.fault, p.skip, before, own, library, after)
				switch {
				case err != nil:
					t.Errorf("%s, %s at call %d: %v", d.name, p.name, p.skip, err)
				case code == exitGood:
					recovered.Add(1)
				case code == byKill:
					died.Add(1)
				default:
					refused.Add(1)
				}
				os.RemoveAll(own)
			}
		})
	}
	for i := range points {
		queue <- i
	}
	close(queue)
	group.Wait()
	t.Logf("hsmfaults %s: %d calls, %d points, %d recovered, %d refused and %d killed and then completed",
		d.name, clean.Any.Calls(), len(points), recovered.Load(), refused.Load(), died.Load())
}

// suffer does the deed in a copy of the world before it, with a fault after skip good calls, and completes it. It returns the
// exit code that the fault led to.
func suffer(d deed, f fault, skip uint64, before, folder, library string, after map[string]int) (code int, err error) {
	if out, err := exec.Command("cp", "-a", before, folder).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("cp: %w\n%s", err, out)
	}
	w, err := enter(folder, library, d)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.leave()) }()
	control := &w.faults.Any
	if f.entry != anyEntry {
		control = &w.faults.Entry[f.entry]
	}
	had, err := w.objects()
	if err != nil {
		return 0, err
	}
	control.Inject(f.kind, skip, f.count)
	code, text := w.run(d.line)
	control.Inject(0, 0, 0)
	have, err := w.objects()
	if err != nil {
		return 0, err
	}
	switch {
	case !slices.Contains(f.ends, code):
		return 0, fmt.Errorf("exit code %d:\n%s", code, text)
	case strings.Contains(text, pin):
		return 0, errors.New("the output has the PIN in it")
	case code == byKill: // its record has no end
		if err := errors.Join(os.RemoveAll(w.records()), os.Mkdir(w.records(), 0o755)); err != nil {
			return 0, err
		}
	case code != exitGood && !maps.Equal(had, have) && !regexp.MustCompile("--existing|repeat this command|the next test destroys").MatchString(text):
		return 0, fmt.Errorf("objects in the tokens: %v, before it %v, and the message does not tell:\n%s", have, had, text)
	}
	if code != exitGood {
		if d.abort != "" && skip%2 == 1 {
			if err := w.takeBack(d, had); err != nil {
				return 0, fmt.Errorf("%w\n%s", err, text)
			}
		}
		if err := w.complete(d, text, code == byKill); err != nil {
			return 0, err
		}
		if have, err = w.objects(); err != nil {
			return 0, err
		}
	}
	if !maps.Equal(have, after) {
		return 0, fmt.Errorf("objects in the tokens in the end: %v, want %v; exit code %d:\n%s", have, after, code, text)
	}
	if f := w.faults; f.Repeated != 0 || f.Exposed != 0 {
		return 0, fmt.Errorf("%d logins after one that failed, %d PINs shown in /proc:\n%s", f.Repeated, f.Exposed, text)
	}
	return code, w.holds(d)
}

// takeBack leaves the tokens as they were, or is refused because there is nothing to take back or it can only be finished.
func (w *world) takeBack(d deed, had map[string]int) error {
	code, text := w.run(d.abort)
	if code == exitPolicy || strings.Contains(text, "no run has begun") {
		return nil
	}
	have, err := w.objects()
	if err == nil && (code != exitGood || !maps.Equal(had, have)) {
		err = fmt.Errorf("exit code %d, objects in the tokens: %v, before it %v:\n%s", code, have, had, text)
	}
	return err
}

// complete repeats a command as its message says. One that was killed said nothing: what to do is in the message of the first
// repetition.
func (w *world) complete(d deed, text string, twice bool) error {
	if d.keeps && strings.Contains(text, "--existing") {
		d.line += " --existing"
	}
	code, more := w.run(d.line)
	switch {
	case code == exitGood:
		return nil
	case code == exitHSM && twice:
		return w.complete(d, more, false)
	case code == exitPolicy && twice: // it was done before it was killed, if it holds
		return nil
	}
	return fmt.Errorf("not completed:\n%s\n%s", text, more)
}

// world is a folder with tokens, an authority and a station.
type world struct {
	folder string
	env    []string
	faults *hsmtest.Faults
	fleet  *exec.Cmd
}

// enter readies a folder for commands whose calls go through the proxy, and its unit.
func enter(folder, library string, d deed) (*world, error) {
	store, err := hsmtest.SoftHSM(filepath.Join(folder, "softhsm"), pin) // its configuration names the folder
	if err != nil {
		return nil, err
	}
	w := &world{folder: folder}
	if err := os.MkdirAll(w.records(), 0o755); err != nil {
		return nil, err
	}
	var env []string
	if w.faults, env, err = hsmtest.NewFaults(filepath.Join(folder, "control"), store.Module); err != nil {
		return nil, err
	}
	w.env = append(os.Environ(), "BIRTHMARK_MODULE="+library, "BIRTHMARK_PIN_FILE="+filepath.Join(folder, "pin"), "RECORDS="+w.records(),
		"XDG_CONFIG_HOME="+filepath.Join(folder, ".config"))
	w.env = append(append(w.env, store.Env...), env...)
	if d.unit {
		err = w.serve()
	}
	return w, err
}

func (w *world) records() string { return filepath.Join(w.folder, ".records") }

func (w *world) command(line string) *exec.Cmd {
	c := exec.Command("birthmark", strings.Fields(line)...)
	c.Dir, c.Env = w.folder, w.env
	return c
}

// run gives the exit code, -1 if the process did not end by itself, and all that was printed.
func (w *world) run(line string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "birthmark", strings.Fields(line)...)
	c.Dir, c.Env = w.folder, w.env
	c.Stdin = strings.NewReader(strings.Repeat("Yes\n", 9)) // whoever is asked agrees
	out, err := c.CombinedOutput()
	text := "$ birthmark " + line + "\n" + string(out)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), text
	} else if err != nil {
		return -1, text + err.Error()
	}
	return exitGood, text
}

func (w *world) must(line string) error {
	if code, text := w.run(line); code != exitGood {
		return fmt.Errorf("exit code %d:\n%s", code, text)
	}
	return nil
}

// serve starts a simulated unit.
func (w *world) serve() error {
	w.fleet = w.command("fleet serve --dir units --bundle bundle.cbor --profile demo-sensor")
	var said bytes.Buffer
	w.fleet.Stdout, w.fleet.Stderr = &said, &said
	if err := w.fleet.Start(); err != nil {
		return err
	}
	port := filepath.Join(w.folder, "units", "unit-01")
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if _, err := os.Stat(port); err == nil {
			return nil
		}
	}
	return fmt.Errorf("no unit:\n%s", said.String())
}

// leave ends the unit, and holds every run against what is promised of all.
func (w *world) leave() error {
	if w.fleet != nil {
		if err := w.fleet.Process.Signal(syscall.SIGINT); err != nil {
			return err
		}
		if err := w.fleet.Wait(); err != nil {
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != exitInterrupted {
				return err
			}
		}
	}
	return audit(w.folder)
}

// holds says whether the deed is done.
func (w *world) holds(d deed) error {
	for line, pattern := range d.holds {
		code, text := w.run(line)
		if code != exitGood || !regexp.MustCompile(pattern).MatchString(text) {
			return fmt.Errorf("want %q of\n%s", pattern, text)
		}
	}
	return nil
}

// objects counts the objects of each token, each of which is a file of SoftHSM2.
func (w *world) objects() (map[string]int, error) {
	paths, err := filepath.Glob(filepath.Join(w.folder, "softhsm", "tokens", "*", "*.object"))
	counts := map[string]int{}
	for _, path := range paths {
		if filepath.Base(path) != "token.object" {
			counts[filepath.Base(filepath.Dir(path))]++
		}
	}
	return counts, err
}
