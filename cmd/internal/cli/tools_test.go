package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"larder/test/fixture"
)

func TestNar(t *testing.T) {
	t.Parallel()
	l := newLarder(t)
	l.write("tree/b", "contents")
	l.write("tree/a/x", "")
	if err := os.Chmod(l.dir+"/tree/b", 0o755); err != nil {
		t.Fatal(err)
	}
	archive := l.ok("nar", "dump", "tree") + "\n"
	file := l.write("tree.nar", strings.TrimSuffix(archive, "\n"))
	if got := l.ok("nar", "ls", file); got != strings.Join([]string{
		"directory             0 .", "directory             0 a", "regular               0 a/x", "executable            8 b"}, "\n") {
		t.Errorf("ls:\n%s", got)
	}
	if got := l.ok("--json", "nar", "ls", file, "b"); got != `{"version":1,"root":{"type":"regular","size":8,"executable":true,"narOffset":856}}` &&
		!strings.HasPrefix(got, `{"version":1,"root":{"type":"regular","size":8,"executable":true,`) {
		t.Errorf("ls of one: %s", got)
	}
	l.ok("nar", "restore", file, "again")
	if l.ok("nar", "hash", "again") != l.ok("nar", "hash", "tree") {
		t.Error("restored, it is another tree")
	}
	l.in = strings.TrimSuffix(archive, "\n")
	l.ok("nar", "restore", "-", "third")
	l.fails(1, "file exists", "nar", "restore", file, "again")
	l.fails(1, "malformed NAR", "nar", "restore", l.write("bad.nar", archive[:100]), "bad")
	if _, err := os.Lstat(l.dir + "/bad"); err == nil {
		t.Error("a malformed archive left something behind")
	}
	l.fails(1, `there is no "zzz" in it`, "nar", "ls", file, "zzz")
	for format, want := range map[string]string{"sri": "sha256-", "nix32": "", "base16": "", "base64": ""} {
		if got := l.ok("nar", "hash", "--format", format, "tree"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", format, got)
		}
	}
	l.fails(1, "is not a form of a hash", "nar", "hash", "--format", "x", "tree")
	l.fails(1, "hash algorithm", "nar", "hash", "--algo", "sha3", "tree")
}

func TestKeys(t *testing.T) {
	t.Parallel()
	l := newLarder(t)
	public := l.ok("key", "generate", "test-1", "secret")
	info, err := os.Stat(l.dir + "/secret")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if !strings.HasPrefix(public, "test-1:") || l.ok("key", "public", "secret") != public {
		t.Errorf("%s, then %s", public, l.ok("key", "public", "secret"))
	}
	before, err := os.ReadFile(l.dir + "/secret")
	if err != nil {
		t.Fatal(err)
	}
	l.fails(1, "exists", "key", "generate", "test-2", "secret")
	if after, err := os.ReadFile(l.dir + "/secret"); err != nil || string(after) != string(before) {
		t.Error("an existing key was overwritten")
	}
	l.fails(1, "key name", "key", "generate", "a:b", "other")
	_, stderr, _ := l.run("key", "public", l.write("bad", "test:"+strings.Repeat("s3cret", 20)))
	if strings.Contains(stderr, "s3cret") {
		t.Errorf("the error shows the key: %s", stderr)
	}
}

func TestConfigCommand(t *testing.T) {
	t.Parallel()
	l := newLarder(t)
	l.configure("cores = 3", "unknown-thing = 1")
	out, stderr, status := l.run("config", "--doc", "cores", "store-dir")
	if status != 0 || !strings.Contains(out, "; set by "+l.dir+"/larder.conf:1\ncores = 3\n") || !strings.Contains(out, "store-dir = "+l.dir+"/store\n") {
		t.Errorf("status %d\n%s", status, out)
	}
	if stderr != "warning: "+l.dir+"/larder.conf:2: unknown setting \"unknown-thing\"\n" {
		t.Error(stderr)
	}
	var all map[string]struct{ Value any }
	if err := json.Unmarshal([]byte(l.ok("--json", "config")), &all); err != nil || all["cores"].Value != 3.0 {
		t.Errorf("%v, %v", all["cores"], err)
	}
	delete(l.env, "LARDER_CONFIG")
	l.fails(1, "is not a setting", "config", "x")
	l.fails(1, `larder.conf:1: setting cores: "x" is not a number`, "--config", l.write("larder.conf", "cores = x\n"), "status")
	l.fails(1, "no such file", "--config", "not-there", "status")
	l.fails(1, `--option: setting max-jobs: "many"`, "--option", "max-jobs", "many", "status")
}

// TestBadCommandLines: one line each, and nothing changes.
func TestBadCommandLines(t *testing.T) {
	t.Parallel()
	l := newLarder(t)
	for _, c := range []struct {
		text string
		args []string
	}{
		{"is not a command", []string{"frobnicate"}},
		{`did you mean "realise"`, []string{"realize"}},
		{`did you mean "larder realise"`, []string{"build"}},
		{`did you mean "larder gc PATH"`, []string{"store", "delete", "x"}},
		{`did you mean "larder query closure"`, []string{"query", "requisites", "x"}},
		{"is not a command of larder nar", []string{"nar", "x"}},
		{"unknown flag", []string{"add", "--x"}},
		{"it is a setting: --option timeout VALUE", []string{"realise", "--timeout", "5", "7rjj86a15146cq1d3qy068lml7n7ykzm-x.drv"}},
		{"it is a setting: --option fallback true", []string{"realise", "--fallback", "7rjj86a15146cq1d3qy068lml7n7ykzm-x.drv"}},
		{`--rounds: "many" is not a number`, []string{"realise", "--rounds", "many", "7rjj86a15146cq1d3qy068lml7n7ykzm-x.drv"}},
		{"--check and --repair exclude each other", []string{"realise", "--check", "--repair", "7rjj86a15146cq1d3qy068lml7n7ykzm-x.drv"}},
		{"--repair and --dry-run exclude each other", []string{"realise", "-n", "--repair", "7rjj86a15146cq1d3qy068lml7n7ykzm-x.drv"}},
		{"runs at least once", []string{"realise", "--rounds", "0", "7rjj86a15146cq1d3qy068lml7n7ykzm-x.drv"}},
		{`--grace: "soon" is not a duration`, []string{"unmount", "--grace", "soon"}},
		{"--option needs", []string{"add", "--option", "x"}},
		{"needs a PATH", []string{"add"}},
		{"needs a LINK and a PATH", []string{"roots", "add", "x"}},
		{"no such file", []string{"add", "not-there"}},
		{"is not allowed", []string{"add", l.write("a name", "")}},
		{"for one PATH only", []string{"add", "--name", "x", l.dir, l.dir}},
		{"is not a store path", []string{"realise", "/etc/passwd"}},
		{"is not a store path", []string{"realise", "not-there"}},
		{"is not a valid store path", []string{"realise", l.dir + "/store/short-x"}},
		{"argument 1 is empty", []string{"realise", ""}},
		{"argument 2 is empty", []string{"add", "x", ""}},
		{"a store path is missing", []string{"realise", "^out"}},
		{l.dir + "/store/short-x", []string{"path-info", l.dir + "/store/short-x"}},
		{"no command \"frobnicate\"", []string{"help", "frobnicate"}},
		{"is not a command of larder completion", []string{"completion", "csh"}},
		{"no .drv file", []string{"derivation", "check", filepath.Dir(l.write("empty/x", ""))}},
		{"no-dir/link can't be made", []string{"realise", "--add-root", l.dir + "/no-dir/link", "7rjj86a15146cq1d3qy068lml7n7ykzm-x.drv"}},
		{"broken.nar: malformed NAR", []string{"nar", "restore", l.write("broken.nar", "garbage"), l.dir + "/restored"}},
		{"after ^ comes", []string{"realise", "7rjj86a15146cq1d3qy068lml7n7ykzm-x.drv^a,,b"}},
		{"after ^ comes", []string{"realise", "7rjj86a15146cq1d3qy068lml7n7ykzm-x.drv^"}},
		{"max-jobs", []string{"realise", "-j", "some", "7rjj86a15146cq1d3qy068lml7n7ykzm-x.drv"}},
		{"is not a size", []string{"gc", "--max-freed", "much"}},
		{"neither a store path nor a file", []string{"derivation", "show", "x.drv"}},
		{"the text ends where", []string{"derivation", "show", l.write("cut.drv", "Derive(")}},
		{"needs --to", []string{"cache", "push", "7rjj86a15146cq1d3qy068lml7n7ykzm-x"}},
		{"can't be pushed to", []string{"cache", "push", "--to", "https://x.example", "7rjj86a15146cq1d3qy068lml7n7ykzm-x"}},
		{"no such file", []string{"cache", "serve", "--port", "0", l.dir + "/not-there"}},
		{"no store is mounted", []string{"unmount", l.dir}},
		{"there is no store", []string{"query", "references", "7rjj86a15146cq1d3qy068lml7n7ykzm-x"}},
	} {
		l.fails(1, c.text, c.args...)
	}
}

func TestDerivationCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	names := []string{}
	for name, f := range fixture.Open(t, "derivations/drvs.tar.zst") {
		if strings.HasSuffix(name, ".drv") {
			file := filepath.Join(dir, filepath.Base(name))
			if err := os.WriteFile(file, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
			names = append(names, file)
		}
	}
	l := newLarder(t)
	l.options = nil // the store directory is Nix's
	if got := l.ok(append([]string{"derivation", "check"}, names...)...); !strings.HasSuffix(got, " derivations are right") {
		t.Error(got)
	}
	// One byte that matters in one file.
	slices.Sort(names)
	bad := slices.IndexFunc(names, func(name string) bool { return strings.HasSuffix(name, "-probe.drv") })
	if bad < 0 {
		t.Fatal("the fixtures have no probe.drv")
	}
	text, err := os.ReadFile(names[bad])
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), `("system","`, `("system","x`, 1)
	if changed == string(text) {
		t.Fatalf("%s has no system", names[bad])
	}
	if err := os.WriteFile(names[bad], []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	_, stderr, status := l.run("derivation", "check", dir)
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if status != 1 || len(lines) != 2 || !strings.HasPrefix(lines[0], names[bad]+": ") ||
		lines[1] != fmt.Sprintf("error: 1 of %d derivations are wrong", len(names)) {
		t.Errorf("status %d\n%s", status, stderr)
	}
}

// TestDerivationCheckGraph checks the closure of a package set.
func TestDerivationCheckGraph(t *testing.T) {
	if testing.Short() {
		t.Skip("25,107 derivations take some seconds")
	}
	t.Parallel()
	dir := fixture.Unpack(t, filepath.Join(fixture.Graphs(t), "corepkgs-drvs.tar.zst"))
	l := newLarder(t)
	l.options = nil
	if got := l.ok("derivation", "check", dir); got != "25107 derivations are right" {
		t.Error(got)
	}
}

// TestHelp: every command says what it does, with an example that names it.
func TestHelp(t *testing.T) {
	t.Parallel()
	l := newLarder(t)
	var visit func(path []string)
	visit = func(path []string) {
		out := l.ok(append(append([]string{}, path...), "--help")...)
		sub := false
		for line := range strings.Lines(out) {
			if len(line) > 121 {
				t.Errorf("larder %s: a line of %d characters: %s", strings.Join(path, " "), len(line), line)
			}
		}
		listed := false
		for line := range strings.Lines(out) {
			switch {
			case strings.HasSuffix(line, "ommands:\n") || strings.HasSuffix(line, ":\n") && strings.HasPrefix(line, "The file") || strings.HasPrefix(line, "Store paths:") || strings.HasPrefix(line, "Binary caches and") || strings.HasPrefix(line, "Upkeep:"):
				listed = true
			case line == "\n":
				listed = false
			case listed && strings.HasPrefix(line, "  "):
				name := strings.Fields(line)[0]
				if name != "help" && name != "completion" {
					sub = true
					visit(append(append([]string{}, path...), name))
				}
			}
		}
		if !sub && len(path) > 0 && path[0] != "version" && !strings.Contains(out, "Examples:\n  larder "+strings.Join(path, " ")) {
			t.Errorf("larder %s: no example\n%s", strings.Join(path, " "), out)
		}
	}
	visit(nil)
	if out := l.ok("completion", "bash"); !strings.Contains(out, "larder") {
		t.Error("no completion for bash")
	}
	if out := l.ok("version"); !strings.HasPrefix(out, "larder test (go") {
		t.Error(out)
	}
}

func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skipf("no bash: %v", err)
	}
	l := newLarder(t)
	file := l.write("completion", l.ok("completion", "bash"))
	if out, err := exec.Command(bash, "-n", file).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestNixNames: what is named instead of a command of Nix is a command, and the other is none.
func TestNixNames(t *testing.T) {
	t.Parallel()
	l := newLarder(t)
	for _, command := range []string{"build", "verify", "optimise-store", "copy", "umount", "store gc", "query roots", "clear-failed-paths"} {
		_, stderr, status := l.run(strings.Fields(command)...)
		_, name, _ := strings.Cut(stderr, `did you mean "larder `)
		name, _, named := strings.Cut(name, `"`)
		if status != 1 || !named {
			t.Errorf("larder %s: status %d, %s", command, status, stderr)
		} else if help := l.ok(append([]string{"help"}, strings.Fields(name)...)...); !strings.Contains(help, "larder "+name) {
			t.Errorf("larder help %s: %s", name, help)
		}
	}
}
