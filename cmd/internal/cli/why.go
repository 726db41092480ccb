package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"larder/cmd/internal/control"
	"larder/cmd/internal/terminal"
	"larder/realiser"
	"larder/store"
)

func (a *app) whyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "why PATH",
		Short: "Say why a path is here, or is not",
		Long: `Says what PATH is: valid, on its way (and what it waits for), failed (and how the builder ended), realisable (and from
where), or unknown. What has failed is remembered by the daemon, as long as it runs.`,
		Example: "  larder why /nix/store/5jqndlcpjbnlf2lkmz2zxxm3vhx4x3s7-hello-2.12.1",
		Args:    exactly(1, 1, "a store path"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withPaths(c.Context(), writing, args, func(s control.Service, paths []store.StorePath) error {
				e, err := s.Why(c.Context(), paths[0])
				if err != nil {
					return err
				}
				if a.flags.json {
					return a.printJSON(e)
				}
				_, err = io.WriteString(a.Out, explain(s.Dir(), e, time.Now()))
				return err
			})
		},
	}
}

// explain is an explanation in words.
func explain(d store.Dir, e *realiser.Explanation, now time.Time) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintln(&b, terminal.Clean(fmt.Sprintf(format, args...))) }
	say("%s is %s", d.Join(e.Path), e.State)
	for _, g := range e.Goals {
		say("  %s", goalLine(d, &g, now))
		for _, l := range g.LastLines {
			say("    > %s", l)
		}
	}
	if f := e.Failure; f != nil {
		say("  failed %s ago (%s): %s", now.Sub(f.Time).Round(time.Second), f.Status, oneLine(f.Error))
		for _, l := range f.LastLines {
			say("    > %s", l)
		}
		if f.LogPath != "" {
			say("  the whole log: larder log %s", d.Join(f.Drv))
		}
	}
	for _, p := range e.Derivers {
		say("  %s makes it", d.Join(p))
	}
	for _, s := range e.Sources {
		switch {
		case s.Error != "":
			say("  %s could not be asked: %s", s.Substituter, oneLine(s.Error))
		case s.Has:
			say("  %s has it (%s unpacked)", s.Substituter, humanBytes(int64(s.NarSize)))
		default:
			say("  %s does not have it", s.Substituter)
		}
	}
	return b.String()
}

// goalLine is what a goal is doing, in a line.
func goalLine(d store.Dir, g *realiser.GoalView, now time.Time) string {
	text := fmt.Sprintf("%s: %s", d.Join(g.Path), g.Phase)
	if g.Detail != "" {
		text += " (" + terminal.Clean(g.Detail) + ")"
	}
	if g.BytesTotal > 0 {
		text += fmt.Sprintf(", %s of %s", humanBytes(g.BytesDone), humanBytes(g.BytesTotal))
	}
	return text + fmt.Sprintf(", for %s, wanted by %s", now.Sub(g.Since).Round(time.Second), g.Caller)
}
