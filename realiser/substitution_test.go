package realiser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

// named makes a path of some name.
func named(t testing.TB, name string) store.StorePath {
	t.Helper()
	p, err := store.DefaultDir.MakePath("test", store.SHA256.Sum([]byte(name)), name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// withCaches makes a lab with substituters.
func withCaches(t *testing.T, change func(*Options), caches ...*fakeCache) *lab {
	return newLab(t, func(o *Options) {
		for _, c := range caches {
			o.Substituters = append(o.Substituters, c)
		}
		if change != nil {
			change(o)
		}
	})
}

func TestSubstitutionRealisesTheClosure(t *testing.T) {
	c := newFakeCache("cache", 40)
	l := withCaches(t, nil, c)
	a, b, top := named(t, "a"), named(t, "b"), named(t, "top")
	c.add(t, a)
	c.add(t, b, a, b) // refers to itself too
	c.add(t, top, b, a)
	if err := l.realise(t.Context(), top); err != nil {
		t.Fatal(err)
	}
	for _, p := range []store.StorePath{a, b, top} {
		if !l.store.isValid(p) || c.queried(p) != 1 {
			t.Errorf("%s: valid %v, asked for %d times", p, l.store.isValid(p), c.queried(p))
		}
	}
	if got, want := l.Status().Counts.Substitutions, (Count{Expected: 3, Done: 3}); got != want {
		t.Errorf("counts are %+v", got)
	}
}

func TestSubstitutersInOrderOfPriority(t *testing.T) {
	first, second, third := newFakeCache("first", 10), newFakeCache("second", 20), newFakeCache("third", 20)
	l := withCaches(t, nil, second, third, first)
	everywhere, last := named(t, "everywhere"), named(t, "last")
	for _, c := range []*fakeCache{first, second, third} {
		c.add(t, everywhere)
	}
	third.add(t, last)
	for _, p := range []store.StorePath{everywhere, last} {
		if err := l.realise(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if len(first.fetches) != 1 || second.queried(everywhere) != 0 {
		t.Error("the second was asked for what the first has")
	}
	if first.queried(last) != 1 || second.queried(last) != 1 || len(third.fetches) != 1 {
		t.Error("not all were asked for what only the last has")
	}
}

func TestNotFoundIsNoFailure(t *testing.T) {
	empty := newFakeCache("empty", 1)
	down := newFakeCache("down", 2)
	l := withCaches(t, func(o *Options) { o.FailureTTL = time.Hour }, empty, down)
	p := named(t, "x")
	err := l.realise(t.Context(), p)
	var e *result.BuildError
	if !errors.Is(err, store.ErrNotFound) || !errors.As(err, &e) || e.Status != result.NoSubstituters {
		t.Fatalf("nobody has it: %v", err)
	}
	down.fail = errors.New("connection refused")
	err = l.realise(t.Context(), p) // an answer is not remembered
	if errors.Is(err, store.ErrNotFound) || !errors.As(err, &e) || e.Status != result.TransientFailure || !strings.Contains(err.Error(), "connection refused") {
		t.Fatalf("one could not be asked: %v", err)
	}
	down.fail = nil
	if err := l.realise(t.Context(), p); errors.Is(err, store.ErrNotFound) {
		t.Error("a failure is not remembered")
	}
}

// What one cache delivers wrongly comes from the next; nothing wrong is registered.
func TestBadCachesHandOn(t *testing.T) {
	p := named(t, "x")
	type spoil func(c *fakeCache)
	for name, s := range map[string]spoil{
		"down":      func(c *fakeCache) { c.fail = errors.New("down") },
		"signature": func(c *fakeCache) { c.fail = store.ErrBadSignature },
		"nar gone": func(c *fakeCache) {
			c.before = func(context.Context, store.StorePath) error { return store.ErrNotFound }
		},
		"nar fails": func(c *fakeCache) {
			c.before = func(context.Context, store.StorePath) error { return io.ErrUnexpectedEOF }
		},
		"other bytes":  func(c *fakeCache) { b := slices.Clone(c.nars[p]); b[len(b)-40] ^= 1; c.nars[p] = b },
		"longer":       func(c *fakeCache) { c.nars[p] = append(slices.Clone(c.nars[p]), 0) },
		"shorter":      func(c *fakeCache) { c.nars[p] = c.nars[p][:len(c.nars[p])-8] },
		"no nar":       func(c *fakeCache) { c.nars[p] = []byte("<html>") },
		"size":         func(c *fakeCache) { c.infos[p].NarSize++ },
		"small size":   func(c *fakeCache) { c.infos[p].NarSize-- },
		"hash":         func(c *fakeCache) { c.infos[p].NarHash = store.SHA256.Sum(nil) },
		"another path": func(c *fakeCache) { c.infos[p].Path = named(t, "y") },
		"self, as a CA": func(c *fakeCache) {
			c.infos[p].CA = store.ContentAddress{Method: store.Flat, Hash: store.SHA256.Sum(nil)}
		},
		"missing ref": func(c *fakeCache) { c.infos[p].References = []store.StorePath{named(t, "nowhere")} },
		"cycle": func(c *fakeCache) {
			q := named(t, "q")
			c.add(t, q, p)
			c.infos[p].References = []store.StorePath{q}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := newFakeCache("bad", 1), newFakeCache("good", 2)
			bad.add(t, p)
			s(bad)
			var log strings.Builder
			logged := func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
			alone := withCaches(t, logged, bad)
			err := alone.realise(t.Context(), p)
			if err == nil || alone.store.isValid(p) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("alone: %v", err)
			}
			if got := errors.Is(err, store.ErrNotFound); got != (name == "nar gone") {
				t.Errorf("alone: %v; not found: %v", err, got)
			}
			if strings.Contains(err.Error(), ".larder-tmp") || log.Len() > 0 {
				t.Errorf("alone: %v; and it is logged: %s", err, log.String())
			}
			good.add(t, p)
			l := withCaches(t, logged, bad, good)
			if err := l.realise(t.Context(), p); err != nil || !l.store.isValid(p) {
				t.Errorf("with a good one after it: %v", err)
			}
			if quiet := name == "nar gone" || name == "missing ref"; quiet != (log.Len() == 0) {
				t.Errorf("with a good one after it, logged: %q", log.String())
			}
		})
	}
}

// A substituted object whose content address stands for a signature must have
// the content that it says.
func TestContentAddressIsVerified(t *testing.T) {
	for name, m := range map[string]store.Method{"flat": store.Flat, "recursive": store.Recursive} {
		t.Run(name, func(t *testing.T) {
			c := newFakeCache("cache", 1)
			l := withCaches(t, nil, c)
			content := func(p store.StorePath) store.Hash {
				if m == store.Recursive {
					return store.SHA256.Sum(c.nars[p])
				}
				return store.SHA256.Sum([]byte(named(t, "content").String()))
			}
			c.add(t, named(t, "content"))
			good := store.ContentAddress{Method: m, Hash: content(named(t, "content"))}
			bad := store.ContentAddress{Method: m, Hash: store.SHA256.Sum([]byte("other"))}
			for i, ca := range []store.ContentAddress{good, bad} {
				p, err := store.DefaultDir.ContentPath("x", ca, store.References{})
				if err != nil {
					t.Fatal(err)
				}
				info := *c.infos[named(t, "content")]
				info.Path, info.CA = p, ca
				c.infos[p], c.nars[p] = &info, c.nars[named(t, "content")]
				err = l.realise(t.Context(), p)
				if i == 0 && err != nil || i == 1 && !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("%v: %v", ca, err)
				}
			}
		})
	}
}

func TestSubstituteElseBuild(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		cache  func(t *testing.T, c *fakeCache, out store.StorePath)
		drv    func(*derivation.Derivation)
		want   result.Status
	}{
		{name: "the cache has it", cache: func(t *testing.T, c *fakeCache, out store.StorePath) { c.add(t, out) }, want: result.Substituted},
		{name: "the cache lacks it", want: result.Built},
		{name: "the cache is down", cache: func(_ *testing.T, c *fakeCache, _ store.StorePath) { c.fail = errors.New("down") }, want: result.TransientFailure},
		{name: "down, fallback", cache: func(_ *testing.T, c *fakeCache, _ store.StorePath) { c.fail = errors.New("down") },
			change: func(o *Options) { o.Fallback = true }, want: result.Built},
		{name: "allowSubstitutes = false", cache: func(t *testing.T, c *fakeCache, out store.StorePath) { c.add(t, out) },
			drv: func(d *derivation.Derivation) { d.Env["allowSubstitutes"] = "" }, want: result.Built},
		{name: "always-allow-substitutes", cache: func(t *testing.T, c *fakeCache, out store.StorePath) { c.add(t, out) },
			drv:    func(d *derivation.Derivation) { d.Env["allowSubstitutes"] = "" },
			change: func(o *Options) { o.AlwaysAllowSubstitutes = true }, want: result.Substituted},
		{name: "substitute = false", cache: func(t *testing.T, c *fakeCache, out store.StorePath) { c.add(t, out) },
			change: func(o *Options) { o.NoSubstitutes = true }, want: result.Built},
		{name: "max-jobs = 0", change: func(o *Options) { o.MaxJobs = NoBuilds }, want: result.MiscFailure},
		{name: "a reference that nobody has", want: result.Built, cache: func(t *testing.T, c *fakeCache, out store.StorePath) {
			c.add(t, out, named(t, "nowhere"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := newFakeCache("cache", 1)
			l := withCaches(t, c.change, cache)
			change := c.drv
			if change == nil {
				change = func(*derivation.Derivation) {}
			}
			drv, out := l.store.drv(t, "x", nil, change)
			if c.cache != nil {
				c.cache(t, cache, out)
			}
			res := l.build(t, false, drv)[0]
			if res.Status != c.want || res.Status.Success() != l.store.isValid(out) {
				t.Errorf("%v: %v", res.Status, res.Err)
			}
		})
	}
}

// A substitute that lacks a reference is tried again when the inputs, which make
// it, are there.
func TestIncompleteClosureIsRetried(t *testing.T) {
	c := newFakeCache("cache", 1)
	l := withCaches(t, nil, c)
	in, inOut := l.store.drv(t, "in", nil)
	top, topOut := l.store.drv(t, "top", []store.StorePath{in})
	c.add(t, topOut, inOut)
	res := l.build(t, false, top)[0]
	if res.Status != result.Substituted || l.sandbox.count("in") != 1 || l.sandbox.count("top") != 0 {
		t.Errorf("%v %v", res.Status, res.Err)
	}
}

// If another output is missing for another reason, a second attempt could not bring them all.
func TestNoRetryWhereItCannotHelp(t *testing.T) {
	c := newFakeCache("cache", 1)
	l := withCaches(t, nil, c)
	in, inOut := l.store.drv(t, "in", nil)
	var dev store.StorePath
	top, topOut := l.store.drv(t, "top", []store.StorePath{in}, func(d *derivation.Derivation) {
		d.Outputs = map[string]derivation.Output{"out": {}, "dev": {}}
	})
	for name, o := range l.store.drvs[top].Outputs {
		if name == "dev" {
			dev = o.Path
		}
	}
	l.sandbox.build = func(_ context.Context, _ string, s *sandbox.Spec, _ io.Writer) (*sandbox.Result, error) {
		if specEnv(s, "dev") != "" {
			if err := writeOutput(s, "dev"); err != nil {
				return nil, err
			}
		}
		return makeOutputs(s)
	}
	c.add(t, topOut, inOut)
	res := l.build(t, false, top)[0]
	if res.Status != result.Built || c.queried(topOut) != 1 || c.queried(dev) != 1 {
		t.Errorf("%v %v; asked %d and %d times", res.Status, res.Err, c.queried(topOut), c.queried(dev))
	}
}

func TestDownloadSlots(t *testing.T) {
	c := newFakeCache("cache", 1)
	l := withCaches(t, func(o *Options) { o.MaxSubstitutionJobs = 2 }, c)
	var most, now int
	enter := make(chan struct{})
	c.before = func(context.Context, store.StorePath) error {
		c.mu.Lock()
		now++
		most = max(most, now)
		c.mu.Unlock()
		enter <- struct{}{}
		c.mu.Lock()
		now--
		c.mu.Unlock()
		return nil
	}
	var refs []store.StorePath
	for i := range 20 {
		p := named(t, fmt.Sprintf("r%d", i))
		c.add(t, p)
		refs = append(refs, p)
	}
	top := named(t, "top")
	c.add(t, top, refs...)
	done := make(chan error, 1)
	go func() { done <- l.realise(t.Context(), top) }()
	eventually(t, "two downloads and a queue", func() bool {
		s := l.Status().Downloads
		return s.Used == 2 && s.Queued > 0
	})
	for range 21 {
		<-enter
	}
	if err := <-done; err != nil || most != 2 {
		t.Errorf("%v; %d downloads at once", err, most)
	}
}

func TestMissingDerivationIsSubstituted(t *testing.T) {
	c := newFakeCache("cache", 1)
	l := withCaches(t, nil, c)
	drv, out := l.store.drv(t, "x", nil)
	l.store.mu.Lock()
	delete(l.store.infos, drv)
	l.store.mu.Unlock()
	res := l.build(t, false, drv)[0]
	if res.Status != result.NoSubstituters || !errors.Is(res.Err, store.ErrNotFound) {
		t.Errorf("nobody has it: %v %v", res.Status, res.Err)
	}
	c.add(t, drv)
	if res := l.build(t, false, drv)[0]; res.Status != result.Built || !l.store.isValid(out) {
		t.Errorf("%v %v", res.Status, res.Err)
	}
}

// A derivation that claims an output path that does not follow from it could
// replace anything in the store.
func TestWrongOutputPathIsRefused(t *testing.T) {
	l := newLab(t, nil)
	drv, out := l.store.drv(t, "x", nil)
	victim := named(t, "bash")
	d := l.store.drvs[drv].Clone()
	d.Outputs["out"] = derivation.Output{Path: victim}
	d.Env["out"] = store.DefaultDir.Join(victim)
	p, err := d.Path(store.DefaultDir)
	if err != nil {
		t.Fatal(err)
	}
	l.store.drvs[p], l.store.infos[p] = d, &store.PathInfo{Path: p}
	for _, err := range []error{l.build(t, false, p)[0].Err, l.realise(t.Context(), victim)} {
		var e *result.BuildError
		var wrong *derivation.OutputPathError
		if !errors.As(err, &e) || e.Status != result.InputRejected || !errors.As(err, &wrong) {
			t.Errorf("%v", err)
		}
	}
	if l.sandbox.count("x") != 0 || l.store.isValid(victim) || l.store.isValid(out) {
		t.Error("something was built")
	}
}

// A goal that waits holds no slot: one is enough for a chain.
func TestChainWithOneSlot(t *testing.T) {
	l := newLab(t, func(o *Options) { o.MaxJobs = 1 })
	var prev []store.StorePath
	var last store.StorePath
	for i := range 50 {
		drv, out := l.store.drv(t, fmt.Sprintf("c%d", i), prev)
		prev, last = []store.StorePath{drv}, out
	}
	if err := l.realise(t.Context(), last); err != nil {
		t.Fatal(err)
	}
}
