package ceremony

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/birthmark/birthmark/ca"
)

// Every file of a finished ceremony that is changed in any of some bytes, missing or added is told.
func TestVerifyTellsChanges(t *testing.T) {
	w := worlds(t)["rotation"]()
	w.rehearse()
	w.run()
	count := 0
	err := filepath.WalkDir(w.folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path == filepath.Join(w.folder, planFile) {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(w.folder, path)
		for at := 0; at < len(data); at += 1 + len(data)/7 {
			changed := bytes.Clone(data)
			changed[at] ^= 1
			w.spoilt(t, name, changed)
			count++
		}
		w.spoilt(t, name, append(bytes.Clone(data), '\n'))
		if err := os.Remove(path); err != nil {
			return err
		}
		if _, err := Verify(w.folder); err == nil {
			t.Errorf("%s is missing, and it verifies", name)
		}
		return os.WriteFile(path, data, 0o644)
	})
	if err != nil || count < 100 {
		t.Fatalf("%d changes, %v", count, err)
	}
	for _, name := range []string{"note.txt", "run/note.txt", "run/authority/orders/00009.order", "rehearsal-1/x"} {
		w.put(name, "x")
		_, err := Verify(w.folder)
		wantError(t, name, err, ca.ErrVerify)
		os.Remove(filepath.Join(w.folder, name))
	}
	if _, err := Verify(w.folder); err != nil {
		t.Errorf("put back: %v", err)
	}
	text, _ := os.ReadFile(filepath.Join(w.folder, planFile))
	w.put(planFile, strings.Replace(string(text), "a test", "a feast", 1))
	_, err = Verify(w.folder)
	wantError(t, "another plan", err, ca.ErrVerify)
}

func (w *world) spoilt(t *testing.T, name string, changed []byte) {
	path := filepath.Join(w.folder, name)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w.put(name, string(changed))
	if _, err := Verify(w.folder); err == nil {
		t.Errorf("%s was changed, and it verifies", name)
	}
	w.put(name, string(data))
}

// The page needs nothing but itself.
func TestPage(t *testing.T) {
	w := worlds(t)["root"]()
	text, err := os.ReadFile(filepath.Join(w.folder, planFile))
	if err != nil {
		t.Fatal(err)
	}
	w.put(planFile, strings.Replace(string(text), "Anna Meier", "Anna <script>x</script> Meier", 1))
	w.rehearse()
	w.run()
	for folder, want := range map[string]bool{"run": false, "rehearsal-1": true} {
		page, err := os.ReadFile(filepath.Join(w.folder, folder, pageFile))
		if err != nil {
			t.Fatal(err)
		}
		for _, foreign := range []string{"<script", "http:", "https:", "src=", "url("} {
			if bytes.Contains(page, []byte(foreign)) {
				t.Errorf("%s: the page has %q in it", folder, foreign)
			}
		}
		if bytes.Contains(page, []byte("nothing here is valid")) != want || !bytes.Contains(page, []byte("Ben Okafor, witness")) {
			t.Errorf("%s: %s", folder, page)
		}
	}
}

// Who writes a folder anew, with all its hashes, lacks the keys: an entry cannot be altered, left out, added or moved.
func TestTranscriptForged(t *testing.T) {
	w := worlds(t)["revocation"]()
	w.rehearse()
	w.run()
	folder := filepath.Join(w.folder, runFolder)
	data, err := os.ReadFile(filepath.Join(folder, transcriptFile))
	if err != nil {
		t.Fatal(err)
	}
	good, _, err := parseTranscript(data)
	if err != nil {
		t.Fatal(err)
	}
	chained := func(t Transcript) (again Transcript) { // which takes no key
		for _, e := range t {
			head := again.head()
			e.Number, e.Previous = len(again)+1, hex.EncodeToString(head[:])
			again = append(again, e)
		}
		return again
	}
	forge := func(what string, forged Transcript) {
		t.Helper()
		var text []byte
		for _, e := range chained(forged) {
			text = append(text, e.line()...)
		}
		w.put("run/"+transcriptFile, string(text))
		sums, err := hashFiles(folder)
		if err != nil {
			t.Fatal(err)
		}
		delete(sums, manifestFile)
		w.put("run/"+manifestFile, sums.String())
		_, err = Verify(w.folder)
		wantError(t, what, err, ca.ErrVerify)
	}
	for i := range good {
		altered := slices.Clone(good)
		altered[i].Text += "."
		forge("altered", altered)
		forge("left out", slices.Concat(good[:i], good[i+1:]))
		forge("said twice", slices.Concat(good[:i+1], good[i:]))
	}
	// A seal by a key of the forger's own, named in an entry that says that the run was resumed: the root's signature is missing then.
	key := newThrowaway()
	forged := slices.Clone(good[:len(good)-2])
	forged = append(forged, Entry{What: resumed, At: good[0].At, Fields: map[string]string{"key": encodeKey(&key.PublicKey)}}, good[len(good)-2])
	head := chained(forged).head()
	signature, err := key.Sign(nil, head[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	forge("sealed by another key", append(forged, Entry{What: sealed, At: good[0].At, Fields: map[string]string{"signature": hex.EncodeToString(signature)}}))
}
