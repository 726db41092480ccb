package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"larder/cmd/internal/control"
	"larder/nar"
	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
)

// fake is a Service that answers from memory. A path whose name begins with "fail" makes each call fail with failure.
type fake struct {
	dir     store.Dir
	failure error
	text    []byte // contents of everything that is a stream

	mu    sync.Mutex // guards what follows
	calls []string   // what was asked, in words
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

func (f *fake) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.calls) == 0 {
		return ""
	}
	return f.calls[len(f.calls)-1]
}

func (f *fake) fails(p store.StorePath) error {
	if strings.HasPrefix(p.Name(), "fail") {
		return f.failure
	}
	return nil
}

func (f *fake) Dir() store.Dir { return f.dir }
func (f *fake) Close() error   { return nil }

func (f *fake) Hello(context.Context) (*control.Hello, error) {
	return &control.Hello{Version: control.Version, Program: "test", PID: 7, StoreDir: f.dir, StateDir: "/state", Mount: "/mnt"}, nil
}

func (f *fake) Realise(ctx context.Context, who store.Caller, r control.RealiseRequest, events func(realiser.Event)) (*realiser.Outcome, error) {
	f.note("realise %v %v %v %d %v for %d", r.Targets, r.Mode, r.KeepGoing, r.Rounds, r.KeepFailed, who.UID)
	o := &realiser.Outcome{}
	for i, t := range r.Targets {
		p := t.Path
		if p.IsZero() {
			p = t.Drv
		}
		if strings.HasPrefix(p.Name(), "hang") {
			<-ctx.Done()
			f.note("hang ended")
			return nil, ctx.Err()
		}
		if strings.HasPrefix(p.Name(), "senseless") {
			return nil, f.failure
		}
		events(realiser.Event{Version: 1, Seq: uint64(i), Type: realiser.GoalLog, Path: p, Line: "line"})
		res := realiser.BuildResult{Target: t, Status: result.Built, Start: time.Unix(5, 0).UTC(), Stop: time.Unix(6, 0).UTC(), CPUUser: time.Second}
		if !t.Drv.IsZero() {
			res.Outputs = map[string]store.StorePath{"out": p}
		}
		if err := f.fails(p); err != nil {
			res.Status, res.Err = result.PermanentFailure, err
		}
		o.Results = append(o.Results, res)
	}
	return o, nil
}

func (f *fake) Plan(_ context.Context, targets []realiser.Target) (*realiser.Plan, error) {
	f.note("plan %v", targets)
	return &realiser.Plan{Build: []store.StorePath{targets[0].Path}, DownloadSize: 5}, nil
}

func (f *fake) Why(_ context.Context, p store.StorePath) (*realiser.Explanation, error) {
	return &realiser.Explanation{Path: p, State: realiser.StateFailed, Failure: &realiser.Failure{Status: result.TimedOut, Error: "e"}}, f.fails(p)
}

func (f *fake) Status(ctx context.Context) (*control.Status, error) {
	h, err := f.Hello(ctx)
	return &control.Status{Hello: *h, Paths: 3, Substituters: []string{"https://a"}}, err
}

func (f *fake) Events(ctx context.Context, pass func(realiser.Event) error) error {
	for i := range 3 {
		if err := pass(realiser.Event{Seq: uint64(i), Type: realiser.GoalStarted}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) Log(_ context.Context, p store.StorePath) (io.ReadCloser, error) {
	if strings.HasPrefix(p.Name(), "broken") {
		return io.NopCloser(io.MultiReader(bytes.NewReader(f.text), failingReader{f.failure})), nil
	}
	return io.NopCloser(bytes.NewReader(f.text)), f.fails(p)
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func (f *fake) PathInfo(_ context.Context, p store.StorePath) (*store.PathInfo, error) {
	if err := f.fails(p); err != nil {
		return nil, err
	}
	return &store.PathInfo{Path: p, NarHash: store.SHA256.Sum(f.text), NarSize: uint64(len(f.text)), References: []store.StorePath{p},
		Deriver: p, CA: store.ContentAddress{Method: store.Recursive, Hash: store.SHA256.Sum(nil)}, Ultimate: true, RegistrationTime: time.Unix(9, 0)}, nil
}

func (f *fake) PathFromHashPart(_ context.Context, digest [20]byte) (store.StorePath, error) {
	return store.NewStorePath(digest, "found")
}

func (f *fake) Query(_ context.Context, r control.Relation, paths []store.StorePath) ([]store.StorePath, error) {
	f.note("query %s", r)
	return paths, f.fails(paths[0])
}

func (f *fake) Realisation(_ context.Context, id store.DrvOutput) (*store.Realisation, error) {
	p, err := store.ParseStorePath("7rjj86a15146cq1d3qy068lml7n7ykzm-x")
	return &store.Realisation{ID: id, OutPath: p, Dependencies: map[store.DrvOutput]store.StorePath{id: p}}, err
}

func (f *fake) Realisations(_ context.Context, p store.StorePath) ([]*store.Realisation, error) {
	id := store.DrvOutput{DrvHash: store.SHA256.Sum([]byte(p.String())), Output: "out"}
	return []*store.Realisation{{ID: id, OutPath: p, Dependencies: map[store.DrvOutput]store.StorePath{id: p}}}, nil
}

func (f *fake) Outputs(_ context.Context, drv store.StorePath) (map[string]store.StorePath, error) {
	return map[string]store.StorePath{"out": drv}, f.fails(drv)
}

func (f *fake) Derivation(_ context.Context, drv store.StorePath) (*derivation.Derivation, error) {
	if err := f.fails(drv); err != nil {
		return nil, err
	}
	return testDerivation(), nil
}

func testDerivation() *derivation.Derivation {
	return &derivation.Derivation{Name: "x", System: "s", Builder: "/b", Args: []string{"a\x80b"}, Env: map[string]string{"out": ""},
		Outputs: map[string]derivation.Output{"out": {}}}
}

func (f *fake) DumpNAR(_ context.Context, w io.Writer, p store.StorePath) error {
	if _, err := w.Write(f.text); err != nil {
		return err
	}
	if strings.HasPrefix(p.Name(), "broken") {
		return f.failure
	}
	return nil
}

func (f *fake) Listing(_ context.Context, p store.StorePath) (*nar.Listing, error) {
	return &nar.Listing{Root: &nar.ListingNode{Type: nar.Symlink, Target: "t"}}, f.fails(p)
}

func (f *fake) Add(_ context.Context, r control.AddRequest, archive io.Reader) (store.StorePath, error) {
	b, err := io.ReadAll(archive)
	if err != nil {
		return store.StorePath{}, err
	}
	f.note("add %s %v %v %v %d", r.Name, r.Method, r.Algo, r.References, len(b))
	return store.NewStorePath([20]byte{}, r.Name)
}

func (f *fake) AddDerivation(_ context.Context, name string, text []byte) (store.StorePath, error) {
	f.note("add derivation %s %q", name, text)
	return store.NewStorePath([20]byte{}, name+".drv")
}

func (f *fake) Roots(context.Context) ([]control.Root, error) {
	return []control.Root{{Link: "{temp}"}}, nil
}

func (f *fake) AddRoot(_ context.Context, link string) error {
	f.note("root %s", link)
	if link == "" {
		return errors.New("no link")
	}
	return nil
}

func (f *fake) Failures(context.Context) ([]store.Failure, error) {
	p, err := store.NewStorePath([20]byte{}, "failed")
	return []store.Failure{{Path: p, Drv: p, Status: "PermanentFailure", Error: "no", Time: time.Unix(5, 0).UTC()}}, err
}

func (f *fake) ForgetFailures(_ context.Context, paths []store.StorePath) (int, error) {
	f.note("forget %v", paths)
	return 7, nil
}

func (f *fake) CollectGarbage(_ context.Context, r control.GCRequest) (*control.GCResult, error) {
	f.note("gc %+v", r)
	return &control.GCResult{Paths: r.Paths, Freed: 5, Live: 2}, nil
}

func (f *fake) Verify(_ context.Context, who store.Caller, r control.VerifyRequest) (*control.VerifyResult, error) {
	f.note("verify %+v for %d", r, who.UID)
	return &control.VerifyResult{Checked: 2, Bad: []control.BadPath{{Path: r.Paths[0], Problem: "p", Failure: "f"}}, BadLinks: []string{"l"}}, f.fails(r.Paths[0])
}

func (f *fake) Optimise(context.Context) (*control.OptimiseResult, error) {
	f.note("optimise")
	return &control.OptimiseResult{Files: 3, Freed: 4}, nil
}
