package progress

import (
	"fmt"
	"io"
	"strings"

	"larder/cmd/internal/terminal"
	"larder/realiser"
	"larder/realiser/builder"
	"larder/store"
)

// Options say how to show progress.
type Options struct {
	Dir      store.Dir
	Terminal bool // the writer is one
	Verbose  bool // with what builders say
}

// Progress shows events.
type Progress interface {
	// Event takes the next event. Calls must not overlap.
	Event(realiser.Event)
	// Close removes what moves. No Event may follow.
	Close()
}

// New shows progress on w.
func New(w io.Writer, o Options) Progress {
	if o.Terminal {
		return newBars(w, o)
	}
	return &lines{w: w, opt: o, said: map[uint64]realiser.Phase{}}
}

// lines is progress for a file, a pipe or a log.
type lines struct {
	w    io.Writer
	opt  Options
	said map[uint64]realiser.Phase // of goals under way
}

// Event implements Progress. That a line can't be written is no reason to stop the work.
func (l *lines) Event(e realiser.Event) {
	switch e.Type {
	case realiser.GoalPhase:
		if text := beginning(l.opt.Dir, &e); text != "" && l.said[e.Goal] != e.Phase {
			l.said[e.Goal] = e.Phase
			fmt.Fprintln(l.w, text)
		}
	case realiser.GoalLog:
		if l.opt.Verbose {
			fmt.Fprintln(l.w, logLine(&e))
		}
	case realiser.GoalMessage:
		if text := message(&e); text != "" {
			fmt.Fprintln(l.w, text)
		}
	case realiser.CollectionStarted, realiser.CollectionFinished:
		fmt.Fprintln(l.w, collection(&e))
	case realiser.GoalFinished:
		delete(l.said, e.Goal)
	}
}

// Close implements Progress.
func (l *lines) Close() {}

// beginning says what a goal begins to do, if that is worth a line.
func beginning(d store.Dir, e *realiser.Event) string {
	switch e.Phase {
	case realiser.PhaseBuilding:
		return "building " + d.Join(e.Path)
	case realiser.PhaseDownloading:
		text := "fetching " + d.Join(e.Path)
		if e.Detail != "" {
			text += " from " + terminal.Clean(e.Detail)
		}
		return text
	}
	return ""
}

// collection says that garbage is collected because the disk gets full, and what came of it.
func collection(e *realiser.Event) string {
	switch {
	case e.Type == realiser.CollectionStarted:
		return "collecting garbage: " + e.Detail
	case e.Error != "":
		return "garbage could not be collected: " + terminal.Clean(e.Error)
	}
	return fmt.Sprintf("collected garbage: %d bytes freed", e.BytesDone)
}

// logLine is a line that a builder wrote, with the name of its derivation.
func logLine(e *realiser.Event) string {
	return strings.TrimSuffix(e.Path.Name(), ".drv") + "> " + terminal.Clean(e.Line)
}

// lowestLevel is how unimportant a builder's words may be to be shown: "info" in Nix's verbosity levels.
const lowestLevel = 3

// message is what a builder wants the user to read, if anything.
func message(e *realiser.Event) string {
	if e.Message.Action != builder.Say || e.Message.Level > lowestLevel {
		return ""
	}
	return strings.TrimSuffix(e.Path.Name(), ".drv") + "> " + terminal.Clean(e.Message.Text)
}
