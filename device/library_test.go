//go:build cgo && psa

package device

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The example of docs/library.md, built as its reader builds it: on the shared library, and on the static one.
func TestPSALibraryExample(t *testing.T) {
	folder := t.TempDir()
	run(t, "../scripts/lib", folder)
	t.Setenv("PKG_CONFIG_PATH", filepath.Join(folder, "pkgconfig"))
	t.Setenv("LD_LIBRARY_PATH", folder)
	flags := strings.Fields(run(t, "pkg-config", "--cflags", "--libs", "birthmark"))
	static := []string{flags[0], filepath.Join(folder, "libbirthmark.a")}

	f := newFactory(t)
	var ends []string
	for number := range uint64(2) {
		b := f.badge(t, testFirst+number)
		private, err := b.key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		end := filepath.Join(folder, "end"+strconv.FormatUint(number, 10))
		if err := os.WriteFile(end, slices.Concat(private, f.anchor, b.id), 0o600); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	for _, link := range [][]string{flags, static} {
		program := filepath.Join(folder, "pair")
		arguments := append([]string{"-o", program, "../docs/examples/pair.c", "-D_POSIX_C_SOURCE=200809L"}, warnings...)
		run(t, "gcc", append(append(arguments, link...), "-lmbedcrypto")...)
		out := run(t, program, ends[0], ends[1], strconv.FormatUint(uint64(f.product), 10))
		if want := "ready, reason 1\nready, reason 1\nreceived: hello\n"; out != want {
			t.Errorf("the example says\n%s, not\n%s", out, want)
		}
	}
}

// Every piece of C on the page is what a compiler takes.
func TestPSALibraryPage(t *testing.T) {
	page, err := os.ReadFile("../docs/library.md")
	if err != nil {
		t.Fatal(err)
	}
	pieces := regexp.MustCompile("(?s)```c\n(.*?)```").FindAllSubmatch(page, -1)
	if len(pieces) == 0 {
		t.Fatal("no C on the page")
	}
	for i, piece := range pieces {
		source := filepath.Join(t.TempDir(), fmt.Sprintf("piece%d.c", i))
		if err := os.WriteFile(source, piece[1], 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, "gcc", append([]string{"-fsyntax-only", "-I.", source}, warnings...)...)
	}
}
