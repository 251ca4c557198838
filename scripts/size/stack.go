package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// paintedStack runs device/proofs/stack on an emulated Cortex-M0 and gives the deeper of its two units' stacks, in bytes.
func paintedStack(folder string) (int, error) {
	const source = "device/proofs/stack/meeting.c"
	object, err := compile(folder, source)
	if err != nil {
		return 0, err
	}
	arguments := []string{"-nostdlib", "-mcpu=cortex-m0plus", "-mthumb", "-Wl,--gc-sections", "-T", filepath.Join(filepath.Dir(source), "meeting.ld"), object}
	for _, file := range append(libraryFiles, "aes.c") {
		object, err := compile(folder, filepath.Join("device", file))
		if err != nil {
			return 0, err
		}
		arguments = append(arguments, object)
	}
	image := filepath.Join(folder, "meeting.elf")
	if err := command(compiler, append(arguments, "-lgcc", "-o", image)...); err != nil {
		return 0, err
	}
	emulator := exec.Command("qemu-system-arm", "-M", "lm3s6965evb", "-cpu", "cortex-m0", "-kernel", image, "-display", "none",
		"-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native")
	stuck := time.AfterFunc(time.Minute, func() { _ = emulator.Process.Kill() })
	defer stuck.Stop()
	out, err := emulator.CombinedOutput() // semihosting prints to stderr, and so does the emulator
	if err != nil {
		return 0, fmt.Errorf("qemu-system-arm: %w: %s", err, out)
	}
	depths := number.FindAllString(string(out), -1)
	if len(depths) != 2 {
		return 0, fmt.Errorf("%s: %s", source, out)
	}
	initiator, err := strconv.Atoi(depths[0])
	if err != nil {
		return 0, err
	}
	responder, err := strconv.Atoi(depths[1])
	return max(initiator, responder), err
}

var number = regexp.MustCompile(`(?m)^\d+$`) // alone on its line
