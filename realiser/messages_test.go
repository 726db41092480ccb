package realiser

import (
	"context"
	"io"
	"slices"
	"testing"

	"larder/realiser/builder"
	"larder/realiser/result"
	"larder/sandbox"
)

// What a builder says on "@nix" lines reaches who listens, and its phases who asks
// what goes on.
func TestBuilderMessages(t *testing.T) {
	l := newLab(t, nil)
	var phase string
	l.sandbox.build = func(_ context.Context, _ string, spec *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
		io.WriteString(log, `@nix {"action":"setPhase","phase":"check"}`+"\n"+`@nix {"action":"msg","level":1,"msg":"careful"}`+"\n")
		if goals := l.Status().Goals; len(goals) == 1 {
			phase = string(goals[0].Phase) + " " + goals[0].Detail
		}
		io.WriteString(log, `@nix {"action":"start","id":5,"level":3,"type":101,"text":"get","fields":["http://x"]}`+"\n@nix nonsense\n")
		return makeOutputs(spec)
	}
	events := l.Subscribe(1000)
	drv, _ := l.store.drv(t, "x", nil)
	if res := l.build(t, false, drv)[0]; res.Status != result.Built {
		t.Fatalf("%v %v", res.Status, res.Err)
	}
	l.Close()
	var said []string
	for ev := range events.Events() {
		switch {
		case ev.Type == GoalLog:
			said = append(said, ev.Line)
		case ev.Type == GoalMessage && ev.Path == drv:
			said = append(said, ev.Message.Action+" "+ev.Message.Phase+ev.Message.Text)
		}
	}
	want := []string{builder.SetPhase + " check", builder.Say + " careful", builder.Start + " get", "@nix nonsense", builder.Stop + " "}
	if !slices.Equal(said, want) {
		t.Errorf("told %q, want %q", said, want)
	}
	if phase != "building check" {
		t.Errorf("while the builder was in its phase, the goal was %q", phase)
	}
}
