package readme

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type step struct {
	Uses string            `yaml:"uses"`
	ID   string            `yaml:"id"`
	Env  map[string]string `yaml:"env"`
	With map[string]string `yaml:"with"`
	Run  string            `yaml:"run"`
}

// The action's own scripts make a fleet with the action's own defaults, and the example's step finds it good. What GitHub does with
// them is stood in for: inputs by their defaults, its files by files.
func TestAction(t *testing.T) {
	var action struct {
		Inputs map[string]struct {
			Default string `yaml:"default"`
		} `yaml:"inputs"`
		Outputs map[string]struct {
			Value string `yaml:"value"`
		} `yaml:"outputs"`
		Runs struct {
			Steps []step `yaml:"steps"`
		} `yaml:"runs"`
	}
	parse(t, "../../action.yml", &action)
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	values := map[string]string{"github.action_path": source}
	for name, input := range action.Inputs {
		values["inputs."+name] = input.Default
	}
	values["inputs.units"] = "20"
	files := map[string]string{"GITHUB_PATH": filepath.Join(dir, "path"), "GITHUB_OUTPUT": filepath.Join(dir, "output")}
	path := os.Getenv("PATH")
	run := func(s step) {
		t.Helper()
		c := exec.Command("bash", "-eo", "pipefail", "-c", fill(t, s.Run, values))
		c.Dir = dir
		c.Env = append(os.Environ(), "RUNNER_TEMP="+dir, "PATH="+path)
		for name, file := range files {
			c.Env = append(c.Env, name+"="+file)
		}
		for name, value := range s.Env {
			c.Env = append(c.Env, name+"="+fill(t, value, values))
		}
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s\n%v\n%s", s.Run, err, out)
		}
		if added, err := os.ReadFile(files["GITHUB_PATH"]); err == nil {
			path = strings.TrimSpace(string(added)) + ":" + path
		}
		output, err := os.ReadFile(files["GITHUB_OUTPUT"])
		if err != nil && s.ID != "" {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(output)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			values["steps."+s.ID+".outputs."+name] = value
		}
	}
	for _, s := range action.Runs.Steps {
		if s.Run != "" {
			run(s)
		}
	}
	for name, output := range action.Outputs {
		values["steps.fleet.outputs."+name] = fill(t, output.Value, values)
	}
	if anchor := values["steps.fleet.outputs.anchor"]; !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(anchor) {
		t.Errorf("anchor %q", anchor)
	}

	var workflow struct {
		Jobs map[string]struct {
			Steps []step `yaml:"steps"`
		} `yaml:"jobs"`
	}
	parse(t, "../../docs/examples/fleet.yml", &workflow)
	verified := false
	for _, job := range workflow.Jobs {
		for _, s := range job.Steps {
			for name := range s.With {
				if _, known := action.Inputs[name]; !known && strings.HasPrefix(s.Uses, "birthmark/") {
					t.Errorf("the example gives the action %q, which it does not know", name)
				}
			}
			if s.Run != "" {
				run(s)
				verified = true
			}
		}
	}
	if !verified {
		t.Error("the example runs nothing")
	}
}

func parse(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

var expression = regexp.MustCompile(`\$\{\{ *([a-z0-9_.]+) *\}\}`)

// fill puts values in the place of GitHub's expressions.
func fill(t *testing.T, text string, values map[string]string) string {
	t.Helper()
	return expression.ReplaceAllStringFunc(text, func(e string) string {
		name := expression.FindStringSubmatch(e)[1]
		value, known := values[name]
		if !known {
			t.Errorf("nothing is known of %s", e)
		}
		return value
	})
}
