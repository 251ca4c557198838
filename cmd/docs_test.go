package cmd

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/birthmark/birthmark/fleet"
	"github.com/birthmark/birthmark/hsm"
	"github.com/birthmark/birthmark/provision"
)

const document = "../docs/commands.md"

var update = flag.Bool("update", false, "write the parts of docs/commands.md that are made from the commands themselves")

func readDocument(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section gives what stands under a heading of the second level.
func section(t *testing.T, heading string) string {
	t.Helper()
	_, after, ok := strings.Cut(readDocument(t), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", document, heading)
	}
	text, _, _ := strings.Cut(after, "\n## ")
	return text
}

// TestDocument: the sections that describe commands and settings are what the program itself says of them, so that neither
// has anything that the other lacks. With -update it writes them.
func TestDocument(t *testing.T) {
	for heading, want := range map[string]string{"Commands": commandsText(new(program).root()), "Settings": settingsText()} {
		const begin, end = "<!-- made by go test ./cmd -run TestDocument -update -->\n", "<!-- end -->\n"
		before, after, ok := strings.Cut(section(t, heading), begin)
		made, _, ended := strings.Cut(after, end)
		if !ok || !ended {
			t.Fatalf("section %q of %s has no part between %q and %q", heading, document, begin, end)
		}
		if made == want {
			continue
		}
		if !*update {
			t.Errorf("section %q of %s is not what the commands say; run go test ./cmd -run TestDocument -update and look at the difference", heading, document)
			continue
		}
		head := "\n## " + heading + "\n" + before + begin
		text := strings.Replace(readDocument(t), head+made+end, head+want+end, 1)
		if err := os.WriteFile(document, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// commandsText describes every command that can be run.
func commandsText(c *cobra.Command) string {
	var b strings.Builder
	for _, child := range c.Commands() {
		if !child.IsAvailableCommand() || child.Name() == "help" {
			continue
		}
		if child.HasSubCommands() {
			b.WriteString(commandsText(child))
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s.\n\n```\n%s %s\n```\n", child.CommandPath(), child.Short, child.Parent().CommandPath(), child.Use)
		if child.Long != "" {
			fmt.Fprintf(&b, "\n%s\n", fenced(child.Long))
		}
		fmt.Fprintf(&b, "\nFor example:\n\n```\n%s\n```\n", unindented(child.Example))
		if !child.NonInheritedFlags().HasAvailableFlags() {
			continue
		}
		b.WriteString("\n| flag | default | what |\n|---|---|---|\n")
		child.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" {
				return
			}
			name, value := "--"+f.Name, ""
			if f.Shorthand != "" {
				name = "-" + f.Shorthand + ", " + name
			}
			if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "false" {
				value = "`" + f.DefValue + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, value, f.Usage)
		})
	}
	return b.String()
}

// fenced puts the indented lines of a help text between code fences.
func fenced(text string) string {
	return regexp.MustCompile(`(?m)(?:^  .*\n?)+`).ReplaceAllStringFunc(text, func(block string) string {
		return "```\n" + unindented(strings.TrimSuffix(block, "\n")) + "\n```"
	})
}

func unindented(text string) string {
	return strings.ReplaceAll(strings.TrimPrefix(text, "  "), "\n  ", "\n")
}

func settingsText() string {
	var b strings.Builder
	b.WriteString("\n| setting | variable | default | what |\n|---|---|---|---|\n")
	for _, s := range allSettings {
		value := ""
		if s.value != "" {
			value = fmt.Sprintf("`%v`", s.value)
		}
		fmt.Fprintf(&b, "| `%s` | `BIRTHMARK_%s` | %s | %s |\n", s.name, strings.ToUpper(strings.ReplaceAll(s.name, "-", "_")), value, s.usage)
	}
	return b.String()
}

// TestEveryCommandHasAnExample, and help texts fit a terminal of 80 columns.
func TestEveryCommandHasAnExample(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		for _, child := range c.Commands() {
			visit(child)
		}
		if !c.HasSubCommands() && !strings.Contains(c.Example, c.CommandPath()+" ") && !strings.HasSuffix(c.Example, c.CommandPath()) {
			t.Errorf("%s has no example of itself", c.CommandPath())
		}
		for line := range strings.Lines(c.Long + "\n" + c.Example) {
			if len(line) > 80+1 {
				t.Errorf("%s: %d columns: %s", c.CommandPath(), len(line)-1, line)
			}
		}
	}
	visit(new(program).root())
}

// TestDocumentJSON: each object that --json prints is in the document with all its fields, in their order.
func TestDocumentJSON(t *testing.T) {
	text := section(t, "JSON")
	objects := map[string]any{
		"authority": authorityJSON{}, "order": orderJSON{}, "station": stationJSON{}, "ready": readyJSON{}, "capture": captureJSON{}, "captured": capturedJSON{}, "unit": unitJSON{},
		"receipt": provision.Receipt{}, "inspection": inspectionJSON{}, "meeting": meetingJSON{},
		"party": partyJSON{}, "message": messageJSON{}, "retired": retiredJSON{}, "fleet": fleetJSON{}, "control answer": fleet.Answer{}, "served unit": fleet.UnitState{}, "fault": fleet.FaultState{}, "made fleet": madeJSON{}, "spoiled fleet": spoiledJSON{}, "verified fleet": verifiedFleetJSON{}, "refused": refusedJSON{}, "backup": backupJSON{}, "share": shareJSON{}, "restored key": restoredJSON{}, "chip": chipJSON{}, "boards": boardsJSON{}, "board": boardJSON{}, "book": bookJSON{},
		"simulated meeting": meetJSON{}, "matrix": matrixJSON{}, "attending fleet": attendingJSON{}, "cell": cellJSON{}, "tally": tallyJSON{}, "refusal": refusalJSON{}, "met": metJSON{}, "pairing": pairingJSON{}, "line message": lineMessageJSON{}, "text": textJSON{}, "ceremony": ceremonyJSON{}, "outcome": outcomeJSON{}, "plan": planJSON{}, "begun": fileJSON{}, "trust": trustJSON{},
		"entry": entryJSON{}, "sum": summaryJSON{}, "verified": verifiedJSON{}, "exported": exportedJSON{}, "findings": findingsJSON{},
		"double": doubleJSON{}, "record": recordJSON{}, "good": goodJSON{}, "good object": goodObjectJSON{}, "token": hsm.TokenInfo{}, "public key": hsm.PublicKey{},
		"status list": listJSON{}, "update": updateJSON{}, "root": rootJSON{},
		"report": hsm.Report{}, "trait": hsm.Trait{}, "check": hsm.Check{}, "figures": hsm.Figures{}, "rate": hsm.Rate{}, "version": versionJSON{},
	}
	for _, m := range regexp.MustCompile(`(?m)^### (.*)$`).FindAllStringSubmatch(text, -1) {
		if objects[m[1]] == nil {
			t.Errorf("%s describes %q, which is not printed", document, m[1])
		}
	}
	for name, object := range objects {
		_, after, ok := strings.Cut(text, "\n### "+name+"\n")
		if !ok {
			t.Errorf("%s does not describe %q", document, name)
			continue
		}
		after, _, _ = strings.Cut(after, "\n### ")
		var described []string
		for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(after, -1) {
			described = append(described, m[1])
		}
		if want := jsonFields(reflect.TypeOf(object)); !slices.Equal(described, want) {
			t.Errorf("%s: %q has %q, printed are %q", document, name, described, want)
		}
	}
}

func jsonFields(object reflect.Type) []string {
	var names []string
	for i := range object.NumField() {
		field := object.Field(i)
		if field.Anonymous {
			names = append(names, jsonFields(field.Type)...)
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}
