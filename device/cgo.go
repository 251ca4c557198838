package device

// The flags of every C file in this folder, which cgo takes from here alone.

// #cgo CFLAGS: -std=c99 -Wall -Wextra -Wconversion -O3 -DBM_CONFIG_IO_KEY -DBM_CONFIG_LONG_MULTIPLY
import "C"

// Available says whether this program has the C library: nil, or ErrNoCgo.
func Available() error { return nil }
