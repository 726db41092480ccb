// Package lint holds the tests that keep the architecture true.
package lint

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "larder"

// allowed says which packages of the project a package may import; a trailing
// "/..." stands for the package and everything below it. The picture is in docs/architecture.md.
var allowed = map[string][]string{
	"store":               {},
	"nar/tree":            {},
	"nar":                 {"nar/tree"},
	"nar/git":             {"nar"},
	"sandbox":             {},
	"store/compress":      {},
	"store/netrc":         {},
	"store/derivation":    {"store"},
	"store/wire":          {"store", "store/derivation"},
	"store/remote":        {"store", "store/wire"},
	"store/local":         {"store", "store/derivation", "nar", "nar/git", "nar/tree"},
	"store/cache":         {"store", "store/compress", "store/netrc", "nar"},
	"store/cache/program": {"store", "store/cache", "nar", "nar/tree"},
	"sandbox/linux":       {"sandbox"},
	"realiser":            {"realiser/builder", "realiser/builtin", "realiser/content", "realiser/hook", "realiser/result", "realiser/userpool", "store", "store/derivation", "sandbox", "nar", "nar/tree"},
	"realiser/builtin":    {"store", "store/compress", "store/netrc", "sandbox", "nar"},
	"realiser/builder":    {"realiser/builtin", "realiser/content", "realiser/hook", "realiser/result", "realiser/userpool", "store", "store/derivation", "sandbox", "nar", "nar/tree"},
	"realiser/content":    {"store", "nar", "nar/git"},
	"realiser/result":     {"store"},
	"realiser/userpool":   {},
	"realiser/hook":       {},
	"fusefs":              {"store"},
	"fusefs/mount":        {"store", "fusefs"},
}

// heavy names libraries that only one room may use.
var heavy = map[string]string{
	"github.com/cockroachdb/pebble":        "store/local",
	"github.com/seccomp/libseccomp-golang": "sandbox/linux",
	"github.com/hanwen/go-fuse":            "fusefs",
	"github.com/spf13/cobra":               "cmd",
	"github.com/vbauerster/mpb":            "cmd",
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var list []goPackage
	for d := json.NewDecoder(out); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(list) < len(allowed) {
		t.Fatalf("go list found %d packages, expected at least %d", len(list), len(allowed))
	}
	return list
}

func TestImportGraph(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		top, _, _ := strings.Cut(name, "/")
		for _, imp := range p.Imports {
			checkHeavy(t, name, imp)
			imported, ours := strings.CutPrefix(imp, module+"/")
			if !ours || top == "test" {
				continue
			}
			if strings.HasPrefix(imported, "test/") || (strings.HasPrefix(imported, "cmd/") && top != "cmd") {
				t.Errorf("%s imports %s: nothing below may look up to cmd and test", name, imported)
			}
			if top == "cmd" {
				continue
			}
			may, known := allowed[name]
			if !known {
				t.Errorf("%s has no entry in the import graph: decide what it may import and draw it", name)
			} else if !slices.Contains(may, imported) {
				t.Errorf("%s imports %s, it may import only %v", name, imported, may)
			}
		}
	}
}

func checkHeavy(t *testing.T, name, imp string) {
	t.Helper()
	if strings.HasPrefix(name, "test/") {
		return
	}
	for library, room := range heavy {
		if strings.HasPrefix(imp, library) && name != room && !strings.HasPrefix(name, room+"/") {
			t.Errorf("%s imports %s, which only %s may use", name, imp, room)
		}
	}
}
