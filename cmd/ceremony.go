package cmd

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/ceremony"
	"github.com/birthmark/birthmark/hsm"
	"github.com/birthmark/birthmark/internal/durable"
	"github.com/birthmark/birthmark/templates"
)

func (p *program) ceremony() *cobra.Command {
	c := &cobra.Command{Use: "ceremony", Short: "What is done with the authority's keys before witnesses: planned, rehearsed, recorded"}
	c.AddCommand(p.ceremonyPlan(), p.ceremonyRehearse(), p.ceremonyRun(), p.ceremonyAbort(), p.ceremonyVerify())
	return c
}

// ceremonyFlags are what all of them have.
func ceremonyFlags(c *cobra.Command, folder *string) {
	c.Flags().StringVar(folder, "dir", "ceremony", "the ceremony's folder: the plan, the files that it names, and what its runs leave")
}

func (p *program) ceremonyPlan() *cobra.Command {
	var folder string
	c := &cobra.Command{
		Use:   "plan [" + strings.Join(templates.Ceremonies(), "|") + "]",
		Short: "Begin a plan from a template, or show a plan in its canonical form with its digest and words",
		Long: `With a kind, writes plan.yaml into the ceremony's folder, to be edited. Files
that it names belong beside it. Without one, reads the plan, strictly, and shows
the canonical form, its SHA-256 and the words of that: who reviews the plan
keeps the words, and hears them again when it is carried out.`,
		Example: `  birthmark ceremony plan root --dir first-root
  birthmark ceremony plan --dir first-root`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return p.beginPlan(folder, args[0])
			}
			plan, err := ceremony.ReadPlan(folder)
			if err != nil {
				return err
			}
			return p.showPlan(plan)
		},
	}
	ceremonyFlags(c, &folder)
	return c
}

func (p *program) beginPlan(folder, kind string) error {
	text, err := templates.Ceremony(kind)
	if err != nil {
		return usage("%w", err)
	}
	path := filepath.Join(folder, "plan.yaml")
	if err := absent(path); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := durable.WriteNew(path, text, 0o644); err != nil {
		return err
	}
	return p.answer(fileJSON{path}, func() { fmt.Fprintf(p.Out, "edit %s, then rehearse it\n", path) })
}

// fileJSON is a file that was begun.
type fileJSON struct {
	File string `json:"file"`
}

// planJSON is a plan as --json shows it.
type planJSON struct {
	Title  string          `json:"title"`
	Digest string          `json:"digest"` // SHA-256 of the canonical form
	Words  string          `json:"words"`
	Plan   json.RawMessage `json:"plan"` // the canonical form, in which files stand with their SHA-256
}

func (p *program) showPlan(plan *ceremony.Plan) error {
	digest := plan.Digest()
	view := planJSON{Title: plan.Title, Digest: hex.EncodeToString(digest[:]), Words: ceremony.Words(digest[:]), Plan: plan.Canonical()}
	return p.answer(view, func() {
		fmt.Fprintf(p.Out, "%s\nplan         %s\nSHA-256      %s\n", view.Plan, view.Title, view.Digest)
		p.writeWords(view.Words)
	})
}

func (p *program) writeWords(text string) {
	label := "words"
	for line := range slices.Chunk(strings.Fields(text), 8) {
		fmt.Fprintf(p.Out, "%-12s %s\n", label, strings.Join(line, " "))
		label = ""
	}
}

// officiate is a ceremony as this machine can carry it out.
func (p *program) officiate(ctx context.Context, folder string, ledgers []string) (*ceremony.Ceremony, error) {
	build, err := buildIdentity()
	if err != nil {
		return nil, err
	}
	c := &ceremony.Ceremony{
		Folder: folder, Authority: p.settings.Authority, Build: build, Now: p.now,
		Place:   func(uri string) (string, error) { return keySeenFromPlan(p.settings.Authority, folder, uri) },
		Console: &console{p: p, lines: bufio.NewReader(p.In)},
	}
	if len(ledgers) > 0 {
		a, err := ca.Load(p.settings.Authority)
		if err != nil {
			return nil, err
		}
		for _, path := range ledgers {
			book, err := readBook(ctx, a, path)
			if err != nil {
				return nil, err
			}
			c.Books = append(c.Books, book)
		}
	}
	options, err := p.keyOptions(&hsm.Modules{Trace: c.Called})
	if err != nil {
		return nil, err
	}
	c.Keys = &tokenKeys{folder: p.settings.Authority, options: options}
	return c, nil
}

// buildIdentity is this very program: what was rehearsed with another one was not rehearsed.
func buildIdentity() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	v := thisBuild()
	return strings.Join(strings.Fields(fmt.Sprintf("birthmark %s %s %s program SHA-256 %x", v.Version, v.Commit, v.Go, hash.Sum(nil))), " "), nil
}

// keySeenFromPlan is a key of a plan as the authority's folder has it: in a plan, a key file's relative path starts at the plan's folder.
func keySeenFromPlan(authority, folder, uri string) (string, error) {
	uri, err := keyIn(folder, uri)
	if err != nil {
		return "", err
	}
	return keySeenFrom(authority, uri)
}

// console asks people at standard input, and tells them on standard error.
type console struct {
	p     *program
	lines *bufio.Reader
}

func (c *console) Tell(text string) { fmt.Fprint(c.p.Err, text) }

func (c *console) Wipe() { wipeScreen(c.p.Err) }

// Ask leaves its read behind when it is interrupted: the process ends then.
func (c *console) Ask(ctx context.Context, question string) (string, error) {
	fmt.Fprintf(c.p.Err, "%s: ", question)
	typed := make(chan string, 1)
	go func() {
		line, _ := c.lines.ReadString('\n') // an input that ends says no
		typed <- line
	}()
	select {
	case line := <-typed:
		fmt.Fprintln(c.p.Err)
		return line, nil
	case <-ctx.Done():
		fmt.Fprintln(c.p.Err)
		return "", ctx.Err()
	}
}

func (p *program) ceremonyRehearse() *cobra.Command {
	var folder string
	var ledgers []string
	c := &cobra.Command{
		Use:   "rehearse",
		Short: "Do what the plan says with throwaway keys, in a folder of its own",
		Long: `Runs the code of the ceremony on keys in memory and a mirror of the authority
that is marked as a test authority. It touches no token and asks nobody; what it
leaves is of the same form as what the ceremony leaves. A plan that was not
rehearsed as it stands, by the same build, is not carried out.`,
		Example: `  birthmark ceremony rehearse --dir first-root`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ceremony, err := p.officiate(c.Context(), folder, ledgers)
			if err != nil {
				return err
			}
			outcome, err := ceremony.Rehearse(c.Context())
			if err != nil {
				return err
			}
			return p.showOutcome(outcome)
		},
	}
	ceremonyFlags(c, &folder)
	c.Flags().StringArrayVar(&ledgers, "ledger", nil, "ledger of a station that the plan of a rotation names; may be given more than once")
	settingFlags(c, "authority")
	return c
}

func (p *program) ceremonyRun() *cobra.Command {
	var folder string
	var ledgers []string
	c := &cobra.Command{
		Use:   "run",
		Short: "Carry out a rehearsed plan before its people, and record it",
		Long: `Checks all that can be checked without a PIN, does everything once with a
throwaway key, shows the plan's words and the tokens, and asks each person of
the plan to type Yes. Then keys are made and used; the authority's folder is
written last. The transcript has every step and every call of the token's
module, is signed by the ceremony's key and sealed; print transcript.txt or
transcript.html and sign it by hand.

A run that was stopped, by whatever, goes on when the command is repeated, or is
taken back by 'birthmark ceremony abort'.`,
		Example: `  birthmark ceremony run --dir first-root --module /usr/lib/opensc-pkcs11.so`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ceremony, err := p.officiate(c.Context(), folder, ledgers)
			if err != nil {
				return err
			}
			ceremony.Keys.(*tokenKeys).options.OwnPIN = true
			outcome, err := ceremony.Run(c.Context())
			if err != nil && ceremony.Begun() {
				return fmt.Errorf("the ceremony is begun, repeat this command or take it back with 'birthmark ceremony abort'; %w", err)
			}
			if err != nil {
				return err
			}
			return p.showOutcome(outcome)
		},
	}
	ceremonyFlags(c, &folder)
	c.Flags().StringArrayVar(&ledgers, "ledger", nil, "ledger of a station that the plan of a rotation names; may be given more than once")
	settingFlags(c, append(keySettings, "authority")...)
	return c
}

func (p *program) ceremonyAbort() *cobra.Command {
	var folder string
	c := &cobra.Command{
		Use:   "abort",
		Short: "Take a stopped run back: its keys are destroyed, its transcript stays",
		Long: `Destroys the keys that the stopped run made, whole or half, and removes what it
signed. Tokens and the authority's folder are then as they were before. The
transcript stays, in a folder of its own. A run that has begun to write the
authority's folder, or to destroy a key, can only be finished: repeat
'birthmark ceremony run'.`,
		Example: `  birthmark ceremony abort --dir first-root --module /usr/lib/opensc-pkcs11.so`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ceremony, err := p.officiate(c.Context(), folder, nil)
			if err != nil {
				return err
			}
			outcome, err := ceremony.Abort(c.Context())
			if err != nil {
				return err
			}
			return p.showOutcome(outcome)
		},
	}
	ceremonyFlags(c, &folder)
	settingFlags(c, append(keySettings, "authority")...)
	return c
}

func (p *program) ceremonyVerify() *cobra.Command {
	var folder, by string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Verify a ceremony's whole folder offline: transcripts, signatures, every file",
		Long: `Follows the chain of each transcript, verifies its seal and the signature of the
ceremony's key, compares every file with its hash, and reads and verifies what
was signed. A file that is missing, changed or added is an error. The key that
vouches for the run must be one that you know, by --by or by comparing it:
nobody else's proves anything.`,
		Example: `  birthmark ceremony verify --dir first-root
  birthmark ceremony verify --dir first-root \
    --by 0233eab8b120376dba2107ebe3eb175f55dede1a2781992e4b64aa9cba07768b1b`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r, err := ceremony.Verify(folder)
			if err != nil {
				return err
			}
			if run := r.Run(); by != "" && (run == nil || run.By != by) {
				return fmt.Errorf("%s: no run that the key %s vouches for: %w", folder, by, ca.ErrVerify)
			}
			view := ceremonyJSON{Digest: hex.EncodeToString(r.Digest[:]), Words: ceremony.Words(r.Digest[:]), Ran: r.Run() != nil, Runs: []outcomeJSON{}}
			for _, o := range r.Runs {
				view.Runs = append(view.Runs, outcomeView(o))
			}
			return p.answer(view, func() {
				for _, o := range view.Runs {
					o.write(p)
				}
				fmt.Fprintf(p.Out, "plan         SHA-256 %s\n", view.Digest)
				p.writeWords(view.Words)
				fmt.Fprintf(p.Out, "good         %s\n", map[bool]string{true: "the plan was carried out", false: "the plan was not carried out yet"}[view.Ran])
			})
		},
	}
	ceremonyFlags(c, &folder)
	c.Flags().StringVar(&by, "by", "", "the key that must vouch for the run: compressed, hexadecimal")
	return c
}

// ceremonyJSON is a verified ceremony as --json shows it.
type ceremonyJSON struct {
	Digest string        `json:"digest"`
	Words  string        `json:"words"`
	Ran    bool          `json:"ran"`
	Runs   []outcomeJSON `json:"runs"`
}

// outcomeJSON is a rehearsal or run as --json shows it.
type outcomeJSON struct {
	Folder    string   `json:"folder"`
	Title     string   `json:"title"`
	Digest    string   `json:"digest"` // of the plan
	Build     string   `json:"build"`
	Rehearsal bool     `json:"rehearsal"`
	Aborted   bool     `json:"aborted"`
	By        string   `json:"by,omitempty"` // the key that vouches for the transcript
	Result    []string `json:"result"`
	Files     int      `json:"files"`
}

func outcomeView(o *ceremony.Outcome) outcomeJSON {
	return outcomeJSON{Folder: o.Folder, Title: o.Title, Digest: hex.EncodeToString(o.Digest[:]), Build: o.Build, Rehearsal: o.Rehearsal,
		Aborted: o.Aborted, By: o.By, Result: append([]string{}, o.Result...), Files: o.Files}
}

func (o outcomeJSON) write(p *program) {
	kind := "run"
	switch {
	case o.Rehearsal:
		kind = "rehearsal"
	case o.Aborted:
		kind = "aborted"
	}
	fmt.Fprintf(p.Out, "%-12s %s, in %s\n", kind, o.Title, o.Folder)
	for _, line := range o.Result {
		fmt.Fprintf(p.Out, "             %s\n", line)
	}
	switch {
	case o.By != "":
		fmt.Fprintf(p.Out, "vouched for  by key %s\n", o.By)
	case !o.Aborted:
		fmt.Fprintf(p.Out, "vouched for  by NOBODY to its end: it was interrupted after its key was destroyed\n")
	}
}

func (p *program) showOutcome(o *ceremony.Outcome) error {
	view := outcomeView(o)
	return p.answer(view, func() {
		view.write(p)
		fmt.Fprintf(p.Out, "plan         SHA-256 %s\n", view.Digest)
		p.writeWords(ceremony.Words(o.Digest[:]))
	})
}
