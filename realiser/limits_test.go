package realiser

import (
	"context"
	"io"
	"strings"
	"syscall"
	"testing"

	"larder/realiser/result"
	"larder/sandbox"
)

// A builder that fails at a limit of its control group is not to blame: the error
// names the limit, and the failure is not for ever.
func TestControlGroupLimitIsNamed(t *testing.T) {
	for _, ended := range []sandbox.Result{
		{ExitCode: -1, Signal: syscall.SIGKILL, Limit: "memory limit of 1048576 bytes"},
		{ExitCode: 2, Limit: "limit of 20 processes"},
	} {
		l := newLab(t, nil)
		l.sandbox.build = func(context.Context, string, *sandbox.Spec, io.Writer) (*sandbox.Result, error) { return &ended, nil }
		drv, _ := l.store.drv(t, "x", nil)
		res := l.build(t, false, drv)[0]
		if res.Status != result.TransientFailure || !strings.HasSuffix(res.Err.Error(), "; it had reached its "+ended.Limit) {
			t.Errorf("%v %v", res.Status, res.Err)
		}
	}
}
