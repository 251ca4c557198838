//go:build cgo

package hsm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/birthmark/birthmark/hsm/hsmtest"
)

const testPIN = "648219+a" // the plus sign must survive every way in

var proxy struct { // built once by TestMain for all tests of this process, before SoftHSM2
	module string
	*hsmtest.Faults
}

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "birthmark-hsm")
	if err == nil {
		err = buildProxy(folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hsm tests need SoftHSM2 and a C compiler, which scripts/bootstrap installs:", err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(folder)
	os.Exit(status)
}

func buildProxy(folder string) (err error) {
	if proxy.module, err = hsmtest.BuildProxy(folder); err != nil {
		return err
	}
	store, err := hsmtest.SoftHSM(folder, testPIN)
	if err != nil {
		return err
	}
	faults, env, err := hsmtest.NewFaults(filepath.Join(folder, "control"), store.Module)
	if err != nil {
		return err
	}
	proxy.Faults = faults
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// inject makes count calls of an entry fail, after skip more good ones, until the test ends.
func inject(t *testing.T, entry int, fault, skip, count uint64) {
	t.Helper()
	c := &proxy.Entry[entry]
	c.Inject(fault, skip, count)
	t.Cleanup(func() { c.Inject(0, 0, 0) })
}

// calls returns a function that says how often the entry was called since.
func calls(entry int) func() uint64 {
	before := proxy.Entry[entry].Calls()
	return func() uint64 { return proxy.Entry[entry].Calls() - before }
}

// tokens makes a SoftHSM2 store of its own with a token of each label, and returns options for it, through the proxy, with the
// right PIN.
func tokens(t *testing.T, labels ...string) Options {
	t.Helper()
	store, err := hsmtest.SoftHSM(t.TempDir(), testPIN, labels...)
	if err != nil {
		t.Fatal(err)
	}
	setenv(t, store.Env)
	return Options{Module: proxy.module, PIN: PINFromFile(secretFile(t, testPIN+"\n"))}
}

func setenv(t *testing.T, env []string) {
	t.Helper()
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
}
