package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"larder/cmd/internal/terminal"
)

// logLines writes a library's records as a command's other words look: "warning: what happened (path /nix/store/…): why".
// What daemons write, for a log, has times and levels instead; see app.logger.
type logLines struct {
	mu    *sync.Mutex // one line at a time
	w     io.Writer
	level slog.Level
	attrs []slog.Attr
}

// Enabled implements slog.Handler.
func (l *logLines) Enabled(_ context.Context, level slog.Level) bool { return level >= l.level }

// Handle implements slog.Handler.
func (l *logLines) Handle(_ context.Context, r slog.Record) error {
	var about []string
	why := ""
	add := func(a slog.Attr) bool {
		if a.Key == "err" || a.Key == "error" {
			why = ": " + a.Value.String()
		} else {
			about = append(about, a.Key+" "+a.Value.String())
		}
		return true
	}
	for _, a := range l.attrs {
		add(a)
	}
	r.Attrs(add)
	text := r.Message
	if len(about) > 0 {
		text += " (" + strings.Join(about, ", ") + ")"
	}
	kind := ""
	if r.Level >= slog.LevelWarn {
		kind = "warning: "
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := fmt.Fprintln(l.w, kind+terminal.Clean(oneLine(text+why)))
	return err
}

// WithAttrs implements slog.Handler.
func (l *logLines) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *l
	with.attrs = append(slices.Clone(l.attrs), attrs...)
	return &with
}

// WithGroup implements slog.Handler. Groups would say nothing to a user.
func (l *logLines) WithGroup(string) slog.Handler { return l }
