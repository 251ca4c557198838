package main

// What is proven. Lengths end one beyond the longest input that the format has.
var families = []family{
	{
		name:    "cbor",
		sources: []string{"cbor.c", "bytes.c"},
		states:  20,
		options: []string{"-eva-split-limit", "4096", "-eva-slevel-function", "forward:5000,skip:5000,bm_read_skip:0"},
		entries: []entry{{"reader", 0, 64, 8}, {"forward", 0, 64, 8}, {"skip", 0, 640, 40}},
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
		name:    "edhoc",
		sources: []string{"edhoc.c", "stub_cbor.c", "bytes.c", "stub_ccm.c", "stub_hkdf_asserted.c", "stub_p256.c", "stub_sha256.c"},
		states:  20,
		options: []string{"-eva-split-limit", "4096", "-eva-slevel-function", "read:5000,bm_edhoc_read:5000,exchange:5000," +
			"read_message_1:100,authenticate:1,read_ead:0,read_suites:0,bm_read:0"},
		entries: []entry{{"message_1", 0, 640, 8}, {"message_2", 0, 640, 8}, {"message_3", 0, 640, 8}, {"message_4", 0, 640, 8}},
		bug:     bug{"edhoc.c", " || text_size > KDF_MAX ? ", " ? ", "message_3", 4},
	},
	{
		name:    "line",
		sources: []string{"line.c", "crc16.c"},
		states:  50,
		entries: []entry{{"receive", 642, 642, 1}},
		bug:     bug{"line.c", "line->len == line->size", "line->len > line->size", "receive", 8},
	},
	{
		name:    "peerlink",
		sources: []string{"peerlink.c", "bytes.c", "stub_c509.c", "stub_sha256.c"},
		states:  20,
		options: []string{"-eva-slevel-function", "frame:5000,identifier:5000,send:5000"},
		entries: []entry{{"frame", 0, 118, 4}, {"identifier", 0, 560, 16}, {"send", 0, 548, 16}, {"call", 0, 0, 1}},
		bug:     bug{"peerlink.c", " || size > PART_MAX || ", " || ", "frame", 118},
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
