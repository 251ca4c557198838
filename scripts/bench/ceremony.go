package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/birthmark/birthmark/scripts/figures"
)

// ceremony measures the birth of an authority as its officers see it, on the token of SoftHSM2 that token made: the commands that rehearse
// it and carry it out, processes and all.
func ceremony(ctx context.Context, folder string) ([]figures.Figure, error) {
	program := filepath.Join(folder, "birthmark")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	run := func(args ...string) (time.Duration, error) {
		c := exec.CommandContext(ctx, program, append([]string{"ceremony"}, args...)...)
		c.Dir, c.Stdin = folder, strings.NewReader(strings.Repeat("Yes\n", 9))
		c.Env = append(os.Environ(), "BIRTHMARK_MODULE="+softHSM, "BIRTHMARK_PIN_FILE="+filepath.Join(folder, "pin"), "BIRTHMARK_AUTHORITY=born")
		start := time.Now()
		if out, err := c.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("birthmark ceremony %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return time.Since(start), nil
	}
	if _, err := run("plan", "root"); err != nil {
		return nil, err
	}
	path := filepath.Join(folder, "ceremony", "plan.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for from, to := range map[string]string{"NAME OF AN OFFICER": "A", "NAME OF A WITNESS": "B", "token=officer": "token=bench", "token=vault": "token=bench"} {
		text = bytes.ReplaceAll(text, []byte(from), []byte(to))
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return nil, err
	}
	rehearsal, err := run("rehearse")
	if err != nil {
		return nil, err
	}
	carried, err := run("run")
	if err != nil {
		return nil, err
	}
	return []figures.Figure{{Name: "ceremony_s", Value: (rehearsal + carried).Seconds(), Unit: "s", Bar: figures.Of(2),
		Note: fmt.Sprintf("a root's ceremony on SoftHSM2: rehearsal %.2f, run %.2f; two keys are made", rehearsal.Seconds(), carried.Seconds())}}, nil
}
