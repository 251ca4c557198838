//go:build cgo

package provision

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ledger"
)

// childJob is the environment variable that turns the test program into a station of its own.
const childJob = "PROVISION_TEST_CHILD"

// job is what that station does: provision the unit on Port, and come to grief when it reaches a stage.
type job struct {
	Port, Ledger, OrderFile string
	Key                     []byte // SEC 1, DER
	Kill                    Stage  // SIGKILL as this stage begins; 0 = never
	Full                    Stage  // the disk is full from this stage on; 0 = never
}

func TestMain(m *testing.M) {
	text := os.Getenv(childJob)
	if text == "" {
		os.Exit(m.Run())
	}
	var j job
	err := json.Unmarshal([]byte(text), &j)
	if err == nil {
		err = j.work()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (j job) work() error {
	file, err := os.ReadFile(j.OrderFile)
	if err != nil {
		return err
	}
	order, err := ca.ParseOrder(file)
	if err != nil {
		return err
	}
	key, err := x509.ParseECPrivateKey(j.Key)
	if err != nil {
		return err
	}
	book, err := ledger.Open(j.Ledger, order.Anchor.Hash())
	if err != nil {
		return err
	}
	s := &Station{Order: order, Bundle: &ca.Bundle{Anchor: order.Anchor}, Key: key, Book: book, Test: true, Now: time.Now, Baud: 115200}
	if err := s.CheckReady(context.Background()); err != nil {
		return err
	}
	var grief error
	s.Watch = func(e Event) {
		fmt.Println(e.Stage)
		switch e.Stage {
		case j.Kill:
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		case j.Full:
			grief = fillDisk()
		}
	}
	s.Run(context.Background(), []string{j.Port}, func(r Result) { grief = errors.Join(grief, r.Err) })
	if j.Full != 0 && errors.Is(grief, ledger.ErrFull) {
		return nil // what was wanted
	}
	return grief // the book is left as it is: this process dies
}

// child is the command that does a job with what the factory has, whose book is closed meanwhile.
func (f *factory) child(j job) *exec.Cmd {
	f.t.Helper()
	program, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	j.Ledger, j.OrderFile = f.bookPath("ledger.db"), f.authority.OrderPath(f.order)
	if j.Key, err = x509.MarshalECPrivateKey(f.key.Signer.(*ecdsa.PrivateKey)); err != nil {
		f.t.Fatal(err)
	}
	text, err := json.Marshal(j)
	if err != nil {
		f.t.Fatal(err)
	}
	c := exec.CommandContext(f.t.Context(), program)
	c.Env = append(os.Environ(), childJob+"="+string(text))
	c.Stderr = new(bytes.Buffer)
	return c
}

// killed says whether a command ended by SIGKILL.
func killed(c *exec.Cmd) bool {
	status, ok := c.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
