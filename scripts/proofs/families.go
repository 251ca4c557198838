package main

// What is proven. Lengths end one beyond the longest input that the format has.
var families = []family{
	{
		name:    "cbor",
		sources: []string{"cbor.c", "bytes.c"},
		states:  20,
		entries: []entry{{"reader", 0, 64, 8}},
		bug:     bug{"cbor.c", "end < size || ", "", "reader", 16},
	},
	{
		name:    "c509",
		sources: []string{"c509.c", "cbor.c", "bytes.c"},
		states:  5000,
		entries: []entry{{"order", 0, 156, 8}, {"unit", 0, 136, 8}},
		bug:     bug{"cbor.c", "r->bad || end < size || end > r->size", "r->bad", "unit", 100},
	},
	{
		name:    "line",
		sources: []string{"line.c", "crc16.c"},
		states:  50,
		entries: []entry{{"receive", 642, 642, 1}},
		bug:     bug{"line.c", "line->len == line->size", "line->len > line->size", "receive", 8},
	},
	{
		name:    "session",
		sources: []string{"session.c", "bytes.c", "stub_ccm.c", "stub_hkdf.c", "stub_sha256.c"},
		states:  500,
		entries: []entry{{"record", 0, 561, 40}},
		bug:     bug{"session.c", "text_size > BM_RECORD_TEXT_MAX) { /*", "text_size > 0xfffffffe) { /*", "record", 2},
	},
	{
		name:    "trust",
		sources: []string{"trust.c", "cbor.c", "bytes.c", "stub_c509.c", "stub_flash.c", "stub_p256.c", "stub_sha256.c"},
		states:  5000,
		entries: []entry{{"take_release", 0, 88, 1}},
		bug:     bug{"cbor.c", "r->bad || end < size || end > r->size", "r->bad", "take_release", 40},
	},
}
