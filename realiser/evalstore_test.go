package realiser

import (
	"context"
	"io"
	"os"
	"sync/atomic"
	"testing"

	"larder/nar"
	"larder/realiser/result"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

// evalStore is a fakeStore that derivations come from.
type evalStore struct {
	*fakeStore
	during func() // a dump; nil: nothing
}

func (s evalStore) DumpNAR(ctx context.Context, w io.Writer, p store.StorePath) error {
	if s.during != nil {
		s.during()
	}
	_, err := nar.Dump(ctx, w, s.ObjectPath(p))
	return err
}

// addSource makes a valid path with one file in it.
func (s evalStore) addSource(t *testing.T, name string, refs ...store.StorePath) store.StorePath {
	t.Helper()
	p := named(t, name)
	if err := os.WriteFile(s.ObjectPath(p), []byte(name), 0o444); err != nil {
		t.Fatal(err)
	}
	sum := store.SHA256.New()
	size, err := nar.Dump(t.Context(), sum, s.ObjectPath(p))
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.infos[p] = &store.PathInfo{Path: p, NarHash: store.SumOf(store.SHA256, sum), NarSize: uint64(size), References: refs}
	return p
}

// A derivation of the evaluation store is built from the sources there, which come with
// all that they refer to. It stays where it is, and its log is found by its output, too.
func TestEvaluationStore(t *testing.T) {
	eval := evalStore{fakeStore: newFakeStore(t)}
	l := newLab(t, func(o *Options) { o.EvalStore = eval })
	below := eval.addSource(t, "below")
	source := eval.addSource(t, "source", below)
	drv, out := eval.drv(t, "x", nil, func(d *derivation.Derivation) { d.InputSrcs = []store.StorePath{source} })
	l.sandbox.build = func(_ context.Context, _ string, _ *sandbox.Spec, log io.Writer) (*sandbox.Result, error) {
		io.WriteString(log, "no\n")
		return exit(1)
	}
	if res := l.build(t, false, drv)[0]; res.Status != result.PermanentFailure {
		t.Fatalf("%v %v", res.Status, res.Err)
	}
	if text := l.readLog(t, out); text != "no\n" {
		t.Errorf("its log is %q", text)
	}
	l.sandbox.build = nil
	if err := l.realise(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	for _, p := range []store.StorePath{below, source} {
		if l.store.registered(p) != 1 {
			t.Errorf("%s was copied %d times", p, l.store.registered(p))
		}
	}
	if l.store.isValid(drv) || eval.isValid(out) || eval.registered(out) > 0 {
		t.Error("something went to the wrong store")
	}
	if left := eval.rooted(); len(left) > 0 {
		t.Errorf("temp roots are left in the evaluation store: %v", left)
	}
}

// Copies from the evaluation store have the slots of downloads: each has files open.
func TestEvaluationStoreSlots(t *testing.T) {
	var l *lab
	var dumps atomic.Int32
	eval := evalStore{newFakeStore(t), func() {
		if n := dumps.Add(1); n > 1 {
			t.Errorf("%d copies at once", n)
		}
		defer dumps.Add(-1)
		eventually(t, "the others wait", func() bool { return dumps.Load() > 1 || l.Status().Downloads.Queued+l.store.copied() == 2 })
	}}
	l = newLab(t, func(o *Options) { o.EvalStore, o.MaxSubstitutionJobs = eval, 1 })
	var drvs []store.StorePath
	for _, name := range []string{"a", "b", "c"} {
		source := eval.addSource(t, name)
		drv, _ := eval.drv(t, name, nil, func(d *derivation.Derivation) { d.InputSrcs = []store.StorePath{source} })
		drvs = append(drvs, drv)
	}
	for _, res := range l.build(t, false, drvs...) {
		if res.Err != nil {
			t.Error(res.Err)
		}
	}
}

// copied is how many sources were registered.
func (s *fakeStore) copied() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.adds {
		if info := s.infos[p]; info != nil && info.Deriver.IsZero() {
			n++
		}
	}
	return n
}
