package sim

import "syscall"

// endsWithParent has a child killed where this process was.
func endsWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
