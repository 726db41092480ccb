package cli_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/cmd/internal/cli"
	"larder/test/fixture"
)

// TestLogOnTerminal: the log is raw in a pipe, and harmless on a terminal.
func TestLogOnTerminal(t *testing.T) {
	t.Parallel()
	l := newLarder(t)
	l.canBuild()
	drv := l.derivation("odd", `printf '10%%\r20%%\rdone\n\033[31mred\033[0m\n\033]0;title\007end'; > $out`, nil, "")
	l.ok("realise", drv)
	if got, want := l.ok("log", drv), "10%\r20%\rdone\n\x1b[31mred\x1b[0m\n\x1b]0;title\aend"; got != want {
		t.Errorf("in a pipe: %q, want %q", got, want)
	}
	if got := l.ok("log", drv+"^out"); !strings.HasSuffix(got, "end") {
		t.Errorf("of an output: %q", got)
	}
	master, slave := openTerminal(t)
	status := cli.Main(t.Context(), append(append([]string{}, l.options...), "log", drv), cli.Env{In: strings.NewReader(""), Out: slave, Err: io.Discard,
		Getenv: func(string) string { return "" }, UID: os.Geteuid(), Dir: l.dir, Version: "test"})
	slave.Close()
	var shown bytes.Buffer
	io.Copy(&shown, master) // ends with EIO, when nobody has the other end any more
	if got, want := strings.ReplaceAll(shown.String(), "\r\n", "\n"), "done\nred\nend\n"; status != 0 || got != want {
		t.Errorf("on a terminal: status %d, %q, want %q", status, got, want)
	}
}

// openTerminal makes a pseudo-terminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// TestLastLines: the error about a failed build ends with what the builder last said, unless that was shown already.
func TestLastLines(t *testing.T) {
	eachWay(t, func(t *testing.T, l *larder) {
		l.canBuild()
		for i, c := range []struct {
			args             []string
			tail, live, hint bool
		}{
			{nil, true, false, true},
			{[]string{"-v"}, false, true, false},
		} {
			name := fmt.Sprint("failing", i)
			drv := l.derivation(name, "echo the reason; exit 3", nil, "")
			_, stderr, status := l.run(append(c.args, "realise", drv)...)
			if status != 100 || strings.Contains(stderr, "  > the reason\n") != c.tail || strings.Contains(stderr, name+"> the reason\n") != c.live ||
				strings.Contains(stderr, "  the whole log: larder log "+drv+"\n") != c.hint {
				t.Errorf("%q: status %d\n%s", c.args, status, stderr)
			}
		}
	})
}

// TestLogSettings: what is not kept is not there, and an error can do without lines.
func TestLogSettings(t *testing.T) {
	t.Parallel()
	l := newLarder(t)
	l.canBuild()
	drv := l.derivation("failing", "echo one; echo two; exit 3", nil, "")
	_, stderr, _ := l.run("--option", "keep-build-log", "false", "--option", "log-lines", "1", "realise", drv)
	if strings.Contains(stderr, "> one") || !strings.Contains(stderr, "  > two\n") || strings.Contains(stderr, "larder log") {
		t.Errorf("one line and no log: %s", stderr)
	}
	l.fails(1, "not found", "log", drv)
	if _, stderr, _ := l.run("--option", "compress-build-log", "false", "--option", "log-lines", "0", "realise", drv); strings.Contains(stderr, "> two") {
		t.Errorf("no lines: %s", stderr)
	}
	if got := l.ok("log", drv); got != "one\ntwo" {
		t.Errorf("the log is %q", got)
	}
}

// TestLogFromCache: what was not built here may have a log in a cache that real Nix wrote.
func TestLogFromCache(t *testing.T) {
	t.Parallel()
	const top, leaf = "/nix/store/ay3wsp80c3i64rhlbwxc8ld8ws5kq0wp-top.drv", "/nix/store/vds695s5vacf87gpc6kqh7rngk328zbb-leaf"
	caches := fixture.Unpack(t, "caches/plain.tar.zst")
	l := newLarder(t)
	l.options = []string{"--store-dir", "/nix/store", "--object-dir", l.dir + "/objects", "--state-dir", l.dir + "/state",
		"--option", "substituters", "file://" + caches + "/plain/logs", "--option", "require-sigs", "false"}
	l.ok("add", l.write("anything", "so that there is a store"))
	if got := l.ok("log", top); got != "building top" {
		t.Errorf("by derivation: %q", got)
	}
	if got := l.ok("log", leaf); got != "building leaf" {
		t.Errorf("by output: %q", got)
	}
	l.fails(1, "not found", "log", "/nix/store/7rjj86a15146cq1d3qy068lml7n7ykzm-nowhere.drv")
	l.fails(1, "not found", "log", "/nix/store/7rjj86a15146cq1d3qy068lml7n7ykzm-nowhere")
}
