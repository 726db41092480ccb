package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"larder/cmd/internal/config"
	"larder/fusefs/mount"
	"larder/store"
)

// Env is what a command line runs in.
type Env struct {
	In io.Reader
	// Err takes writes of several goroutines, each of whole lines, as a file does.
	Out, Err io.Writer
	Getenv   func(string) string
	UID      int
	Dir      string // the working directory, for names that are relative
	Version  string
	// Inherited is not nil in a process that 'larder mount' started to serve its mount.
	Inherited *mount.Daemon
}

// app is one run: the environment, the global flags, and what follows from them.
type app struct {
	Env
	args   []string // the whole command line
	flags  globalFlags
	loaded *config.Config // by settings
	// shownLogs are derivations whose builders' lines were shown as they came.
	shownLogs map[store.StorePath]bool
	// told are derivations of which showLogs has told how their builders failed.
	told []store.StorePath
}

type globalFlags struct {
	storeDir, stateDir, objectDir string
	configs                       []string
	options                       []string // names and values in turn
	json                          bool
	verbose                       int
}

// Main runs the command line args (without the program's name) and returns its exit status. When ctx is cancelled with an
// *Interrupted as cause, the status is that of a program that the signal ended.
func Main(ctx context.Context, args []string, env Env) int {
	a := &app{Env: env, args: args}
	args, err := a.extractOptions(args)
	if err != nil {
		return a.exit(ctx, err)
	}
	root := a.root()
	root.SetArgs(args)
	return a.exit(ctx, root.ExecuteContext(ctx))
}

// extractOptions takes "--option NAME VALUE" out of args. Flag libraries know flags with one value only; Nix's has two.
func (a *app) extractOptions(args []string) ([]string, error) {
	var rest []string
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--":
			return append(rest, args[i:]...), nil
		case args[i] != "--option":
			rest = append(rest, args[i])
		case i+2 >= len(args):
			return nil, usagef("--option needs a name and a value")
		default:
			a.flags.options = append(a.flags.options, args[i+1], args[i+2])
			i += 2
		}
	}
	return rest, nil
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "larder COMMAND",
		Short: "A Nix-compatible store that fills itself",
		Long: `Larder is a Nix-compatible store whose directory is a file system: a program that opens a path that is not
there yet gets it, substituted from a binary cache or built in a sandbox, while it waits.

A command talks to the daemon of the store if one is running, else it opens the store itself.

Exit status: 0 success; 1 failure; of realise 100 a build failed, 101 a build timed out, 102 a hash was wrong,
104 a build was not deterministic, or'ed together where several failed; 130 interrupted.`,
		Example: `  larder mount /nix/store &
  ls /nix/store/5jqndlcpjbnlf2lkmz2zxxm3vhx4x3s7-hello-2.12.1`,
		Version:           a.Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              noSuchCommand,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
		DisableAutoGenTag: true,
		PersistentPreRunE: noEmptyArgument,
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetVersionTemplate("larder {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	f := root.PersistentFlags()
	f.StringVar(&a.flags.storeDir, "store-dir", "", "the store directory as store paths have it (default /nix/store)")
	f.StringVar(&a.flags.stateDir, "state-dir", "", "database, logs and GC roots (default /var/lib/larder, or the user's own)")
	f.StringVar(&a.flags.objectDir, "object-dir", "", "where store objects lie as files (default: in the store directory)")
	f.StringArrayVar(&a.flags.configs, "config", nil, "read `FILE` instead of the default larder.conf; can be repeated")
	f.BoolVar(&a.flags.json, "json", false, "print results as JSON")
	f.CountVarP(&a.flags.verbose, "verbose", "v", "say more; -vv says what goes on inside")
	// For the help text only; extractOptions has taken them out.
	f.StringArray("option", nil, "set `NAME VALUE` as larder.conf would; can be repeated")
	root.AddGroup(
		&cobra.Group{ID: "mount", Title: "The file system and its daemon:"},
		&cobra.Group{ID: "store", Title: "Store paths:"},
		&cobra.Group{ID: "share", Title: "Binary caches and archives:"},
		&cobra.Group{ID: "admin", Title: "Upkeep:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("mount", a.mountCommand(), a.unmountCommand(), a.daemonCommand(), a.statusCommand())
	add("store", a.realiseCommand(), a.addCommand(), a.derivationCommand(), a.pathInfoCommand(), a.queryCommand(),
		a.logCommand(), a.whyCommand())
	add("share", a.cacheCommand(), a.narCommand(), a.keyCommand())
	add("admin", a.gcCommand(), a.storeCommand(), a.rootsCommand(), a.failuresCommand(), a.configCommand(), a.versionCommand())
	finishBuiltin(root)
	return root
}

// finishBuiltin makes the library's own commands complain of arguments that make no sense, as the others do.
func finishBuiltin(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			help := c.Run
			c.Run, c.RunE = nil, func(c *cobra.Command, args []string) error {
				if about, rest, err := root.Find(args); err != nil || len(rest) > 0 && about.HasSubCommands() {
					return usagef("there is no command %q to help with; see 'larder --help'", strings.Join(args, " "))
				}
				help(c, args)
				return nil
			}
		case "completion":
			c.Args, c.RunE = noSuchCommand, func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
}

// noSuchCommand is the Args of commands that only have subcommands.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	c.SuggestionsMinimumDistance = 2 // Levenshtein; 0 finds nothing
	if name := nixName(c.CommandPath(), args[0]); name != "" {
		hint = fmt.Sprintf("did you mean %q? ", name)
	} else if s := c.SuggestionsFor(args[0]); len(s) > 0 {
		hint = fmt.Sprintf("did you mean %q? ", s[0])
	}
	return usagef("%q is not a command of %s; %ssee '%s --help'", args[0], c.CommandPath(), hint, c.CommandPath())
}

// noEmptyArgument refuses what is an unset variable of a script as a rule, and as a file name would mean the working directory.
func noEmptyArgument(c *cobra.Command, args []string) error {
	if i := slices.Index(args, ""); i >= 0 {
		return usagef("%s: argument %d is empty", c.CommandPath(), i+1)
	}
	return nil
}

// group is a command that only has subcommands.
func group(use, short, long string, sub ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: long, Args: noSuchCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(sub...)
	return c
}

// atLeast is the Args of commands with a list of what.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < n {
			return usagef("%s needs %s; see '%s --help'", c.CommandPath(), what, c.CommandPath())
		}
		return nil
	}
}

// exactly is the Args of commands with a fixed number of arguments.
func exactly(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usagef("%s needs %s, %d arguments were given; see '%s --help'", c.CommandPath(), what, len(args), c.CommandPath())
		}
		return nil
	}
}

// settings loads the configuration, once, and shows its warnings.
func (a *app) settings() (*config.Config, error) {
	if a.loaded != nil {
		return a.loaded, nil
	}
	s := config.Sources{Files: a.flags.configs, UID: a.UID, Getenv: a.Getenv}
	for i := 0; i+1 < len(a.flags.options); i += 2 {
		s.Options = append(s.Options, [2]string{a.flags.options[i], a.flags.options[i+1]})
	}
	for _, d := range []struct{ name, value string }{
		{"store-dir", a.flags.storeDir}, {"state-dir", a.flags.stateDir}, {"object-dir", a.flags.objectDir},
	} {
		if d.value != "" {
			s.Options = append(s.Options, [2]string{d.name, a.absolute(d.value)})
		}
	}
	c, warnings, err := config.Load(s)
	for _, w := range warnings {
		a.warnf("%s", w)
	}
	if err != nil {
		return nil, err
	}
	a.loaded = c
	return c, nil
}

// absolute is a name of the command line as an absolute path.
func (a *app) absolute(name string) string {
	if !filepath.IsAbs(name) {
		name = filepath.Join(a.Dir, name)
	}
	return filepath.Clean(name)
}

func (a *app) warnf(format string, args ...any) {
	fmt.Fprintf(a.Err, "warning: %s\n", oneLine(fmt.Sprintf(format, args...)))
}

// notef says something that only -v wants to hear.
func (a *app) notef(format string, args ...any) {
	if a.flags.verbose > 0 {
		fmt.Fprintf(a.Err, format+"\n", args...)
	}
}

// logger is where the libraries' words go in a daemon.
func (a *app) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: a.logLevel()}))
}

// plainLogger is where they go in a command that opens the store itself.
func (a *app) plainLogger() *slog.Logger {
	return slog.New(&logLines{mu: &sync.Mutex{}, w: a.Err, level: a.logLevel()})
}

func (a *app) logLevel() slog.Level {
	switch {
	case a.flags.verbose > 1:
		return slog.LevelDebug
	case a.flags.verbose > 0:
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

func oneLine(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", " ") }
