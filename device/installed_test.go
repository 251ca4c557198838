//go:build cgo

package device

import (
	"bytes"
	"fmt"
	"testing"
)

// An identity that is not a chip's: two certificates of any size that a unit has room for, in exactly one encoding.
func TestParseIdentity(t *testing.T) {
	for _, size := range []struct{ unit, order int }{{1, 1}, {23, 24}, {123, 140}, {135, 155}} {
		unit, order := bytes.Repeat([]byte{0xaa}, size.unit), bytes.Repeat([]byte{0xbb}, size.order)
		id := shown(t, unit, order)
		gotUnit, gotOrder, _, err := parseIdentity(id)
		if err != nil || !bytes.Equal(gotUnit, unit) || !bytes.Equal(gotOrder, order) {
			t.Errorf("%d and %d bytes: %x, %x, %v", size.unit, size.order, gotUnit, gotOrder, err)
		}
		bad := map[string][]byte{"a byte more": append(bytes.Clone(id), 1), "a zero byte more": append(bytes.Clone(id), 0)}
		for cut := range id {
			bad[fmt.Sprint("cut at ", cut)] = id[:cut]
		}
		for name, b := range bad {
			if _, _, zeros, err := parseIdentity(b); err != ErrMalformed || !zeros {
				t.Errorf("%d and %d bytes, %q: %v", size.unit, size.order, name, err)
			}
		}
	}
	for name, id := range map[string][]byte{
		"a unit too long":   shown(t, make([]byte, 136), make([]byte, 100)),
		"an order too long": shown(t, make([]byte, 100), make([]byte, 156)),
		"both too long":     shown(t, make([]byte, 300), make([]byte, 300)),
		"one alone":         shown(t, make([]byte, 100)),
		"three":             shown(t, []byte{1}, []byte{2}, []byte{3}),
		"text":              encode(t, map[int]any{25: []any{"unit", []byte{1}}}),
		"another parameter": encode(t, map[int]any{26: [][]byte{{1}, {2}}}),
		"a longer head":     unhex(t, "a11819825801aa41bb"),
	} {
		if _, _, zeros, err := parseIdentity(id); err != ErrMalformed || !zeros {
			t.Errorf("%s: %v", name, err)
		}
	}
}
