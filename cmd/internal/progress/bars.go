package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"larder/cmd/internal/terminal"
	"larder/realiser"
)

// maxBars is how many goals have a line of their own.
const maxBars = 12

// bars is progress on a terminal: a line for each download and build, and one with the counts below them.
type bars struct {
	opt    Options
	shown  *mpb.Progress
	total  *mpb.Bar
	active map[uint64]*bar // only used by Event

	mu      sync.Mutex // guards what follows, which the renderer reads
	counts  realiser.Counts
	waiting map[uint64]bool // goals that wait for others or for a slot
}

// bar is the line of one goal.
type bar struct {
	shown *mpb.Bar
	phase realiser.Phase

	mu   sync.Mutex // guards what follows, which the renderer reads
	line string     // the builder's last
}

func newBars(w io.Writer, o Options) *bars {
	b := &bars{opt: o, active: map[uint64]*bar{}, waiting: map[uint64]bool{},
		shown: mpb.New(mpb.WithOutput(w), mpb.WithAutoRefresh(), mpb.WithWidth(24))}
	b.total = b.shown.MustAdd(0, nil, mpb.BarPriority(1<<30), mpb.PrependDecorators(decor.Any(b.summary)))
	return b
}

// Event implements Progress.
func (b *bars) Event(e realiser.Event) {
	switch e.Type {
	case realiser.CountsChange:
		b.mu.Lock()
		b.counts = *e.Counts
		b.mu.Unlock()
	case realiser.GoalPhase:
		b.phase(&e)
	case realiser.GoalProgress:
		if a := b.active[e.Goal]; a != nil {
			a.shown.SetTotal(e.BytesTotal, false)
			a.shown.SetCurrent(e.BytesDone)
		}
	case realiser.GoalLog:
		b.setLine(&e, e.Line)
		if b.opt.Verbose {
			fmt.Fprintln(b.shown, logLine(&e))
		}
	case realiser.GoalMessage:
		b.setLine(&e, e.Message.Phase+e.Message.Text) // a message has one of them, if any
		if text := message(&e); text != "" {
			fmt.Fprintln(b.shown, text)
		}
	case realiser.CollectionStarted, realiser.CollectionFinished:
		fmt.Fprintln(b.shown, collection(&e))
	case realiser.GoalFinished:
		b.wait(e.Goal, false)
		b.remove(e.Goal)
	}
}

// setLine shows a builder's last words beside its bar.
func (b *bars) setLine(e *realiser.Event, line string) {
	if a := b.active[e.Goal]; a != nil && line != "" {
		a.mu.Lock()
		a.line = terminal.Clean(line)
		a.mu.Unlock()
	}
}

func (b *bars) wait(goal uint64, waits bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if waits {
		b.waiting[goal] = true
	} else {
		delete(b.waiting, goal)
	}
}

func (b *bars) phase(e *realiser.Event) {
	switch e.Phase {
	case realiser.PhaseWaiting, realiser.PhaseQueued, realiser.PhaseLocked:
		b.wait(e.Goal, true)
		b.remove(e.Goal)
		return
	}
	b.wait(e.Goal, false)
	if a := b.active[e.Goal]; a != nil && a.phase == e.Phase {
		return
	}
	b.remove(e.Goal)
	if len(b.active) >= maxBars {
		return
	}
	switch e.Phase {
	case realiser.PhaseDownloading:
		b.add(e, mpb.BarStyle(), decor.Counters(decor.SizeB1024(0), "% .1f of % .1f"))
	case realiser.PhaseBuilding:
		b.add(e, mpb.SpinnerStyle(), nil)
	}
}

func (b *bars) add(e *realiser.Event, style mpb.BarFillerBuilder, counters decor.Decorator) {
	a := &bar{phase: e.Phase}
	after := []decor.Decorator{decor.Any(a.lastLine)}
	if counters != nil {
		after = []decor.Decorator{counters}
	}
	a.shown = b.shown.New(0, style, mpb.PrependDecorators(decor.Name(label(e))), mpb.AppendDecorators(after...))
	b.active[e.Goal] = a
}

func (a *bar) lastLine(s decor.Statistics) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return cut(a.line, max(0, s.AvailableWidth-50))
}

func label(e *realiser.Event) string {
	verb := "build"
	if e.Phase == realiser.PhaseDownloading {
		verb = "fetch"
	}
	return fmt.Sprintf("%s %-32s ", verb, cut(strings.TrimSuffix(e.Path.Name(), ".drv"), 32))
}

// cut shortens text to a number of characters.
func cut(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	if most < 1 {
		return ""
	}
	return string(r[:most-1]) + "…"
}

func (b *bars) remove(goal uint64) {
	if a := b.active[goal]; a != nil {
		a.shown.Abort(true)
		delete(b.active, goal)
	}
}

// summary is the last line.
func (b *bars) summary(decor.Statistics) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &b.counts
	parts := []string{}
	part := func(c realiser.Count, what string) {
		if c.Expected == 0 {
			return
		}
		text := fmt.Sprintf("%d/%d %s", c.Done, c.Expected, what)
		if c.Failed > 0 {
			text += fmt.Sprintf(" (%d failed)", c.Failed)
		}
		parts = append(parts, text)
	}
	part(c.Builds, "built")
	part(c.Substitutions, "fetched")
	if c.Bytes.Expected > 0 {
		parts = append(parts, fmt.Sprintf("% .1f of % .1f", decor.SizeB1024(c.Bytes.Done), decor.SizeB1024(c.Bytes.Expected)))
	}
	if n := len(b.waiting); n > 0 {
		parts = append(parts, fmt.Sprintf("%d wait", n))
	}
	return strings.Join(parts, ", ")
}

// Close implements Progress.
func (b *bars) Close() {
	for goal := range b.active {
		b.remove(goal)
	}
	b.total.Abort(true)
	b.shown.Wait()
}
