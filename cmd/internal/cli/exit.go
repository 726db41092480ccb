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

// Bits of the exit status after failed builds (Nix manual, nix-store --realise, "Special exit codes").
const (
	exitBuild            = 0x64 // 100
	exitTimedOut         = 0x65 // 101
	exitHashMismatch     = 0x66 // 102
	exitNotDeterministic = 0x68 // 104
)

// exitStatus is the exit status for an error: the bits of all failed builds in its tree, else 1.
func exitStatus(err error) int {
	status := 0
	walk(err, func(e error) {
		switch e := e.(type) {
		case *result.HashMismatchError:
			status |= exitHashMismatch
		case *result.BuildError:
			switch e.Status {
			case result.PermanentFailure, result.InputRejected, result.CachedFailure:
				status |= exitBuild
			case result.TimedOut:
				status |= exitTimedOut
			case result.NotDeterministic:
				status |= exitNotDeterministic
			}
		}
	})
	if status == 0 {
		return 1
	}
	return status
}

// walk calls f with every error of a tree, parents first.
func walk(err error, f func(error)) {
	if err == nil {
		return
	}
	f(err)
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		walk(e.Unwrap(), f)
	case interface{ Unwrap() []error }:
		for _, c := range e.Unwrap() {
			walk(c, f)
		}
	}
}

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
	return exitStatus(err)
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
	{is(control.ErrDenied), "the daemon's setting allowed-users says who may use it"},
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

// showLogs prints the last lines of the builders whose failure is in the tree, each once, and how to get at all of them, unless
// they were shown when they were written.
func (a *app) showLogs(err error) {
	var seen []store.StorePath
	walk(err, func(e error) {
		b, ok := e.(*result.BuildError)
		if !ok || b.Drv.IsZero() || slices.Contains(seen, b.Drv) {
			return
		}
		seen = append(seen, b.Drv)
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
