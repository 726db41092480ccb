package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"larder/cmd/internal/control"
	"larder/cmd/internal/terminal"
	"larder/realiser/result"
	"larder/store"
	"larder/store/local"
)

// Interrupted is the cause of a context that a signal cancelled.
type Interrupted struct{ Signal syscall.Signal }

func (e *Interrupted) Error() string {
	if e.Signal == syscall.SIGINT {
		return "interrupted"
	}
	return "interrupted by a signal: " + e.Signal.String()
}

// usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// reported is a failure that the command has already shown, line by line. It counts, nothing more is printed.
type reported struct{ err error }

func (e *reported) Error() string { return e.err.Error() }
func (e *reported) Unwrap() error { return e.err }

// exit shows an error and returns the exit status.
func (a *app) exit(ctx context.Context, err error) int {
	if err == nil {
		return 0
	}
	var signal *Interrupted
	if errors.As(context.Cause(ctx), &signal) {
		fmt.Fprintf(a.Err, "error: %s\n", signal)
		return 128 + int(signal.Signal)
	}
	if errors.Is(err, syscall.EPIPE) {
		return 128 + int(syscall.SIGPIPE) // as `larder … | head` would have ended anyway
	}
	var done *reported
	if !errors.As(err, &done) {
		a.show(err)
	}
	return result.ExitStatus(err)
}

// show prints what the user needs to know of an error: one line for each thing that failed, what its builder last said, and
// what can be done.
func (a *app) show(err error) {
	fmt.Fprintf(a.Err, "error: %s\n", terminal.Clean(a.line(err)))
	a.showLogs(err)
}

// line is the one line about an error.
func (a *app) line(err error) string {
	text := oneLine(err.Error())
	for _, h := range hints {
		if h.match(err) && !strings.Contains(text, h.text) {
			return text + "; " + h.text
		}
	}
	return text
}

// hints is the table of what to do about errors that do not say so themselves; the first that matches is shown.
var hints = []struct {
	match func(error) bool
	text  string
}{
	{func(err error) bool { return is(control.ErrDenied)(err) && !is(control.ErrOwnerOnly)(err) }, "the daemon's setting allowed-users says who may use it"},
	{is(store.ErrBadSignature), "add the cache's key to trusted-public-keys if you trust it"},
	{is(syscall.ENOSPC), "make room, 'larder gc' may help"},
	{isPermission, "run it as the owner of the store, or give --state-dir a place of your own"},
}

func is(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }

// lockedBy says which process has the store, if that is what the error is about.
func lockedBy(err error) (pid int, locked bool) {
	var l *local.LockedError
	if errors.As(err, &l) {
		return l.PID, true
	}
	return 0, false
}

func isPermission(err error) bool {
	var path *os.PathError
	return errors.As(err, &path) && (errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM))
}

// name is a store path as the user knows it.
func (a *app) name(p store.StorePath) string {
	if a.loaded == nil {
		return p.String()
	}
	return store.Dir(a.loaded.StoreDir).Join(p)
}

// showLogs prints the last lines of the builders whose failure is in the tree, and how to get at all of them, unless they were
// shown when they were written; each once, whatever else failed because of it.
func (a *app) showLogs(err error) {
	result.Walk(err, func(e error) {
		b, ok := e.(*result.BuildError)
		if !ok || b.Drv.IsZero() || slices.Contains(a.told, b.Drv) {
			return
		}
		a.told = append(a.told, b.Drv)
		if !a.shownLogs[b.Drv] {
			for _, l := range b.LastLines {
				fmt.Fprintf(a.Err, "  > %s\n", terminal.Clean(l))
			}
			if b.LogPath != "" {
				fmt.Fprintf(a.Err, "  the whole log: larder log %s\n", a.name(b.Drv))
			}
		}
		if b.KeptDir != "" {
			fmt.Fprintf(a.Err, "  the build directory was kept: %s\n", b.KeptDir)
		}
		if b.KeptOutputs != "" {
			fmt.Fprintf(a.Err, "  its outputs were kept: %s\n", b.KeptOutputs)
		}
	})
}
