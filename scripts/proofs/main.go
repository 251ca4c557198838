// Proofs runs Frama-C's Eva over the harnesses in device/proofs/eva (docs/proofs.md): each function that reads bytes from
// outside, for every length of input, with planted bugs in each family that must raise an alarm. Figures go to
// build/proofs.json, logs to build/proofs/. With -reduced only the shortest and the longest inputs are tried.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/birthmark/birthmark/scripts/figures"
)

const (
	harnesses = "device/proofs/eva"
	logs      = "build/proofs"
)

// A family is one file of harnesses and the library's files that they analyse, with stubs for what the latter call beyond
// themselves.
type family struct {
	name    string // of the file of harnesses
	sources []string
	states  int      // that Eva keeps apart at one point of the program
	options []string // for Eva
	entries []entry
	bugs    []bug
}

// An entry is a harness, for inputs of lo to hi bytes, step lengths in one run.
type entry struct {
	name         string
	lo, hi, step int
}

// A bug replaces a text, which is there once, in a copy of one source; the entry must then raise an alarm at this length.
type bug struct {
	source, from, to string
	entry            string
	size             int
}

// 32-bit pointers and integers, as on a Cortex-M. States are kept apart through returns as well: the readers work by
// index, and an index is only exact while what led to it is known.
var options = []string{"-eva", "-machdep", "gcc_x86_32", "-eva-precision", "2", "-eva-split-return", "full",
	"-eva-interprocedural-history", "-eva-interprocedural-splits", "-eva-msg-key=-final-states,-initial-state", "-warn-signed-overflow"}

func main() {
	reduced := flag.Bool("reduced", false, "the shortest and the longest inputs alone")
	only := flag.String("only", "", "one family")
	flag.Parse()
	if err := run(*reduced, *only); err != nil {
		fmt.Fprintln(os.Stderr, "proofs:", err)
		os.Exit(1)
	}
}

// task is one run of Eva, and result what came of it.
type task struct {
	family   family
	harness  string
	lo, hi   int
	override string // a source with a planted bug, in place of the library's of that name
}

type result struct {
	alarms   int
	accepted bool // some input was taken
	err      error
}

func run(reduced bool, only string) error {
	begun := time.Now()
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	var tasks []task
	entries, planted := 0, 0
	for _, f := range families {
		if only != "" && f.name != only {
			continue
		}
		for _, e := range f.entries {
			entries++
			tasks = append(tasks, e.tasks(f, reduced)...)
		}
		for _, b := range f.bugs {
			t, err := b.task(f)
			if err != nil {
				return err
			}
			planted++
			tasks = append(tasks, t)
		}
	}
	results := all(tasks)

	alarms, seen := 0, 0
	accepted := map[string]bool{}
	var problems []error
	for i, t := range tasks {
		r := results[i]
		problems = append(problems, r.err)
		switch {
		case t.override == "":
			alarms += r.alarms
			accepted[t.family.name+" "+t.harness] = accepted[t.family.name+" "+t.harness] || r.accepted
			if r.alarms > 0 {
				problems = append(problems, fmt.Errorf("%d alarms in %s", r.alarms, t.log()))
			}
		case r.alarms > 0:
			seen++
		default:
			problems = append(problems, fmt.Errorf("%s: the bug planted in %s raised no alarm", t.log(), t.override))
		}
	}
	for name, yes := range accepted {
		if !yes {
			problems = append(problems, fmt.Errorf("%s: no input was accepted, so the proof is empty", name))
		}
	}
	note := fmt.Sprintf("%d runs, %.0f s, lengths: all", len(tasks), time.Since(begun).Seconds())
	if reduced {
		note = strings.Replace(note, "all", "shortest and longest", 1)
	}
	allSeen := 0.0
	if seen == planted {
		allSeen = 1
	}
	err := figures.Write("proofs", []figures.Figure{
		{Name: "eva_entries", Value: float64(entries), Unit: "functions", Note: note},
		{Name: "eva_alarms", Value: float64(alarms), Unit: "alarms", Bar: figures.Of(0)},
		{Name: "planted_bug_seen", Value: allSeen, Unit: "", Bar: figures.Of(1), Note: fmt.Sprintf("%d of %d", seen, planted)},
	})
	return errors.Join(append(problems, err)...)
}

func (e entry) tasks(f family, reduced bool) []task {
	if reduced && e.lo < e.hi {
		return []task{{f, e.name, e.lo, e.lo, ""}, {f, e.name, e.hi - 1, e.hi - 1, ""}, {f, e.name, e.hi, e.hi, ""}}
	}
	var list []task
	for lo := e.lo; lo <= e.hi; lo += e.step {
		list = append(list, task{f, e.name, lo, min(lo+e.step-1, e.hi), ""})
	}
	return list
}

// task plants the bug in a copy of its source.
func (b bug) task(f family) (task, error) {
	text, err := os.ReadFile(filepath.Join("device", b.source))
	if err != nil {
		return task{}, err
	}
	if n := strings.Count(string(text), b.from); n != 1 {
		return task{}, fmt.Errorf("family %s: the text to plant a bug in is %d times in %s: %q", f.name, n, b.source, b.from)
	}
	folder := filepath.Join(logs, "bug-"+f.name+"-"+b.entry)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return task{}, err
	}
	override := filepath.Join(folder, b.source)
	text = []byte(strings.Replace(string(text), b.from, b.to, 1))
	return task{f, b.entry, b.size, b.size, override}, os.WriteFile(override, text, 0o644)
}

func (t task) log() string {
	name := fmt.Sprintf("%s-%s-%d-%d.log", t.family.name, t.harness, t.lo, t.hi)
	if t.override != "" {
		name = "bug-" + name
	}
	return filepath.Join(logs, name)
}

// all runs the tasks, as many at a time as the machine has processors.
func all(tasks []task) []result {
	results := make([]result, len(tasks))
	next := make(chan int)
	var done sync.WaitGroup
	for range runtime.NumCPU() {
		done.Go(func() {
			for i := range next {
				results[i] = tasks[i].analyse()
			}
		})
	}
	for i := range tasks {
		next <- i
	}
	close(next)
	done.Wait()
	return results
}

var (
	alarmCount = regexp.MustCompile(`(?m)^ +(\d+) alarms? generated by the analysis`)
	// Frama-C's own functions but for these have contracts; of a function without one Eva knows nothing.
	unspecified = regexp.MustCompile(`Neither code nor specification for function bm_\w+`)
	unproven    = regexp.MustCompile(`(?m)^ +(?:Assertions|Preconditions) +\d+ valid +(\d+) unknown +(\d+) invalid`)
)

// analyse runs Eva. A property of a stub that Eva cannot prove counts as an alarm.
func (t task) analyse() result {
	args := append([]string{"-main", t.harness,
		"-eva-slevel", strconv.Itoa(t.family.states), fmt.Sprintf("-cpp-extra-args=-Idevice -I%s -DLO=%d -DHI=%d", harnesses, t.lo, t.hi)}, options...)
	for _, source := range t.family.sources {
		path := filepath.Join("device", source)
		switch {
		case strings.HasPrefix(source, "stub_"):
			path = filepath.Join(harnesses, source)
		case source == filepath.Base(t.override):
			path = t.override
		}
		args = append(args, path)
	}
	args = append(args, filepath.Join(harnesses, t.family.name+".c"))
	args = append(args, t.family.options...)
	out, err := exec.Command("frama-c", args...).CombinedOutput()
	if err := errors.Join(err, os.WriteFile(t.log(), out, 0o644)); err != nil {
		return result{err: fmt.Errorf("%s: %w", t.log(), err)}
	}
	if missing := unspecified.Find(out); missing != nil {
		return result{err: fmt.Errorf("%s: %s", t.log(), missing)}
	}
	count := alarmCount.FindSubmatch(out)
	if count == nil {
		return result{err: fmt.Errorf("%s: Eva gave no summary", t.log())}
	}
	r := result{accepted: strings.Contains(string(out), "Frama_C_show_each_accepted")}
	r.alarms, r.err = strconv.Atoi(string(count[1]))
	for _, m := range unproven.FindAllSubmatch(out, -1) {
		for _, text := range m[1:] {
			n, err := strconv.Atoi(string(text))
			r.alarms, r.err = r.alarms+n, errors.Join(r.err, err)
		}
	}
	return r
}
