// Package readme runs the README's first steps, so that they stay true.
package readme

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const pin = "648219\n"

// steps gives the commands of the README's code blocks that come after the heading, block by block, with lines that end
// in a backslash joined and comments cut off.
func steps(t *testing.T, heading string) [][]string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), heading)
	if !ok {
		t.Fatalf("README.md has no heading %q", heading)
	}
	after, _, _ = strings.Cut(after, "\n## ")
	var blocks [][]string
	for i, part := range strings.Split(after, "\n```") {
		if i%2 == 0 {
			continue // between the blocks
		}
		part = strings.ReplaceAll(strings.TrimPrefix(part, "\n"), "\\\n", " ")
		var block []string
		for line := range strings.Lines(part) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
			block = append(block, strings.TrimSpace(line))
		}
		blocks = append(blocks, block)
	}
	return blocks
}

// desk is a folder with the program on the PATH, where commands are typed.
type desk struct {
	t   *testing.T
	dir string
	env []string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir()}
	build := exec.Command("go", "build", "-o", filepath.Join(d.dir, "bin", "birthmark"), "../..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	d.env = append(os.Environ(),
		"PATH="+filepath.Join(d.dir, "bin")+":"+os.Getenv("PATH"),
		"XDG_CONFIG_HOME="+d.dir,
		"SOFTHSM2_CONF="+filepath.Join(d.dir, "softhsm2.conf"),
		"BIRTHMARK_MODULE=/usr/lib/softhsm/libsofthsm2.so",
		"BIRTHMARK_PIN_FILE="+filepath.Join(d.dir, "pin"))
	d.write("pin", pin, 0o600)
	return d
}

func (d *desk) write(name, text string, mode os.FileMode) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), mode); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) command(line string) *exec.Cmd {
	c := exec.Command("bash", "-c", "exec "+line)
	c.Dir, c.Env = d.dir, d.env
	return c
}

func (d *desk) run(line string) {
	d.t.Helper()
	if out, err := d.command(line).CombinedOutput(); err != nil {
		d.t.Fatalf("$ %s\n%s%v", line, out, err)
	}
}

// serve starts a fleet and returns once all n units answer.
func (d *desk) serve(line string, n int) {
	d.t.Helper()
	var ports bytes.Buffer
	c := d.command(line)
	out, err := c.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Process.Signal(os.Interrupt); c.Wait() })
	timer := time.AfterFunc(30*time.Second, func() { c.Process.Kill() })
	defer timer.Stop()
	for strings.Count(ports.String(), "\n") < n {
		chunk := make([]byte, 512)
		k, err := out.Read(chunk)
		ports.Write(chunk[:k])
		if err != nil {
			d.t.Fatalf("$ %s\n%s%v", line, ports.String(), err)
		}
	}
}

func TestOfficerAndOperator(t *testing.T) {
	blocks := steps(t, "## First steps")
	if len(blocks) != 3 {
		t.Fatalf("%d blocks of commands, want the officer's, the operator's and the CI job's", len(blocks))
	}
	officer, operator := blocks[0], blocks[1]
	d := newDesk(t)
	d.write("softhsm2.conf", "directories.tokendir = "+d.dir+"/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", 0o600)
	if err := os.MkdirAll(filepath.Join(d.dir, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"officer", "station"} {
		d.run("softhsm2-util --init-token --free --so-pin 77441122 --label " + token + " --pin " + pin[:6])
	}
	// This machine's places for what the README leaves to its reader.
	here := strings.NewReplacer("/media/vault/", d.dir+"/", "/dev/ttyUSB0", "units/unit-01", "/dev/ttyUSB1", "units/unit-02")
	order := officer[len(officer)-1] // needs the request, which the operator makes first
	for _, line := range append(officer[:len(officer)-1:len(officer)-1], operator[0], "cp station/request.pem request.pem", order) {
		d.run(here.Replace(line))
	}
	d.serve("birthmark fleet serve -n 2 --dir units --bundle bundle.cbor --profile demo-sensor", 2)
	for _, line := range operator[1:] {
		d.run(here.Replace(line))
	}
	if _, err := os.Stat(filepath.Join(d.dir, "birthmark_image.h")); err != nil {
		t.Error(err)
	}
	d.checkStored()
}

// checkStored holds what a unit keeps without power against docs/formats.md, "In the unit", byte for byte.
func (d *desk) checkStored() {
	d.t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(d.dir, name))
		if err != nil {
			d.t.Fatal(err)
		}
		return b
	}
	d.run("birthmark ledger export --config station/birthmark.yaml --out certificates")
	d.run(`sh -c 'cp certificates/*-00-01.c509 unit.c509'`) // whichever unit got the first number

	order, unit := read("certificates/order-1.c509"), read("unit.c509")
	slot := slices.Concat([]byte{0xa1, 0x18, 0x19, 0x82, 0x58, byte(len(unit))}, unit, []byte{0x58, byte(len(order))}, order)
	slot = append(slot, make([]byte, 416-len(slot))...)
	found := 0
	for _, name := range []string{"units/unit-01", "units/unit-02"} {
		eeprom, flash := read(name+".eeprom"), read(name+".flash")
		if len(eeprom) != 1400 || len(flash) != 3*2048 {
			d.t.Fatalf("%s: %d bytes of EEPROM, %d of flash", name, len(eeprom), len(flash))
		}
		if bytes.Equal(eeprom[128+64+8*36:][:416], slot) {
			found++
		}
		bundle := read("bundle.cbor")
		anchor := append([]byte{1, 0, 0, 98}, bundle[1+19+2:][:98]...) // behind the title (docs/formats.md)
		if !bytes.HasPrefix(flash, anchor) {
			d.t.Errorf("%s: page 0 is %x..., want %x", name, flash[:len(anchor)], anchor)
		}
		sealed := []byte{2, 0, 0, 4, 0, 0, 0, 0, 0x98, 0x0E, 0, 0, 0, 0, 0, 0, 5, 0, 0, 4, 0, 0, 0, 1, 0xFC, 0x0F, 0, 0, 0, 0, 0, 0, 0xFF}
		if !bytes.HasPrefix(flash[2048:], sealed) {
			d.t.Errorf("%s: page 1 is %x..., want %x", name, flash[2048:][:len(sealed)], sealed)
		}
	}
	if found != 1 {
		d.t.Errorf("%d units have in slot 8\n%x", found, slot)
	}
}

func TestCI(t *testing.T) {
	d := newDesk(t)
	d.write("softhsm2.conf", "", 0o600)
	for _, line := range steps(t, "## First steps")[2] {
		if server, ok := strings.CutSuffix(line, " &"); ok {
			d.serve(server, 8)
			continue
		}
		d.run(line)
	}
	d.run("birthmark unit inspect --bundle bundle.cbor --port units/unit-08")
}

var (
	link   = regexp.MustCompile(`\]\(([^)#:]+)\)`)
	source = regexp.MustCompile(`\b(?:c509|ca|chip|cmd|device|fleet|hsm|internal|ledger|link|provision|scripts|templates)/[a-z0-9_/]+\.(?:go|c|h)\b`)
)

// Every file that the documentation names is there.
func TestNamedFiles(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range link.FindAllSubmatch(text, -1) {
			names = append(names, filepath.Join(filepath.Dir(page), string(m[1])))
		}
		for _, m := range source.FindAll(text, -1) {
			names = append(names, filepath.Join("../..", string(m)))
		}
		for _, name := range names {
			found++
			if _, err := os.Stat(name); err != nil {
				t.Errorf("%s names %s: %v", page, name, err)
			}
		}
	}
	if found < 20 {
		t.Errorf("%d files named in the documentation: the patterns find too few", found)
	}
}

// Every module that go.mod asks for by itself is in docs/dependencies.md, and no other.
func TestDependencies(t *testing.T) {
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var required []string
	for _, m := range regexp.MustCompile(`(?m)^(?:require)?\s+(\S+\.\S+/\S+) v\S+$`).FindAllSubmatch(module, -1) {
		required = append(required, string(m[1])) // an indirect one has a comment behind its version
	}
	page, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	var described []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]+/[^|]+) \|`).FindAllSubmatch(page, -1) {
		described = append(described, strings.Split(string(m[1]), ", ")...)
	}
	slices.Sort(required)
	slices.Sort(described)
	if len(required) == 0 || !slices.Equal(required, described) {
		t.Errorf("go.mod requires\n%q, docs/dependencies.md has\n%q", required, described)
	}
}

// Every test that the threat model names is there, and every attack but those that the page lists as missing names one.
func TestNamedTests(t *testing.T) {
	page, err := os.ReadFile("../../docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\b([a-z0-9]+)\.((?:Test|Fuzz)\w+)|\b(\w+\.txtar)`)
	rows := regexp.MustCompile(`(?m)^\| (\d+) \|.*\|([^|]*)\|$`).FindAllSubmatch(page, -1)
	if len(rows) < 22 {
		t.Errorf("%d attacks found in the threat model", len(rows))
	}
	for _, row := range rows {
		tests := named.FindAllSubmatch(row[2], -1)
		if len(tests) == 0 {
			t.Errorf("attack %s names no test", row[1])
		}
		for _, m := range tests {
			if story := string(m[3]); story != "" {
				if _, err := os.Stat("../../cmd/testdata/" + story); err != nil {
					t.Errorf("attack %s: %v", row[1], err)
				}
				continue
			}
			if !declares(t, "../../"+string(m[1]), "func "+string(m[2])+"(") {
				t.Errorf("attack %s: there is no %s", row[1], m[0])
			}
		}
	}
}

// declares says whether a test file of the folder has the text.
func declares(t *testing.T, folder, text string) bool {
	t.Helper()
	files, err := filepath.Glob(folder + "/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		source, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(source), text)
	})
}
