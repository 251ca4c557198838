// Size builds the C library for Cortex-M0+ and measures what it costs: bytes of text as the linker leaves them, the contexts,
// the stack, both painted in an emulator (stack.go) and bounded by the call graph (graph.go), and the whole firmware by component
// (firmware.go). Figures go to
// build/size.json. docs/size.csv holds goals, budgets, one of which exceeded is an error, and the figures of the last commit;
// -commit writes them.
package main

import (
	"encoding/csv"
	"errors"
	"flag"
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
	table    = "docs/size.csv"
)

var flags = []string{"-std=c99", "-Os", "-mcpu=cortex-m0plus", "-mthumb", "-ffreestanding", "-ffunction-sections", "-fdata-sections",
	"-fno-thread-jumps", "-fno-tree-dominator-opts", "-fno-move-loop-invariants", "-fno-tree-loop-im", "-fcallgraph-info=su", "-Idevice"}

// An image is what one product would link: every public function of some headers, the files that serve them, and stubs for what
// lies outside the budget.
type image struct {
	name    string
	headers []string
	files   []string
	stubs   []string
	defines []string
}

var (
	edhocFiles   = []string{"edhoc.c", "cbor.c", "hkdf.c", "bytes.c"}
	libraryFiles = []string{"edhoc.c", "cbor.c", "hkdf.c", "bytes.c", "sha256.c", "p256.c", "ccm.c", "c509.c", "trust.c", "flash.c",
		"pairing.c", "session.c", "peerlink.c", "policy.c", "line.c", "crc16.c"}
	primitives = []string{"bm_sha256", "bm_sha256_init", "bm_sha256_block", "bm_sha256_update", "bm_sha256_final", "bm_p256_recover", "bm_ccm"}
)

var images = []image{
	{name: "edhoc_all", headers: []string{"edhoc.h"}, files: edhocFiles, stubs: primitives},
	{name: "edhoc_initiator_method0", headers: []string{"edhoc.h"}, files: edhocFiles, stubs: primitives,
		defines: []string{"-DBM_CONFIG_NO_RESPONDER", "-DBM_CONFIG_NO_STATIC_DH"}},
	{name: "edhoc_responder_method0", headers: []string{"edhoc.h"}, files: edhocFiles, stubs: primitives,
		defines: []string{"-DBM_CONFIG_NO_INITIATOR", "-DBM_CONFIG_NO_STATIC_DH"}},
	{name: "library_all", headers: []string{"edhoc.h", "session.h", "trust.h", "pairing.h", "peerlink.h", "policy.h"},
		files: libraryFiles},
}

func main() {
	commit := flag.Bool("commit", false, "write the figures into "+table)
	whole := flag.Bool("firmware", false, "measure the firmware alone")
	flag.Parse()
	measure := measure
	if *whole {
		measure = func(string) ([]figures.Figure, error) { return firmware(firmwareFolder) }
	}
	if err := run(measure, *commit); err != nil {
		fmt.Fprintln(os.Stderr, "size:", err)
		os.Exit(1)
	}
}

func run(measure func(folder string) ([]figures.Figure, error), commit bool) error {
	folder, err := os.MkdirTemp("", "birthmark-size-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	rows, err := readTable()
	if err != nil {
		return err
	}
	measured, err := measure(folder)
	if err != nil {
		return err
	}

	var list []figures.Figure
	var over []error
	for _, m := range measured {
		i := slices.IndexFunc(rows, func(r row) bool { return r.name == m.Name })
		if i < 0 {
			rows = append(rows, row{name: m.Name})
			i = len(rows) - 1
		}
		if rows[i].goal > 0 {
			m.Bar = figures.Of(float64(rows[i].goal))
			if m.Value > *m.Bar {
				m.Note = strings.TrimSpace(m.Note + " goal missed")
			}
		}
		if rows[i].budget > 0 && int(m.Value) > rows[i].budget {
			over = append(over, fmt.Errorf("%s: %.0f B, and the budget is %d", m.Name, m.Value, rows[i].budget))
		}
		if change := int(m.Value) - rows[i].figure; change != 0 {
			m.Note = strings.TrimSpace(fmt.Sprintf("%+d %s", change, m.Note))
		}
		rows[i].figure = int(m.Value)
		list = append(list, m)
	}
	if err := figures.Write("size", list); err != nil {
		return err
	}
	if commit {
		over = append(over, writeTable(rows))
	}
	return errors.Join(over...)
}

func measure(folder string) ([]figures.Figure, error) {
	sizes := map[string]int{}
	for _, i := range images {
		size, err := i.link(folder)
		if err != nil {
			return nil, err
		}
		sizes[i.name] = size
	}
	context, err := contexts(folder)
	if err != nil {
		return nil, err
	}
	peak, err := paintedStack(folder)
	if err != nil {
		return nil, err
	}
	oneRole := max(sizes["edhoc_initiator_method0"], sizes["edhoc_responder_method0"])
	list := []figures.Figure{
		{Name: "edhoc_all", Value: float64(sizes["edhoc_all"]), Unit: "B"},
		{Name: "one_role_method0", Value: float64(oneRole), Unit: "B"},
		{Name: "library_all", Value: float64(sizes["library_all"]), Unit: "B"},
		{Name: "context", Value: float64(context), Unit: "B"},
		{Name: "stack_peak", Value: float64(peak), Unit: "B", Note: "painted"},
	}

	sources, err := filepath.Glob("device/*.c")
	if err != nil {
		return nil, err
	}
	graph := newGraph()
	for _, source := range sources {
		if constrained(source) {
			continue
		}
		object, err := compile(folder, source)
		if err != nil {
			return nil, err
		}
		text, err := text(object)
		if err != nil {
			return nil, err
		}
		list = append(list, figures.Figure{Name: filepath.Base(source), Value: float64(text), Unit: "B"})
		if err := graph.read(strings.TrimSuffix(object, ".o")+".ci", filepath.Base(source)); err != nil {
			return nil, err
		}
	}
	stacks, err := graph.stacks()
	if err != nil {
		return nil, err
	}
	whole, err := firmware(firmwareFolder)
	return slices.Concat(list, whole, stacks), err
}

// constrained says that a file is built only under a tag, for a host.
func constrained(source string) bool {
	text, err := os.ReadFile(source)
	return err == nil && strings.HasPrefix(string(text), "//go:build")
}

func compile(folder, source string, defines ...string) (object string, err error) {
	object = filepath.Join(folder, strings.TrimSuffix(filepath.Base(source), ".c")+".o")
	return object, command(compiler, slices.Concat(flags, defines, []string{"-c", source, "-o", object})...)
}

// link gives the bytes that the image takes in flash, without its stubs, which have a section of their own.
func (i image) link(folder string) (int, error) {
	arguments := []string{"-nostdlib", "-mcpu=cortex-m0plus", "-mthumb", "-Wl,--gc-sections", "-Wl,-e,0"}
	for _, file := range i.files {
		object, err := compile(folder, filepath.Join("device", file), i.defines...)
		if err != nil {
			return 0, err
		}
		arguments = append(arguments, object)
	}
	roots, err := functions(i.headers)
	if err != nil {
		return 0, err
	}
	for _, root := range roots {
		arguments = append(arguments, "-Wl,-u,"+root)
	}
	var stubs strings.Builder
	for _, name := range i.stubs {
		fmt.Fprintf(&stubs, "__attribute__((section(\"stubs\"))) int %s(void) { return 0; }\n", name)
	}
	source := filepath.Join(folder, "stubs.c")
	if err := os.WriteFile(source, []byte(stubs.String()), 0o644); err != nil {
		return 0, err
	}
	object, err := compile(folder, source)
	if err != nil {
		return 0, err
	}
	out := filepath.Join(folder, i.name+".elf")
	if err := command(compiler, append(arguments, object, "-lc_nano", "-lgcc", "-o", out)...); err != nil {
		return 0, err
	}
	total := 0
	for _, name := range []string{".text", ".rodata", ".data", ".ARM.exidx", ".ARM.extab"} {
		size, err := section(out, name)
		if err != nil {
			return 0, err
		}
		total += size
	}
	return total, nil
}

var prototype = regexp.MustCompile(`\b(bm_[a-z0-9_]+)\(`)

// functions are those that headers declare: prototypes begin a line, fields of structs and comments do not.
func functions(headers []string) ([]string, error) {
	var list []string
	for _, header := range headers {
		text, err := os.ReadFile(filepath.Join("device", header))
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "/*") || strings.HasPrefix(line, "#") {
				continue
			}
			if m := prototype.FindStringSubmatch(line); m != nil && !slices.Contains(list, m[1]) {
				list = append(list, m[1])
			}
		}
	}
	return list, nil
}

// contexts is what a handshake and a session take of the caller's memory.
func contexts(folder string) (int, error) {
	source := filepath.Join(folder, "context.c")
	text := "#include \"session.h\"\nchar context[sizeof(struct bm_edhoc) + sizeof(struct bm_session)];\n"
	if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
		return 0, err
	}
	object, err := compile(folder, source)
	if err != nil {
		return 0, err
	}
	return section(object, ".bss.context")
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// text is the size of code and constants.
func text(object string) (int, error) {
	out, err := exec.Command("arm-none-eabi-size", object).Output()
	if err != nil {
		return 0, fmt.Errorf("arm-none-eabi-size %s: %w", object, err)
	}
	lines := strings.Split(string(out), "\n")
	if len(lines) < 2 {
		return 0, fmt.Errorf("arm-none-eabi-size printed %q", out)
	}
	fields := strings.Fields(lines[1]) // text data bss dec hex filename
	if len(fields) < 3 || fields[1] != "0" || fields[2] != "0" {
		return 0, fmt.Errorf("%s has data or bss, and the library has no globals: %q", object, lines[1])
	}
	return strconv.Atoi(fields[0])
}

// section is the size of one section, 0 if there is none.
func section(object, name string) (int, error) {
	out, err := exec.Command("arm-none-eabi-size", "-A", object).Output()
	if err != nil {
		return 0, fmt.Errorf("arm-none-eabi-size %s: %w", object, err)
	}
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			return strconv.Atoi(fields[1])
		}
	}
	return 0, nil
}

// A row is a line of the table. Goal is what the design asks for; budget is what nobody may exceed unnoticed: the goal or, where
// that is missed, what there is. Either is 0 where there is none.
type row struct {
	name                 string
	goal, budget, figure int
}

func readTable() ([]row, error) {
	f, err := os.Open(table)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil || len(records) == 0 {
		return nil, fmt.Errorf("%s: no table: %w", table, err)
	}
	var rows []row
	for _, record := range records[1:] {
		r := row{name: record[0]}
		for i, to := range []*int{&r.goal, &r.budget, &r.figure} {
			if record[i+1] == "" {
				continue
			}
			if *to, err = strconv.Atoi(record[i+1]); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", table, r.name, err)
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func writeTable(rows []row) error {
	var out strings.Builder
	w := csv.NewWriter(&out)
	records := [][]string{{"name", "goal", "budget", "figure"}}
	for _, r := range rows {
		record := []string{r.name, "", "", strconv.Itoa(r.figure)}
		for i, limit := range []int{r.goal, r.budget} {
			if limit > 0 {
				record[1+i] = strconv.Itoa(limit)
			}
		}
		records = append(records, record)
	}
	if err := w.WriteAll(records); err != nil {
		return err
	}
	return os.WriteFile(table, []byte(out.String()), 0o644)
}
