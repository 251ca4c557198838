// Size compiles the C library for Cortex-M0+ and reports, into build/size.json, the bytes of text of each file and the
// worst stack of each entry point, from the compiler's call graph.
//
// Stack: a call through struct bm_port is counted as the deepest of the functions that the ATECC608 driver puts there; a call
// through the driver's bus or struct bm_board is the board's own code and counts nothing. A cycle in the graph is an error:
// the library does not recurse.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/birthmark/birthmark/scripts/figures"
)

const (
	compiler = "arm-none-eabi-gcc"
	driver   = "port_atecc608.c"
)

// ports are the driver's functions that a board puts into struct bm_port.
var ports = []string{"bm_atecc608_random", "bm_atecc608_public_key", "bm_atecc608_sign", "bm_atecc608_verify"}

var flags = []string{"-std=c99", "-Os", "-mcpu=cortex-m0plus", "-mthumb", "-ffreestanding", "-ffunction-sections", "-fcallgraph-info=su"}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "size:", err)
		os.Exit(1)
	}
}

func run() error {
	files, err := filepath.Glob("device/*.c")
	if err != nil || len(files) == 0 {
		return errors.Join(err, errors.New("no device/*.c here; run from the top of the repository"))
	}
	folder, err := os.MkdirTemp("", "birthmark-size-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	graph := newGraph()
	var list []figures.Figure
	total := 0.0
	for _, file := range files {
		object := filepath.Join(folder, strings.TrimSuffix(filepath.Base(file), ".c")+".o")
		if err := command(compiler, append(slices.Clone(flags), "-c", file, "-o", object)...); err != nil {
			return err
		}
		text, err := textBytes(object)
		if err != nil {
			return err
		}
		total += text
		list = append(list, figures.Figure{Name: filepath.Base(file), Value: text, Unit: "B"})
		if err := graph.read(strings.TrimSuffix(object, ".o")+".ci", filepath.Base(file)); err != nil {
			return err
		}
	}
	list = append(list, figures.Figure{Name: "all", Value: total, Unit: "B", Note: "every file whole, before the linker drops what is not used"})
	entries, err := graph.entries()
	if err != nil {
		return err
	}
	for _, entry := range entries {
		stack, err := graph.worst(entry, nil)
		if err != nil {
			return err
		}
		list = append(list, figures.Figure{Name: "stack " + entry, Value: float64(stack), Unit: "B"})
	}
	return figures.Write("size", list)
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// textBytes is the size of code and constants.
func textBytes(object string) (float64, error) {
	out, err := exec.Command("arm-none-eabi-size", object).Output()
	if err != nil {
		return 0, err
	}
	lines := strings.Split(string(out), "\n")
	if len(lines) < 2 {
		return 0, fmt.Errorf("arm-none-eabi-size printed %q", out)
	}
	fields := strings.Fields(lines[1]) // text data bss dec hex filename
	if len(fields) < 3 || fields[1] != "0" || fields[2] != "0" {
		return 0, fmt.Errorf("%s has data or bss, and the library has no globals: %q", object, lines[1])
	}
	return strconv.ParseFloat(fields[0], 64)
}

// graph is who calls whom, from gcc's -fcallgraph-info.
type graph struct {
	frame map[string]int // bytes of stack of each function
	file  map[string]string
	calls map[string][]string
}

func newGraph() *graph {
	return &graph{frame: map[string]int{}, file: map[string]string{}, calls: map[string][]string{}}
}

var (
	nodeLine  = regexp.MustCompile(`^node: \{ title: "([^"]+)" label: "[^"]*\\n(\d+) bytes \(([a-z,]+)\)`)
	prototype = regexp.MustCompile(`\bbm_[a-z0-9_]+\(`)
	edgeLine  = regexp.MustCompile(`^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"`)
)

const indirect = "__indirect_call"

func (g *graph) read(path, file string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if m := nodeLine.FindStringSubmatch(lines.Text()); m != nil {
			if m[3] != "static" {
				return fmt.Errorf("%s: its stack is %q, and the library's is fixed", m[1], m[3])
			}
			bytes, err := strconv.Atoi(m[2])
			if err != nil {
				return err
			}
			g.frame[m[1]], g.file[m[1]] = bytes, file
		}
		if m := edgeLine.FindStringSubmatch(lines.Text()); m != nil {
			g.calls[m[1]] = append(g.calls[m[1]], m[2])
		}
	}
	return lines.Err()
}

// entries are the functions of the library that its headers for others declare.
func (g *graph) entries() ([]string, error) {
	var list []string
	for _, header := range []string{"birthmark.h", "agent.h", "port_atecc608.h"} {
		text, err := os.ReadFile(filepath.Join("device", header))
		if err != nil {
			return nil, err
		}
		for _, name := range prototype.FindAllString(string(text), -1) {
			name = strings.TrimSuffix(name, "(")
			if _, defined := g.frame[name]; defined && !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	return list, nil
}

// worst is the deepest stack from a function down, in bytes.
func (g *graph) worst(name string, path []string) (int, error) {
	if slices.Contains(path, name) {
		return 0, fmt.Errorf("recursion: %s", strings.Join(append(path, name), " -> "))
	}
	path = append(path, name)
	deepest := 0
	for _, callee := range g.calls[name] {
		targets := []string{callee}
		if callee == indirect {
			if targets = ports; g.file[name] == driver {
				targets = nil
			}
		}
		for _, target := range targets {
			below, err := g.worst(target, path)
			if err != nil {
				return 0, err
			}
			deepest = max(deepest, below)
		}
	}
	return g.frame[name] + deepest, nil
}
