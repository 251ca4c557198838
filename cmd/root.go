// Package cmd is the command line: flags in, one call out, errors to people. It holds no policy, no cryptography and
// no file format. Commands, exit codes and settings are described in docs/commands.md.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Streams are where a run reads and writes: the answer goes to Out, what is for people to Err.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// program is what the commands of one run share.
type program struct {
	Streams
	settings settings
	config   string // --config
	json     bool
	started  bool // the command line was understood and a command runs
	now      func() time.Time
}

// Main runs one command and returns its exit code (docs/commands.md, "Exit codes").
func Main(args []string, streams Streams) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends a process that does not come to its end, such as in a token's call
	out := &answers{to: streams.Out}
	streams.Out = out
	p := &program{Streams: streams, now: time.Now}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	if err := closeMemory(); err != nil {
		return p.report(root, fmt.Errorf("close this process's memory to others: %w", err))
	}
	c, err := root.ExecuteContextC(ctx)
	if _, told := err.(reported); !told {
		switch {
		case err == nil:
			err = out.err
		case ctx.Err() != nil:
			err = mark(err, context.Canceled)
		case !p.started:
			err = usage("%w", err) // cobra's own: unknown commands, missing flags, arguments that do not belong
		}
	}
	return p.report(c, err)
}

// answers is standard output that remembers its first error, so that an answer that reached nobody does not exit 0.
type answers struct {
	to  io.Writer
	err error
}

func (a *answers) Write(b []byte) (int, error) {
	n, err := a.to.Write(b)
	if a.err == nil {
		a.err = err
	}
	return n, err
}

func (p *program) root() *cobra.Command {
	c := &cobra.Command{
		Use:   "birthmark",
		Short: "Give every manufactured device an identity of its own",
		Long: `Birthmark gives every manufactured device an identity of its own: a key made
inside its coprocessor and a compact certificate signed by its manufacturer, so
that any two units can meet without a shared key.

Security officers start with 'birthmark ca init', production lines with
'birthmark station init', CI with 'birthmark fleet serve'.

The answer goes to standard output, what is for people to standard error. Exit
codes: 0 good, 1 internal, 2 usage or configuration, 3 refused by policy or
order, 4 unit failed (may be retried), 5 unit set aside, 6 port, 7 HSM, 8
ledger, 9 verification failed, 130 interrupted.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	c.SetUsageTemplate(strings.NewReplacer(
		"FlagUsages ", "FlagUsagesWrapped 80 ",
		"{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", // a group alone is an error, see finish
	).Replace(c.UsageTemplate()))
	f := c.PersistentFlags()
	f.StringVar(&p.config, "config", "", "settings file (default $BIRTHMARK_CONFIG, else birthmark/birthmark.yaml in the user's configuration folder)")
	f.BoolVar(&p.json, "json", false, "print the answer as JSON")
	c.AddCommand(p.ca(), p.ceremony(), p.station(), p.provision(), p.unit(), p.fleet(), p.chip(), p.ledger(), p.cert(), p.hsm(), p.version())
	p.finish(c)
	return c
}

// finish gives every command what all have in common: settings are loaded before it runs, a flag that has one value is
// not given two, and a group without a subcommand is an error of usage, where cobra would print help and exit 0.
func (p *program) finish(c *cobra.Command) {
	for _, flags := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) {
			if _, many := f.Value.(pflag.SliceValue); !many {
				f.Value = &single{Value: f.Value}
			}
		})
	}
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			p.started = true
			return run(c, args)
		}
	} else {
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(c *cobra.Command, args []string) error { return noSubcommand(c, args) }
	}
	for _, child := range c.Commands() {
		p.finish(child)
	}
}

// single is a flag's value that is given once: of two the later would count, and nobody would be told.
type single struct {
	pflag.Value
	given bool
}

func (s *single) Set(text string) error {
	if s.given {
		return errors.New("it is given twice")
	}
	s.given = true
	return s.Value.Set(text)
}

// exactly is for commands whose arguments are so many things of one kind.
func exactly(n int, things string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("want %d %s, not %d", n, things, len(args))
		}
		return nil
	}
}

func noSubcommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		var names []string
		for _, child := range c.Commands() {
			if child.IsAvailableCommand() {
				names = append(names, child.Name())
			}
		}
		return fmt.Errorf("%q wants a subcommand: %s", c.CommandPath(), strings.Join(names, ", "))
	}
	c.SuggestionsMinimumDistance = 2 // two letters wrong, as cobra's own message has it
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("%q has no subcommand %q; is it %s?", c.CommandPath(), args[0], strings.Join(near, " or "))
	}
	return fmt.Errorf("%q has no subcommand %q", c.CommandPath(), args[0])
}
