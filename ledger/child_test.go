package ledger

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Environment variables that turn the test program into one of the processes below.
const (
	childJob  = "LEDGER_TEST_CHILD" // JOB:PATH
	childLane = "LEDGER_TEST_LANE"
)

func TestMain(m *testing.M) {
	job := strings.SplitN(os.Getenv(childJob), ":", 2)
	if job[0] == "" {
		os.Exit(m.Run())
	}
	if err := child(job[0], job[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(job, path string) error {
	switch job {
	case "unwritable":
		if os.Getuid() == 0 {
			if err := syscall.Setuid(65534); err != nil {
				return err
			}
		}
		return childUnwritable(path)
	case "lane":
		return childProcessLane(path, os.Getenv(childLane))
	case "line":
		return childLine(path)
	}
	return childFaultJob(job, path)
}

func childCommand(t testing.TB, job, path string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program)
	c.Env = append(os.Environ(), childJob+"="+job+":"+path)
	return c
}

// runChild runs a job to its end and returns what it printed; the test fails if the job did.
func runChild(t testing.TB, job, path string) string {
	t.Helper()
	out, err := childCommand(t, job, path).CombinedOutput()
	if err != nil {
		t.Fatalf("child %s: %v\n%s", job, err, out)
	}
	return string(out)
}
