package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"larder/test/harness"
)

// addBuiltin registers a derivation of a builtin builder.
func addBuiltin(t *testing.T, s *harness.Site, name string, fields map[string]any) harness.Derived {
	t.Helper()
	drv := map[string]any{"name": name, "system": "builtin", "args": []string{}, "inputDrvs": map[string]any{}, "inputSrcs": []string{},
		"outputs": map[string]any{"out": map[string]any{}}}
	for key, value := range fields {
		drv[key] = value
	}
	text, err := json.Marshal(drv)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.Top, name+".json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	d := harness.Derived{Drv: s.Must("derivation", "add", file)}
	d.Out = s.Must("query", "outputs", d.Drv)
	return d
}

// Whoever reads below a profile gets it merged, of packages one of which is downloaded, with a password.
func TestBuiltins(t *testing.T) {
	t.Parallel()
	for name, site := range map[string]func(testing.TB) *harness.Site{"root": harness.NewSite, "user": harness.NewUserSite} {
		t.Run(name, func(t *testing.T) {
			s := site(t)
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, password, _ := r.BasicAuth(); r.URL.Path != "/file" || password != "open sesame" {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				fmt.Fprint(w, "downloaded")
			}))
			defer web.Close()
			netrc := filepath.Join(s.Top, "netrc")
			if err := os.WriteFile(netrc, []byte(`machine 127.0.0.1 login me password "open sesame"`), 0o644); err != nil {
				t.Fatal(err)
			}
			s.Configure(nil, "netrc-file = "+netrc)
			s.Mount()
			sum := sha256.Sum256([]byte("downloaded"))
			fetched := addBuiltin(t, s, "fetched", map[string]any{
				"builder": "builtin:fetchurl", "env": map[string]string{"url": web.URL + "/file"},
				"outputs": map[string]any{"out": map[string]any{"hashAlgo": "sha256", "hash": hex.EncodeToString(sum[:])}},
			})
			packages := s.Derive(
				harness.Recipe{Name: "one", Script: "mkdir -p $out/share; ln -s $in1 $out/share/file", Inputs: []harness.Derived{fetched}},
				harness.Recipe{Name: "two", Script: "mkdir -p $out/share; echo other > $out/share/other; echo loses > $out/share/file"})
			inputs := map[string]any{}
			var words []string
			for i, p := range packages {
				inputs[p.Drv] = []string{"out"}
				words = append(words, fmt.Sprintf("true %d 1 %s", 5+i, p.Out))
			}
			profile := addBuiltin(t, s, "profile", map[string]any{
				"builder": "builtin:buildenv", "inputDrvs": inputs,
				"env": map[string]string{"derivations": strings.Join(words, " "), "manifest": fetched.Out},
			})
			for file, want := range map[string]string{"/share/file": "ok downloaded", "/share/other": "ok other\n", "/manifest.nix": "ok downloaded"} {
				if got := s.Read(profile.Out + file); strings.TrimSpace(got) != strings.TrimSpace(want) {
					t.Errorf("%s: got %q, want %q; %s", file, got, want, s.Larder("why", profile.Out).Out)
				}
			}
			bad := addBuiltin(t, s, "bad", map[string]any{
				"builder": "builtin:buildenv", "inputDrvs": inputs,
				"env": map[string]string{"derivations": strings.ReplaceAll(strings.Join(words, " "), "true 6", "true 5"), "manifest": fetched.Out},
			})
			if got := s.Touch("stat", bad.Out).Wait(); got.Out != "EIO" {
				t.Errorf("a collision: %+v", got)
			}
			contains(t, "why", s.Must("why", bad.Out), packages[0].Out+"/share/file", packages[1].Out+"/share/file", "have the same priority 5")
			s.Unmount()
			objects := []string{bad.Drv}
			for _, d := range append(packages, fetched, profile) {
				objects = append(objects, d.Drv, d.Out)
			}
			s.CheckObjects(objects...)
		})
	}
}
