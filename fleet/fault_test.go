package fleet

import (
	"errors"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/provision"
)

func TestParsePlan(t *testing.T) {
	text, err := os.ReadFile("../docs/examples/faults.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if p, err := ParsePlan(text); err != nil || len(p.Faults) != 7 {
		t.Fatalf("the example: %+v, %v", p, err)
	}
	for entry, want := range map[string]string{
		`{fault: late}`:                                   `fault: "late", want one of dead, mute, slow, garbage, unplug, power-cut`,
		`{units: 1}`:                                      `fault: ""`,
		`{fault: dead, stage: commit}`:                    `stage: "commit"`,
		`{fault: dead, stage: hello, hour: 3}`:            `field hour not found`,
		`{fault: dead, fault: mute}`:                      `already defined`,
		`{fault: dead, units: 0}`:                         `units: "0"`,
		`{fault: dead, units: 05}`:                        `units: "05"`,
		`{fault: dead, units: 6-4}`:                       `units: "6-4"`,
		`{fault: dead, units: 4-}`:                        `units: "4-"`,
		`{fault: dead, units: 1001}`:                      `units: "1001"`,
		`{fault: dead, units: [1, 2]}`:                    `cannot unmarshal`,
		`{fault: dead, share: 10}`:                        `share: "10"`,
		`{fault: dead, share: 0%}`:                        `share: "0%"`,
		`{fault: dead, share: 101%}`:                      `share: "101%"`,
		`{fault: dead, units: 1, share: 10%}`:             `units, share: give one`,
		`{fault: dead, times: 0}`:                         `times: "0"`,
		`{fault: dead, times: often}`:                     `times: "often"`,
		`{fault: dead, frames: 3}`:                        `frames: "3"`,
		`{fault: dead, frames: 3/2}`:                      `frames: "3/2"`,
		`{fault: dead, frames: 0/2}`:                      `frames: "0/2"`,
		`{fault: unplug, frames: 1/2}`:                    `frames: not for unplug, only for dead, mute, slow, garbage`,
		`{fault: slow}`:                                   `slow: want delay, pause or both`,
		`{fault: slow, delay: 0s}`:                        `delay, pause, back: "0s"`,
		`{fault: slow, delay: 5}`:                         `delay, pause, back: "5"`,
		`{fault: slow, delay: 2h}`:                        `delay, pause, back: "2h"`,
		`{fault: dead, delay: 1s}`:                        `delay: not for dead`,
		`{fault: garbage, pause: 1s}`:                     `pause: not for garbage`,
		`{fault: dead, bytes: 3}`:                         `bytes: not for dead`,
		`{fault: garbage, bytes: -1}`:                     `bytes, write: want 1 or more`,
		`{fault: unplug, write: 3}`:                       `write: not for unplug, only for power-cut`,
		`{fault: mute, back: 3s}`:                         `back: not for mute, only for unplug, power-cut`,
		"{fault: dead}\n---\nbirthmark: faults/1":         `a second document follows the first`,
		"{fault: dead}\n#" + strings.Repeat(".", maxPlan): `bytes, at most 1048576`,
	} {
		_, err := ParsePlan([]byte("birthmark: faults/1\nfaults:\n  - {fault: mute, units: 1}\n  - " + entry))
		if !errors.Is(err, ca.ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", entry, err, want)
		}
	}
	for _, text := range []string{"", "birthmark: faults/2\nfaults: [{fault: dead}]", "faults: [{fault: dead}]", "birthmark: faults/1\nseed: x"} {
		if _, err := ParsePlan([]byte(text)); !errors.Is(err, ca.ErrMalformed) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Each field, each fault and each deed is documented.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Fault plan ")
	section, _, _ = strings.Cut(section, "\n## Product profile\n")
	names := append(slices.Clone(kinds), deeds...)
	for field := range reflect.TypeFor[Fault]().Fields() {
		names = append(names, field.Tag.Get("yaml"))
	}
	for _, name := range names {
		if !regexp.MustCompile(`(?m)^\| .*\b` + name + `\b.* \|`).MatchString(section) {
			t.Errorf("docs/formats.md says nothing of %s", name)
		}
	}
}

// A unit can tell a stage if something is asked of it there.
func TestStages(t *testing.T) {
	alone := []provision.Stage{provision.Check, provision.Reserve, provision.Sign, provision.Commit, provision.Close} // the station does these
	for stage := provision.Hello; stage <= provision.Close; stage++ {
		if slices.Contains(stages[:], stage.String()) == slices.Contains(alone, stage) {
			t.Errorf("stage %v", stage)
		}
	}
}

// A seed draws the same on every machine, and no two draw the same.
func TestDraws(t *testing.T) {
	pick := func(seed string, entry int) []int {
		units, err := Fault{Share: 10}.choose(100, draws(seed, entry))
		if err != nil || len(units) != 10 || !slices.IsSorted(units) || len(slices.Compact(slices.Clone(units))) != 10 || units[0] < 1 || units[9] > 100 {
			t.Fatalf("%v, %v", units, err)
		}
		return units
	}
	if units, want := pick("ci", 0), []int{18, 23, 25, 44, 52, 54, 68, 91, 97, 99}; !slices.Equal(units, want) {
		t.Errorf("drawn are %v, want %v", units, want)
	}
	for _, other := range [][]int{pick("ci", 1), pick("c", 0), pick("", 0)} {
		if slices.Equal(other, pick("ci", 0)) {
			t.Errorf("%v twice", other)
		}
	}
	for _, test := range []struct{ share, of, want int }{{1, 8, 1}, {10, 8, 1}, {10, 11, 2}, {50, 8, 4}, {100, 8, 8}} {
		if units, err := (Fault{Share: Share(test.share)}).choose(test.of, draws("")); len(units) != test.want || err != nil {
			t.Errorf("%d%% of %d: %v, %v", test.share, test.of, units, err)
		}
	}

	// Of each five frames two, each of the five as often as the others.
	a := armed{Fault: Fault{Frames: Frames{2, 5}}, random: draws("ci")}
	const rounds = 1000
	var taken [5]int
	for range rounds {
		sum := 0
		for i := range taken {
			if a.takes() {
				taken[i]++
				sum++
			}
		}
		if sum != 2 {
			t.Fatalf("%d of five", sum)
		}
	}
	for i, n := range taken {
		if n < rounds*3/10 || n > rounds*5/10 {
			t.Errorf("frame %d of five was taken %d times of %d", i+1, n, rounds)
		}
	}
}
