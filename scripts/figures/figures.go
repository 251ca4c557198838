// Package figures writes what a run measured: build/NAME.json for machines, a table for people. Figures are measured in
// the run that prints them and never stored.
package figures

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Figure is one measured number. Floor is what nothing could go below (or above), measured or computed in the same run; Bar
// is what the project asks for. Nil where there is none.
type Figure struct {
	Name  string   `json:"name"`
	Value float64  `json:"value"`
	Unit  string   `json:"unit"`
	Floor *float64 `json:"floor"`
	Bar   *float64 `json:"bar"`
	Note  string   `json:"note"`
}

// Of makes a pointer for Floor and Bar.
func Of(f float64) *float64 { return &f }

// Write puts the figures into build/NAME.json and prints them.
func Write(name string, list []Figure) error {
	file := struct {
		Machine string   `json:"machine"`
		Figures []Figure `json:"figures"`
	}{machine(), list}
	text, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll("build", 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join("build", name+".json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Printf("%-34s %12s %12s %12s  %s\n", strings.ToUpper(name), "value", "floor", "bar", "note")
	for _, f := range list {
		fmt.Printf("%-34s %12s %12s %12s  %s\n", f.Name, number(&f.Value)+" "+f.Unit, number(f.Floor), number(f.Bar), f.Note)
	}
	return nil
}

func number(f *float64) string {
	if f == nil {
		return ""
	}
	if *f == math.Trunc(*f) {
		return fmt.Sprintf("%.0f", *f)
	}
	return fmt.Sprintf("%.4g", *f)
}

// machine says what the figures were measured on.
func machine() string {
	model := "unknown processor"
	if cpu, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(cpu)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d cores, %s/%s, %s", model, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}
