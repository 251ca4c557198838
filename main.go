// Birthmark gives every manufactured device an identity of its own. See README.md.
package main

import (
	"os"

	"github.com/birthmark/birthmark/cmd"
)

func main() {
	os.Exit(cmd.Main(os.Args[1:], cmd.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
