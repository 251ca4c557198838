package cmd

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestRunbooks: every command of every page in docs/runbooks is run, as it stands there, by the drill of the same name in
// testdata/runbooks.
func TestRunbooks(t *testing.T) {
	pages, err := filepath.Glob("../docs/runbooks/*.md")
	if err != nil || len(pages) < 6 {
		t.Fatalf("found %q, %v", pages, err)
	}
	for _, page := range pages {
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		drill, err := os.ReadFile(filepath.Join("testdata", "runbooks", name+".txtar"))
		if err != nil {
			t.Errorf("%s has no drill: %v", page, err)
			continue
		}
		var run []string
		for _, m := range regexp.MustCompile(`(?m)^page (\d+)$`).FindAllStringSubmatch(string(drill), -1) {
			run = append(run, m[1])
		}
		var want []string
		blocks, err := readBlocks(page)
		if err != nil {
			t.Fatal(err)
		}
		for i := range blocks {
			want = append(want, strconv.Itoa(i+1))
		}
		if !slices.Equal(run, want) {
			t.Errorf("the drill runs blocks %v of %s, which has %v", run, page, want)
		}
	}
	testscript.Run(t, stories(t, filepath.Join("testdata", "runbooks")))
}

// TestNewAuthorityIsShort: whoever follows new-ca.md types six commands, from empty tokens to the first order.
func TestNewAuthorityIsShort(t *testing.T) {
	blocks, err := readBlocks("../docs/runbooks/new-ca.md")
	if err != nil {
		t.Fatal(err)
	}
	if commands := slices.Concat(blocks...); len(commands) != 6 || !strings.HasPrefix(commands[5], "birthmark ca order ") {
		t.Errorf("%d commands: %q", len(commands), commands)
	}
}

// readBlocks gives the commands of a page's code blocks, with lines that end in a backslash joined.
func readBlocks(path string) (blocks [][]string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for _, m := range regexp.MustCompile("(?s)\n```sh\n(.*?)\n```\n").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, strings.Split(strings.ReplaceAll(m[1], "\\\n", " "), "\n"))
	}
	return blocks, nil
}

// page N in the drill of a runbook types the Nth block of the page's commands: /dev/ttyUSB0 is the port $USB0 and so on, and whoever
// is asked answers Yes, as often as that is, behind the lines of the file typed if there is one. A line must succeed, or end as its comment says: "# exits 9".
func page(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(strings.Join(args, " "))
	if neg || err != nil {
		ts.Fatalf("usage: page N")
	}
	blocks, err := readBlocks(filepath.Join(ts.Getenv("ROOT"), "docs", "runbooks", ts.Name()+".md"))
	ts.Check(err)
	if n < 1 || n > len(blocks) {
		ts.Fatalf("the page has %d blocks", len(blocks))
	}
	for _, line := range blocks[n-1] {
		line, code, failing := strings.Cut(line, " # exits ")
		if !failing {
			code = "0"
		}
		for _, port := range []string{"0", "1", "2"} {
			line = strings.ReplaceAll(line, "/dev/ttyUSB"+port, ts.Getenv("USB"+port))
		}
		exits(ts, false, []string{code, "sh", "-c", "(cat typed 2>/dev/null; yes Yes) | " + line})
	}
}
