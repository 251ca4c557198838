package device

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// warnings are the flags under which every C file must build without a word, everywhere.
var warnings = []string{"-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"}

// compile builds every C file of the library but the port to PSA, which is for hosts that have it, into a directory of its own
// and returns the objects.
func compile(t *testing.T, compiler string, flags ...string) []string {
	t.Helper()
	sources, err := filepath.Glob("*.c")
	sources = slices.DeleteFunc(sources, func(source string) bool { return source == "port_psa.c" })
	if err != nil || len(sources) == 0 {
		t.Fatalf("no C files here: %v", err)
	}
	if _, err := exec.LookPath(compiler); err != nil {
		t.Skipf("%s is not installed; scripts/bootstrap does it", compiler)
	}
	arguments := append(append([]string{}, warnings...), flags...)
	arguments = append(arguments, "-c")
	for _, source := range sources {
		path, err := filepath.Abs(source)
		if err != nil {
			t.Fatal(err)
		}
		arguments = append(arguments, path)
	}
	build := exec.Command(compiler, arguments...)
	build.Dir = t.TempDir()
	if out, err := build.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%s %s: %v\n%s", compiler, strings.Join(flags, " "), err, out)
	}
	objects, err := filepath.Glob(filepath.Join(build.Dir, "*.o"))
	if err != nil || len(objects) != len(sources) {
		t.Fatalf("%d objects of %d files: %v", len(objects), len(sources), err)
	}
	return objects
}

func TestHostCompilers(t *testing.T) {
	for _, compiler := range []string{"gcc", "clang"} {
		for _, level := range []string{"-O0", "-Os"} {
			t.Run(compiler+level, func(t *testing.T) { compile(t, compiler, level) })
		}
	}
}

// On a Cortex-M0+ the library needs nothing but itself: no C library, no data, no heap. What may remain undefined is
// what gcc asks for in any environment.
func TestFreestanding(t *testing.T) {
	objects := compile(t, "arm-none-eabi-gcc", "-mcpu=cortex-m0plus", "-mthumb", "-Os", "-ffreestanding")
	library := filepath.Join(t.TempDir(), "library.o")
	run(t, "arm-none-eabi-ld", append([]string{"-r", "-o", library}, objects...)...)

	for _, name := range strings.Fields(run(t, "arm-none-eabi-nm", "--undefined-only", "--format=just-symbols", library)) {
		switch {
		case strings.HasPrefix(name, "__gnu_thumb1_case_"): // libgcc: a switch's table
		case name == "memset": // an array's initialiser; the firmware supplies it
		default:
			t.Errorf("the library calls %s", name)
		}
	}
	for _, line := range strings.Split(run(t, "arm-none-eabi-nm", "--defined-only", library), "\n") {
		if fields := strings.Fields(line); len(fields) == 3 && strings.ContainsAny(fields[1], "DdBbC") {
			t.Errorf("the library holds data: %s", line)
		}
	}
}

func run(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	command := exec.Command(name, arguments...)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out)
}
