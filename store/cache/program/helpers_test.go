package program_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"larder/nar"
	"larder/store"
	"larder/store/cache"
	"larder/store/cache/program"
)

// object is a store object with one file.
type object struct {
	info *store.NarInfo
	nar  []byte
	path string // absolute
}

func newObject(t testing.TB, dir store.Dir, name, contents string, refs ...store.StorePath) *object {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(contents), 0o644); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := nar.Dump(t.Context(), &b, file); err != nil {
		t.Fatal(err)
	}
	p, err := dir.MakePath("output:out", store.SHA256.Sum([]byte(contents)), name)
	if err != nil {
		t.Fatal(err)
	}
	return &object{nar: b.Bytes(), path: dir.Join(p), info: &store.NarInfo{URL: "nar", Compression: "none", PathInfo: store.PathInfo{
		Path: p, NarHash: store.SHA256.Sum(b.Bytes()), NarSize: uint64(b.Len()), References: refs}}}
}

// files writes the object's narinfo and NAR for a script and returns their directory.
func (o *object) files(t testing.TB, dir store.Dir) string {
	t.Helper()
	at := t.TempDir()
	for name, text := range map[string][]byte{"info": []byte(o.info.Text(dir)), "nar": o.nar} {
		if err := os.WriteFile(filepath.Join(at, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

// script makes the URL of a program that is a shell script. A file that was just written may not be executable yet (another
// thread may have it open while it forks), so the program is the shell.
func script(t testing.TB, text, settings string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program.sh")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	u := "exec:/bin/sh?arg=" + url.QueryEscape(file)
	if settings != "" {
		u += "&" + settings
	}
	return u
}

// server is a script that answers properly. Its functions may be replaced by what the caller puts behind it.
const server = `
hello() { printf 'hello 1\n\n'; }
info() { echo "ok $(($(wc -c <"$at/info")))"; cat "$at/info"; }
nar() { echo ok; echo "$(($(wc -c <"$at/nar")))"; cat "$at/nar"; echo 0; }
`

func serve(at, changes string) string {
	return "at=" + at + server + changes + "\nwhile read -r word path; do $word $path; done\n"
}

func open(t testing.TB, url string, o program.Options) *program.Program {
	t.Helper()
	if o.TempDir == "" {
		o.TempDir = t.TempDir()
	}
	p, err := program.Open(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	t.Cleanup(func() {
		if left, err := os.ReadDir(o.TempDir); err != nil || len(left) > 0 {
			t.Errorf("left in the temporary directory: %v %v", left, err)
		}
	})
	return p
}

// fetch asks for a path and its NAR.
func fetch(t testing.TB, p *program.Program, path store.StorePath) ([]byte, error) {
	t.Helper()
	n, err := p.NarInfo(t.Context(), path)
	if err != nil {
		return nil, err
	}
	return readNAR(t, p, n)
}

func readNAR(t testing.TB, p *program.Program, n *store.NarInfo) ([]byte, error) {
	t.Helper()
	r, err := p.NAR(t.Context(), n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// logger keeps what is logged.
func logger() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, nil)), &b
}

var signed = cache.Policy{RequireSigs: true}

func number(n int) string { return strconv.Itoa(n) }
