//go:build !linux

package ledger

import "fmt"

// childFaultJob has no jobs here: system calls are made to fail with seccomp, which only Linux has.
func childFaultJob(job, path string) error { return fmt.Errorf("no job %s for %s", job, path) }
