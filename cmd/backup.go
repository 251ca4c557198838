package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/birthmark/birthmark/ca"
	"github.com/birthmark/birthmark/hsm"
)

type backupRequest struct {
	copy, out      string
	needed, shares int
}

func (p *program) hsmBackup() *cobra.Command {
	var r backupRequest
	c := &cobra.Command{
		Use:   "backup --key URI --out FILE",
		Short: "Make a key of which there is a backup, in shares for several custodians",
		Long: `Makes a P-256 key in the token of --key, wraps it there under a secret, puts the
wrapped key into FILE, and prints the secret in --shares parts, of which any
--needed bring it back and fewer tell nothing. Then the key is taken into the
token from these very bytes, and with --copy into a second token: each has
signed for it when the command ends. From then on it leaves neither.

FILE is no secret. The shares are: on a terminal one is shown at a time, until
Enter is typed; else each is a page, for a printer. They are kept nowhere. If
the run is stopped behind the shares, 'birthmark hsm restore' goes on with them.

A key that was made without a backup cannot be given one: it cannot leave its
token. Of a root's key, the next root is the better backup (docs/design.md).`,
		Example: `  birthmark hsm backup --key 'pkcs11:token=officer;object=root-1' \
    --copy 'pkcs11:token=vault;object=root-1' --out root-1.backup \
    --needed 3 --shares 5`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.runBackup(c.Context(), r) },
	}
	f := c.Flags()
	f.StringVar(&r.out, "out", "", "file for the wrapped key, which must not exist")
	f.StringVar(&r.copy, "copy", "", "where a second token takes the key, whose PIN-source is in its URI or asked for")
	f.IntVar(&r.needed, "needed", 2, "shares that bring the key back")
	f.IntVar(&r.shares, "shares", 3, "shares in all, at most 16")
	settingFlags(c, append(keySettings, "key")...)
	return required(c, "out")
}

// backupJSON is a key with its backup as --json shows it.
type backupJSON struct {
	Backup string      `json:"backup"`
	Code   string      `json:"code"`
	Key    string      `json:"key"`
	Needed int         `json:"needed"`
	Shares []shareJSON `json:"shares"`
	Tokens []string    `json:"tokens"`
}

// shareJSON is one custodian's share, a secret.
type shareJSON struct {
	Number int      `json:"number"`
	Lines  []string `json:"lines"`
}

func (p *program) runBackup(ctx context.Context, r backupRequest) error {
	options, err := p.keyOptions(new(hsm.Modules))
	if err != nil {
		return err
	}
	if r.needed < 2 || r.shares < r.needed || r.shares > hsm.MaxShares {
		return usage("--needed %d of --shares %d: want 2 or more, of at most %d", r.needed, r.shares, hsm.MaxShares)
	}
	if err := absent(r.out); err != nil {
		return err
	}
	uris := []string{p.settings.Key}
	if r.copy != "" {
		uris = append(uris, r.copy)
	}
	for _, uri := range uris { // before a secret is drawn
		place, err := hsm.Look(uri, options)
		if err == nil && place.Taken {
			err = hsm.ErrKeyExists
		}
		if err != nil {
			return inHSM(fmt.Errorf("key at %s: %w", uri, err))
		}
	}
	backup, secret, shares, err := hsm.NewBackup(ctx, p.settings.Key, options, r.needed, r.shares)
	if err != nil {
		return inHSM(err)
	}
	file, err := backup.Encode()
	if err == nil {
		err = p.write(r.out, file)
	}
	if err != nil {
		return err
	}
	view := backupJSON{Backup: r.out, Code: backup.Code(), Needed: r.needed}
	if view.Key, err = ca.FormatKey(backup.Public); err != nil {
		return err
	}
	for _, s := range shares {
		view.Shares = append(view.Shares, shareJSON{s.Number, s.Lines()})
	}
	if !p.json {
		if err := p.handOut(view); err != nil {
			return err
		}
	}
	if view.Tokens, err = p.takeIn(ctx, uris, options, backup, secret); err != nil {
		return err
	}
	return p.answer(view, func() {
		fmt.Fprintf(p.Out, "backup  %s, code %s, any %d of %d shares\nkey     %s\n", view.Backup, view.Code, view.Needed, len(view.Shares), view.Key)
		for _, token := range view.Tokens {
			fmt.Fprintf(p.Out, "signs   %s\n", token)
		}
	})
}

// takeIn puts a key into tokens, one after the other, each of which then signs for it.
func (p *program) takeIn(ctx context.Context, uris []string, options hsm.Options, b *hsm.Backup, secret *hsm.Secret) ([]string, error) {
	var tokens []string
	for _, uri := range uris {
		key, err := hsm.RestoreKey(ctx, uri, options, b, secret)
		if err != nil {
			return nil, inHSM(err)
		}
		tokens = append(tokens, key.Description())
		if err := key.Close(); err != nil {
			return nil, inHSM(err)
		}
	}
	return tokens, nil
}

// handOut shows each share by itself: on a terminal until its custodian has it, elsewhere as a page.
func (p *program) handOut(view backupJSON) error {
	terminal := isTerminal(p.Out)
	in := bufio.NewReader(p.In)
	for _, s := range view.Shares {
		fmt.Fprint(p.Out, sharePage(s, len(view.Shares), view.Needed, view.Code, view.Key))
		if !terminal {
			fmt.Fprint(p.Out, "\f")
			continue
		}
		fmt.Fprintf(p.Err, "\nfor one custodian's eyes; Enter when it is on paper ")
		if _, err := in.ReadString('\n'); err != nil {
			return usage("share %d was not taken; the key is nowhere but in %s and its shares: %w", s.Number, view.Backup, err)
		}
		wipeScreen(p.Out)
	}
	return nil
}

// sharePage is a share as its custodian puts it onto paper.
func sharePage(s shareJSON, shares, needed int, code, key string) string {
	page := fmt.Sprintf("BIRTHMARK  share %d of %d of backup %s; any %d bring the key back\nkey        %s\n\n", s.Number, shares, code, needed, key)
	for _, line := range s.Lines {
		page += fmt.Sprintf("    %s\n", line)
	}
	return page
}

// wipeScreen clears a terminal, and what was scrolled off it.
func wipeScreen(w io.Writer) {
	if isTerminal(w) {
		fmt.Fprint(w, "\x1b[2J\x1b[3J\x1b[H")
	}
}

func isTerminal(w io.Writer) bool {
	if a, is := w.(*answers); is {
		w = a.to
	}
	f, is := w.(*os.File)
	return is && term.IsTerminal(int(f.Fd()))
}

func (p *program) hsmRestore() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "restore --key URI --backup FILE",
		Short: "Take a key into a token from its backup and its custodians' shares",
		Long: `Reads the lines of shares from standard input, in any order, until as many
shares are whole as the backup needs, and takes the key into the token of --key.
It has signed under the public key that the backup names when the command ends.

Each line has its own checksum, so that what is mistyped is told at once; on a
terminal the line is asked for again.`,
		Example: `  birthmark hsm restore --key 'pkcs11:token=vault;object=root-1' \
    --backup root-1.backup`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.runRestore(c.Context(), path) },
	}
	c.Flags().StringVar(&path, "backup", "", "the file that 'hsm backup' wrote")
	settingFlags(c, append(keySettings, "key")...)
	return required(c, "backup")
}

// restoredJSON is a restored key as --json shows it.
type restoredJSON struct {
	Code  string `json:"code"`
	Key   string `json:"key"`
	Token string `json:"token"`
}

func (p *program) runRestore(ctx context.Context, path string) error {
	options, err := p.keyOptions(new(hsm.Modules))
	if err != nil {
		return err
	}
	file, err := readFile(path)
	if err != nil {
		return err
	}
	backup, err := hsm.ParseBackup(file)
	if err != nil {
		return usage("%s: %w", path, err)
	}
	secret, err := p.readShares(backup)
	if err != nil {
		return err
	}
	tokens, err := p.takeIn(ctx, []string{p.settings.Key}, options, backup, secret)
	if err != nil {
		return err
	}
	view := restoredJSON{Code: backup.Code(), Token: tokens[0]}
	if view.Key, err = ca.FormatKey(backup.Public); err != nil {
		return err
	}
	return p.answer(view, func() {
		fmt.Fprintf(p.Out, "backup  code %s\nkey     %s\nsigns   %s\n", view.Code, view.Key, view.Token)
	})
}

// readShares takes lines until there are shares enough. Empty lines, and what a page has around a share, may be among them.
func (p *program) readShares(b *hsm.Backup) (*hsm.Secret, error) {
	file, ok := p.In.(*os.File)
	terminal := ok && term.IsTerminal(int(file.Fd()))
	in := bufio.NewReader(p.In)
	reader := hsm.NewReader(b)
	shares := map[int]hsm.Share{} // one that is typed twice is one
	for len(shares) < b.Needed {
		if terminal {
			fmt.Fprintf(p.Err, "backup %s, %d of %d shares; a line: ", b.Code(), len(shares), b.Needed)
		}
		text, err := in.ReadString('\n')
		if err != nil && (text == "" || !errors.Is(err, io.EOF)) {
			return nil, fmt.Errorf("%w: the input ends with %d, and backup %s takes %d", hsm.ErrShare, len(shares), b.Code(), b.Needed)
		}
		text = strings.Trim(text, "\f\r\n\t ")
		if text == "" || strings.HasPrefix(text, "BIRTHMARK ") || strings.HasPrefix(text, "key ") {
			continue
		}
		share, err := reader.Line(text)
		switch {
		case err != nil && !terminal:
			return nil, err
		case err != nil:
			fmt.Fprintf(p.Err, "birthmark: %v\n", err)
		case share != nil:
			shares[share.Number] = *share
		}
	}
	return b.Combine(slices.Collect(maps.Values(shares)))
}
