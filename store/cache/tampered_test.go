package cache_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"larder/store"
	"larder/test/fixture"
)

// stricter are the tampered caches that Nix 2.8 takes, at least without require-sigs, and that are refused here.
var stricter = map[string]string{
	"evil-executable-twice": "the NAR is not canonical",
	"evil-no-contents":      "the NAR is not canonical",
	"evil-unsorted":         "the NAR is not canonical",
	"nar-trailing":          "the NAR is longer than NarSize",
	"url-dotdot":            "the NAR lies outside of the cache",
}

func TestTamperedVerdicts(t *testing.T) {
	root := unpack(t, "tampered")
	unused := map[string]bool{}
	for name := range stricter {
		unused[name] = true
	}
	for _, row := range fixture.TSV(t, "caches/tampered.tsv") {
		name, want := row[0], storePath(t, row[1])
		for i, requireSigs := range []bool{true, false} {
			valid := strings.Fields(strings.Trim(row[3+3*i], "-"))
			for _, how := range []string{"file", "http"} {
				if how == "http" && name == "cache-info-missing" {
					continue // Nix says that such a URL is no binary cache, and so do we; see TestNotACache
				}
				t.Run(name+"/"+how+map[bool]string{true: "/require-sigs"}[requireSigs], func(t *testing.T) {
					url := "file://" + filepath.Join(root, name)
					if how == "http" {
						url = serve(t, root) + "/" + name
					}
					o := quick()
					o.Policy = trusted(t, requireSigs)
					s := &substituter{cache: open(t, url, o), dir: t.TempDir(), state: map[store.StorePath]error{}}
					err := s.substitute(t.Context(), want)
					got := s.names()
					if len(valid) > 0 && len(got) < len(valid) && stricter[name] != "" {
						delete(unused, name)
						valid = got
					}
					slices.Sort(valid)
					if !slices.Equal(got, valid) {
						t.Errorf("valid are %q, with Nix %q; the error is: %v", got, valid, err)
					}
					if ok := s.state[want] == nil; ok != (err == nil) || ok != slices.Contains(valid, want.Name()) {
						t.Errorf("error: %v", err)
					}
					checkError(t, err)
				})
			}
		}
	}
	for name := range unused {
		t.Errorf("%s: Nix is not laxer there", name)
	}
}

// names are what is valid now, and what lies in the directory must be just that.
func (s *substituter) names() []string {
	names := []string{}
	for p, err := range s.state {
		if err == nil {
			names = append(names, p.Name())
		}
	}
	slices.Sort(names)
	files, err := os.ReadDir(s.dir)
	if err != nil || len(files) != len(names) {
		return append(names, "and what was left behind")
	}
	return names
}

// checkError: each refusal is of a kind that a program can tell, and one line for the user.
func checkError(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("the error has several lines: %q", err)
	}
	t.Log(err)
	for _, kind := range []error{store.ErrNotFound, store.ErrCorrupt, store.ErrBadSignature, errPending} {
		if errors.Is(err, kind) {
			return
		}
	}
	if !strings.Contains(err.Error(), "it holds paths of /gnu/store") && !strings.Contains(err.Error(), "malformed NAR") {
		t.Errorf("the error is of no known kind: %v", err)
	}
}
