package linux_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// TestBuilderView compares with what Nix 2.8.0 shows to a builder (the derivation "env-probe" of the fixtures).
func TestBuilderView(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		s := newSpec(t, `
			echo "uid $(id -u) gid $(id -g)"
			echo "pwd $(pwd) umask $(umask) host $(hostname) domain $(cat /proc/sys/kernel/domainname)"
			echo "-- env"; env | sort
			echo "-- passwd"; cat /etc/passwd
			echo "-- group"; cat /etc/group
			echo "-- hosts"; cat /etc/hosts
			echo "-- root"; ls -1A /
			echo "-- etc"; ls -1A /etc
			echo "-- dev"; ls -1A /dev
			echo "-- interfaces"; tail -n +3 /proc/net/dev | cut -d: -f1
			echo "-- pid $$"
			echo "-- store"; ls -1A /nix/store
			echo "-- store root writable"; if (: > /nix/store/x) 2>/dev/null; then echo yes; rm /nix/store/x; else echo no; fi
			echo "-- input writable"; if (: > /nix/store/dep/x) 2>/dev/null; then echo yes; else echo no; fi
			echo "-- stdin"; cat | wc -c
			echo "-- terminal"; [ -t 1 ] && [ -t 2 ] && echo yes
			echo "-- controlling terminal"; if (: > /dev/tty) 2>/dev/null; then echo yes; else echo no; fi
			echo "-- limits core $(ulimit -c)"
			echo "-- machine $(uname -m)"
			echo "-- file mode"; : > /build/f; stat -c '%a %u %g' /build/f
			echo "-- tmp $(stat -c %a /tmp)"
			echo "-- descriptors"; for i in $(seq 0 1000); do [ -e /proc/$$/fd/$i ] && echo $i; done; true`)
		s.Env = []string{"PATH=/bin", "ONLY=this"}
		dep := filepath.Join(t.TempDir(), "dep")
		must(t, os.Mkdir(dep, 0o755))
		s.Mounts = append(s.Mounts, sandbox.Mount{Source: dep, Target: "/nix/store/dep"})
		s.Platform = "x86_64-linux"
		got := strings.ReplaceAll(run(t, s), "\t", " ")
		var name unix.Utsname
		must(t, unix.Uname(&name))
		want := lines(
			"uid 1000 gid 100",
			"pwd /build umask 0022 host localhost domain (none)",
			"-- env", "ONLY=this", "PATH=/bin", "PWD=/build", "SHLVL=1",
			"-- passwd", "root:x:0:0:Nix build user:/build:/noshell", "nixbld:x:1000:100:Nix build user:/build:/noshell", "nobody:x:65534:65534:Nobody:/:/noshell",
			"-- group", "root:x:0:", "nixbld:!:100:", "nogroup:x:65534:",
			"-- hosts", "127.0.0.1 localhost", "::1 localhost",
			"-- root", "bin", "build", "dev", "etc", "nix", "proc", "tmp",
			"-- etc", "group", "hosts", "passwd",
			"-- dev", "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero",
			"-- interfaces", "    lo",
			"-- pid 1",
			"-- store", "dep",
			"-- store root writable", "yes",
			"-- input writable", "no",
			"-- stdin", "0",
			"-- terminal", "yes",
			"-- controlling terminal", "no",
			"-- limits core 0",
			"-- machine "+unix.ByteSliceToString(name.Machine[:]),
			"-- file mode", "644 1000 100",
			"-- tmp 1777",
			"-- descriptors", "0", "1", "2",
		)
		if diff := firstDifference(got, want); diff != "" {
			t.Fatalf("%s\nwhole log:\n%s", diff, got)
		}
		if left, err := os.ReadDir(s.BuildStore); err != nil || len(left) != 0 {
			t.Fatalf("left in the build store: %v, %v", left, err)
		}
	})
}

// TestProcessState: what a program inherits by execve(2).
func TestProcessState(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		s := newSpec(t, "")
		s.Builder, s.Args = "/bin/busybox", []string{"grep", "-E", "^(Sig(Ign|Blk)|Cap|NoNewPrivs|Seccomp:|Umask)", "/proc/self/status"}
		got := strings.ReplaceAll(run(t, s), "\t", " ")
		want := lines(
			"Umask: 0022", "SigBlk: 0000000000000000", "SigIgn: 0000000000000000",
			"CapInh: 0000000000000000", "CapPrm: 0000000000000000", "CapEff: 0000000000000000", "CapBnd: 0000000000000000", "CapAmb: 0000000000000000",
			"NoNewPrivs: 1", "Seccomp: 2")
		if got != want {
			t.Fatalf("got:\n%s\nwant:\n%s", got, want)
		}
	})
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		var a, b string
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			return "got line " + a + "\nwant     " + b
		}
	}
	return ""
}

// TestBytes: arguments, variables and file names are bytes, not text in some encoding.
func TestBytes(t *testing.T) {
	s := newSpec(t, "")
	odd := "\xff\xfe\x80 \xc3\xa9 \n\\ $(x)"
	s.Env = append(s.Env, "ODD="+odd)
	s.Args = []string{"sh", "-c", `printf %s "$ODD$0$1"`, odd, "\x01\xa0"}
	if got, want := run(t, s), odd+odd+"\x01\xa0"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// TestRawTerminal: the log is what was written, byte for byte.
func TestRawTerminal(t *testing.T) {
	s := newSpec(t, `printf 'a\nb\r\n\003\004\021\377 end'`)
	if got, want := run(t, s), "a\nb\r\n\003\004\021\377 end"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// TestLongLog: more than any buffer on the way holds.
func TestLongLog(t *testing.T) {
	s := newSpec(t, `dd if=/dev/zero bs=65536 count=64 2>/dev/null | tr '\0' x; echo; echo error >&2`)
	if got, want := run(t, s), strings.Repeat("x", 4<<20)+"\nerror\n"; got != want {
		t.Fatalf("got %d bytes, want %d", len(got), len(want))
	}
}

// TestInputs: each kind of input appears as it is, read-only, and what was needed for that is gone afterwards.
func TestInputs(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		objects := t.TempDir()
		must(t, os.Chmod(objects, 0o755))
		must(t, os.Mkdir(filepath.Join(objects, "dir"), 0o755))
		must(t, os.WriteFile(filepath.Join(objects, "dir/inside"), []byte("inside\n"), 0o666))
		must(t, os.WriteFile(filepath.Join(objects, "file"), []byte("file\n"), 0o666))
		must(t, os.Symlink("dir/inside", filepath.Join(objects, "link")))
		must(t, os.Symlink("/etc/shadow", filepath.Join(objects, "outward")))
		s := newSpec(t, `
			cd /nix/store
			cat dir/inside file link
			readlink link; readlink outward
			cat outward 2>/dev/null && echo escaped
			(echo x > file) 2>/dev/null && echo wrote file
			(echo x > dir/inside) 2>/dev/null && echo wrote inside
			(echo x > dir/new) 2>/dev/null && echo wrote new
			chmod 777 file 2>/dev/null && echo chmod
			rm -rf dir file 2>/dev/null && echo removed
			mv dir moved 2>/dev/null && echo moved
			ls -1
			mkdir out && echo made > out/made && ln out/made other`)
		for _, name := range []string{"dir", "file", "link", "outward"} {
			s.Mounts = append(s.Mounts, sandbox.Mount{Source: filepath.Join(objects, name), Target: "/nix/store/" + name})
		}
		s.Mounts = append(s.Mounts, sandbox.Mount{Source: filepath.Join(objects, "absent"), Target: "/nix/store/absent", Optional: true})
		want := "inside\nfile\ninside\ndir/inside\n/etc/shadow\ndir\nfile\nlink\noutward\n"
		if got := run(t, s); got != want {
			t.Fatalf("got:\n%s\nwant:\n%s", got, want)
		}
		left, err := filepath.Glob(s.BuildStore + "/*")
		must(t, err)
		if want := []string{s.BuildStore + "/other", s.BuildStore + "/out"}; strings.Join(left, " ") != strings.Join(want, " ") {
			t.Fatalf("left in the build store: %q, want %q", left, want)
		}
		if made, err := os.ReadFile(s.BuildStore + "/out/made"); err != nil || string(made) != "made\n" {
			t.Fatalf("output: %q, %v", made, err)
		}
	})
}

// TestMountsElsewhere: parents are made, one mount may lie in another, a writable one is writable.
func TestMountsElsewhere(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		base := t.TempDir()
		for _, dir := range []string{"outer/inner", "inner", "writable"} {
			must(t, os.MkdirAll(filepath.Join(base, dir), 0o777))
		}
		must(t, os.Chmod(base, 0o755))
		must(t, os.Chmod(filepath.Join(base, "writable"), 0o777))
		must(t, os.WriteFile(filepath.Join(base, "inner/file"), []byte("inner\n"), 0o644))
		s := newSpec(t, `
			cat /a/b/c/inner/file
			(echo > /a/b/c/new) 2>/dev/null && echo wrote c
			echo written > /w/file
			(echo > /new) 2>/dev/null && echo wrote root
			(echo > /etc/new) 2>/dev/null && echo wrote etc
			echo t > /tmp/t && echo s > /dev/shm/s && cat /tmp/t /dev/shm/s`)
		s.Mounts = append(s.Mounts,
			sandbox.Mount{Source: filepath.Join(base, "inner"), Target: "/a/b/c/inner"},
			sandbox.Mount{Source: filepath.Join(base, "outer"), Target: "/a/b/c"},
			sandbox.Mount{Source: filepath.Join(base, "writable"), Target: "/w", Writable: true},
		)
		if got, want := run(t, s), "inner\nt\ns\n"; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		if _, err := os.Stat(filepath.Join(base, "writable/file")); err != nil {
			t.Fatal(err)
		}
	})
}

// TestTmpDir: /tmp can be on disk.
func TestTmpDir(t *testing.T) {
	s := newSpec(t, `echo x > /tmp/x`)
	s.TmpDir = t.TempDir()
	must(t, os.Chmod(s.TmpDir, 0o777|os.ModeSticky))
	run(t, s)
	if _, err := os.Stat(filepath.Join(s.TmpDir, "x")); err != nil {
		t.Fatal(err)
	}
}

// TestNetwork: a build that is given the network sees the host's interfaces and its own copies of how to resolve names,
// but not the host's abstract sockets.
func TestNetwork(t *testing.T) {
	everyIdentity(t, func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer listener.Close()
		go func() {
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte("from the host\n"))
				c.Close()
			}
		}()
		_, port, _ := net.SplitHostPort(listener.Addr().String())
		script := `nc 127.0.0.1 ` + port + ` </dev/null 2>/dev/null || echo refused; [ -e /etc/nsswitch.conf ] && echo nsswitch; true`
		s := newSpec(t, script)
		if got := run(t, s); got != "refused\n" {
			t.Fatalf("without network: %q", got)
		}
		s = newSpec(t, script)
		s.Network = true
		if got, want := run(t, s), "from the host\nnsswitch\n"; got != want {
			t.Fatalf("with network: got %q, want %q", got, want)
		}
	})
}
