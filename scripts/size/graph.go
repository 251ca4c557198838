package main

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/birthmark/birthmark/scripts/figures"
)

// graph is who calls whom, from gcc's -fcallgraph-info.
type graph struct {
	frame map[string]int // bytes of stack of each function
	file  map[string]string
	calls map[string][]string
}

func newGraph() *graph {
	return &graph{frame: map[string]int{}, file: map[string]string{}, calls: map[string][]string{}}
}

var (
	nodeLine = regexp.MustCompile(`^node: \{ title: "([^"]+)" label: "[^"]*\\n(\d+) bytes \(([a-z,]+)\)`)
	edgeLine = regexp.MustCompile(`^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"`)
)

const (
	indirect = "__indirect_call"
	driver   = "port_atecc608.c"
	resolver = "device/peerlink.c:resolve" // struct bm_edhoc_config's

	resolverInFirmware = "peerlink.c:resolve" // which is compiled in the library's folder
)

// In the firmware: what is behind struct bm_atecc608_bus, and behind struct bm_swi.
var (
	bus  = []string{"swi.c:wake", "swi.c:send", "swi.c:receive", "swi.c:idle"}
	wire = []string{"firmware/main.c:chip_wake", "firmware/main.c:chip_send", "firmware/main.c:chip_receive"}
)

func (g *graph) read(path, file string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if m := nodeLine.FindStringSubmatch(lines.Text()); m != nil {
			if m[3] != "static" {
				return fmt.Errorf("%s: its stack is %q, and the library's is fixed", m[1], m[3])
			}
			bytes, err := strconv.Atoi(m[2])
			if err != nil {
				return err
			}
			g.frame[m[1]], g.file[m[1]] = bytes, file
		}
		if m := edgeLine.FindStringSubmatch(lines.Text()); m != nil {
			g.calls[m[1]] = append(g.calls[m[1]], m[2])
		}
	}
	return lines.Err()
}

// ports are the driver's functions that a board puts into struct bm_port.
var ports = []string{"bm_atecc608_random", "bm_atecc608_public_key", "bm_atecc608_sign", "bm_atecc608_verify",
	"bm_atecc608_ephemeral", "bm_atecc608_ecdh", "bm_aes128"}

// stacks bounds the stack of each public function, with the chip's driver behind it and without. A call through
// struct bm_port is as deep as the driver's deepest function, or nothing; EDHOC's resolver is the peer link's, or trust; any other
// call through a pointer is the board's own code and counts nothing. A cycle is an error: the library does not recurse.
func (g *graph) stacks() ([]figures.Figure, error) {
	names, err := functions([]string{"birthmark.h", "agent.h", "edhoc.h", "session.h", "trust.h", "pairing.h", "peerlink.h"})
	if err != nil {
		return nil, err
	}
	var list []figures.Figure
	for _, name := range names {
		if _, defined := g.frame[name]; !defined {
			continue
		}
		alone, err := g.worst(name, nil, nil)
		if err != nil {
			return nil, err
		}
		whole, err := g.worst(name, ports, nil)
		if err != nil {
			return nil, err
		}
		list = append(list, figures.Figure{Name: "stack " + name, Value: float64(whole), Unit: "B",
			Note: fmt.Sprintf("bound; %d without the chip's driver", alone)})
	}
	return list, nil
}

// worst is the deepest stack from a function down, in bytes.
func (g *graph) worst(name string, ports, path []string) (int, error) {
	if slices.Contains(path, name) {
		return 0, fmt.Errorf("recursion: %s", strings.Join(append(path, name), " -> "))
	}
	path = append(path, name)
	deepest := 0
	for _, callee := range g.calls[name] {
		targets := []string{callee}
		if callee == indirect {
			targets = g.behind(name, ports)
		}
		for _, target := range targets {
			below, err := g.worst(target, ports, path)
			if err != nil {
				return 0, err
			}
			deepest = max(deepest, below)
		}
	}
	return g.frame[name] + deepest, nil
}

// behind are the functions that a call through a pointer may reach.
func (g *graph) behind(name string, ports []string) []string {
	switch g.file[name] {
	case driver:
		return bus
	case "swi.c":
		return wire
	case "edhoc.c":
		return append([]string{resolver, resolverInFirmware}, ports...)
	}
	return ports
}
