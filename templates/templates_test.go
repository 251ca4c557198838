package templates

import (
	"slices"
	"strings"
	"testing"
)

func TestProducts(t *testing.T) {
	if !slices.Contains(Products(), "demo-sensor") {
		t.Errorf("built in: %v", Products())
	}
	for _, name := range Products() {
		if text, err := Product(name); err != nil || len(text) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
	}
	for _, name := range []string{"", "pump", "demo-sensor.yaml", "../demo-sensor", "../product/demo-sensor", "*"} {
		text, err := Product(name)
		if err == nil || text != nil || !strings.Contains(err.Error(), "demo-sensor") {
			t.Errorf("%q: %d bytes, %v", name, len(text), err)
		}
	}
}
