package realiser

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/realiser/result"
	"larder/sandbox"
)

// A builder that fails while next to nothing is free fails in a way that may go away (TransientFailure), and the error says why. That is not remembered.
func TestFailureOnAFullDisk(t *testing.T) {
	small := t.TempDir()
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mounting a small disk needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(small, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	cache := &fakeFailures{}
	l := newLab(t, func(o *Options) { o.BuildDir, o.FailureCache = small+"/build", cache })
	l.scratch = small + "/build"
	l.sandbox.build = func(context.Context, string, *sandbox.Spec, io.Writer) (*sandbox.Result, error) { return exit(1) }
	drv, _ := l.store.drv(t, "fails", nil)
	res := l.build(t, false, drv)[0]
	if res.Status != result.TransientFailure || !strings.Contains(res.Err.Error(), "disk is full") {
		t.Errorf("%v: %v", res.Status, res.Err)
	}
	if len(cache.known) != 0 {
		t.Errorf("it is remembered: %+v", cache.known)
	}
	if _, err := os.Stat(l.scratch); err != nil {
		t.Error(err)
	}
}
