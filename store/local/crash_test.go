package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"larder/store"
	"larder/store/local"
)

const crashJobVariable = "LARDER_TEST_CRASH_JOB"

// crashJob says what the child does and when it kills itself.
type crashJob struct {
	ObjectDir, StateDir string
	Point               string // at this point
	Skip                int    // after having passed it that many times
}

// points in the order in which a child meets them.
var crashPoints = []string{
	"register: prepared", "register: noted", "register: rename", "register: renamed", "register: committed",
	"replace: noted", "replace: swapped", "replace: committed",
	"gc: invalid", "gc: trash", "gc: unlink", "gc: swept", "recover: repaired",
}

// runCrashJob registers and collects, and prints what it was told to be done. It exits with 0 if it got through.
func runCrashJob(text string) int {
	var job crashJob
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	passed := 0
	ctx := context.Background()
	s, err := local.Open(ctx, local.Options{
		ObjectDir: job.ObjectDir, StateDir: job.StateDir, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Testing: local.Testing{Hook: func(point string) error {
			if point == job.Point {
				if passed == job.Skip {
					syscall.Kill(os.Getpid(), syscall.SIGKILL)
					select {} // until it has arrived
				}
				passed++
			}
			return nil
		}},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	must := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	add := func(name string, refs ...string) store.Addition {
		temp, err := s.NewTemp(ctx)
		must(err)
		dir := filepath.Join(s.ObjectDir(), temp)
		must(os.Mkdir(dir, 0o755))
		must(os.WriteFile(filepath.Join(dir, "name"), []byte(name), 0o444))
		must(s.Canonicalise(ctx, temp, -1))
		return store.Addition{Temp: temp, Info: pathInfo(name, refs...)}
	}
	a, b, c := add("a"), add("b", "a", "b"), add("c", "b")
	must(s.Register(ctx, a, b))
	fmt.Println("valid a b", a.Temp, b.Temp)
	must(s.Register(ctx, c))
	fmt.Println("valid c")
	other := add("a", "a")
	other.Info.NarHash = store.SHA256.Sum([]byte("other"))
	must(os.Chmod(filepath.Join(s.ObjectDir(), other.Temp), 0o755))
	must(os.WriteFile(filepath.Join(s.ObjectDir(), other.Temp, "other"), nil, 0o444))
	must(s.Replace(ctx, other))
	fmt.Println("replaced a")
	abandoned := add("abandoned") // stays at its temporary name
	_ = abandoned
	_, err = s.GC(ctx, local.GCOptions{Paths: paths("b"), KeepUnregistered: true})
	must(err)
	fmt.Println("deleted b c")
	must(s.Register(ctx, add("b", "a")))
	fmt.Println("valid b")
	must(s.Close())
	return 0
}

// TestCrash kills a process at every point, as often as it comes by, and looks at what the next one finds.
func TestCrash(t *testing.T) {
	t.Parallel()
	for _, point := range crashPoints {
		t.Run(strings.ReplaceAll(point, ": ", "-"), func(t *testing.T) {
			t.Parallel()
			for skip := 0; ; skip++ {
				if survived := crashOnce(t, point, skip); survived {
					if skip == 0 && point != "recover: repaired" {
						t.Errorf("the point %q was never reached", point)
					}
					return
				}
			}
		})
	}
}

func crashOnce(t *testing.T, point string, skip int) (survived bool) {
	f := newFixture(t)
	foreign := filepath.Join(f.ObjectDir(), path("foreign").String())
	check(t, os.WriteFile(foreign, []byte("foreign"), 0o600))
	stray := filepath.Join(f.ObjectDir(), local.TempPrefix+"of-somebody-else")
	check(t, os.WriteFile(stray, nil, 0o600))
	check(t, f.Close())
	f.Store = nil
	output, survived := runChild(t, crashJob{f.options.ObjectDir, f.options.StateDir, point, skip})
	f.open()
	f.checkWhole("foreign", filepath.Base(stray))
	f.checkAcknowledged(output)
	f.checkReplaced(strings.Contains(output, "replaced a"))
	// And the store works.
	f.register("afterwards")
	return survived
}

func runChild(t *testing.T, job crashJob) (output string, survived bool) {
	t.Helper()
	text, err := json.Marshal(job)
	check(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashJobVariable+"="+string(text))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		return string(out), true
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the child failed: %v\n%s", err, stderr.String())
	}
	return string(out), false
}

// checkWhole checks what must hold of every store that nobody uses: what is valid is whole and its references are valid, and
// nothing else lies in the object directory but what is named.
func (f *fixture) checkWhole(others ...string) {
	f.t.Helper()
	ctx := context.Background()
	left := f.files()
	for p, err := range f.AllValid(ctx) {
		check(f.t, err)
		info, err := f.PathInfo(ctx, p)
		check(f.t, err)
		if !f.whole(p.Name()) {
			f.t.Errorf("%s is valid and not whole", p)
		}
		for _, r := range info.References {
			if !f.valid(r.Name()) {
				f.t.Errorf("%s refers to %s, which is not valid", p, r)
			}
			back, err := f.Referrers(ctx, r)
			check(f.t, err)
			if !slices.Contains(back, p) {
				f.t.Errorf("%s is not among the referrers of %s", p, r)
			}
		}
		left = slices.DeleteFunc(left, func(n string) bool { return n == p.String() })
	}
	for _, name := range others {
		if p := path(strings.TrimPrefix(name, local.TempPrefix)); slices.Contains(left, p.String()) {
			name = p.String()
		}
		if !slices.Contains(left, name) {
			f.t.Errorf("%s is gone", name)
		}
		left = slices.DeleteFunc(left, func(n string) bool { return n == name })
	}
	if len(left) > 0 {
		f.t.Errorf("left in the object directory: %q", left)
	}
}

// checkReplaced checks that a is either what it was or what it was replaced by.
func (f *fixture) checkReplaced(acknowledged bool) {
	f.t.Helper()
	if !f.valid("a") {
		return
	}
	info, err := f.PathInfo(context.Background(), path("a"))
	check(f.t, err)
	_, err = os.Stat(filepath.Join(f.ObjectPath(path("a")), "other"))
	inPlace, known := err == nil, info.NarHash == store.SHA256.Sum([]byte("other"))
	if inPlace != known || known != (len(info.References) == 1) || acknowledged && !known {
		f.t.Errorf("a was replaced: the object %v, its info %v with %d references, acknowledged %v", inPlace, known, len(info.References), acknowledged)
	}
}

// checkAcknowledged checks that what the child was told to be done is done.
func (f *fixture) checkAcknowledged(output string) {
	f.t.Helper()
	has := func(line string) bool { return strings.Contains(output, line) }
	if has("valid a") && !f.valid("a") {
		f.t.Error("a was registered and is not valid")
	}
	if has("valid c") && !has("deleted") && f.valid("c") && !f.valid("b") {
		f.t.Error("c is valid without b")
	}
	if has("deleted b c") && f.valid("c") {
		f.t.Error("c was deleted and is valid")
	}
	if has("deleted b c\nvalid b") && !f.valid("b") {
		f.t.Error("b was registered again and is not valid")
	}
}

// TestLostRename does what a crash of the machine may do: the commit is durable, the renames are not.
func TestLostRename(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	check(t, f.Close())
	f.Store = nil
	output, survived := runChild(t, crashJob{f.options.ObjectDir, f.options.StateDir, "register: rename", 2})
	fields := strings.Fields(output)
	if survived || len(fields) != 5 {
		t.Fatalf("the child printed %q", output)
	}
	for i, name := range []string{"a", "b"} {
		dir := f.options.ObjectDir
		check(t, os.Rename(filepath.Join(dir, path(name).String()), filepath.Join(dir, fields[3+i])))
	}
	f.open()
	if !f.valid("a") || !f.valid("b") || f.valid("c") {
		t.Error("wrong validity")
	}
	f.checkWhole()
}

// TestForeignObjectAfterCrash: what somebody put at the name of an object that a crash kept from being registered stays.
func TestForeignObjectAfterCrash(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	check(t, f.Close())
	f.Store = nil
	runChild(t, crashJob{f.options.ObjectDir, f.options.StateDir, "register: noted", 0})
	foreign := filepath.Join(f.options.ObjectDir, path("a").String())
	check(t, os.WriteFile(foreign, []byte("real Nix was here"), 0o444))
	f.open()
	if got := f.files(); len(got) != 1 || f.valid("a") {
		t.Errorf("files %q", got)
	}
}
