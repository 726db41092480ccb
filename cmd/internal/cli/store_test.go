package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// eachWay runs a test twice: with the store opened by each command, and with a daemon.
func eachWay(t *testing.T, test func(t *testing.T, l *larder)) {
	t.Run("embedded", func(t *testing.T) { t.Parallel(); test(t, newLarder(t)) })
	t.Run("daemon", func(t *testing.T) {
		t.Parallel()
		l := newLarder(t)
		shell, err := exec.LookPath("busybox")
		if err != nil {
			shell = "/bin/sh" // what builds will be skipped
		}
		l.options = l.options[:4] // a daemon warns of options that it does not have
		l.configure("substituters =", "sandbox-paths = /bin/sh="+shell)
		l.hasDaemon = true
		l.daemon()
		test(t, l)
	})
}

func TestAddAndQuery(t *testing.T) {
	eachWay(t, func(t *testing.T, l *larder) {
		l.write("tree/sub/file", "contents")
		if err := os.Symlink("sub/file", l.dir+"/tree/link"); err != nil {
			t.Fatal(err)
		}
		one := l.ok("add", l.dir+"/tree")
		if !strings.HasPrefix(one, l.dir+"/store/") || !strings.HasSuffix(one, "-tree") {
			t.Fatal(one)
		}
		if b, err := os.ReadFile(one + "/link"); err != nil || string(b) != "contents" {
			t.Errorf("%s, %v", b, err)
		}
		if again := l.ok("add", "tree"); again != one { // relative to the working directory
			t.Errorf("added again it is %s", again)
		}
		two := l.ok("add", "--name", "two", "--flat", "--algo", "sha1", "tree/sub/file")
		three := l.ok("add", "--name", "three", "--reference", one, "tree/sub/file")

		if got := l.ok("query", "references", three); got != one {
			t.Errorf("references: %s", got)
		}
		if got := l.ok("query", "referrers", filepath.Base(one)); got != three {
			t.Errorf("referrers, by base name: %s", got)
		}
		if got := l.ok("query", "closure", three+"/inside", two); got != one+"\n"+three+"\n"+two && got != two+"\n"+one+"\n"+three {
			t.Errorf("closure: %s", got)
		}
		if err := os.Symlink(one, l.dir+"/result"); err != nil {
			t.Fatal(err)
		}
		var infos []map[string]any
		if err := json.Unmarshal([]byte(l.ok("--json", "path-info", "result/sub", two)), &infos); err != nil {
			t.Fatal(err)
		}
		if len(infos) != 2 || infos[0]["path"] != one || !strings.HasPrefix(infos[1]["ca"].(string), "fixed:sha1:") {
			t.Errorf("path-info: %v", infos)
		}
		if l.ok("nar", "hash", one) != l.ok("nar", "hash", l.dir+"/tree") || l.ok("nar", "hash", one) != infos[0]["narHash"] {
			t.Error("the hash of the tree and of its store object differ")
		}
		l.fails(1, "is not valid", "path-info", strings.Replace(one, "-tree", "-free", 1))
		l.fails(1, "no derivation of", "query", "deriver", one)
		if out, _, _ := l.run("status"); !strings.Contains(out, ", 3 valid paths") || l.hasDaemon && !strings.Contains(out, "\nsubstituters  none\n") {
			t.Errorf("status: %s", out)
		}
		if out := l.ok("why", one); !strings.Contains(out, "is valid") {
			t.Errorf("why: %s", out)
		}
		l.fails(1, "not found", "log", one)
	})
}

func TestRootsAndGC(t *testing.T) {
	eachWay(t, func(t *testing.T, l *larder) {
		kept := l.ok("add", l.write("kept", "kept"))
		user := l.ok("add", "--reference", kept, l.write("user", "user"))
		dead := l.ok("add", l.write("dead", "dead"))
		l.ok("roots", "add", "link", user)
		for _, list := range [][]string{{"roots", "list"}, {"roots"}} {
			if got := l.ok(list...); got != l.dir+"/link -> "+user {
				t.Errorf("roots: %s", got)
			}
		}
		l.fails(1, kept+" is still alive, because of the root "+l.dir+"/link -> "+user+" -> "+kept, "gc", kept)
		if got := l.ok("gc", "--dry-run"); got != dead {
			t.Errorf("dry run: %s", got)
		}
		if _, err := os.Stat(dead); err != nil {
			t.Error("the dry run deleted it")
		}
		if got := l.ok("gc"); got != dead {
			t.Errorf("gc: %s", got)
		}
		if _, err := os.Lstat(dead); err == nil {
			t.Error("it is still there")
		}
		l.fails(1, "left alone", "roots", "remove", "kept")
		l.fails(1, "is there already", "roots", "add", "kept", user)
		l.ok("roots", "remove", "link")
		if got := l.ok("gc", "--max-freed", "1"); got != user {
			t.Errorf("with a limit: %s", got)
		}
		if got := l.ok("--json", "gc"); !strings.Contains(got, filepath.Base(kept)) {
			t.Errorf("gc: %s", got)
		}
	})
}

func TestDerivations(t *testing.T) {
	eachWay(t, func(t *testing.T, l *larder) {
		first := l.derivation("first", "echo > $out", nil, "")
		second := l.derivation("second", "echo > $out", []string{first}, "")
		if !strings.HasSuffix(second, "-second.drv") {
			t.Fatal(second)
		}
		out := l.ok("query", "outputs", second)
		if !strings.HasSuffix(out, "-second") || l.ok("query", "deriver", out) != second {
			t.Errorf("outputs %s, deriver %s", out, l.ok("query", "deriver", out))
		}
		if got := l.ok("realise", "--dry-run", second+"^*"); !strings.Contains(got, "2 derivations would be built:\n  "+first) &&
			!strings.Contains(got, "2 derivations would be built:\n  "+second) {
			t.Errorf("dry run: %s", got)
		}
		// What show prints can be added again, elsewhere, in any order.
		for _, form := range [][]string{nil, {"--old"}} {
			shown := l.ok(append(append([]string{"derivation", "show"}, form...), second, first)...)
			other := newLarder(t)
			other.options = append([]string{}, other.options...)
			other.options[1] = l.dir + "/store" // digests depend on it
			other.options = append(other.options, "--object-dir", other.dir+"/objects")
			file := other.write("shown.json", shown+"\n")
			if got := other.ok("derivation", "add", file); !strings.Contains(got, first) || !strings.Contains(got, second) {
				t.Errorf("added again: %s", got)
			}
			if got := l.ok(append(append([]string{"derivation", "show"}, form...), file)...); got != shown {
				t.Errorf("shown from a file it is\n%s\nand not\n%s", got, shown)
			}
		}
		if got := l.ok("derivation", "check", second, first); got != "2 derivations are right" {
			t.Errorf("check: %s", got)
		}
		// What can't be registered is found before anything is.
		extra := l.write("extra.json", `{"name": "extra", "system": "s", "builder": "/b", "args": [], "env": {}, "inputDrvs": {}, "inputSrcs": [], "outputs": {"out": {}}}`)
		missing := l.dir + "/store/7rjj86a15146cq1d3qy068lml7n7ykzm-missing"
		before := l.ok("status")
		l.fails(1, "refers to "+missing, "derivation", "add", extra, l.write("lacks.json", strings.Replace(
			`{"name": "lacks", "system": "s", "builder": "/b", "args": [], "env": {}, "inputDrvs": {}, "inputSrcs": ["MISSING"], "outputs": {"out": {}}}`,
			"MISSING", missing, 1)))
		l.fails(1, "but should be", "derivation", "add", extra, l.write("wrong.json", strings.Replace(
			`{"name": "wrong", "system": "s", "builder": "/b", "args": [], "env": {}, "inputDrvs": {}, "inputSrcs": [], "outputs": {"out": {"path": "MISSING"}}}`,
			"MISSING", missing, 1)))
		if after := l.ok("status"); after != before {
			t.Errorf("derivations that were refused changed the store:\n%s\nbefore\n%s", after, before)
		}
		l.fails(1, "is not a derivation", "query", "outputs", out)
		l.fails(1, "is not a derivation", "realise", out+"^out")
		l.fails(1, "", "derivation", "add", l.write("bad.json", `{"name": "bad"}`))
		l.fails(1, "not-there.drv", "derivation", "add", l.write("x.json", strings.Replace(
			`{"name": "x", "system": "s", "builder": "/b", "args": [], "env": {}, "inputDrvs": {"STORE/7rjj86a15146cq1d3qy068lml7n7ykzm-not-there.drv": ["out"]}, "inputSrcs": [], "outputs": {"out": {}}}`,
			"STORE", l.dir+"/store", 1)))
	})
}
