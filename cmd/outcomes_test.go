package cmd

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/provision"
)

// wrapped are the sentinels that never reach the table alone.
var wrapped = map[string]string{
	"link.ErrUnitChanged": "package provision wraps it with ErrRetry",
	"fleet.ErrBad":        "cert verify --fleet lists it with its unit, and ends with ca.ErrVerify",
	"c509.ErrSignature":   "cert verify marks it as ca.ErrVerify, as package ca does",
}

// declarations yields the package-level declarations of a Go file with the file's package.
func declarations(t *testing.T, path string) (name string, declared []ast.Decl) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return file.Name.Name, file.Decls
}

// sentinels finds every exported Err variable of our packages, as package.Name.
func sentinels(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", "build", "cmd", "internal", "scripts", "testdata"}, entry.Name()) {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		name, declared := declarations(t, path)
		for _, d := range declared {
			group, ok := d.(*ast.GenDecl)
			if !ok || group.Tok != token.VAR {
				continue
			}
			for _, spec := range group.Specs {
				for _, variable := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(variable.Name, "Err") {
						found = append(found, name+"."+variable.Name)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestOutcomesNameEverySentinel: an error that a package lets its caller act on has an exit code and a hint.
func TestOutcomesNameEverySentinel(t *testing.T) {
	text, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, m := range regexp.MustCompile(`(?m)^\t\{([a-z0-9]+\.Err\w+), exit`).FindAllStringSubmatch(string(text), -1) {
		named = append(named, m[1])
	}
	all := sentinels(t)
	if len(all) < 30 {
		t.Fatalf("found only %q", all)
	}
	for _, name := range all {
		if inTable := slices.Contains(named, name); inTable == (wrapped[name] != "") {
			t.Errorf("%s: in the table: %v; it is to be there, or in this test with a reason", name, inTable)
		}
	}
	for name := range wrapped {
		if !slices.Contains(all, name) {
			t.Errorf("there is no %s", name)
		}
	}
}

// TestOutcomesAreReached: no row stands behind one that takes all its errors.
func TestOutcomesAreReached(t *testing.T) {
	for i, later := range outcomes {
		for _, earlier := range outcomes[:i] {
			if errors.Is(later.is, earlier.is) {
				t.Errorf("row %q is behind row %q", later.is, earlier.is)
			}
		}
	}
}

// TestHintsNameCommands: what a hint tells people to type is there.
func TestHintsNameCommands(t *testing.T) {
	root := new(program).root()
	for _, o := range outcomes {
		if o.hint == "" || strings.Contains(o.hint, "\n") || strings.HasSuffix(o.hint, ".") {
			t.Errorf("hint of %q is not one sentence without a full stop: %q", o.is, o.hint)
		}
		for _, m := range regexp.MustCompile(`'birthmark ([^']+)'`).FindAllStringSubmatch(o.hint, -1) {
			words := strings.Fields(m[1])
			if words[0] == "COMMAND" {
				continue
			}
			c, rest, err := root.Find(words)
			if err != nil || c == root {
				t.Errorf("hint of %q: no command %q", o.is, m[1])
				continue
			}
			for _, word := range rest {
				if flag, ok := strings.CutPrefix(word, "--"); ok && flag != "help" && c.Flags().Lookup(flag) == nil {
					t.Errorf("hint of %q: %q has no flag --%s", o.is, c.CommandPath(), flag)
				}
			}
		}
	}
}

// exitCodes are the constants of errors.go.
func exitCodes(t *testing.T) map[int]string {
	t.Helper()
	codes := make(map[int]string)
	_, declared := declarations(t, "errors.go")
	for _, d := range declared {
		if group, ok := d.(*ast.GenDecl); ok && group.Tok == token.CONST {
			for _, spec := range group.Specs {
				s := spec.(*ast.ValueSpec)
				n, err := strconv.Atoi(s.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				codes[n] = s.Names[0].Name
			}
		}
	}
	return codes
}

// TestExitCodes: the constants, the order of severity, the table's rows, the help and docs/commands.md say the same.
func TestExitCodes(t *testing.T) {
	codes := exitCodes(t)
	if len(codes) < 11 {
		t.Fatalf("found only %v", codes)
	}
	help := strings.Join(strings.Fields(new(program).root().Long), " ")
	documented := regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(section(t, "Exit codes"), -1)
	if len(documented) != len(codes) {
		t.Errorf("docs/commands.md has %d exit codes, there are %d", len(documented), len(codes))
	}
	for _, m := range documented {
		if n, _ := strconv.Atoi(m[1]); codes[n] == "" {
			t.Errorf("docs/commands.md has exit code %d, which is none", n)
		}
	}
	for code := range codes {
		if !strings.Contains(help, fmt.Sprintf(" %d ", code)) {
			t.Errorf("birthmark --help does not name exit code %d", code)
		}
	}
	ordered := slices.Sorted(slices.Values(append([]int{exitGood}, severity...)))
	if all := slices.Sorted(maps.Keys(codes)); !slices.Equal(ordered, all) {
		t.Errorf("the order of severity has %v, there are %v", ordered, all)
	}
	for _, o := range outcomes {
		if codes[o.code] == "" || o.code == exitGood {
			t.Errorf("row %q exits %d", o.is, o.code)
		}
	}
}

// TestWorst: what concerns the station goes before what concerns a unit.
func TestWorst(t *testing.T) {
	for _, c := range []struct {
		codes []int
		want  int
	}{
		{[]int{exitPolicy, exitPort}, exitPort},
		{[]int{exitRetry, exitLedger, exitSetAside}, exitLedger},
		{[]int{exitPolicy, exitInterrupted, exitRetry}, exitInterrupted},
		{[]int{exitSetAside, exitRetry, exitPolicy}, exitSetAside},
		{[]int{exitHSM, exitInternal}, exitInternal},
	} {
		if got := worst(c.codes); got != c.want {
			t.Errorf("worst of %v is %d, want %d", c.codes, got, c.want)
		}
	}
}

// TestOutcome: what is particular goes before what is general, and a mark adds no words.
func TestOutcome(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{fmt.Errorf("order 1: %w", ca.ErrTest), exitPolicy},
		{fmt.Errorf("unit: %w: %w", ca.ErrOtherRoot, provision.ErrSetAside), exitSetAside},
		{inLedger(fmt.Errorf("certificate: %w", ca.ErrVerify)), exitLedger},
		{inHSM(&fs.PathError{Op: "open", Path: "pin", Err: fs.ErrNotExist}), exitHSM},
		{atPort(fmt.Errorf("open /dev/ttyUSB0: %w", fs.ErrPermission)), exitPort},
		{atPort(fmt.Errorf("open x: %w", fs.ErrNotExist)), exitUsage},
		{&fs.PathError{Op: "open", Path: "x", Err: errors.New("not a directory")}, exitUsage},
		{mark(errors.New("disk"), context.Canceled), exitInterrupted},
		{errors.New("nobody expects this"), exitInternal},
	} {
		if code, hint := outcome(c.err); code != c.code || hint == "" {
			t.Errorf("%v: exit code %d, want %d", c.err, code, c.code)
		}
	}
	if err := usage("give %s", "x"); err.Error() != "give x" || !errors.Is(err, errUsage) {
		t.Errorf("got %v", err)
	}
}

func TestSentence(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"open x: no such file", "open x: no such file"},
		{"yaml: unmarshal errors:\n  line 3: field a\n  line 4: field b", "yaml: unmarshal errors: line 3: field a; line 4: field b"},
		{"one:\n\ntwo\n", "one: two"},
		{"one\ntwo", "one; two"},
		{"prove: context canceled", "prove: interrupted"},
	} {
		if got := sentence(errors.New(c.text)); got != c.want {
			t.Errorf("sentence(%q) = %q, want %q", c.text, got, c.want)
		}
	}
}
