package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"larder/cmd/internal/cli"
	"larder/realiser/builtin"
	"larder/sandbox/linux"
	"larder/test/ids"
)

func TestMain(m *testing.M) {
	linux.MaybeChild(builtin.All()...)
	os.Exit(m.Run())
}

// larder runs commands on a store of its own, in this process.
type larder struct {
	t       *testing.T
	dir     string   // scratch; holds store and state
	options []string // before every command
	in      string   // standard input
	// hasDaemon: the commands talk to one, which has settings of its own.
	hasDaemon bool
	env       map[string]string
	ids       ids.Range
}

func newLarder(t *testing.T) *larder {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() { makeRemovable(t, dir) })
	l := &larder{t: t, dir: dir, env: map[string]string{}, ids: ids.New(t),
		options: []string{"--store-dir", dir + "/store", "--state-dir", dir + "/state", "--option", "substituters", ""}}
	l.configure()
	return l
}

// lockedBuffer is a standard error stream.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// configure writes the configuration file.
func (l *larder) configure(lines ...string) {
	l.t.Helper()
	l.env["LARDER_CONFIG"] = l.write("larder.conf", strings.Join(append(lines, l.ids.Lines()), "\n"))
}

// makeRemovable gives directories back their write permission, without following anything: store objects lack it.
func makeRemovable(t *testing.T, dir string) {
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(name, 0o700)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func (l *larder) run(args ...string) (stdout, stderr string, status int) {
	l.t.Helper()
	return l.runCtx(l.t.Context(), args...)
}

func (l *larder) runCtx(ctx context.Context, args ...string) (stdout, stderr string, status int) {
	l.t.Helper()
	var out bytes.Buffer
	var err lockedBuffer
	status = cli.Main(ctx, append(append([]string{}, l.options...), args...), cli.Env{In: strings.NewReader(l.in), Out: &out, Err: &err,
		Getenv: func(k string) string { return l.env[k] }, UID: os.Geteuid(), Dir: l.dir, Version: "test"})
	return out.String(), err.String(), status
}

// ok runs a command that must succeed, and returns its output without the last newline.
func (l *larder) ok(args ...string) string {
	l.t.Helper()
	out, stderr, status := l.run(args...)
	if status != 0 {
		l.t.Fatalf("larder %s: status %d\n%s", strings.Join(args, " "), status, stderr)
	}
	return strings.TrimSuffix(out, "\n")
}

// fails runs a command that must fail with a status, print nothing, and complain in one line that holds text.
func (l *larder) fails(status int, text string, args ...string) {
	l.t.Helper()
	out, stderr, got := l.run(args...)
	if got != status || out != "" {
		l.t.Errorf("larder %q: status %d, want %d; output %q", args, got, status, out)
	}
	line, rest, _ := strings.Cut(stderr, "\n")
	if !strings.HasPrefix(line, "error: ") || !strings.Contains(line, text) || rest != "" && !strings.HasPrefix(rest, "  > ") && !strings.HasPrefix(rest, "  the whole log: ") {
		l.t.Errorf("larder %q says\n%swant one line with %q", args, stderr, text)
	}
}

// write makes a file in the scratch directory and returns its name.
func (l *larder) write(name, text string) string {
	l.t.Helper()
	name = filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
	return name
}

// derivation registers one that runs a script and returns its path. Inputs are derivations; output adds to the output's JSON.
func (l *larder) derivation(name, script string, inputs []string, output string) string {
	l.t.Helper()
	drvs := make([]string, 0, len(inputs))
	for _, in := range inputs {
		drvs = append(drvs, fmt.Sprintf("%q: [\"out\"]", in))
	}
	text := fmt.Sprintf(`{"name": %q, "system": "x86_64-linux", "builder": "/bin/sh", "args": ["-c", %q], "env": {}, "inputDrvs": {%s},
		"inputSrcs": [], "outputs": {"out": {%s}}}`, name, script, strings.Join(drvs, ", "), output)
	return l.ok("derivation", "add", l.write(name+".json", text))
}

// canBuild skips a test where nothing can be built, and gives the sandbox a shell, unless a daemon has done so.
func (l *larder) canBuild() {
	l.t.Helper()
	if os.Geteuid() != 0 {
		l.t.Skip("building here needs root")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		l.t.Skipf("no shell for the sandbox: %v (Debian: busybox-static)", err)
	}
	if !l.hasDaemon {
		l.options = append(l.options, "--option", "sandbox-paths", "/bin/sh="+busybox)
	}
}

// start runs a command in the background until the test ends. It returns when the output matches, with the match.
func (l *larder) start(want *regexp.Regexp, args ...string) string {
	l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w, err := os.Pipe()
	if err != nil {
		l.t.Fatal(err)
	}
	var stderr lockedBuffer
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Main(ctx, append(append([]string{}, l.options...), args...), cli.Env{In: strings.NewReader(""), Out: w, Err: &stderr,
			Getenv: func(k string) string { return l.env[k] }, UID: os.Geteuid(), Dir: l.dir, Version: "test"})
		w.Close()
	}()
	l.t.Cleanup(func() {
		cancel()
		if status := <-ended; status != 0 {
			l.t.Errorf("larder %s ended with status %d\n%s", strings.Join(args, " "), status, stderr.String())
		}
		r.Close()
	})
	if want == nil {
		return ""
	}
	if err := r.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		l.t.Fatal(err)
	}
	var said []byte
	for buf := make([]byte, 256); ; {
		n, err := r.Read(buf)
		said = append(said, buf[:n]...)
		if m := want.Find(said); m != nil {
			return string(m)
		}
		if err != nil {
			l.t.Fatalf("larder %s said %q: %v", strings.Join(args, " "), said, err)
		}
	}
}

// daemon starts one for the store, and waits until it answers.
func (l *larder) daemon() {
	l.t.Helper()
	l.start(nil, "daemon")
	l.await(func() bool { out, _, _ := l.run("status"); return strings.Contains(out, "not mounted") })
}

// await waits for a condition.
func (l *larder) await(condition func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatal("it did not happen within 20 seconds")
		}
	}
}
