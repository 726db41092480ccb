package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"larder/store"
	"larder/store/derivation"
)

const floating = `"hashAlgo": "r:sha256"`

// placeholder is what stands in a derivation for an output of another one.
func (l *larder) placeholder(drv string, outputs ...string) string {
	l.t.Helper()
	p, err := store.ParseStorePath(filepath.Base(drv))
	if err != nil {
		l.t.Fatal(err)
	}
	return derivation.UpstreamPlaceholder(p, outputs[0], outputs[1:]...)
}

func TestContentAddressed(t *testing.T) {
	eachWay(t, func(t *testing.T, l *larder) {
		l.canBuild()
		var tops []string
		for _, comment := range []string{"one", "another"} {
			below := l.derivation("below", "echo same > $out # "+comment, nil, floating)
			tops = append(tops, l.derivation("top", "cat "+l.placeholder(below, "out")+" > $out; echo top >> $out; echo said", []string{below}, floating))
		}
		if plan := l.ok("realise", "--dry-run", tops[0]); !strings.Contains(plan, "2 derivations would be built") {
			t.Errorf("plan: %s", plan)
		}
		out, progress, status := l.run("realise", "-v", tops[0]+"^out")
		if status != 0 || strings.Count(progress, "said") == 0 {
			t.Fatalf("status %d, %s\n%s", status, out, progress)
		}
		if text, err := os.ReadFile(strings.TrimSpace(out)); err != nil || string(text) != "same\ntop\n" {
			t.Errorf("%q %v", text, err)
		}
		again, progress, status := l.run("realise", "-v", tops[1])
		if status != 0 || again != out || strings.Contains(progress, "said") {
			t.Errorf("status %d, %s, was %s: the change below changes nothing\n%s", status, again, out, progress)
		}
		if log := l.ok("log", tops[1]); log != "said" {
			t.Errorf("log: %q", log)
		}
		if known := l.ok("query", "outputs", tops[1]); known+"\n" != out {
			t.Errorf("outputs: %s", known)
		}
		if text := l.ok("realise", "--dry-run", tops[1]); text != "" {
			t.Errorf("still to do: %s", text)
		}
	})
}

func TestEvalStore(t *testing.T) {
	eval := newLarder(t)
	eval.canBuild()
	source := filepath.Join(eval.dir, "source")
	if err := os.WriteFile(source, []byte("from a file\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	src := eval.ok("add", source)
	text := `{"name": "copy", "system": "x86_64-linux", "builder": "/bin/sh", "args": ["-c", "cat ` + src + ` > $out"], "env": {}, "inputDrvs": {},
		"inputSrcs": ["` + src + `"], "outputs": {"out": {}}}`
	inner := eval.ok("derivation", "add", eval.write("copy.json", text))
	drv := eval.derivation("outer", "cat "+eval.ok("query", "outputs", inner)+" > $out; echo built >> $out", []string{inner}, "")

	l := newLarder(t)
	objects := filepath.Join(l.dir, "objects")
	l.options = []string{"--store-dir", eval.dir + "/store", "--object-dir", objects, "--state-dir", l.dir + "/state", "--option", "substituters", ""}
	l.canBuild()
	l.fails(1, "missing derivation", "realise", drv)
	out := l.ok("realise", "--eval-store", eval.dir+"/state?real="+eval.dir+"/store", drv)
	if text, err := os.ReadFile(filepath.Join(objects, filepath.Base(out))); err != nil || string(text) != "from a file\nbuilt\n" {
		t.Errorf("%q %v", text, err)
	}
	for path, want := range map[string]bool{src: true, drv: false, inner: false} {
		if _, err := os.Lstat(filepath.Join(objects, filepath.Base(path))); (err == nil) != want {
			t.Errorf("%s is in the store: %v", path, err == nil)
		}
	}
	if _, err := os.Lstat(out); err == nil {
		t.Error("the output is in the store for evaluation")
	}
	l.fails(1, "eval-store", "realise", "--eval-store", filepath.Join(l.dir, "nothing"), drv)
}
