//go:build cgo && !linux

package provision

import "errors"

// fillDisk fails here, and the test with it: it takes seccomp, which only Linux has.
func fillDisk() error { return errors.New("no seccomp on this system") }
