package realiser_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"larder/nar"
	"larder/realiser"
	"larder/realiser/builder"
	"larder/realiser/result"
	"larder/store"
	"larder/store/compress"
	"larder/store/derivation"
	"larder/store/local"
)

var activityID = regexp.MustCompile(`"id":\d+`)

// comparableLog leaves out of a log what differs each time that a builtin runs: how far a download was at which moment, and
// the ids of activities.
func comparableLog(text []byte) string {
	var kept strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "@nix ") {
			if strings.Contains(line, `"action":"result"`) {
				continue
			}
			line = activityID.ReplaceAllString(line, `"id":0`)
		}
		kept.WriteString(line)
	}
	return kept.String()
}

// TestBuiltinLogs compares the logs of downloads with Nix's, each in a store where nothing is there yet, and what failures say.
func TestBuiltinLogs(t *testing.T) {
	t.Parallel()
	box := realSandbox(t)
	says := map[string]string{
		"builtin-fetchurl":         "",
		"builtin-fetchurl-missing": "error: unable to download 'file:///absent': open /absent: no such file or directory",
		"builtin-buildenv-conflict": "error: packages '/nix/store/3p4f0ca39ad94nbjr0yhm9r87am084la-pkg-b/bin/x' and '/nix/store/2dsk7dkzyr40cnham4y9ys6zhcihwp6d-pkg-a/bin/x' " +
			"have the same priority 5; use 'nix-env --set-flag priority NUMBER INSTALLED_PKGNAME' to change the priority of one of the conflicting packages (0 being the highest priority)",
		"builtin-unpack-channel-two": "error: channel tarball '/nix/store/nmf407fvydx7km3rqcmzdakrmvgaymmy-two.tar.xz' contains more than one file",
	}
	for _, c := range readCases(t) {
		want, ok := says[c.Case]
		if !ok {
			continue
		}
		delete(says, c.Case)
		t.Run(c.Case, func(t *testing.T) {
			s := openStore(t)
			loadDerivations(t, s)
			drv := parsePath(t, c.DrvPath)
			res := realise(t, open(t, s, box, nil), drv)
			if want == "" {
				if res.Status != result.Built {
					t.Fatalf("%v: %v", res.Status, res.Err)
				}
				checkGood(t, open(t, s, box, nil), s, c, drv, res)
				return
			}
			if tail := lastLines(res); len(tail) == 0 || tail[len(tail)-1] != want {
				t.Errorf("%v: the log ends with %q", res.Err, tail)
			}
		})
	}
	if len(says) > 0 {
		t.Errorf("cases that are not there: %v", says)
	}
}

func lastLines(res realiser.BuildResult) []string {
	var e *result.BuildError
	if !errors.As(res.Err, &e) {
		return nil
	}
	return e.LastLines
}

// addFetch registers a derivation of builtin:fetchurl that promises a file with this content.
func addFetch(t *testing.T, s *local.Store, url, content string, change func(*derivation.Derivation)) (drv, out store.StorePath) {
	t.Helper()
	d := &derivation.Derivation{Name: "fetched", System: "builtin", Builder: "builtin:fetchurl",
		Outputs: map[string]derivation.Output{"out": {CA: store.ContentAddress{Method: store.Flat, Hash: store.SHA256.Sum([]byte(content))}}},
		Env:     map[string]string{"url": url}}
	if change != nil {
		change(d)
	}
	return addDrv(t, s, d), d.Outputs["out"].Path
}

// fetching is a store with a realiser whose downloads have a password, a mirror, and keep-failed.
type fetching struct {
	*realiser.Realiser
	s        *local.Store
	buildDir string
	mirror   map[string]string // what it has
	web      *httptest.Server
	got      []string // what was asked of it, with the credentials
	during   func()   // a request
}

const password = "a-password-to-be-kept"

func newFetching(t *testing.T, change func(*realiser.Options)) *fetching {
	t.Helper()
	f := &fetching{s: openStore(t), mirror: map[string]string{}, during: func() {}}
	f.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pass, _ := r.BasicAuth()
		f.got = append(f.got, r.URL.Path+" "+pass)
		f.during()
		if text, ok := f.mirror[r.URL.Path]; ok {
			fmt.Fprint(w, text)
		} else if r.URL.Path == "/origin" {
			fmt.Fprint(w, "content")
		} else {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(f.web.Close)
	netrc := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(netrc, []byte("machine 127.0.0.1 login me password "+password), 0o600); err != nil {
		t.Fatal(err)
	}
	f.Realiser = open(t, f.s, realSandbox(t), func(o *realiser.Options) {
		o.Fetch = builder.Fetch{NetrcFile: netrc, HashedMirrors: []string{f.web.URL + "/mirror"}, Attempts: 1}
		o.KeepFailed = true
		f.buildDir = o.BuildDir
		if change != nil {
			change(o)
		}
	})
	return f
}

// TestFetchurlInTheSandbox: what a download in a sandbox reaches, and what it leaves behind.
func TestFetchurlInTheSandbox(t *testing.T) {
	t.Parallel()
	host := filepath.Join(t.TempDir(), "host")
	if err := os.WriteFile(host, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("good", func(t *testing.T) {
		f := newFetching(t, nil)
		f.during = func() { f.wantNoPassword(t) }
		drv, out := addFetch(t, f.s, f.web.URL+"/origin", "content", func(d *derivation.Derivation) {
			// Nothing that the derivation says becomes the environment of the process that has the password.
			d.Env["LD_PRELOAD"], d.Env["GODEBUG"], d.Env["http_proxy"] = "/absent.so", "gctrace=1", "http://127.0.0.1:1"
		})
		if res := realise(t, f.Realiser, drv); res.Status != result.Built {
			t.Fatalf("%v: %v, %q", res.Status, res.Err, lastLines(res))
		}
		if text, err := os.ReadFile(f.s.ObjectPath(out)); err != nil || string(text) != "content" {
			t.Errorf("%q, %v", text, err)
		}
		hash := store.SHA256.Sum([]byte("content")).Encode(store.Base16)
		if want := "/mirror/sha256/" + hash + " " + password + ", /origin " + password; strings.Join(f.got, ", ") != want {
			t.Errorf("requests %q, want %q", f.got, want)
		}
		log, err := f.ReadLog(t.Context(), drv)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		text, err := io.ReadAll(log)
		for _, bad := range []string{password, "preload", "gc 1"} {
			if err != nil || strings.Contains(string(text), bad) {
				t.Errorf("the log has %q: %v\n%s", bad, err, text)
			}
		}
	})
	t.Run("unpack and executable", func(t *testing.T) {
		f := newFetching(t, nil)
		program := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		var archive, packed bytes.Buffer
		if _, err := nar.Dump(t.Context(), &archive, program); err != nil {
			t.Fatal(err)
		}
		w, err := compress.NewWriter("xz", 0, &packed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(archive.Bytes()); errors.Join(err, w.Close()) != nil {
			t.Fatal(err)
		}
		f.mirror["/p.nar.xz"], f.mirror["/p"] = packed.String(), "#!/bin/sh\n"
		for _, how := range [][2]string{{"unpack", "/p.nar.xz"}, {"executable", "/p"}} {
			drv, out := addFetch(t, f.s, f.web.URL+how[1], "", func(d *derivation.Derivation) {
				d.Name = how[0]
				d.Outputs["out"] = derivation.Output{CA: store.ContentAddress{Method: store.Recursive, Hash: store.SHA256.Sum(archive.Bytes())}}
				d.Env[how[0]] = "1"
			})
			if res := realise(t, f.Realiser, drv); res.Status != result.Built {
				t.Errorf("%s: %v: %v, %q", how[0], res.Status, res.Err, lastLines(res))
			} else if st, err := os.Stat(f.s.ObjectPath(out)); err != nil || st.Mode() != 0o555 {
				t.Errorf("%s: %v, %v", how[0], st.Mode(), err)
			}
		}
	})
	t.Run("structured attributes", func(t *testing.T) {
		f := newFetching(t, nil)
		f.mirror["/p"] = "#!/bin/sh\n"
		var archive bytes.Buffer
		program := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(program, []byte(f.mirror["/p"]), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := nar.Dump(t.Context(), &archive, program); err != nil {
			t.Fatal(err)
		}
		drv, _ := addFetch(t, f.s, "", "", func(d *derivation.Derivation) {
			d.Outputs["out"] = derivation.Output{CA: store.ContentAddress{Method: store.Recursive, Hash: store.SHA256.Sum(archive.Bytes())}}
			d.Env = map[string]string{"__json": fmt.Sprintf(`{"url":%q,"executable":true,"unpack":false,"other":{"a":1}}`, f.web.URL+"/p")}
		})
		if res := realise(t, f.Realiser, drv); res.Status != result.Built {
			t.Errorf("%v: %v, %q", res.Status, res.Err, lastLines(res))
		}
	})
	t.Run("mirror", func(t *testing.T) {
		f := newFetching(t, nil)
		f.mirror["/mirror/sha256/"+store.SHA256.Sum([]byte("elsewhere")).Encode(store.Base16)] = "elsewhere"
		drv, _ := addFetch(t, f.s, "http://127.0.0.1:1/gone", "elsewhere", nil)
		if res := realise(t, f.Realiser, drv); res.Status != result.Built {
			t.Errorf("%v: %v, %q", res.Status, res.Err, lastLines(res))
		}
	})
	for _, c := range []struct {
		name, url, content string
		change             func(*derivation.Derivation)
		status             result.Status
		says               string // in the error or the last line of the log
	}{
		{"wrong hash", "WEB/origin", "something else", nil, result.OutputRejected, "hash mismatch"},
		{"not there", "WEB/absent", "content", nil, result.TransientFailure, "HTTP error 404"},
		{"file of the host", "file://" + host, "content", nil, result.TransientFailure, "no such file or directory"},
		{"no fixed output", "WEB/origin", "", func(d *derivation.Derivation) { d.Outputs["out"] = derivation.Output{} }, result.PermanentFailure,
			"'builtin:fetchurl' must be a fixed-output or impure derivation"},
		{"no url", "", "content", func(d *derivation.Derivation) { delete(d.Env, "url") }, result.TransientFailure, "attribute 'url' missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFetching(t, nil)
			drv, _ := addFetch(t, f.s, strings.Replace(c.url, "WEB", f.web.URL, 1), c.content, c.change)
			res := realise(t, f.Realiser, drv)
			if res.Err == nil {
				t.Fatal(res.Status)
			}
			if said := res.Err.Error() + "\n" + strings.Join(lastLines(res), "\n"); res.Status != c.status || !strings.Contains(said, c.says) {
				t.Errorf("%v: %s\nwant %v: …%s…", res.Status, said, c.status, c.says)
			}
			var e *result.BuildError
			if errors.As(res.Err, &e) && e.KeptDir != "" {
				t.Errorf("the directory of a builtin is kept: %s", e.KeptDir)
			}
		})
	}
}

// TestCertificates: builders with the network find the certificate authorities where programs look for them, others do not.
func TestCertificates(t *testing.T) {
	t.Parallel()
	s, dir := openStore(t), t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, []byte("authorities\n"), 0o644), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	r := open(t, s, realSandbox(t), func(o *realiser.Options) { o.Fetch.CertFile = link })
	for _, c := range []struct{ name, script, want string }{
		{"with the network", "cat /etc/ssl/certs/ca-certificates.crt > $out", "authorities\n"},
		{"without", "[ -e /etc/ssl ] || echo none > $out", ""},
	} {
		drv, _ := addFetch(t, s, "", c.want, func(d *derivation.Derivation) {
			d.System, d.Builder, d.Args = "x86_64-linux", "/bin/sh", []string{"-c", c.script}
			if c.want == "" {
				d.Outputs["out"] = derivation.Output{}
			}
		})
		if res := realise(t, r, drv); res.Status != result.Built {
			t.Errorf("%s: %v: %v, %q", c.name, res.Status, res.Err, lastLines(res))
		}
	}
}

// wantNoPassword looks for the password in all files of the build that are on disk.
func (f *fetching) wantNoPassword(t *testing.T) {
	files := 0
	err := filepath.WalkDir(filepath.Dir(f.buildDir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // it may be gone by now
		}
		files++
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), password) {
			t.Errorf("%s has the password", path)
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("%d files were looked at: %v", files, err)
	}
}
