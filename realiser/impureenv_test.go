package realiser

import (
	"context"
	"io"
	"os"
	"os/exec"
	"testing"

	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

// The process that opens a path has no say in what its builder sees: impure
// variables are those of the daemon.
func TestImpureVariablesAreTheDaemons(t *testing.T) {
	t.Setenv("LARDER_TEST_PROXY", "the daemon's")
	opener := exec.Command("cat") // until the end of its input
	opener.Env = append(os.Environ(), "LARDER_TEST_PROXY=the opener's")
	stdin, err := opener.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := opener.Start(); err != nil {
		t.Fatal(err)
	}
	defer opener.Wait()
	defer stdin.Close()
	l := newLab(t, nil)
	var got string
	l.sandbox.build = func(_ context.Context, _ string, spec *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		got = specEnv(spec, "LARDER_TEST_PROXY")
		return exit(1)
	}
	_, out := l.store.drv(t, "x", nil, func(d *derivation.Derivation) {
		d.Outputs["out"] = derivation.Output{CA: store.ContentAddress{Method: store.Flat, Hash: store.SHA256.Sum(nil)}}
		d.Env["impureEnvVars"] = "LARDER_TEST_PROXY"
	})
	if err := l.Realise(t.Context(), store.Caller{UID: 1000, PID: uint32(opener.Process.Pid)}, out); err == nil {
		t.Error("the builder did not fail")
	}
	if got != "the daemon's" {
		t.Errorf("the builder sees %q", got)
	}
}
