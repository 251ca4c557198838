package chip

import (
	"encoding/json"
	"math/bits"
	"os"
	"testing"
)

// TestPublishedGroups: groups of other people's drivers (testdata/README.md) are whole, and are answered as they expect.
func TestPublishedGroups(t *testing.T) {
	text, err := os.ReadFile("../testdata/atecc608/groups.json")
	if err != nil {
		t.Fatal(err)
	}
	var groups []struct{ Source, Name, Group string }
	if err := json.Unmarshal(text, &groups); err != nil || len(groups) == 0 {
		t.Fatalf("%d groups, %v", len(groups), err)
	}
	l := product()
	l[0].slot, l[0].key = 0x0000, 0x001C
	for _, g := range groups {
		group := unhex(t, g.Group)
		checkGroup(t, group)
		if len(group) < minCommand {
			if s := blank(t).Wake(); string(s) != string(group) {
				t.Errorf("%s, %s: the chip says % x", g.Source, g.Name, s)
			}
			continue
		}
		h := locked(t, l)
		h.fresh().want(success, opNonce, 0x03, 0, make([]byte, 32)...)
		refused := map[string]bool{"Write of a word": true, "Write of slot 5, encrypted": true} // the locks are closed
		if answer := h.Exchange(group); (answer[0] == 4 && answer[1] != 0) != refused[g.Name] {
			t.Errorf("%s, %s: % x", g.Source, g.Name, answer)
		}
	}
}

// TestCRCOfLinux: Linux computes the CRC as the reflected CRC-16/ARC with its bits turned round; that one's published check value
// is 0xBB3D.
func TestCRCOfLinux(t *testing.T) {
	if got := CRC([]byte("123456789")); got != bits.Reverse16(0xBB3D) {
		t.Errorf("%04x", got)
	}
}
