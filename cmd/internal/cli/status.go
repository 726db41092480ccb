package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"larder/cmd/internal/control"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Say what the store and its daemon are doing",
		Long:    "Prints where the store is, who serves it, what is being substituted and built, and who waits for it.",
		Example: "  larder status --json | jq .realiser.goals",
		Args:    exactly(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(c.Context(), reading, func(s control.Service) error {
				st, err := s.Status(c.Context())
				if err != nil {
					return err
				}
				if a.flags.json {
					return a.printJSON(st)
				}
				_, err = io.WriteString(a.Out, statusText(st, time.Now()))
				return err
			})
		},
	}
}

func statusText(s *control.Status, now time.Time) string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s%s\n", name, fmt.Sprintf(format, args...))
	}
	row("store", "%s, %d valid paths", s.StoreDir, s.Paths)
	row("state", "%s", s.StateDir)
	switch {
	case s.PID == 0:
		row("daemon", "none is running")
		return b.String()
	case s.Mount != "":
		row("daemon", "process %d, larder %s, mounted at %s", s.PID, s.Program, s.Mount)
	default:
		row("daemon", "process %d, larder %s, not mounted", s.PID, s.Program)
	}
	row("substituters", "%s", cmp.Or(strings.Join(s.Substituters, " "), "none"))
	r := &s.Realiser
	row("builds", "%d of %d slots, %d wait; %d done, %d failed", r.Builds.Used, r.Builds.Capacity, r.Builds.Queued,
		r.Counts.Builds.Done, r.Counts.Builds.Failed)
	row("downloads", "%d of %d slots, %d wait; %d done, %d failed", r.Downloads.Used, r.Downloads.Capacity, r.Downloads.Queued,
		r.Counts.Substitutions.Done, r.Counts.Substitutions.Failed)
	for i := range r.Goals {
		fmt.Fprintf(&b, "  %s\n", goalLine(s.StoreDir, &r.Goals[i], now))
	}
	return b.String()
}
