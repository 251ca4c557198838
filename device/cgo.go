package device

// The flags of every C file in this folder, which cgo takes from here alone.

// #cgo CFLAGS: -std=c99 -Wall -Wextra -Wconversion -O2
import "C"
