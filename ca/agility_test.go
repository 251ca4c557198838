package ca

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// algorithms are what certificates, root-signed objects and handshake might use; sizes are bytes.
type algorithms struct {
	name      string
	alg       int    // bytes of the COSE algorithm's number
	root      scheme // signs orders, links, lists
	order     scheme // signs units
	unit      scheme // signs handshakes
	ephemeral [2]int // G_X, G_Y
}

type scheme struct {
	key       int // in a certificate
	anchor    int // in an anchor
	signature int
}

// FIPS 186-5 and SEC 1; FIPS 204; FIPS 206 as submitted; RFC 8554 with SP 800-208's LMS_SHA256_M24_H15 and LMOTS_SHA256_N24_W8 in one level of
// HSS: 4 + (4 + (4 + 24 + 26·24) + 4 + 15·24); FIPS 203's encapsulation key and ciphertext behind P-256's x.
var (
	p256    = scheme{33, 64, 64}
	mldsa44 = scheme{1312, 1312, 2420}
	fndsa   = scheme{897, 897, 666}
	lms     = scheme{52, 52, 1024}
	ecdh    = [2]int{32, 32}
	hybrid  = [2]int{32 + 800, 32 + 768}
)

// item is how many bytes a byte string takes in CBOR.
func item(n int) int {
	switch {
	case n < 24:
		return 1 + n
	case n < 256:
		return 2 + n
	default:
		return 3 + n
	}
}

func (a algorithms) certificate(most int, key, signature scheme) int {
	return most - item(p256.key) - item(p256.signature) + item(key.key) + item(signature.signature)
}

func (a algorithms) object(payload int) int {
	protected := 1 + 1 + a.alg
	return 1 + item(protected) + 1 + item(payload) + item(a.root.signature)
}

// What other algorithms would cost, in bytes: the table of docs/crypto-agility.md. Today's column is held against what docs/formats.md
// says of today's formats.
func TestAgility(t *testing.T) {
	variants := []algorithms{
		{"today", 1, p256, p256, p256, ecdh},
		{"hybrid key exchange", 1, p256, p256, p256, hybrid},
		{"root by LMS", 2, lms, p256, p256, hybrid},
		{"FN-DSA-512", 2, fndsa, fndsa, fndsa, hybrid},
		{"ML-DSA-44", 2, mldsa44, mldsa44, mldsa44, hybrid},
	}
	rows := []string{"unit certificate", "order certificate", "both, as slot 8 holds and message_2 and 3 show them", "anchor", "link that closes 32 orders",
		"status list of 20 units", "message_1", "message_2", "message_3", "message_4", "a first handshake, in frames", "at 115,200 baud, ms"}
	cells := make([][]int, len(rows))
	for _, a := range variants {
		unit := a.certificate(135, a.unit, a.order)
		order := a.certificate(155, a.order, a.root)
		shown := 1 + 2 + 1 + item(unit) + item(order)
		anchor := 2 + a.root.anchor + 32
		messages := []int{1 + 1 + item(a.ephemeral[0]) + 1,
			item(a.ephemeral[1] + 1 + shown + item(a.unit.signature)),
			item(shown + item(a.unit.signature) + 8), item(8)}
		framed := 0
		for _, m := range messages {
			parts := (m + 111) / 112
			framed += m + 10*parts
		}
		for i, n := range []int{unit, order, shown, anchor, a.object(anchor + 32*12), a.object(9 + 20*8), messages[0], messages[1], messages[2], messages[3],
			framed, (framed*10*1000 + 115_199) / 115_200} {
			cells[i] = append(cells[i], n)
		}
	}
	var table strings.Builder
	table.WriteString("| bytes, at most |")
	for _, a := range variants {
		fmt.Fprintf(&table, " %s |", a.name)
	}
	table.WriteString("\n|---" + strings.Repeat("|---:", len(variants)) + "|\n")
	for i, row := range rows {
		fmt.Fprintf(&table, "| %s |", row)
		for _, n := range cells[i] {
			fmt.Fprintf(&table, " %d |", n)
		}
		table.WriteString("\n")
	}
	contains(t, "../docs/crypto-agility.md", table.String())
	for i, sentence := range []string{"## Unit certificate (at most %d bytes)", "## Order certificate (at most %d bytes)", "At most %d bytes are\nused.",
		"## Anchor (%d bytes)", `"birthmark link 1", at most %d bytes`, "Twenty units take %d bytes at worst"} {
		contains(t, "../docs/formats.md", fmt.Sprintf(sentence, cells[i][0]))
	}
	contains(t, "../docs/performance.md", fmt.Sprintf("%d, %d, %d, %d;", cells[6][0], cells[7][0], cells[8][0], cells[9][0]))
}

func contains(t *testing.T, path, text string) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), text) {
		t.Errorf("%s does not have\n%s", path, text)
	}
}
