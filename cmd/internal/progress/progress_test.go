package progress_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"larder/cmd/internal/progress"
	"larder/realiser"
	"larder/realiser/builder"
	"larder/realiser/result"
	"larder/store"
)

func path(t *testing.T, name string) store.StorePath {
	t.Helper()
	p, err := store.ParseStorePath("7rjj86a15146cq1d3qy068lml7n7ykzm-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func events(t *testing.T) []realiser.Event {
	drv, p := path(t, "x.drv"), path(t, "y")
	return []realiser.Event{
		{Type: realiser.GoalStarted, Goal: 1, Path: drv},
		{Type: realiser.GoalPhase, Goal: 1, Path: drv, Phase: realiser.PhaseWaiting},
		{Type: realiser.GoalPhase, Goal: 2, Path: p, Phase: realiser.PhaseDownloading, Detail: "https://a\x1b[31m"},
		{Type: realiser.GoalProgress, Goal: 2, Path: p, BytesDone: 5, BytesTotal: 10},
		{Type: realiser.CountsChange, Counts: &realiser.Counts{Builds: realiser.Count{Expected: 1, Failed: 1}, Bytes: realiser.Count{Expected: 10, Done: 5}}},
		{Type: realiser.GoalFinished, Goal: 2, Path: p},
		{Type: realiser.GoalPhase, Goal: 1, Path: drv, Phase: realiser.PhaseBuilding},
		{Type: realiser.GoalPhase, Goal: 1, Path: drv, Phase: realiser.PhaseBuilding},
		{Type: realiser.GoalLog, Goal: 1, Path: drv, Line: "a\x1b]0;line\a"},
		{Type: realiser.GoalMessage, Goal: 1, Path: drv, Message: &builder.Message{Action: builder.SetPhase, Phase: "p"}},
		{Type: realiser.GoalMessage, Goal: 1, Path: drv, Message: &builder.Message{Action: builder.Say, Level: 3, Text: "words\x1b]0;\a"}},
		{Type: realiser.GoalMessage, Goal: 1, Path: drv, Message: &builder.Message{Action: builder.Say, Level: 4, Text: "too many"}},
		{Type: realiser.CollectionStarted, Detail: "5 bytes are free"},
		{Type: realiser.CollectionFinished, BytesDone: 7},
		{Type: realiser.CollectionFinished, Error: "no\x1b]0;"},
		{Type: realiser.GoalFinished, Goal: 1, Path: drv, Status: result.PermanentFailure},
		{Type: realiser.GoalFinished, Goal: 99, Path: drv}, // its beginning was dropped
	}
}

const collected = "collecting garbage: 5 bytes are free\ncollected garbage: 7 bytes freed\ngarbage could not be collected: no\n"

func TestLines(t *testing.T) {
	for verbose, want := range map[bool]string{
		false: "fetching /nix/store/7rjj86a15146cq1d3qy068lml7n7ykzm-y from https://a\nbuilding /nix/store/7rjj86a15146cq1d3qy068lml7n7ykzm-x.drv\nx> words\n" + collected,
		true:  "fetching /nix/store/7rjj86a15146cq1d3qy068lml7n7ykzm-y from https://a\nbuilding /nix/store/7rjj86a15146cq1d3qy068lml7n7ykzm-x.drv\nx> a\nx> words\n" + collected,
	} {
		var b bytes.Buffer
		p := progress.New(&b, progress.Options{Dir: store.DefaultDir, Verbose: verbose})
		for _, e := range events(t) {
			p.Event(e)
		}
		p.Close()
		if b.String() != want {
			t.Errorf("verbose %v:\n%s", verbose, b.String())
		}
	}
}

// TestBars: they end, whatever comes, and leave no escape of a builder on the terminal.
func TestBars(t *testing.T) {
	var b bytes.Buffer
	p := progress.New(&b, progress.Options{Dir: store.DefaultDir, Terminal: true, Verbose: true})
	for i := range 30 { // more goals than there are lines
		p.Event(realiser.Event{Type: realiser.GoalPhase, Goal: uint64(100 + i), Path: path(t, fmt.Sprint("many", i)), Phase: realiser.PhaseBuilding})
	}
	for _, e := range events(t) {
		p.Event(e)
	}
	p.Close()
	if strings.Contains(b.String(), "\x1b]0;") {
		t.Errorf("a builder's escape reached the terminal: %q", b.String())
	}
}
