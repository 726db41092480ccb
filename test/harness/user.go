package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// plainUser is a user whom nobody has made: no machine gives out ids here.
const plainUser = 64123

// NewUserSite makes a site whose programs run as a plain user: one that the test makes up if root runs it, else who runs it.
func NewUserSite(t testing.TB) *Site {
	t.Helper()
	s := NewSite(t)
	if _, err := exec.LookPath("fusermount3"); err != nil {
		t.Skip("no fusermount3 (package fuse3)")
	}
	if os.Geteuid() != 0 {
		return s
	}
	if err := welcomeUser(); err != nil {
		t.Skipf("a plain user cannot mount here: %v", err)
	}
	s.UID = plainUser
	for _, d := range []string{s.Top, s.gates} {
		if err := os.Chown(d, plainUser, plainUser); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// welcomeUser lets the plain user mount, in the mount namespace of the tests: a /dev/fuse that everybody may open, as udev
// makes it but bare containers do not, and a name for the user, without which fusermount3 refuses to serve.
var welcomeUser = sync.OnceValue(func() error {
	dir := filepath.Join(base, "user")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	// A tmpfs of its own, as the scratch directory may be on one without devices.
	if err := unix.Mount("larder-test", dir, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return fmt.Errorf("mounting a tmpfs: %w", err)
	}
	node, passwd := filepath.Join(dir, "fuse"), filepath.Join(dir, "passwd")
	err := errors.Join(unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))), os.Chmod(node, 0o666))
	if err != nil {
		return fmt.Errorf("making a /dev/fuse: %w", err)
	}
	users, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	users = fmt.Appendf(users, "larder-test:x:%d:%d::/:/bin/sh\n", plainUser, plainUser)
	if err := os.WriteFile(passwd, users, 0o644); err != nil {
		return err
	}
	return errors.Join(unix.Mount(node, "/dev/fuse", "", unix.MS_BIND, ""), unix.Mount(passwd, "/etc/passwd", "", unix.MS_BIND, ""))
})
