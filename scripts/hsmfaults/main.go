// Hsmfaults lets the commands that use tokens meet faults at their calls of a PKCS#11 module, and writes into
// build/pkcs11faults.json what became of them. The test that does it fails unless each command is done all the same, or is refused
// and then completed, with no key too many in a token and no PIN offered again or shown.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"

	"github.com/birthmark/birthmark/scripts/figures"
)

func main() {
	every := flag.Bool("every", false, "each fault at each call, not a sample of them")
	flag.Parse()
	if err := run(*every); err != nil {
		fmt.Fprintln(os.Stderr, "hsmfaults:", err)
		os.Exit(1)
	}
}

var result = regexp.MustCompile(`hsmfaults ([a-z ]+): (\d+) calls, (\d+) points, (\d+) recovered, (\d+) refused and (\d+) killed`)

func run(every bool) error {
	arguments := []string{"./cmd", "-run", "^TestHSMFaults$"}
	if every {
		arguments = append(arguments, "-every-fault")
	}
	found, err := figures.Tests(result, arguments...)
	if err != nil {
		return err
	}
	var sum [5]int // calls, points, recovered, refused, killed
	note := ""
	for _, m := range found {
		for i := range sum {
			n, err := strconv.Atoi(string(m[2+i]))
			if err != nil {
				return err
			}
			sum[i] += n
		}
		note += fmt.Sprintf("%s %s; ", m[1], m[3])
	}
	if every {
		note += "each fault at each call"
	} else {
		note += "a sample"
	}
	return figures.Write("pkcs11faults", []figures.Figure{
		{Name: "calls", Value: float64(sum[0]), Unit: "calls", Note: "of the module, in all commands without a fault"},
		{Name: "points", Value: float64(sum[1]), Unit: "faults", Note: note},
		{Name: "recovered", Value: float64(sum[2]), Unit: "faults", Note: "the command was done all the same"},
		{Name: "refused", Value: float64(sum[3]), Unit: "faults", Note: "exit code 7, then completed as the message says"},
		{Name: "killed", Value: float64(sum[4]), Unit: "faults", Note: "then completed as the message of the next run says"},
		{Name: "lost", Value: float64(sum[1] - sum[2] - sum[3] - sum[4]), Unit: "faults", Bar: figures.Of(0)},
		{Name: "orphans", Unit: "keys", Bar: figures.Of(0), Note: "in the tokens in the end, beside those of a run without a fault"},
		{Name: "pins_repeated", Unit: "logins", Bar: figures.Of(0), Note: "after a login that failed, in one process"},
		{Name: "pins_shown", Unit: "places", Bar: figures.Of(0), Note: "output, files, /proc/PID/cmdline and environ"},
	})
}
