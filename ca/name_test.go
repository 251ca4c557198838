package ca

import (
	"testing"

	"pgregory.net/rapid"
)

func TestEUI64(t *testing.T) {
	for _, test := range []struct {
		text string
		want EUI64
		good bool
	}{
		{"02-12-34-56-78-9A-BC-DE", 0x02123456789ABCDE, true},
		{"02:12:34:56:78:9a:bc:de", 0x02123456789ABCDE, true},
		{"02123456789ABCDE", 0x02123456789ABCDE, true},
		{"00-00-00-00-00-00-00-00", 0, true},
		{"FFFFFFFFFFFFFFFF", 0xFFFFFFFFFFFFFFFF, true},
		{"", 0, false},
		{"02-12-34-56-78-9A-BC", 0, false},
		{"02-12-34-56-78-9A-BC-DE-F0", 0, false},
		{"02-12-34-56-78-9A-BC-D", 0, false},
		{"0212-34-56-78-9A-BC-DE", 0, false},
		{"02-12:34-56:78-9A:BC-DE", 0, false},
		{"-02-12-34-56-78-9A-BC-DE", 0, false},
		{"02123456789ABCDE-", 0, false},
		{"0-21-23-45-67-89-AB-CD-E", 0, false},
		{"02 12 34 56 78 9A BC DE", 0, false},
		{"0x123456789ABCDE", 0, false},
		{"02-12-34-56-78-9A-BC-DG", 0, false},
	} {
		got, err := ParseEUI64(test.text)
		if got != test.want || (err == nil) != test.good {
			t.Errorf("%q: %v, %v", test.text, got, err)
		}
		if !test.good {
			wantError(t, test.text, err, ErrMalformed)
		}
	}
	if got := EUI64(0x02123456789ABCDE).String(); got != "02-12-34-56-78-9A-BC-DE" {
		t.Error(got)
	}
}

func TestEUI64RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := EUI64(rapid.Uint64().Draw(t, "eui"))
		if again, err := ParseEUI64(e.String()); again != e || err != nil {
			t.Fatalf("%v is read as %v, %v", e, again, err)
		}
	})
}

func TestPrefix(t *testing.T) {
	for _, test := range []struct {
		text        string
		first, last EUI64
		good        bool
	}{
		{"02-1A-2B", 0x021A2B0000000001, 0x021A2BFFFFFFFFFE, true},
		{"00:1a:2b", 0x001A2B0000000001, 0x001A2BFFFFFFFFFE, true},
		{"FE", 0xFE00000000000001, 0xFEFFFFFFFFFFFFFE, true},
		{"00", 0x0000000000000001, 0x00FFFFFFFFFFFFFE, true},
		{"02-1A-2B-FF", 0x021A2BFF00000001, 0x021A2BFFFFFFFFFE, true},
		{"021A2B3C4D5E", 0x021A2B3C4D5E0001, 0x021A2B3C4D5EFFFE, true},
		{"", 0, 0, false},
		{"02-1A-2B-3C-4D-5E-6F", 0, 0, false},
		{"03-1A-2B", 0, 0, false},
		{"01", 0, 0, false},
		{"02-1A-2B-FF-FE", 0, 0, false},
		{"02-1A-2B-FF-FE-00", 0, 0, false},
		{"02-1A-2", 0, 0, false},
	} {
		p, err := ParsePrefix(test.text)
		if !test.good {
			wantError(t, test.text, err, ErrMalformed)
			continue
		}
		if err != nil || p.first() != test.first || p.last() != test.last {
			t.Errorf("%q: %v to %v, %v", test.text, p.first(), p.last(), err)
		}
		if again, err := ParsePrefix(p.String()); again.String() != p.String() || err != nil {
			t.Errorf("%v is read as %v, %v", p, again, err)
		}
	}
}

func TestLocalPrefix(t *testing.T) {
	for range 100 {
		p := localPrefix()
		if _, err := ParsePrefix(p.String()); err != nil || len(p) != 3 || p[0]&0x0F != 0x02 {
			t.Fatalf("%v: %v", p, err)
		}
	}
}

func TestRangeCheck(t *testing.T) {
	const low, high = 0x021A2BFFFE000000, 0x021A2BFFFEFFFFFF // a block of EUI-48s in disguise
	for _, test := range []struct {
		first, last EUI64
		good        bool
	}{
		{1, 1, true},
		{1, 0xFFFDFFFFFF, true},
		{0, 1, false},
		{2, 1, false},
		{low - 1, low - 1, true},
		{low - 100, low - 1, true},
		{low - 1, low, false},
		{low, low, false},
		{low + 5, low + 6, false},
		{high, high, false},
		{high, high + 1, false},
		{high + 1, high + 100, true},
		{low - 1, high + 1, false},
		{high + 1, low + 1<<40 - 1, true},
		{high + 1, low + 1<<40, false},
		{1, 0xFFFFFFFFFFFFFFFE, false},
		{0xFFFFFFFFFF000000, 0xFFFFFFFFFFFFFFFE, true},
		{0xFFFFFFFFFF000000, 0xFFFFFFFFFFFFFFFF, false},
		{0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF, false},
	} {
		r := Range{test.first, test.last}
		err := r.check()
		if (err == nil) != test.good {
			t.Errorf("%v: %v", r, err)
		}
		if err != nil {
			wantError(t, r.String(), err, ErrMalformed)
		}
	}
}

// Windows about the edges of blocks, where a count of one too many or too few would show; blocks are 2^24 numbers, so the
// reference looks at every one only where a block can begin or end.
func TestEncapsulatedAgainstBruteForce(t *testing.T) {
	disguised := func(e EUI64) bool {
		b := e.Bytes()
		return b[3] == 0xFF && b[4] == 0xFE
	}
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.Uint64Max(1<<24-1).Draw(t, "first three octets") << 40
		edge := rapid.SampledFrom([]uint64{0, 0xFFFD << 24, 0xFFFE << 24, 0xFFFF << 24, 1<<40 - 300}).Draw(t, "edge")
		first := EUI64(prefix + edge + rapid.Uint64Max(300).Draw(t, "offset") - min(prefix+edge, 150))
		r := Range{first, first + min(^first, EUI64(rapid.Uint64Max(300).Draw(t, "width")))}
		var want EUI64
		var found bool
		for e := r.First; !found; e++ {
			if disguised(e) {
				want, found = e, true
			}
			if e == r.Last {
				break
			}
		}
		if got, ok := r.encapsulated(); ok != found || ok && got != want {
			t.Fatalf("%v: %v, %v, want %v, %v", r, got, ok, want, found)
		}
	})
}

func TestNames(t *testing.T) {
	root := newRootName(true, 3)
	order := newOrderName(root, 0x0102)
	if root != (RootName{1, 3}) || !root.Test() || root.Epoch() != 3 || order != (OrderName{1, 3, 1, 2}) || order.Root() != root || order.Number() != 0x0102 {
		t.Errorf("%x, %x", root, order)
	}
	if newRootName(false, 255) != (RootName{0, 255}) {
		t.Error("a productive root has the test flag")
	}
	for _, wrong := range []RootName{{0, 0}, {1, 0}, {2, 1}, {0x81, 1}} {
		wantError(t, "root name", wrong.check(), ErrMalformed)
	}
}

func TestCheckTitle(t *testing.T) {
	for _, good := range []string{"a", "ACME Sensors (Zürich)", "工場", "123456789 123456789 1234"} {
		if err := checkTitle("name", good, 24); err != nil {
			t.Error(err)
		}
	}
	for _, wrong := range []string{"", "123456789 123456789 12345", "two\nlines", "\x1b[2J", "nul\x00", "\xff", "a\u200eb", "\u2028"} {
		wantError(t, wrong, checkTitle("name", wrong, 24), ErrMalformed)
	}
}
