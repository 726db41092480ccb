package linux_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/sandbox"
	"larder/sandbox/linux"
)

// newHostSpec is a build without chroot, whose store directory has the object "dep", a directory with a file, and "old". same: they
// lie in the store directory itself.
func newHostSpec(t *testing.T, same bool, script string) (s *sandbox.Spec, objects string) {
	t.Helper()
	s = newSpec(t, script)
	base := filepath.Dir(s.BuildStore)
	must(t, errors.Join(os.Chmod(base, 0o755), os.Chmod(filepath.Dir(base), 0o755)))
	s.StoreDir, objects = filepath.Join(base, "nix"), filepath.Join(base, "objects")
	if same {
		objects = s.StoreDir
	}
	must(t, errors.Join(os.Mkdir(s.StoreDir, 0o755), os.MkdirAll(filepath.Join(objects, "dep/sub"), 0o755),
		os.WriteFile(filepath.Join(objects, "dep/file"), []byte("object\n"), 0o644),
		os.WriteFile(filepath.Join(objects, "dep/sub/deep"), []byte("deep\n"), 0o644),
		os.WriteFile(filepath.Join(objects, "old"), []byte("old\n"), 0o644),
		// As the realiser has it: in the object directory, and closed.
		os.Mkdir(filepath.Join(objects, "temp"), 0o700),
		os.Rename(s.BuildStore, filepath.Join(objects, "temp/store"))))
	s.BuildStore = filepath.Join(objects, "temp/store")
	scratch := filepath.Join(base, "scratch")
	way := filepath.Join(scratch, "a/b") // it is closed at its beginning
	must(t, errors.Join(os.Mkdir(scratch, 0o700), os.MkdirAll(way, 0o755), os.Rename(s.BuildDir, filepath.Join(way, "build"))))
	s.BuildDir = filepath.Join(way, "build")
	s.NoChroot, s.ObjectDir = true, objects
	s.Builder, s.Mounts = busybox, []sandbox.Mount{{Source: filepath.Join(objects, "dep"), Target: filepath.Join(s.StoreDir, "dep")}}
	return s, objects
}

// contents is all that is below dir, but for what is in skip, with its mode and what it holds.
func contents(t *testing.T, dir, skip string) string {
	t.Helper()
	var out strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if path == skip {
			return fs.SkipDir
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var text []byte
		if info.Mode().IsRegular() {
			text, err = os.ReadFile(path)
		}
		fmt.Fprintf(&out, "%s %s %q\n", path, info.Mode(), text)
		return err
	}))
	return out.String()
}

// TestNoChroot: the host is there, and the store is one that can be written, to which nothing happens.
func TestNoChroot(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		for _, same := range []bool{false, true} {
			t.Run(map[bool]string{false: "objects elsewhere", true: "objects in the store directory"}[same], func(t *testing.T) {
				s, objects := newHostSpec(t, same, "")
				secret := filepath.Join(filepath.Dir(objects), "host-file")
				must(t, os.WriteFile(secret, []byte("of the host\n"), 0o644))
				host, err := os.Hostname()
				must(t, err)
				s.Absent = []string{"out", "old", "never"}
				s.Args = []string{"sh", "-c", `
					cat ` + secret + `
					[ $(id -u) = ` + fmt.Sprint(hostUID(s)) + ` ] && echo id
					[ "$(hostname)" = '` + host + `' ] && echo host name
					[ $(busybox pwd) = ` + s.BuildDir + ` ] && echo x > "$PWD/file" && cat ` + s.BuildDir + `/file
					[ $$ = 1 ] && [ "$(readlink /proc/self)" != 1 ] && tr '\0' ' ' < /proc/1/cmdline | head -c 5 && echo
					cd ` + s.StoreDir + `
					cat dep/file dep/sub/deep
					[ -e old ] || echo no old
					cd dep && (echo more >> file; rm -rf sub; mkdir sub; echo x > sub/new; chmod 777 .) 2>/dev/null
					cd ..; rm -rf dep 2>/dev/null
					(echo x > ` + objects + `/dep/file || rm -rf ` + objects + `/dep || : > ` + objects + `/new) 2>/dev/null
					mkdir out && echo made > out/made && ln out/made out/link && mv out/made out/moved && cat out/moved
					echo new > old
					echo x > never && rm never
					setsid busybox sleep 1000 </dev/null >/dev/null 2>&1 &
					busybox true`}
				s.Env = []string{"PATH=/bin:/usr/bin", "PWD=" + s.BuildDir}
				before := contents(t, objects, s.BuildStore)
				want := lines("of the host", "id", "host name", "x", "sh -c", "object", "deep", "no old", "made")
				if got := run(t, s); got != want {
					t.Errorf("got:\n%s\nwant:\n%s", got, want)
				}
				if after := contents(t, objects, s.BuildStore); after != before {
					t.Errorf("the objects were:\n%s\nand are:\n%s", before, after)
				}
				for name, want := range map[string]string{"out/moved": "made\n", "out/link": "made\n", "old": "new\n"} {
					if text, err := os.ReadFile(filepath.Join(s.BuildStore, name)); err != nil || string(text) != want {
						t.Errorf("%s is %q, %v", name, text, err)
					}
				}
				if _, err := os.Lstat(filepath.Join(s.BuildStore, "never")); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("what was made and removed is there: %v", err)
				}
				if left, err := os.ReadDir(filepath.Dir(s.BuildStore)); err != nil || len(left) != 1 {
					t.Errorf("left beside the build store: %v, %v", left, err)
				}
				// The realiser removes them with all others.
				for _, name := range attributes(t, filepath.Join(s.BuildStore, "out")) {
					if !strings.HasPrefix(name, "user.overlay.") {
						t.Errorf("the output has the attribute %s", name)
					}
				}
			})
		}
	})
}

func hostUID(s *sandbox.Spec) int {
	if s.HostUID == sandbox.CallingUser {
		return os.Geteuid()
	}
	return s.HostUID
}

func attributes(t *testing.T, path string) []string {
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	must(t, err)
	return strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 })
}

// TestNoChrootIsolation: less than a sandbox, but no more rights than its user has, and no process survives.
func TestNoChrootIsolation(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		s, _ := newHostSpec(t, false, "")
		s.Args = []string{"sh", "-c", `
			grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs|Seccomp:)' /proc/self/status | tr '\t' ' '
			mount -t tmpfs none /mnt 2>/dev/null && echo mounted
			umount ` + s.StoreDir + ` 2>/dev/null && echo unmounted
			chmod 4755 /bin/sh 2>/dev/null && echo setuid
			: > x; chmod 4755 x 2>/dev/null && echo own setuid
			ulimit -c`}
		want := lines("CapPrm: 0000000000000000", "CapEff: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 1", "Seccomp: 2", "0")
		if got := run(t, s); got != want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
		mark := newMark()
		s, _ = newHostSpec(t, false, "")
		s.Args = []string{"sh", "-c", "setsid sleep 6" + mark + " >/dev/null 2>&1 & (setsid sh -c 'sleep 7" + mark + " & exec sleep 8" + mark + "' &) >/dev/null 2>&1; sleep 0.1"}
		s.Env = []string{"PATH=/bin:/usr/bin"}
		run(t, s)
		if n := sleepers(t, mark); n != 0 {
			t.Errorf("%d processes survived", n)
		}
	})
}

// TestNoChrootWithoutOverlay: inputs and outputs are there all the same where the kernel refuses an overlay.
func TestNoChrootWithoutOverlay(t *testing.T) {
	check := func(t *testing.T, r *linux.Runner, s *sandbox.Spec) {
		s.Args = []string{"sh", "-c", "cat dep/file; echo x 2>/dev/null >dep/file || echo read-only; echo made > out; ls -1"}
		s.Dir, s.Env = s.StoreDir, []string{"PATH=/bin:/usr/bin"}
		s.Absent = []string{"out"}
		var log bytes.Buffer
		result, err := r.Run(deadline(t), s, &log)
		if want := lines("object", "read-only", "dep", "out"); err != nil || !result.Success() || log.String() != want {
			t.Errorf("%v, %v, log:\n%s", result, err, &log)
		}
		if left, err := os.ReadDir(s.BuildStore); err != nil || len(left) != 1 || left[0].Name() != "out" {
			t.Errorf("in the build store: %v, %v", left, err)
		}
	}
	t.Run("known", func(t *testing.T) {
		everyIdentity(t, func(t *testing.T) {
			for _, same := range []bool{false, true} {
				r := newRunner(t)
				r.RefuseOverlays()
				s, _ := newHostSpec(t, same, "")
				check(t, r, s)
			}
		})
	})
	t.Run("found out", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("needs root to mount what cannot be a layer of an overlay")
		}
		// As in a container: an overlay is no upper layer for another.
		base := t.TempDir()
		lower, upper, work, merged := base+"/lower", base+"/upper", base+"/work", base+"/merged"
		must(t, errors.Join(os.Chmod(filepath.Dir(base), 0o755), os.Mkdir(lower, 0o755), os.Mkdir(upper, 0o755), os.Mkdir(work, 0o755), os.Mkdir(merged, 0o755)))
		must(t, unix.Mount("overlay", merged, "overlay", 0, "lowerdir="+lower+",upperdir="+upper+",workdir="+work))
		t.Cleanup(func() { must(t, unix.Unmount(merged, 0)) })
		t.Setenv("TMPDIR", merged)
		r := newRunner(t)
		for _, name := range []string{"first", "second"} {
			t.Run(name, func(t *testing.T) {
				s, _ := newHostSpec(t, false, "")
				check(t, r, s)
			})
		}
	})
}

func TestNoChrootErrors(t *testing.T) {
	r := newRunner(t)
	try := func(change func(*sandbox.Spec)) error {
		s, _ := newHostSpec(t, false, "echo must not run")
		change(s)
		result, err := r.Run(deadline(t), s, io.Discard)
		if result != nil {
			t.Errorf("it ran: %v", result)
		}
		if left, err := os.ReadDir(s.BuildStore); err == nil && len(left) > 0 {
			t.Errorf("left in the build store: %v", left)
		}
		return err
	}
	err := try(func(s *sandbox.Spec) { must(t, os.Remove(s.StoreDir)) })
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "without chroot needs") {
		t.Errorf("no store directory: %v", err)
	}
	err = try(func(s *sandbox.Spec) { s.ObjectDir = "/absent" })
	wantSetupError(t, err, sandbox.StageInput, "/absent", fs.ErrNotExist)
	err = try(func(s *sandbox.Spec) { s.ObjectDir = "" })
	wantSetupError(t, err, sandbox.StageSpec, "", nil)
	err = try(func(s *sandbox.Spec) { s.Absent = []string{"../escape"} })
	wantSetupError(t, err, sandbox.StageSpec, "", nil)
	err = try(func(s *sandbox.Spec) { s.Builder = "/absent" })
	wantSetupError(t, err, sandbox.StageExec, "/absent", fs.ErrNotExist)
}
