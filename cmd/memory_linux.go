package cmd

import "golang.org/x/sys/unix"

// closeMemory keeps core dumps and other processes of this user out of this process's memory, through which PINs pass
// (prctl(2), PR_SET_DUMPABLE): no core file, no debugger, no /proc/PID/mem.
func closeMemory() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
