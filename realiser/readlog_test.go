package realiser

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

// logCache is a substituter that has logs.
type logCache struct {
	*fakeCache
	logs map[store.StorePath]string
	err  error // of asking for a log
}

func (c *logCache) Log(_ context.Context, drv store.StorePath) (io.ReadCloser, error) {
	if c.err != nil {
		return nil, c.err
	}
	if text, ok := c.logs[drv]; ok {
		return io.NopCloser(strings.NewReader(text)), nil
	}
	return nil, store.ErrNotFound
}

func (l *lab) readLog(t *testing.T, p store.StorePath) string {
	t.Helper()
	log, err := l.ReadLog(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	text, err := io.ReadAll(log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (l *lab) say(text string) {
	l.sandbox.build = func(_ context.Context, _ string, spec *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
		io.WriteString(log, text)
		return makeOutputs(spec)
	}
}

// Logs are found by derivation and by output, in both forms.
func TestLogSettings(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"compressed": func(*Options) {},
		"plain":      func(o *Options) { o.PlainBuildLogs = true },
		"none":       func(o *Options) { o.NoBuildLogs, o.LogLines = true, NoLogLines },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, change)
			l.say("some words\r\n")
			drv, out := l.store.drv(t, "x", nil)
			if res := l.build(t, false, drv)[0]; res.Err != nil {
				t.Fatal(res.Err)
			}
			if name != "none" {
				if byDrv, byOut := l.readLog(t, drv), l.readLog(t, out); byDrv != "some words\r\n" || byOut != byDrv {
					t.Errorf("the log is %q and %q", byDrv, byOut)
				}
				return
			}
			if _, err := l.ReadLog(t.Context(), drv); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("a log that should not be kept: %v", err)
			}
			l.sandbox.build = func(_ context.Context, _ string, _ *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
				io.WriteString(log, "why\n")
				return exit(1)
			}
			failing, _ := l.store.drv(t, "y", nil)
			var e *result.BuildError
			if !errors.As(l.build(t, false, failing)[0].Err, &e) || e.LogPath != "" || len(e.LastLines) != 0 {
				t.Errorf("the error is %+v", e)
			}
		})
	}
}

// What was not built here may have a log in a cache: under the derivation that is
// known here, or the one that the cache knows.
func TestLogsOfSubstituters(t *testing.T) {
	l := newLab(t, nil)
	drv, out := l.store.drv(t, "x", nil)
	elsewhere := named(t, "elsewhere")
	maker, _ := l.store.drv(t, "maker", nil, func(d *derivation.Derivation) { d.Env["v"] = "2" })
	down := errors.New("down")
	broken := &logCache{fakeCache: newFakeCache("broken", 1), err: down}
	first := &logCache{fakeCache: newFakeCache("first", 2), logs: map[store.StorePath]string{drv: "by its derivation"}}
	second := &logCache{fakeCache: newFakeCache("second", 3), logs: map[store.StorePath]string{maker: "by its deriver", drv: "not asked"}}
	second.add(t, elsewhere)
	second.infos[elsewhere].Deriver = maker
	l.sources.all = []Substituter{broken, newFakeCache("no logs", 1), first, second}
	for p, want := range map[store.StorePath]string{drv: "by its derivation", out: "by its derivation", elsewhere: "by its deriver"} {
		if got := l.readLog(t, p); got != want {
			t.Errorf("the log of %s is %q, want %q", p, got, want)
		}
	}
	other, _ := l.store.drv(t, "other", nil)
	if _, err := l.ReadLog(t.Context(), other); !errors.Is(err, down) {
		t.Errorf("a cache that can't be asked: %v", err)
	}
	broken.err = nil
	if _, err := l.ReadLog(t.Context(), other); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a log that nobody has: %v", err)
	}
	l.say("here")
	if res := l.build(t, false, drv)[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	if got := l.readLog(t, drv); got != "here" {
		t.Errorf("the log of what was built here is %q", got)
	}
}
