package spoil

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/fleet"
	"github.com/birthmark/birthmark/templates"
)

// made is a fleet of so many units, of the demonstration's product as it is changed.
func made(t *testing.T, end string, units int, change *strings.Replacer) *fleet.Fleet {
	t.Helper()
	return madeAt(t, filepath.Join(t.TempDir(), "fleet"+end), units, change)
}

func madeAt(t *testing.T, path string, units int, change *strings.Replacer) *fleet.Fleet {
	t.Helper()
	text, err := templates.Product("demo-sensor")
	if err != nil {
		t.Fatal(err)
	}
	profile, err := ca.ParseProfile([]byte(change.Replace(string(text))))
	if err != nil {
		t.Fatal(err)
	}
	r := fleet.MakeRequest{Out: path, Units: units, Orders: 1, Seed: "42", Profile: profile}
	if err := fleet.Make(t.Context(), r, func(int) {}); err != nil {
		t.Fatal(err)
	}
	f, err := fleet.Open(r.Out)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustSpoil(t *testing.T, f *fleet.Fleet) *Fleet {
	t.Helper()
	s, err := Make(f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func spoiled(t *testing.T) *Fleet {
	t.Helper()
	return mustSpoil(t, made(t, ".cbor", 3, strings.NewReplacer()))
}

// written is the folder of a spoiled fleet.
func written(t *testing.T, s *Fleet) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, data := range s.Files() {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// The same fleet gives the same bytes, whatever the form that it is kept in, and the manifest reads back as it was.
func TestSpoil(t *testing.T) {
	s := spoiled(t)
	var text []byte
	last := ""
	other := maps.Collect(mustSpoil(t, made(t, "", 3, strings.NewReplacer())).Files())
	for name, data := range s.Files() {
		if last, text = name, data; !bytes.Equal(data, other[name]) {
			t.Errorf("the same fleet gives another %s", name)
		}
	}
	if last != manifestFile {
		t.Errorf("%s is the last file", last)
	}
	f := made(t, ".jsonl", 3, strings.NewReplacer())
	for u, err := range f.Units() {
		if err != nil {
			t.Fatal(err)
		}
		if own := ca.IDCred(&ca.UnitCertificate{Raw: u.Certificate}, f.Orders[0].Certificate); !bytes.Equal(s.files["good.chain"], own) {
			t.Errorf("the good chain is %x, the unit's %x", s.files["good.chain"], own)
		}
		break
	}
	var m Fleet
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil || m.Birthmark != "spoiled/1" || len(m.Kinds) != len(s.Kinds) {
		t.Fatalf("%+v, %v", m, err)
	}
	seen, bad, alone := map[string]bool{}, 0, 0
	for _, k := range m.Kinds {
		for _, name := range []string{k.File, k.Bundle, k.Key, k.Whole} {
			if _, ok := s.files[name]; !ok && name != "" {
				t.Errorf("%s: there is no %s", k.Kind, name)
			}
		}
		if seen[k.Kind] || seen[k.File] {
			t.Errorf("%s is there twice", k.Kind)
		}
		seen[k.Kind], seen[k.File] = true, true
		if k.Check != "" {
			bad++
		}
		if k.Verify == nil {
			alone++
		}
		if (k.Check == "") != (k.Unit.Number == 0) || (k.Verify == nil) != (k.UnitAlone != "") || k.Why == "" || k.Section == "" {
			t.Errorf("%+v", k)
		}
		if _, ok := sections[k.Check]; !ok {
			t.Errorf("%s: nobody knows a check %q", k.Kind, k.Check)
		}
	}
	if bad < 170 || alone > 4 {
		t.Errorf("%d bad kinds, %d that only a unit can refuse", bad, alone)
	}
	t.Logf("%d kinds, %d of them bad, %d checks", len(m.Kinds), bad, len(sections)-1)
}

// Of a fleet that somebody has changed nothing is made.
func TestSpoilRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.jsonl")
	f := madeAt(t, path, 1, strings.NewReplacer())
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var certificate, key string
	for u, err := range f.Units() {
		if err != nil {
			t.Fatal(err)
		}
		certificate, key = hex.EncodeToString(u.Certificate), hex.EncodeToString(u.Key[:])
	}
	root, next, order := hex.EncodeToString(f.Roots[0]), hex.EncodeToString(f.Roots[1]), hex.EncodeToString(f.Head.Orders[0].Key)
	other := strings.Repeat("01", 32)
	for name, c := range map[string]struct {
		from, to string
		want     error
	}{
		"no certificate":        {certificate, "00", ca.ErrMalformed},
		"a certificate changed": {certificate[len(certificate)-2:] + `"}`, "00" + `"}`, fleet.ErrNotMade},
		"another unit's key":    {key, other, fleet.ErrNotMade},
		"a key that is none":    {key, strings.Repeat("00", 32), fleet.ErrNotMade},
		"another root's key":    {root, other, fleet.ErrNotMade},
		"another next root's":   {next, other, fleet.ErrNotMade},
		"another order's key":   {order, other, fleet.ErrNotMade},
		"an order that is not":  {`"order":1,`, `"order":2,`, fleet.ErrNotMade},
		"no unit":               {`{"serial"`, "", fleet.ErrUnfinished},
		"another serial number": {certificate[4:24], certificate[4:22] + "09", ca.ErrMalformed},
	} {
		if strings.Count(string(text), c.from) != 1 {
			t.Fatalf("%s: %q", name, c.from)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), c.from, c.to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		changed, err := fleet.Open(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := Make(changed); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// The names of what the library returns are those of its headers.
func TestSpoilNumbers(t *testing.T) {
	var text []byte
	for _, header := range []string{"birthmark.h", "trust.h"} {
		b, err := os.ReadFile(filepath.Join("../../device", header))
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b...)
	}
	for name, n := range numbers {
		if !bytes.Contains(text, fmt.Appendf(nil, " %s = %d", name, n)) {
			t.Errorf("the library's headers do not have %s = %d", name, n)
		}
	}
}

// The sections that kinds name are there.
func TestSpoilSections(t *testing.T) {
	for check, where := range sections {
		for part := range strings.SplitSeq(where, "; ") {
			page, heading, ok := strings.Cut(part, ", ")
			if !strings.HasPrefix(page, "docs/") {
				continue
			}
			text, err := os.ReadFile(filepath.Join("../..", page))
			if err != nil {
				t.Fatal(err)
			}
			if ok && !bytes.Contains(text, []byte("\n## "+heading)) {
				t.Errorf("check %q: %s has no section %q", check, page, heading)
			}
		}
	}
}

// A fleet that does not talk to itself is judged as one that it talks to.
func TestSpoilStrangers(t *testing.T) {
	s := mustSpoil(t, made(t, ".cbor", 1, strings.NewReplacer("peers: [7]", "peers: [300000, 9]")))
	if s.Product != 300000 || !slices.Equal(s.Peers, []uint32{300000, 9}) {
		t.Errorf("product %d, peers %d", s.Product, s.Peers)
	}
	judgeAll(t, s, build(t, false), func(Kind) string { return "" })
}

// The unit's library refuses each kind by what the manifest says, on buffers of exactly their size, and takes the good ones.
func TestSpoiledUnits(t *testing.T) {
	s := spoiled(t)
	judgeAll(t, s, build(t, false), func(Kind) string { return "" })
}

// With the check that it names switched off the library takes each kind: so nothing else is wrong with it, and nothing else looks.
// Switched on, the same build refuses it.
func TestSpoiledUnitsUnchecked(t *testing.T) {
	s := spoiled(t)
	checksOf(t, s, unitPatches, func(Kind) bool { return true })
	program := build(t, true)
	judgeAll(t, s, program, func(Kind) string { return "" })
	judgeAll(t, s, program, func(k Kind) string { return k.Check })
}

// The same of `birthmark cert verify`.
func TestSpoiledVerifyUnchecked(t *testing.T) {
	s := spoiled(t)
	folder := written(t, s)
	checksOf(t, s, verifyPatches, func(k Kind) bool { return k.Verify != nil })
	program := buildVerify(t)
	for _, k := range s.Kinds {
		if k.Verify == nil {
			continue
		}
		for _, check := range slices.Compact([]string{"", k.Check}) {
			want := k.Verify.Exit
			if check != "" {
				want = 0
			}
			c := exec.Command(program, append([]string{"cert", "verify", k.File}, k.Verify.Arguments...)...)
			c.Dir = folder
			c.Env = append(os.Environ(), "BIRTHMARK_CONFIG=", "XDG_CONFIG_HOME="+folder, "OFF="+check, "WHOLE="+wholes(t, s, k))
			out, err := c.CombinedOutput()
			if code := c.ProcessState.ExitCode(); code != want {
				t.Errorf("%s without %q: exit code %d, want %d: %v\n%s", k.Kind, check, code, want, err, out)
			}
		}
	}
}

// checksOf wants a patch for each check that a kind names, and a kind for each check that has a patch.
func checksOf(t *testing.T, s *Fleet, patches []patch, counts func(Kind) bool) {
	t.Helper()
	named, patched := map[string]bool{}, map[string]bool{}
	for _, k := range s.Kinds {
		if counts(k) && k.Check != "" {
			named[k.Check] = true
		}
	}
	for _, p := range patches {
		for check := range strings.FieldsSeq(p.checks) {
			patched[check] = true
		}
	}
	for check := range sections {
		if check != "" && !slices.ContainsFunc(s.Kinds, func(k Kind) bool { return k.Check == check }) {
			t.Errorf("no kind names the check %q", check)
		}
	}
	for check := range named {
		if !patched[check] {
			t.Errorf("nothing switches the check %q off", check)
		}
	}
	for check := range patched {
		if !named[check] {
			t.Errorf("a patch switches %q off, which no kind names", check)
		}
	}
}

// apply writes the patched files of a folder into another, and says which they are.
func apply(t *testing.T, patches []patch, from, to string) map[string]string {
	t.Helper()
	type edit struct {
		at int
		patch
	}
	edits := map[string][]edit{}
	texts := map[string]string{}
	for _, p := range patches {
		if _, ok := texts[p.file]; !ok {
			b, err := os.ReadFile(filepath.Join(from, p.file))
			if err != nil {
				t.Fatal(err)
			}
			texts[p.file] = string(b)
		}
		if n := strings.Count(texts[p.file], p.text); n != 1 {
			t.Errorf("%s: the text of check %q stands there %d times: %s", p.file, p.checks, n, p.text)
			continue
		}
		edits[p.file] = append(edits[p.file], edit{strings.Index(texts[p.file], p.text), p})
	}
	if t.Failed() {
		t.Fatal("patches_test.go is to be brought up to the sources")
	}
	written := map[string]string{}
	for file, text := range texts {
		slices.SortFunc(edits[file], func(a, b edit) int { return b.at - a.at })
		end := len(text)
		for _, e := range edits[file] {
			if e.at+len(e.text) > end {
				t.Fatalf("%s: two patches overlap at %s", file, e.text)
			}
			end = e.at
			text = text[:e.at] + e.with + text[e.at+len(e.text):]
		}
		path := filepath.Join(to, strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		written[file] = path
	}
	return written
}

// build makes the unit that judges: of the library as it is, with whatever watches over memory, or with patches.
func build(t *testing.T, patched bool) string {
	t.Helper()
	folder := t.TempDir()
	arguments := []string{"-std=c99", "-Wall", "-Wextra", "-Wno-unused-function", "-Werror", "-I../../device", "-Itestdata", "-o", filepath.Join(folder, "judge"), "testdata/judge.c"}
	sources := map[string]string{}
	if patched {
		arguments = append(arguments, "-O1", "-include", "off.h")
		sources = apply(t, unitPatches, "../../device", folder)
	} else {
		arguments = append(arguments, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
	}
	for _, source := range []string{"bytes.c", "c509.c", "cbor.c", "crc16.c", "flash.c", "p256.c", "sha256.c", "trust.c"} {
		if path := sources[source]; path != "" {
			arguments = append(arguments, path)
		} else {
			arguments = append(arguments, filepath.Join("../../device", source))
		}
	}
	if out, err := exec.Command("gcc", arguments...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return filepath.Join(folder, "judge")
}

// buildVerify builds birthmark with patches, and without the unit's library, which has its own.
func buildVerify(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	replace := map[string]string{}
	for file, path := range apply(t, verifyPatches, root, folder) {
		replace[filepath.Join(root, file)] = path
	}
	add := func(source, name, text string) {
		path := filepath.Join(folder, source)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, name)] = path
	}
	for _, name := range []string{"c509", "ca", "cmd"} {
		text, err := os.ReadFile("testdata/off/off.go.txt")
		if err != nil {
			t.Fatal(err)
		}
		add("off-"+name+".go", name+"/off.go", strings.Replace(string(text), "PACKAGE", name, 1))
	}
	text, err := os.ReadFile("testdata/off/ca.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	add("relax.go", "ca/relax.go", string(text))
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "overlay.json"), overlay, 0o644); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(folder, "birthmark")
	c := exec.Command("go", "build", "-overlay", filepath.Join(folder, "overlay.json"), "-o", program, ".")
	c.Dir = root
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// judgeAll gives each kind to the unit, with a check switched off, and compares what it says with the manifest, or with good.
func judgeAll(t *testing.T, s *Fleet, program string, off func(Kind) string) {
	t.Helper()
	c := exec.Command(program)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var faults bytes.Buffer
	c.Stderr = &faults
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewScanner(out)
	for _, k := range s.Kinds {
		check := off(k)
		want := k.Unit.Number
		if check != "" {
			want = 0
		}
		got, ok := ask(in, answers, caseOf(t, s, k, check))
		if !ok {
			t.Errorf("%s without %q: the unit died: %v\n%s", k.Kind, check, c.Wait(), &faults)
			return
		}
		if got != want {
			t.Errorf("%s without %q: %s says %d, want %d", k.Kind, check, k.Unit.Function, got, want)
		}
	}
	in.Close()
	if err := c.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &faults)
	}
}

// ask gives the unit one case, and answers for its chip.
func ask(in io.Writer, answers *bufio.Scanner, line string) (status int, ok bool) {
	fmt.Fprintln(in, line)
	for answers.Scan() {
		words := strings.Fields(answers.Text())
		if words[0] != "verify" {
			status, err := strconv.Atoi(words[0])
			return status, err == nil
		}
		fmt.Fprintln(in, verifies(words[1], words[2], words[3]))
	}
	return 0, false
}

// verifies is a chip's answer, of one that does not look at r and s before it computes: where both are 0 it finds the point at infinity,
// takes its x for 0, and is content.
func verifies(key, digest, signature string) int {
	if signature == strings.Repeat("00", 64) {
		return 1
	}
	xy, _ := hex.DecodeString(key)
	hash, _ := hex.DecodeString(digest)
	rs, _ := hex.DecodeString(signature)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, xy...))
	if err == nil && ecdsa.Verify(public, hash, new(big.Int).SetBytes(rs[:32]), new(big.Int).SetBytes(rs[32:])) {
		return 1
	}
	return 0
}

// caseOf is a line for testdata/judge.c. Where a bound is switched off, what was cut off lies in memory behind what is left.
func caseOf(t *testing.T, s *Fleet, k Kind, check string) string {
	t.Helper()
	b := bundleOf(t, s, k)
	var peers []string
	for _, p := range s.Peers {
		peers = append(peers, fmt.Sprint(p))
	}
	link := []byte{}
	if len(b.Links) > 0 {
		link = b.Links[0]
	}
	file, order, key := s.files[k.File], []byte(nil), []byte(nil)
	var behind, behindOrder []byte
	if k.Unit.Function == "bm_trust" {
		file, order = certificates(t, file)
		key = publicKey(t, s.files[k.Key])
	}
	if check == "bounds" {
		whole := s.files[k.Whole]
		if k.Unit.Function == "bm_trust" {
			unit, wholeOrder := certificates(t, whole)
			behindOrder = wholeOrder[len(order):]
			whole = unit
		}
		behind = whole[len(file):]
	}
	number, generation := []byte(nil), uint32(0)
	if k.Generation != nil {
		serial, err := ca.ParseEUI64(k.Serial)
		if err != nil {
			t.Fatal(err)
		}
		octets := serial.Bytes()
		number, generation = octets[:], *k.Generation
	}
	h := func(b []byte) string {
		if len(b) == 0 {
			return "-"
		}
		return hex.EncodeToString(b)
	}
	if check == "" {
		check = "-"
	}
	return fmt.Sprint(check, " ", k.Unit.Function, " ", cmp.Or(k.Anchor, s.Anchor), " ", s.Product, " ", strings.Join(peers, ","), " ", h(b.Anchor), " ", h(link), " ", h(b.List), " ",
		h(file), " ", h(behind), " ", h(order), " ", h(behindOrder), " ", h(key), " ", h(number), " ", generation)
}

// bundle is a bundle's file, whatever it is worth.
type bundle struct {
	_      struct{} `cbor:",toarray"`
	Title  string
	Anchor []byte
	Links  [][]byte
	List   []byte
}

func bundleOf(t *testing.T, s *Fleet, k Kind) (b bundle) {
	t.Helper()
	if err := cbor.Unmarshal(s.files[k.Bundle], &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// publicKey is X then Y.
func publicKey(t *testing.T, text []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	b, err := key.(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b[1:]
}

// certificates are those of a chain.
func certificates(t *testing.T, id []byte) (unit, order []byte) {
	t.Helper()
	var m map[int][][]byte
	if err := cbor.Unmarshal(id, &m); err != nil || len(m[25]) != 2 {
		t.Fatalf("%x: %v", id, err)
	}
	return m[25][0], m[25][1]
}

// wholes are what a kind's file, or what is in it, was before it was cut or grew, for a reader that has no bounds: also as ca has an
// object, behind a tag.
func wholes(t *testing.T, s *Fleet, k Kind) string {
	t.Helper()
	whole := s.files[k.Whole]
	if len(whole) == 0 {
		return ""
	}
	switch k.Object {
	case "unit certificate":
		whole, _ = certificates(t, whole)
	case "order certificate":
		_, whole = certificates(t, whole)
	}
	return hex.EncodeToString(whole) + "," + hex.EncodeToString(append([]byte{0xD2}, whole...))
}
