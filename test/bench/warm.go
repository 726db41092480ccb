package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// mounted is a store that is mounted, with one object: the machine's headers, a
// static program, and a dynamic one with its loader and libraries.
type mounted struct {
	native string // the object as it lies on disk
	fuse   string // the same through the mount
}

// mount adds the object and mounts the store, once for all contests.
func (s *suite) mount() func() (mounted, error) {
	var m mounted
	return func() (mounted, error) {
		if m.fuse != "" {
			return m, nil
		}
		tree, err := s.mountTree()
		if err != nil {
			return m, err
		}
		store, objects, state := s.scratch+"/store", s.scratch+"/objects", s.scratch+"/state"
		for _, d := range []string{store, objects} {
			if err := os.Mkdir(d, 0o755); err != nil {
				return m, err
			}
		}
		global := []string{"--store-dir", store, "--object-dir", objects, "--state-dir", state}
		path, err := s.command(s.larder, append(global, "add", tree)...)
		if err != nil {
			return m, err
		}
		if _, err := s.command(s.larder, append(global, "mount", "--background", store)...); err != nil {
			return m, err
		}
		s.onClose(func() {
			if out, err := exec.Command(s.larder, append(global, "unmount", store)...).CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "bench: unmount: %v: %s\n", err, out)
			}
		})
		m = mounted{native: filepath.Join(objects, filepath.Base(path)), fuse: path}
		return m, nil
	}
}

func (s *suite) mountTree() (string, error) {
	tree := s.scratch + "/tree"
	_, err := s.command("sh", "-ec", `
		mkdir -p "$0/bin" "$0/lib"
		cp -a /usr/include "$0/include"
		cp -a "$(g++ -print-file-name=include)" "$0/include-gcc"
		cp "$(command -v busybox)" "$0/bin/busybox"
		cp "$(readlink -f /bin/ls)" "$0/bin/ls"
		cp "$(readlink -f /lib64/ld-linux-x86-64.so.2)" "$0/bin/ld.so"
		ldd /bin/ls | sed -n 's/.* => \(\/[^ ]*\).*/\1/p' | xargs -I{} cp -L {} "$0/lib/"
	`, tree)
	return tree, err
}

// warm compares what the kernel should answer without us with the same on the
// native directory.
func (s *suite) warm() []contest {
	mount := s.mount()
	row := func(name, aim string, work func(dir string) func() error) contest {
		return contest{name: name, peer: "the native directory", aim: aim, pair: func() (pair, error) {
			m, err := mount()
			if err != nil {
				return pair{}, err
			}
			return pair{side{work: work(m.fuse)}, side{work: work(m.native)}}, nil
		}}
	}
	program := func(name string, args ...string) func() error {
		return func() error {
			_, err := s.command(name, args...)
			return err
		}
	}
	return []contest{
		row("warm stat of every header", "≤ 1.3", func(dir string) func() error {
			return eachFile(dir+"/include", func(path string) error { _, err := os.Lstat(path); return err })
		}),
		row("warm open + read + close of every header", "≤ 1.3", func(dir string) func() error {
			return eachFile(dir+"/include", func(path string) error { _, err := os.ReadFile(path); return err })
		}),
		row("warm exec of a static program, 100 times", "≤ 1.3", func(dir string) func() error {
			return repeat(100, program(dir+"/bin/busybox", "true"))
		}),
		row("warm exec of a dynamic program, 100 times", "≤ 1.3", func(dir string) func() error {
			return repeat(100, program(dir+"/bin/ld.so", "--library-path", dir+"/lib", dir+"/bin/ls", "/"))
		}),
		row("warm `grep -r` over the headers", "≤ 1.3", func(dir string) func() error {
			return program("grep", "-rc", "--include=*.h", "larder_no_such_word\\|std", dir+"/include")
		}),
		row("warm `g++ -E` of <bits/stdc++.h>", "≤ 1.3", func(dir string) func() error {
			script := `cd "$0/include" && echo '#include <bits/stdc++.h>' | g++ -E -x c++ -nostdinc \
				-isystem c++/12 -isystem x86_64-linux-gnu/c++/12 -isystem "$0/include-gcc" -isystem x86_64-linux-gnu -isystem . - >/dev/null`
			return program("sh", "-c", script, dir)
		}),
	}
}

func repeat(n int, work func() error) func() error {
	return func() error {
		for range n {
			if err := work(); err != nil {
				return err
			}
		}
		return nil
	}
}

// eachFile lists the regular files of a tree once, then visits them at each call.
func eachFile(dir string, visit func(path string) error) func() error {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	return func() error {
		for _, f := range files {
			if err := visit(f); err != nil {
				return err
			}
		}
		return err
	}
}
