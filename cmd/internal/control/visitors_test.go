package control

import (
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// strangerTest tells the test binary, which another user runs, to open more connections than a user may have.
const strangerTest = "LARDER_TEST_STRANGER_SOCKET"

// One user cannot take all of the daemon's descriptors, and keeps nobody else out.
func TestConnectionsOfAUserAreLimited(t *testing.T) {
	if socket := os.Getenv(strangerTest); socket != "" {
		openMany(t, socket)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	dir, err := os.MkdirTemp("", "larder-control-") // others cannot pass t.TempDir's parents
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "control.sock")
	l, err := Listen(socket, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(nil, Allowed{"root"}, slog.New(slog.DiscardHandler))
	s.Start(l)
	t.Cleanup(func() { s.Close() })
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "test")
	if err := os.WriteFile(binary, program, 0o755); err != nil {
		t.Fatal(err)
	}
	stranger := exec.Command(binary, "-test.run=^TestConnectionsOfAUserAreLimited$", "-test.v")
	stranger.Dir, stranger.Env = dir, append(os.Environ(), strangerTest+"="+socket)
	stranger.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 64323, Gid: 64323}}
	if out, err := stranger.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func openMany(t *testing.T, socket string) {
	dead := 0
	var conns []net.Conn
	for range maxConnections + 10 {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	for _, c := range slices.Backward(conns) { // the last ones, unless the server lags behind
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err == io.EOF {
			dead++
		}
		if dead == 10 {
			break
		}
	}
	if dead != 10 {
		t.Errorf("%d of %d connections were closed, want 10", dead, len(conns))
	}
	// Those that end make room.
	for _, c := range conns {
		c.Close()
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "GET /v1/hello HTTP/1.0\r\n\r\n")
		answer, _ := io.ReadAll(c)
		c.Close()
		if len(answer) > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("no connection was taken any more")
		}
	}
}
