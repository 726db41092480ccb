package realiser_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"larder/realiser"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
	"larder/store/local"
)

// disk is a disk that gets full and is made room on.
type disk struct {
	free        atomic.Int64
	collections atomic.Int64
	store       *local.Store
	during      func() // called in a collection, if set
}

func (d *disk) room(interval time.Duration) realiser.Room {
	return realiser.Room{MinFree: 100, MaxFree: 1000, Interval: interval,
		Free: func() (uint64, error) { return uint64(d.free.Load()), nil },
		Collect: func(ctx context.Context, most uint64) (uint64, error) {
			d.collections.Add(1)
			if d.during != nil {
				d.during()
			}
			r, err := d.store.GC(ctx, local.GCOptions{KeepUnregistered: true})
			d.free.Store(1000)
			return uint64(len(r.Paths)), err
		}}
}

// addGarbage adds an object that nobody needs.
func addGarbage(t *testing.T, s *local.Store, name string) store.StorePath {
	t.Helper()
	p, err := s.AddText(t.Context(), name, []byte(name), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func isValid(t *testing.T, s *local.Store, p store.StorePath) bool {
	t.Helper()
	v, err := s.Valid(t.Context(), []store.StorePath{p})
	if err != nil {
		t.Fatal(err)
	}
	return v[0]
}

// Before a build begins garbage is collected if the disk is full; what the builds need stays.
func TestMinFreeBeforeABuild(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	garbage := addGarbage(t, s, "garbage")
	low := addDerivation(t, s, &derivation.Derivation{Outputs: map[string]derivation.Output{"out": {}}})
	top := addDerivation(t, s, &derivation.Derivation{Outputs: map[string]derivation.Output{"out": {}},
		InputDrvs: map[store.StorePath][]string{low: {"out"}}})
	d := &disk{store: s}
	d.free.Store(50)
	build := fakeBuilder(func(spec *sandbox.Spec) error {
		return os.WriteFile(outputOf(spec, "out"), nil, 0o644)
	})
	r := open(t, s, build, func(o *realiser.Options) { o.Room = d.room(time.Hour) })
	events := r.Subscribe(1000)
	res := realise(t, r, top)
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	if isValid(t, s, garbage) || !isValid(t, s, res.Outputs["out"]) {
		t.Errorf("garbage is there: %v, the output is there: %v", isValid(t, s, garbage), isValid(t, s, res.Outputs["out"]))
	}
	events.Close()
	var seen []string
	for ev := range events.Events() {
		switch {
		case ev.Type == realiser.CollectionStarted && ev.BytesTotal == 950, ev.Type == realiser.CollectionFinished && ev.BytesDone > 0:
			seen = append(seen, string(ev.Type))
		case ev.Phase == realiser.PhaseCollecting:
			seen = append(seen, "waits")
		}
	}
	if text := strings.Join(seen, " "); !strings.Contains(text, string(realiser.CollectionStarted)) || !strings.Contains(text, "waits") ||
		!strings.Contains(text, string(realiser.CollectionFinished)) {
		t.Errorf("events: %s", text)
	}
}

// While a build runs it may fill the disk: what it sees, and what other targets have made, stays.
func TestMinFreeWhileBuilding(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	garbage := addGarbage(t, s, "garbage")
	low := addDerivation(t, s, &derivation.Derivation{Outputs: map[string]derivation.Output{"out": {}}})
	top := addDerivation(t, s, &derivation.Derivation{Outputs: map[string]derivation.Output{"out": {}}, Args: []string{"slow"},
		InputDrvs: map[store.StorePath][]string{low: {"out"}}})
	other := addDerivation(t, s, &derivation.Derivation{Outputs: map[string]derivation.Output{"out": {}}, Args: []string{"other"}})
	d := &disk{store: s}
	d.free.Store(5000)
	var input store.StorePath
	others := make(chan struct{})
	build := fakeBuilder(func(spec *sandbox.Spec) error {
		if slices.Contains(spec.Args, "slow") {
			<-others
			d.free.Store(50)
			for end := time.Now().Add(20 * time.Second); d.free.Load() == 50 || isValid(t, s, garbage); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Error("nobody made room")
					break
				}
			}
			for _, m := range spec.Mounts {
				if p, err := store.ParseStorePath(strings.TrimPrefix(m.Target, "/nix/store/")); err == nil {
					input = p
				}
			}
		}
		return os.WriteFile(outputOf(spec, "out"), nil, 0o644)
	})
	r := open(t, s, build, func(o *realiser.Options) { o.Room, o.MaxJobs = d.room(time.Millisecond), 2 })
	events := r.Subscribe(1000)
	go func() {
		for ev := range events.Events() {
			if ev.Type == realiser.GoalFinished && ev.Path == other {
				close(others)
				events.Close()
			}
		}
	}()
	o, err := r.Build(t.Context(), store.Caller{}, realiser.Request{Targets: []realiser.Target{{Drv: other}, {Drv: low}, {Drv: top}}})
	if err != nil || o.Err() != nil {
		t.Fatal(err, o.Err())
	}
	if input.IsZero() || !isValid(t, s, input) {
		t.Errorf("the input %s is gone", input)
	}
	for _, res := range o.Results {
		if !isValid(t, s, res.Outputs["out"]) {
			t.Errorf("%s is gone", res.Outputs["out"])
		}
	}
}

// Many builds wait for one collection; one that could not free enough is not repeated for nothing.
func TestOneCollectionAtATime(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	d := &disk{store: s}
	d.free.Store(50)
	var now, most atomic.Int64
	d.during = func() {
		if now.Add(1) > 1 {
			most.Store(2)
		}
		time.Sleep(20 * time.Millisecond)
		now.Add(-1)
	}
	var targets []realiser.Target
	for i := range 8 {
		targets = append(targets, realiser.Target{Drv: addDerivation(t, s, &derivation.Derivation{
			Outputs: map[string]derivation.Output{"out": {}}, Args: []string{strings.Repeat("x", i)}})})
	}
	room := d.room(time.Nanosecond)
	collect := room.Collect
	room.Collect = func(ctx context.Context, most uint64) (uint64, error) {
		n, err := collect(ctx, most)
		d.free.Store(60) // that was all
		return n, err
	}
	build := fakeBuilder(func(spec *sandbox.Spec) error { return os.WriteFile(outputOf(spec, "out"), nil, 0o644) })
	r := open(t, s, build, func(o *realiser.Options) { o.Room, o.MaxJobs = room, 4 })
	o, err := r.Build(t.Context(), store.Caller{}, realiser.Request{Targets: targets})
	if err != nil || o.Err() != nil {
		t.Fatal(err, o.Err())
	}
	if n := d.collections.Load(); n != 1 || most.Load() > 1 {
		t.Errorf("%d collections, at once: %v", n, most.Load() > 1)
	}
}
