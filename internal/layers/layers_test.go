// Package layers holds who may import whom. Imports point downwards only: main, cmd, then everything that cmd calls.
package layers

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/birthmark/birthmark/"

// allowed is the law: each package with the packages of ours that it may import.
var allowed = map[string][]string{
	"":             {"cmd"},
	"cmd":          {"c509", "ca", "ceremony", "chip", "device", "fleet", "fleet/spoil", "hsm", "internal/durable", "ledger", "link", "link/sim", "provision", "templates"},
	"provision":    {"ca", "device", "internal/durable", "ledger", "link", "link/fixture"},
	"fleet":        {"ca", "device", "link", "link/sim"},
	"fleet/spoil":  {"ca", "device", "fleet"},
	"link/sim":     {"chip", "device"},
	"link/fixture": {"chip", "device", "link", "link/sim"},
	"ceremony":     {"ca", "internal/durable", "templates"},
	"ca":           {"c509", "internal/durable"},
	"c509":         {},
	"chip":         {},
	"device":       {},
	"hsm":          {"internal/durable"},
	"hsm/hsmtest":  {},
	"ledger":       {"internal/durable"},
	"link":         {},
	"templates":    {},

	"internal/durable": {},

	"scripts/bench":     {"ca", "device", "fleet", "hsm", "ledger", "link/sim", "provision", "scripts/figures", "templates"},
	"scripts/hsmfaults": {"scripts/figures"},
	"scripts/powercut":  {"scripts/figures"},
	"scripts/proofs":    {"scripts/figures"},
	"scripts/size":      {"scripts/figures"},
	"scripts/figures":   {},
}

func TestImportsPointDownwards(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		from := name(fields[0])
		if from == "internal/layers" || from == "internal/readme" {
			continue // tests only
		}
		seen[from] = true
		may, listed := allowed[from]
		if !listed {
			t.Errorf("package %q is not in the table", from)
		}
		for _, path := range fields[1:] {
			if to := name(path); to != path && !slices.Contains(may, to) {
				t.Errorf("%q imports %q, which the table does not allow", from, to)
			}
		}
	}
	for from := range allowed {
		if !seen[from] {
			t.Errorf("the table has %q, which does not exist", from)
		}
	}
}

// name is an import path inside the module; others stay as they are.
func name(path string) string {
	if path+"/" == module {
		return ""
	}
	return strings.TrimPrefix(path, module)
}
