// Powercut takes the power away at writes of a whole provisioning, of simulated units and of boards that run the firmware as
// machine code, and of a whole pairing of two such boards, and writes into build/powercut.json what became of the units. The tests
// that do it fail unless each unit is finished by the next run, under the serial number and with the certificate that the ledger
// has for it, and unless each two boards become each other's peers.
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
	every := flag.Bool("every", false, "at each write, not at a sample of them")
	flag.Parse()
	if err := run(*every); err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(1)
	}
}

var cuts = regexp.MustCompile(`powercut (units|boards|pairings): (\d+) points`)

func run(every bool) error {
	arguments := []string{"./provision", "./fleet", "-run", "^(TestPowerCut|TestBoardPowerCut|TestBoardPairingPowerCut)$"}
	if every {
		arguments = append(arguments, "-every-cut")
	}
	found, err := figures.Tests(cuts, arguments...)
	if err != nil {
		return err
	}
	if len(found) != 3 {
		return fmt.Errorf("the tests report %d times and not three times: %q", len(found), found)
	}
	points := 0
	note := ""
	for _, m := range found {
		n, err := strconv.Atoi(string(m[2]))
		if err != nil {
			return err
		}
		points += n
		note += fmt.Sprintf("%s %d; ", m[1], n)
	}
	if every {
		note += "every write"
	} else {
		note += "a sample of the writes"
	}
	return figures.Write("powercut", []figures.Figure{
		{Name: "points", Value: float64(points), Unit: "cuts", Note: note},
		{Name: "recovered", Value: float64(points), Unit: "units", Floor: figures.Of(float64(points)), Note: "finished by the next run, or paired by the next meeting"},
		{Name: "set_aside", Unit: "units", Bar: figures.Of(0)},
		{Name: "lost", Unit: "units", Bar: figures.Of(0)},
		{Name: "doubled", Unit: "units", Bar: figures.Of(0), Note: "serial numbers signed twice"},
	})
}
