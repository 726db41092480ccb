package config_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"larder/cmd/internal/config"
)

var rewrite = flag.Bool("rewrite", false, "write docs/larder.conf.md anew")

// write makes files in a new directory and returns its name.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, text string, options ...[2]string) (*config.Config, []config.Warning, error) {
	t.Helper()
	dir := write(t, map[string]string{"larder.conf": text})
	return config.Load(config.Sources{Files: []string{filepath.Join(dir, "larder.conf")}, Options: options})
}

func TestSyntax(t *testing.T) {
	_, _, bad := load(t, `
# a comment
substituters = https://a.example   file:///b # another
extra-substituters = https://c.example
max-jobs = 4
max-jobs = 7
build-cores = 3
require-sigs = no
	timeout=5
max-build-log-size = 2M
`+"log-lines\t=\t9\n")
	if bad == nil || !strings.Contains(bad.Error(), "larder.conf:9: expected NAME = VALUE") {
		t.Errorf("a line without white space around =: %v", bad)
	}
	c, warnings, err := load(t, "substituters = https://a.example   file:///b # more\nextra-substituters = https://c.example\n"+
		"max-jobs = 4\nmax-jobs = 7\nbuild-cores = 3\nrequire-sigs = no\nmax-build-log-size = 2M\nlog-lines\t=\t9\r\n"+
		"secret-key-files =\nconnect-timeout = 0\nextra-platforms = i686-linux\nextra-extra-platforms = i586-linux\n")
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	want := config.Default()
	want.Substituters = []string{"https://a.example", "file:///b", "https://c.example"}
	want.MaxJobs, want.Cores, want.RequireSigs, want.MaxLogSize, want.LogLines = 7, 3, false, 2<<20, 9
	want.ConnectTimeout, want.ExtraPlatforms = 0, []string{"i686-linux", "i586-linux"}
	for _, s := range config.Settings() {
		if strings.HasSuffix(s.Name, "-dir") || strings.HasSuffix(s.Name, "-file") {
			continue // worked out
		}
		if got, want := s.Get(c), s.Get(want); got != want {
			t.Errorf("%s = %q, want %q", s.Name, got, want)
		}
	}
	if o, ok := c.Origin("max-jobs"); !ok || o.Line != 4 {
		t.Errorf("origin of max-jobs: %v %v", o, ok)
	}
}

func TestIncludes(t *testing.T) {
	dir := write(t, map[string]string{
		"main":  "include sub\n!include not-there\nmax-jobs = 3\n",
		"sub":   "max-jobs = 2\ncores = 2\n",
		"loop":  "include loop\n",
		"gone":  "\ninclude not-there\n",
		"worse": "!include bad\n",
		"bad":   "cores = many\n",
	})
	read := func(name string) (*config.Config, error) {
		c, _, err := config.Load(config.Sources{Files: []string{filepath.Join(dir, name)}})
		return c, err
	}
	c, err := read("main")
	if err != nil || c.MaxJobs != 3 || c.Cores != 2 {
		t.Errorf("main: %+v, %v", c, err)
	}
	for name, want := range map[string]string{
		"loop": "include one another", "gone": "gone:2: include: open ", "worse": `bad:1: setting cores: "many" is not a number`,
		"absent": "no such file",
	} {
		if _, err := read(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want …%s…", name, err, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, text := range []string{
		"max-jobs = -1", "max-jobs = 99999999999999999999", "max-jobs =", "require-sigs = maybe", "timeout = 1h", "max-build-log-size = 1X",
		"max-build-log-size = 9999999999T", "store-dir = store", "store-dir = /", "state-dir = /a/../b", "trusted-public-keys = a:b",
		"sandbox-paths = bin", "sandbox-paths = /=/x", "system = a b", "include", "include a b", "novalue", "= 3",
	} {
		_, _, err := load(t, "\n"+text+"\n")
		var e *config.Error
		if !errors.As(err, &e) || e.Origin.Line != 2 || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		}
	}
	_, warnings, err := load(t, "experimental-features = flakes\nextra-max-jobs = 3\n")
	if err != nil || len(warnings) != 2 || warnings[1].Origin.Line != 2 {
		t.Errorf("unknown names: %v, %v", warnings, err)
	}
}

// TestPrecedence: file, environment, options.
func TestPrecedence(t *testing.T) {
	dir := write(t, map[string]string{"larder.conf": "store-dir = /file\nstate-dir = /file\nobject-dir = /file\n"})
	env := map[string]string{"LARDER_CONFIG": dir + "/larder.conf", "LARDER_STATE_DIR": "/env", "LARDER_OBJECT_DIR": "/env"}
	c, _, err := config.Load(config.Sources{Getenv: func(s string) string { return env[s] }, Options: [][2]string{{"object-dir", "/option"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.StoreDir, c.StateDir, c.ObjectDir); got != "/file/env/option" && got != "/file /env /option" {
		t.Error(got)
	}
	env["LARDER_STATE_DIR"] = "relative"
	if _, _, err := config.Load(config.Sources{Getenv: func(s string) string { return env[s] }}); err == nil ||
		!strings.HasPrefix(err.Error(), "LARDER_STATE_DIR: setting state-dir: ") {
		t.Errorf("relative directory in the environment: %v", err)
	}
}

func TestPlaces(t *testing.T) {
	home := map[string]string{"HOME": "/home/u", "XDG_RUNTIME_DIR": "/run/user/7"}
	for _, c := range []struct {
		name    string
		uid     int
		env     map[string]string
		options [][2]string
		want    string // store, state, objects, socket
	}{
		{"root", 0, nil, nil, "/nix/store /var/lib/larder /nix/store /run/larder/control.sock"},
		{"user", 7, home, nil, "/nix/store /home/u/.local/share/larder /home/u/.local/share/larder/store /run/user/7/larder/control.sock"},
		{"user with XDG", 7, map[string]string{"HOME": "/h", "XDG_DATA_HOME": "/data"}, nil, "/nix/store /data/larder /data/larder/store /data/larder/control.sock"},
		{"own store", 0, nil, [][2]string{{"store-dir", "/s"}, {"state-dir", "/t"}}, "/s /t /s /t/control.sock"},
		{"user's own store", 7, home, [][2]string{{"store-dir", "/s"}}, "/s /home/u/.local/share/larder /s /run/user/7/larder/control.sock"},
	} {
		got, _, err := config.Load(config.Sources{NoFiles: true, UID: c.uid, Getenv: func(s string) string { return c.env[s] }, Options: c.options})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if s := strings.Join([]string{got.StoreDir, got.StateDir, got.ObjectDir, got.ControlSocket()}, " "); s != c.want {
			t.Errorf("%s: %s, want %s", c.name, s, c.want)
		}
	}
	if _, _, err := config.Load(config.Sources{NoFiles: true, UID: 7}); err == nil || !strings.Contains(err.Error(), "HOME is not set") {
		t.Errorf("a user without home: %v", err)
	}
}

func TestSandboxPath(t *testing.T) {
	for text, want := range map[string]config.SandboxPath{
		"/bin/sh=/bin/busybox": {Inside: "/bin/sh", Outside: "/bin/busybox"},
		"/etc/x?":              {Inside: "/etc/x", Outside: "/etc/x", Optional: true},
		"/a=/b/?":              {Inside: "/a", Outside: "/b", Optional: true},
	} {
		if got, err := config.ParseSandboxPath(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

// TestTable: every field has its row, every row its words, and no name stands twice.
func TestTable(t *testing.T) {
	names := map[string]bool{}
	for _, s := range config.Settings() {
		for _, n := range append([]string{s.Name}, s.Aliases...) {
			if names[n] {
				t.Errorf("%s is there twice", n)
			}
			names[n] = true
		}
		if !strings.HasSuffix(s.Doc, ".") {
			t.Errorf("%s: the documentation is no sentence: %q", s.Name, s.Doc)
		}
	}
	fields := 0
	for _, f := range reflect.VisibleFields(reflect.TypeFor[config.Config]()) {
		if f.IsExported() {
			fields++
		}
	}
	if fields != len(config.Settings()) {
		t.Errorf("%d fields, %d rows", fields, len(config.Settings()))
	}
	if d := config.Default().StallTimeout; d != 300*time.Second {
		t.Errorf("stalled-download-timeout is %v by default", d)
	}
}

// TestDocumentation compares docs/larder.conf.md with the table.
func TestDocumentation(t *testing.T) {
	var b strings.Builder
	b.WriteString("# larder.conf\n\nWritten by `go test ./cmd/internal/config -run Documentation -rewrite` from the table in cmd/internal/config/table.go.\n\n" +
		"The syntax is that of nix.conf: `name = value`, `#` for comments, `include FILE` and `!include FILE`, `extra-` before the\n" +
		"name of a list to append to it; later lines win. Files: `/etc/larder/larder.conf`, then `$XDG_CONFIG_HOME/larder/larder.conf`\n" +
		"(for root only if no other user owns it or a directory above it), or what `--config` or `LARDER_CONFIG` names instead. `larder config --doc` prints what is in effect, and why.\n")
	for _, s := range config.Settings() {
		def := "`" + s.Default + "`"
		switch {
		case slices.Contains([]string{"system", "extra-platforms", "system-features"}, s.Name):
			def = "this machine's"
		case s.Default == "":
			def = "empty"
		}
		fmt.Fprintf(&b, "\n## %s\n%s; default: %s.\n\n%s\n", s.Name, s.Type(), def, s.Doc)
		if len(s.Aliases) > 0 {
			fmt.Fprintf(&b, "\nAlso known as: %s.\n", strings.Join(s.Aliases, ", "))
		}
	}
	const file = "../../../docs/larder.conf.md"
	if *rewrite {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != b.String() {
		t.Errorf("%s is not what the table says (%v); run the test with -rewrite", file, err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("substituters = https://a.example\nextra-platforms = i686-linux\n")
	f.Add("# x\nmax-jobs = auto\nsandbox-paths = /bin/sh=/bin/busybox /x?\nmax-build-log-size = 1T\n")
	f.Add("store-dir = /nix/store\nunknown = 1\n= \n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "include") {
			t.Skip("it would read other files")
		}
		c, _, err := load(t, text)
		if err != nil {
			return
		}
		// What was read can be printed and read again.
		var b strings.Builder
		for _, s := range config.Settings() {
			if v := s.Get(c); v != "" || s.Type() == "list" {
				fmt.Fprintf(&b, "%s = %s\n", s.Name, v)
			}
		}
		again, _, err := load(t, b.String())
		if err != nil {
			t.Fatalf("printed again it is refused: %v\n%s", err, b.String())
		}
		for _, s := range config.Settings() {
			if s.Get(c) != s.Get(again) {
				t.Errorf("%s: %q became %q", s.Name, s.Get(c), s.Get(again))
			}
		}
	})
}

// TestFetchFiles: where the files of downloads are that nobody set.
func TestFetchFiles(t *testing.T) {
	for _, c := range []struct {
		uid     int
		env     map[string]string
		options [][2]string
		want    string
	}{
		{0, nil, nil, "/etc/larder/netrc /etc/ssl/certs/ca-certificates.crt"},
		{0, map[string]string{"HOME": "/root", "SSL_CERT_FILE": "/s"}, nil, "/etc/larder/netrc /s"},
		{1000, map[string]string{"HOME": "/home/u", "SSL_CERT_FILE": "/s", "NIX_SSL_CERT_FILE": "/n"}, nil, "/home/u/.config/larder/netrc /n"},
		{1000, map[string]string{"HOME": "/home/u", "XDG_CONFIG_HOME": "/c", "SSL_CERT_FILE": "relative"}, nil, "/c/larder/netrc /etc/ssl/certs/ca-certificates.crt"},
		{0, map[string]string{"SSL_CERT_FILE": "/s"}, [][2]string{{"netrc-file", "/mine"}, {"ssl-cert-file", "/ca"}}, "/mine /ca"},
	} {
		got, _, err := config.Load(config.Sources{NoFiles: true, UID: c.uid, Getenv: func(name string) string { return c.env[name] }, Options: c.options})
		if err != nil {
			t.Fatal(err)
		}
		if s := got.NetrcFile + " " + got.SSLCertFile; s != c.want {
			t.Errorf("uid %d, %v: %q, want %q", c.uid, c.env, s, c.want)
		}
	}
}

// After sudo root may have the HOME of a user, who must not choose what root runs.
func TestRootReadsOnlyItsOwnFiles(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give a file to somebody else")
	}
	home := t.TempDir()
	dir := filepath.Join(home, ".config", "larder")
	file := filepath.Join(dir, "larder.conf")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(file, []byte("post-build-hook = /of/the/user\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	hook := func(uid int) string {
		t.Helper()
		c, _, err := config.Load(config.Sources{UID: uid, Getenv: func(name string) string { return map[string]string{"HOME": home}[name] }})
		if err != nil {
			t.Fatal(err)
		}
		return c.PostBuildHook
	}
	if got := hook(0); got != "/of/the/user" {
		t.Errorf("root's own file: %q", got)
	}
	for _, name := range []string{file, filepath.Dir(dir), home} {
		if err := os.Chown(name, 64321, 64321); err != nil {
			t.Fatal(err)
		}
		if got := hook(0); got == "/of/the/user" {
			t.Errorf("root reads what is below %s of somebody else", name)
		}
		if got := hook(64321); got != "/of/the/user" {
			t.Errorf("the user himself: %q", got)
		}
		if err := os.Chown(name, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
}
