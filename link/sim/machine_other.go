//go:build !linux

package sim

import "syscall"

// endsWithParent has a child killed where this process was; here it goes on.
func endsWithParent() *syscall.SysProcAttr { return nil }
