// Package device is libbirthmark, the C library inside a unit, and its Go binding. The C files are portable C99 and are
// what a firmware links (birthmark.h); `go build` compiles the same files into the binding, so that simulated units and the
// station's second opinions run the unit's own code.
//
// The binding needs cgo. Without it the package still builds and its functions return ErrNoCgo.
package device

import "errors"

// ErrNoCgo says that this program cannot run the C library.
var ErrNoCgo = errors.New("this birthmark was built without cgo, so handshakes and simulated units are not available; use a build with cgo")
