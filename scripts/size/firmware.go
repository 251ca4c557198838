package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/birthmark/birthmark/scripts/figures"
)

// components say which objects of the firmware are whose; what is not named is the library's.
var components = []struct {
	name  string
	files []string
}{
	{"firmware_agent", []string{"agent.o", "installed.o"}},
	{"firmware_driver", []string{"port_atecc608.o", "swi.o"}},
	{"firmware_aes", []string{"aes.o"}},
	{"firmware_board", []string{"start.o", "board_lm3s6965.o"}},
	{"firmware_application", []string{"main.o", "image.o"}},
	{"firmware_compiler", []string{"libgcc.a"}},
}

const firmwareFolder = "build/firmware"

const interruptFrame = 32 // bytes that the core itself stacks (ARM DDI 0419, B1.5.6)

// firmware builds the whole firmware and gives what it takes of flash, in all and by component, and of RAM: its variables, and the
// deepest stack by the call graph with an interrupt on top of it.
func firmware(folder string) ([]figures.Figure, error) {
	if err := command("scripts/firmware", folder); err != nil {
		return nil, err
	}
	objects, err := parseMap(filepath.Join(folder, "birthmark.map"))
	if err != nil {
		return nil, err
	}
	elf := filepath.Join(folder, "birthmark.elf")
	flash, err := section(elf, ".text")
	if err != nil {
		return nil, err
	}
	variables, err := section(elf, ".bss")
	if err != nil {
		return nil, err
	}
	stack, err := firmwareStack(folder)
	if err != nil {
		return nil, err
	}
	list := []figures.Figure{
		{Name: "firmware_flash", Value: float64(flash), Unit: "B"},
		{Name: "firmware_ram", Value: float64(variables + stack), Unit: "B", Note: fmt.Sprintf("variables %d, stack by the call graph %d", variables, stack)},
	}
	library := flash
	for _, c := range components {
		size := 0
		for _, file := range c.files {
			size += objects[file]
		}
		library -= size
		list = append(list, figures.Figure{Name: c.name, Value: float64(size), Unit: "B"})
	}
	return append(list, figures.Figure{Name: "firmware_library", Value: float64(library), Unit: "B"}), nil
}

var (
	outputSection = regexp.MustCompile(`^(\.[a-z]+)\s`)
	inputSection  = regexp.MustCompile(`^ (?:\.\S+)?\s+0x[0-9a-f]+\s+0x([0-9a-f]+) (.+)$`)
)

// parseMap gives how many bytes of the output section .text each object has; a library counts as one.
func parseMap(path string) (map[string]int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	_, layout, found := strings.Cut(string(text), "Linker script and memory map")
	if !found {
		return nil, fmt.Errorf("%s has no memory map", path)
	}
	sizes := map[string]int{}
	inText := false
	for line := range strings.Lines(layout) {
		if m := outputSection.FindStringSubmatch(line); m != nil {
			inText = m[1] == ".text"
		}
		m := inputSection.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if !inText || m == nil {
			continue
		}
		size, err := strconv.ParseInt(m[1], 16, 32)
		if err != nil {
			return nil, err
		}
		object, _, _ := strings.Cut(filepath.Base(m[2]), "(")
		sizes[object] += int(size)
	}
	return sizes, nil
}

// firmwareStack bounds the stack from main down, and an interrupt that comes at its deepest.
func firmwareStack(folder string) (int, error) {
	g := newGraph()
	files, err := filepath.Glob(filepath.Join(folder, "*.ci"))
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		if err := g.read(file, strings.TrimSuffix(filepath.Base(file), ".ci")+".c"); err != nil {
			return 0, err
		}
	}
	for _, known := range slices.Concat(bus, wire, []string{resolverInFirmware, "firmware/board_lm3s6965.c:interrupt"}) {
		if _, defined := g.frame[known]; !defined {
			return 0, fmt.Errorf("the firmware's call graph has no %s", known)
		}
	}
	deepest, err := g.worst("main", ports, nil)
	if err != nil {
		return 0, err
	}
	interrupt, err := g.worst("firmware/board_lm3s6965.c:interrupt", nil, nil)
	return deepest + interruptFrame + interrupt, err
}
