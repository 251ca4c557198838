package sim

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/birthmark/birthmark/device"
)

// What Firmware puts into an image is what the compiler puts there of the header that `birthmark ca bundle --c` writes.
func TestFirmware(t *testing.T) {
	image := device.Image{Product: 0x01020304, Peers: []uint32{7, 0x01020304}}
	var anchor strings.Builder
	for i := range image.AnchorHash {
		image.AnchorHash[i] = byte(0xA0 + i)
		fmt.Fprintf(&anchor, "%#x, ", image.AnchorHash[i])
	}
	header := filepath.Join(t.TempDir(), "birthmark_image.h")
	text := fmt.Sprintf("#include \"birthmark.h\"\nstatic const struct bm_image bm_image_constants = {\n    .anchor_hash = {%s},\n"+
		"    .product = %du,\n    .peers = {%du, %du},\n    .peer_count = 2,\n};\n", anchor.String(), image.Product, image.Peers[0], image.Peers[1])
	if err := os.WriteFile(header, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	nobodys := buildFirmware(t)
	t.Setenv("IMAGE", header)
	compiled := buildFirmware(t)
	out, err := Firmware(nobodys, image)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(compiled, out) || bytes.Contains(nobodys, out) {
		t.Error("constants are not where the compiler puts them")
	}
	for _, file := range [][]byte{nil, []byte("firmware"), nobodys[:len(nobodys)/2]} {
		if _, err := Firmware(file, image); !errors.Is(err, ErrFirmware) {
			t.Errorf("a file of %d bytes: %v", len(file), err)
		}
	}
	t.Setenv("IO_KEY", "1")
	protecting, protected := buildFirmware(t), image
	protected.IOKey = true
	if out, err := Firmware(protecting, protected); err != nil || len(out) == 0 {
		t.Error(err)
	}
	for _, c := range []struct {
		file  []byte
		image device.Image
	}{{protecting, image}, {nobodys, protected}} {
		if _, err := Firmware(c.file, c.image); !errors.Is(err, ErrFirmware) || !strings.Contains(err.Error(), "BM_CONFIG_IO_KEY") {
			t.Errorf("IO key %t in the image alone: %v", c.image.IOKey, err)
		}
	}
}

// The check that the firmware's build ends with sees code for another core.
func TestARMv6MCheck(t *testing.T) {
	for _, test := range []struct{ core, source, refused string }{
		{"cortex-m0plus", "int divide(int a, int b) { return a / b; }", ""},
		{"cortex-m3", "int divide(int a, int b) { return a / b; }", "another architecture"},
		{"cortex-m3", `__asm__(".eabi_attribute Tag_CPU_arch, 12"); int divide(int a, int b) { return a / b; }`, "sdiv"},
		{"cortex-m3", `__asm__(".eabi_attribute Tag_CPU_arch, 12"); int zero(int a) { __asm__("cbz r0, 1f\n nop\n 1:"); return a; }`, "cbz"},
		{"cortex-m0plus", "int nothing;", "no instructions"},
	} {
		source := filepath.Join(t.TempDir(), "code.c")
		if err := os.WriteFile(source, []byte(test.source), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("arm-none-eabi-gcc", "-mcpu="+test.core, "-mthumb", "-Os", "-c", source, "-o", source+".o").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		out, err := exec.Command("../../scripts/armv6m", source+".o").CombinedOutput()
		if (err == nil) != (test.refused == "") || !strings.Contains(string(out), test.refused) {
			t.Errorf("%s: %s: %v, %s", test.core, test.source, err, out)
		}
	}
}

// buildFirmware gives what `make firmware` builds.
func buildFirmware(t *testing.T) []byte {
	t.Helper()
	folder := t.TempDir()
	if out, err := exec.Command("../../scripts/firmware", folder).CombinedOutput(); err != nil {
		t.Fatalf("build firmware: %v\n%s", err, out)
	}
	elf, err := os.ReadFile(filepath.Join(folder, "birthmark.elf"))
	if err != nil {
		t.Fatal(err)
	}
	return elf
}
