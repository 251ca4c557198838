package main

// Eva takes a write through bm_wipe's volatile pointer for one that leaves anything; without the word it leaves zeros.
const zerosStay = "-cpp-extra-args=-Dvolatile="

// What is proven. Lengths end one beyond the longest input that the format has.
var families = []family{
	{
		name:    "cbor",
		sources: []string{"cbor.c", "bytes.c"},
		states:  20,
		options: []string{"-eva-split-limit", "4096", "-eva-slevel-function", "forward:5000,skip:5000,bm_read_skip:0"},
		entries: []entry{{"reader", 0, 64, 8}, {"forward", 0, 64, 8}, {"skip", 0, 640, 40}},
		bugs:    []bug{{"cbor.c", "end < size || ", "", "reader", 16}},
	},
	{
		name:    "c509",
		sources: []string{"c509.c", "cbor.c", "bytes.c"},
		states:  5000,
		entries: []entry{{"order", 0, 156, 8}, {"unit", 0, 136, 8}},
		bugs:    []bug{{"cbor.c", "r->bad || end < size || end > r->size", "r->bad", "unit", 100}},
	},
	{
		name:    "edhoc",
		sources: []string{"edhoc.c", "stub_cbor.c", "bytes.c", "stub_ccm.c", "stub_hkdf_asserted.c", "stub_p256.c", "stub_sha256.c"},
		states:  20,
		options: []string{"-eva-split-limit", "4096", "-eva-slevel-function", "read:5000,bm_edhoc_read:5000,exchange:5000," +
			"read_message_1:100,authenticate:1,read_ead:0,read_suites:0,bm_read:0"},
		entries: []entry{{"message_1", 0, 640, 8}, {"message_2", 0, 640, 8}, {"message_3", 0, 640, 8}, {"message_4", 0, 640, 8}},
		bugs:    []bug{{"edhoc.c", " || text_size > KDF_MAX ? ", " ? ", "message_3", 4}},
	},
	{
		name:    "line",
		sources: []string{"line.c", "crc16.c"},
		states:  50,
		entries: []entry{{"receive", 642, 642, 1}},
		bugs:    []bug{{"line.c", "line->len == line->size", "line->len > line->size", "receive", 8}},
	},
	{
		name:    "peerlink",
		sources: []string{"peerlink.c", "bytes.c", "stub_c509.c", "stub_sha256.c"},
		states:  20,
		options: []string{"-eva-slevel-function", "frame:5000,identifier:5000,send:5000"},
		entries: []entry{{"frame", 0, 118, 4}, {"identifier", 0, 560, 16}, {"send", 0, 548, 16}, {"call", 0, 0, 1}},
		bugs:    []bug{{"peerlink.c", " || size > PART_MAX || ", " || ", "frame", 118}},
	},
	{
		name:    "session",
		sources: []string{"session.c", "bytes.c", "stub_ccm.c", "stub_hkdf.c", "stub_sha256.c"},
		states:  500,
		entries: []entry{{"record", 0, 561, 40}},
		bugs:    []bug{{"session.c", "text_size > BM_RECORD_TEXT_MAX) { /*", "text_size > 0xfffffffe) { /*", "record", 2}},
	},
	{
		name:    "flash",
		sources: []string{"flash.c", "crc16.c", "bytes.c"},
		states:  20,
		options: []string{"-eva-precision", "0", "-eva-domains", "equality", "-eva-split-limit", "300", "-eva-slevel-function", "next:5000"},
		entries: []entry{{"next", 2, 2, 1}}, // the last page: the others differ in their address alone
		bugs:    []bug{{"flash.c", "CRC_SIZE > page_size - r->end", "CRC_SIZE > page_size", "next", 2}},
	},
	{
		name:    "installed",
		sources: []string{"installed.c", "cbor.c", "bytes.c"},
		states:  500,
		entries: []entry{{"parse_id", 0, 299, 50}},
		bugs:    []bug{{"installed.c", "size > BM_ID_CRED_MAX", "size > 4096", "parse_id", 310}},
	},
	{
		name:    "slot",
		sources: []string{"installed.c", "cbor.c", "bytes.c"},
		states:  20000,
		options: []string{"-eva-precision", "0", "-eva-domains", "equality", "-eva-auto-loop-unroll", "400",
			"-eva-slevel-function", "bm_wipe:0,bm_copy:0,bm_equal:0,bm_read_expect:0", zerosStay},
		entries: []entry{{"load", 0, 0, 1}},
		bugs:    []bug{{"installed.c", "at + i < BM_ID_CRED_MAX", "at + i < BM_ATECC608_SLOT_SIZE", "load", 0}},
	},
	{
		name:    "driver",
		sources: []string{"port_atecc608.c", "crc16.c", "bytes.c", "stub_flash.c", "stub_sha256.c"},
		states:  500,
		options: []string{"-cpp-extra-args=-DBM_CONFIG_IO_KEY", "-eva-auto-loop-unroll", "150"},
		entries: []entry{{"call", 0, 12, 1}}, // each of the driver's calls
		bugs:    []bug{{"port_atecc608.c", "size < STATUS_SIZE || size > ANSWER_MAX", "size < STATUS_SIZE", "call", 1}},
	},
	{
		name:    "agent",
		sources: []string{"agent.c", "cbor.c", "bytes.c", "stub_c509.c"},
		states:  40,
		options: []string{"-eva-auto-loop-unroll", "512", zerosStay, "-eva-slevel-function",
			"bm_agent_frame:0,execute:2000,read_arguments:2000,survey:100,survey_chip:100," +
				"begin:0,put:0,put_bytes:0,bm_write:20,bm_head:20,bm_write_raw:0,bm_write_string:0"},
		entries: []entry{{"request", 640, 640, 1}},
		bugs:    []bug{{"agent.c", "i < image->peer_count", "i <= image->peer_count", "request", 640}},
	},
	{
		name:    "trust",
		sources: []string{"trust.c", "cbor.c", "bytes.c", "stub_c509.c", "stub_flash.c", "stub_p256.c", "stub_sha256.c"},
		states:  5000,
		options: []string{"-eva-precision", "0", "-eva-domains", "equality", "-eva-split-limit", "256",
			"-eva-slevel-merge-after-loop", "scan", "-eva-slevel-function", "scan:100,judge:100,bm_compare:0,bm_equal:0"},
		entries: []entry{{"take_release", 0, 88, 20}, {"take_link", 0, 558, 20}, {"take_list", 0, 513, 8}, {"take_id", 0, 299, 1},
			{"take_pinned", 0, 136, 20}, {"take_birth", 0, 156, 20}, {"roots", 0, 558, 16}, {"listed", 0, 513, 4}},
		bugs: []bug{
			{"cbor.c", "r->bad || end < size || end > r->size", "r->bad", "take_release", 40},
			{"trust.c", "r.size == size && bm_equal(r.payload", "bm_equal(r.payload", "take_link", 172},
			{"trust.c", "at > list_size || (span", "(span", "take_list", 100},
			{"trust.c", "if (bm_read_end(&r) == BM_OK) {", "if (r.at > 0) {", "take_id", 40},
			{"trust.c", "key != NULL && bm_p256_recover", "bm_p256_recover", "take_pinned", 123},
			{"trust.c", "root == NULL || root[0] != name[0]", "root[0] != name[0]", "take_birth", 155},
			{"trust.c", "root == NULL || size < BM_ANCHOR_SIZE", "root == NULL", "roots", 80},
			{"trust.c", " || list[LIST_AT_PREFIX] >= BM_UNIT_NAME_SIZE", "", "listed", 100},
		},
	},
}
