package fusefs

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Benchmarks compare with the same files without the mount, in turns, and report
// the ratio: "x-native" 1.3 is 1.3 times the native time.

// against times two ways of the same work.
func against(b *testing.B, native, mounted func()) {
	b.Helper()
	var n, m time.Duration
	for b.Loop() {
		t0 := time.Now()
		native()
		t1 := time.Now()
		mounted()
		n, m = n+t1.Sub(t0), m+time.Since(t1)
	}
	b.ReportMetric(float64(m)/float64(n), "x-native")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkWarm(b *testing.B) {
	m := newMounted(b)
	contents := tree{"small": strings.Repeat("x", 3000), "big": strings.Repeat("x", 64<<20)}
	for i := range 100 {
		for j := range 50 {
			contents[fmt.Sprintf("src/%d/%d.h", i, j)] = strings.Repeat("#define X 1\n", 20+j*5)
		}
	}
	p := m.store.add(b, "bench", contents)
	native, mounted := filepath.Join(m.store.dir, p.String()), m.path(p)
	buf := make([]byte, 1<<20)
	both := func(b *testing.B, work func(dir string)) {
		work(native)
		work(mounted)
		against(b, func() { work(native) }, func() { work(mounted) })
	}
	b.Run("open+read+close", func(b *testing.B) {
		both(b, func(dir string) {
			for range 1000 {
				fd, err := unix.Open(dir+"/small", unix.O_RDONLY, 0)
				if err != nil {
					b.Fatal(err)
				}
				unix.Read(fd, buf)
				unix.Close(fd)
			}
		})
	})
	b.Run("stat", func(b *testing.B) {
		var st unix.Stat_t
		both(b, func(dir string) {
			for range 1000 {
				unix.Stat(dir+"/src/7/7.h", &st)
			}
		})
	})
	b.Run("absent name", func(b *testing.B) {
		var st unix.Stat_t
		both(b, func(dir string) {
			for range 1000 {
				unix.Stat(dir+"/src/absent", &st)
			}
		})
	})
	for name, args := range map[string][]string{
		"grep -r":    {"grep", "-r", "nothing like this"},
		"find -size": {"find", "-size", "+1k"},
		"tar":        {"tar", "cf", "/dev/zero", "."},
	} {
		b.Run(name, func(b *testing.B) {
			both(b, func(dir string) {
				cmd := exec.Command(args[0], args[1:]...)
				cmd.Dir = dir
				cmd.Run()
			})
		})
	}
	b.Run("sequential read", func(b *testing.B) { both(b, func(dir string) { readWhole(b, dir+"/big", buf) }) })
}

func BenchmarkCold(b *testing.B) {
	m := newMounted(b)
	p := m.store.add(b, "bench", tree{"big": strings.Repeat("x", 256<<20)})
	native, mounted := filepath.Join(m.store.dir, p.String(), "big"), m.path(p, "big")
	buf := make([]byte, 1<<20)
	unix.Sync()
	b.Run("sequential read", func(b *testing.B) {
		var n, t time.Duration
		for b.Loop() {
			for _, way := range []struct {
				path  string
				total *time.Duration
			}{{native, &n}, {mounted, &t}} {
				dropPages(b, mounted)
				dropPages(b, native)
				start := time.Now()
				readWhole(b, way.path, buf)
				*way.total += time.Since(start)
			}
		}
		b.ReportMetric(float64(t)/float64(n), "x-native")
		b.ReportMetric(0, "ns/op")
	})
	b.Run("lookup", func(b *testing.B) {
		var st unix.Stat_t
		i := 0
		look := func(dir string) {
			for range 100 {
				i++
				unix.Lstat(filepath.Join(dir, fmt.Sprint("no-store-path-", i)), &st)
			}
		}
		against(b, func() { look(m.store.dir) }, func() { look(m.dir) })
	})
}

// dropPages drops the pages of one file from the page cache.
func dropPages(b *testing.B, path string) {
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
}

func readWhole(b *testing.B, path string, buf []byte) {
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil {
			b.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}
