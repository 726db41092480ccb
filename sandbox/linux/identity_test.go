package linux_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/sandbox"
)

// TestGroups: a file that only a supplementary group may read can be read by a builder that has it, in a sandbox and without.
func TestGroups(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give groups to a builder")
	}
	const kvm, other = 64331, 64332
	for _, noChroot := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(file, []byte("for the group\n"), 0o640))
		must(t, os.Chown(file, 0, kvm))
		for dir := filepath.Dir(file); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
			must(t, os.Chmod(dir, 0o755))
		}
		build := func(groups ...int) string {
			s := newSpec(t, "")
			path, numbers := "/file", map[int]string{kvm: "100000", other: "100001"}
			if noChroot {
				s, _ = newHostSpec(t, false, "")
				path, numbers = file, map[int]string{kvm: fmt.Sprint(kvm), other: fmt.Sprint(other)}
			}
			s.Args = []string{"sh", "-c", "cat " + path + " 2>/dev/null; for g in $(id -G); do echo group $g; done"}
			s.Env = []string{"PATH=/bin:/usr/bin"}
			s.Mounts = append(s.Mounts, sandbox.Mount{Source: file, Target: "/file"})
			s.Groups = groups
			text := run(t, s)
			for _, g := range groups {
				if n, ok := numbers[g]; ok && !strings.Contains(text, "group "+n+"\n") {
					t.Errorf("group %d is not there:\n%s", g, text)
				}
			}
			return text
		}
		if got := build(); strings.Contains(got, "for the group") || strings.Count(got, "group") != 1 {
			t.Errorf("without groups, no chroot %t:\n%s", noChroot, got)
		}
		// One that is the builder's own already, and one twice.
		if got := build(kvm, buildUser, other, kvm); !strings.Contains(got, "for the group") || strings.Count(got, "\ngroup") != 3 {
			t.Errorf("with groups, no chroot %t:\n%s", noChroot, got)
		}
	}
}

// TestUIDRange: a builder that is root over many users, and nobody outside.
func TestUIDRange(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to map a range of user ids")
	}
	const first, count = 1_234_567_890, 65536 // not those of builds on this machine, which are killed at times
	dep := filepath.Join(t.TempDir(), "dep")
	must(t, os.Mkdir(dep, 0o755))
	must(t, os.WriteFile(filepath.Join(dep, "file"), []byte("input\n"), 0o644))
	s := newSpec(t, `
		id -u; id -g; tr -s ' ' < /proc/self/uid_map
		echo x > file; chown 1234:65535 file && ls -n file | tr -s ' ' | cut -d' ' -f3,4
		chown 65536 file 2>/dev/null && echo out of range
		mount -t tmpfs none /tmp && echo mounted
		mount -o remount,bind,rw /nix/store/dep 2>/dev/null; echo x 2>/dev/null >> /nix/store/dep/file || cat /nix/store/dep/file
		mknod disk b 8 0 2>/dev/null && echo device
		chmod 4755 file 2>/dev/null && echo setuid
		[ -d /sys/kernel ] && echo sys
		(echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo core pattern
		(echo x > /sys/kernel/mm/transparent_hugepage/enabled) 2>/dev/null && echo wrote sys
		kill -0 `+fmt.Sprint(os.Getpid())+` 2>/dev/null && echo signalled
		mkdir /nix/store/out && chown 7:7 /nix/store/out
		grep ^NoNewPrivs /proc/self/status | tr '\t' ' '`)
	s.Env = []string{"PATH=/bin:/usr/bin"}
	s.UID, s.GID, s.HostUID, s.HostGID, s.UIDCount = 0, 0, first, first, count
	s.Mounts = append(s.Mounts, sandbox.Mount{Source: dep, Target: "/nix/store/dep"})
	must(t, os.Chown(s.BuildDir, first, first))
	must(t, os.Chown(s.BuildStore, 0, first))
	want := lines("0", "0", fmt.Sprintf(" 0 %d %d", first, count), "1234 65535", "mounted", "input", "sys", "NoNewPrivs: 1")
	if got := run(t, s); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(s.BuildStore, "out"), &st); err != nil || st.Uid != first+7 || st.Gid != first+7 {
		t.Errorf("the output belongs to %d:%d, %v", st.Uid, st.Gid, err)
	}
}

// TestDeadSpare: a child that was killed while it waited for work is no reason for a build to fail.
func TestDeadSpare(t *testing.T) {
	r := newRunner(t)
	build := func() {
		if result, err := r.Run(deadline(t), newSpec(t, "true"), io.Discard); err != nil || !result.Success() {
			t.Fatal(result, err)
		}
	}
	for range 5 {
		build()
		launcher := fmt.Sprint(childNamed(t, "larder-launcher"))
		waitFor(t, func() bool {
			spare := offspringNamed(t, launcher, "larder-launcher")
			if spare == 0 {
				build() // the launcher may have got the last one when it was dead already, and does not know
				return false
			}
			return unix.Kill(spare, unix.SIGKILL) == nil
		})
	}
}
