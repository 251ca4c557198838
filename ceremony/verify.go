package ceremony

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/birthmark/birthmark/ca"
)

// Report is what Verify found good.
type Report struct {
	Digest [32]byte
	Runs   []*Outcome // rehearsals, aborted runs and the run, by their folders' names
}

// Run is what carried the plan out; nil: nothing has yet.
func (r *Report) Run() *Outcome {
	for _, o := range r.Runs {
		if !o.Rehearsal && !o.Aborted {
			return o
		}
	}
	return nil
}

// Verify holds a ceremony's whole folder against itself, offline: the plan and its files, and of each rehearsal and run the transcript's
// chain, seal and signature, the hash of every file, what was signed, and that nothing was added. The first thing that does not
// hold is the error, which wraps ca.ErrVerify. What it cannot know is whether the key that vouches is the right one: the report
// names it.
func Verify(folder string) (*Report, error) {
	plan, err := ReadPlan(folder)
	if err != nil {
		return nil, err
	}
	r := &Report{Digest: plan.Digest()}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := e.Name()
		_, input := plan.inputs[name]
		switch {
		case name == planFile || input:
		case name == runFolder, strings.HasPrefix(name, rehearsalPrefix), strings.HasPrefix(name, abortedPrefix):
			o, err := verifyPerformance(filepath.Join(folder, name))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if err := o.belongs(name, r.Digest); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if d, is := plan.deed.(*destruction); is && name == runFolder && o.By != "" && o.By != encodeKey(d.public) {
				return nil, fmt.Errorf("%s: the key that vouches is not the one of the plan: %w", name, ca.ErrVerify)
			}
			r.Runs = append(r.Runs, o)
		default:
			return nil, fmt.Errorf("%s is not of this ceremony: %w", filepath.Join(folder, name), ca.ErrVerify)
		}
	}
	return r, nil
}

// belongs holds a run against the name of its folder and the plan beside it. Rehearsals may be of earlier forms of the plan, and so may
// runs that were aborted.
func (o *Outcome) belongs(name string, plan [32]byte) error {
	switch {
	case o.Rehearsal != strings.HasPrefix(name, rehearsalPrefix), o.Aborted != strings.HasPrefix(name, abortedPrefix):
		return fmt.Errorf("the transcript is of something else than the folder's name: %w", ca.ErrVerify)
	case name == runFolder && o.Digest != plan:
		return fmt.Errorf("it is of another plan than the one beside it: %w", ca.ErrVerify)
	}
	return nil
}

// verifyPerformance verifies the folder of one rehearsal or run.
func verifyPerformance(folder string) (*Outcome, error) {
	data, err := os.ReadFile(filepath.Join(folder, transcriptFile))
	if err != nil {
		return nil, err
	}
	t, whole, err := parseTranscript(data)
	if err != nil {
		return nil, err
	}
	if whole < len(data) {
		return nil, fmt.Errorf("transcript: its last line is torn: %w", ca.ErrVerify)
	}
	o, err := t.outcome(folder)
	if err != nil {
		return nil, err
	}
	have, err := hashFiles(folder)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(folder, manifestFile))
	if err != nil {
		return nil, fmt.Errorf("it has not come to its end: %w: %w", err, ca.ErrVerify)
	}
	listed, err := parseSums(text)
	if err != nil {
		return nil, err
	}
	delete(have, manifestFile)
	if err := listed.compare(have); err != nil {
		return nil, err
	}
	delete(have, transcriptFile)
	if err := t.recorded().compare(have); err != nil {
		return nil, fmt.Errorf("the transcript: %w", err)
	}
	if o.Aborted {
		return o, nil
	}
	return o, o.verifyResult(t)
}

// verifyResult verifies the plan that was kept, what was signed under it, and whose key vouches for it.
func (o *Outcome) verifyResult(t Transcript) error {
	canonical, err := os.ReadFile(filepath.Join(o.Folder, canonicalFile))
	if err != nil {
		return err
	}
	if sha256.Sum256(canonical) != o.Digest {
		return fmt.Errorf("%s is not the plan that was begun with: %w", canonicalFile, ca.ErrVerify)
	}
	by, vouches, err := t.check()
	if err != nil {
		return err
	}
	if !vouches {
		if _, destroyed := t.last(intends, stepDestroy+roleKey); !destroyed {
			return fmt.Errorf("the transcript: nobody's key vouches for its end: %w", ca.ErrVerify)
		}
		return nil // the key was destroyed before the run went on: the outcome says so
	}
	a, err := ca.Load(filepath.Join(o.Folder, "authority"))
	if errors.Is(err, fs.ErrNotExist) {
		return o.verifyRequest(by)
	}
	if err != nil {
		return err
	}
	if !by.Equal(a.Newest().Key()) {
		return fmt.Errorf("the transcript is not vouched for by the newest root's key: %w", ca.ErrVerify)
	}
	bundle, err := a.Publish()
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(filepath.Join(o.Folder, bundleFile)); err != nil || !bytes.Equal(have, bundle.Encode()) {
		return fmt.Errorf("%s is not what the authority's folder says: %w", bundleFile, errors.Join(ca.ErrVerify, err))
	}
	return nil
}

// verifyRequest verifies a future root's request, if there is one.
func (o *Outcome) verifyRequest(by *ecdsa.PublicKey) error {
	data, err := os.ReadFile(filepath.Join(o.Folder, nextRootFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r, err := ca.ParseRequest(data)
	if err != nil {
		return err
	}
	if !by.Equal(r.Key) {
		return fmt.Errorf("%s names another key than the one that vouches for the transcript: %w", nextRootFile, ca.ErrVerify)
	}
	return nil
}
