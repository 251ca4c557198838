package main

// What is proven. Lengths end one beyond the longest input that the format has.
var families = []family{
	{
		name:    "c509",
		sources: []string{"c509.c", "cbor.c", "bytes.c"},
		states:  5000,
		entries: []entry{{"order", 0, 156, 8}, {"unit", 0, 136, 8}},
		bug:     bug{"cbor.c", "r->bad || size > r->size - r->at", "r->bad", "unit", 100},
	},
	{
		name:    "line",
		sources: []string{"line.c", "crc16.c"},
		states:  50,
		entries: []entry{{"receive", 642, 642, 1}},
		bug:     bug{"line.c", "line->len == line->size", "line->len > line->size", "receive", 8},
	},
}
