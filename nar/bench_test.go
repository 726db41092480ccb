package nar_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"larder/nar"
)

// realisticTree makes a tree like that of a development package: 1,800 files and 200 symlinks in 100 directories, most files
// a few kilobytes and a few of them megabytes, 77 MB in all.
func realisticTree(b *testing.B) string {
	b.Helper()
	root := filepath.Join(b.TempDir(), "tree")
	random := rand.New(rand.NewPCG(1, 2))
	contents := make([]byte, 8<<20)
	for i := range contents {
		contents[i] = byte(random.Uint32())
	}
	for i := range 2000 {
		dir := filepath.Join(root, fmt.Sprintf("dir-%02d/sub-%d", i%25, i%4))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		name := filepath.Join(dir, fmt.Sprintf("file-%04d.h", random.IntN(1e9)))
		if i%10 == 0 {
			if err := os.Symlink("../target", name); err != nil {
				b.Fatal(err)
			}
			continue
		}
		size := 1<<10 + random.IntN(24<<10)
		switch {
		case i%400 == 1:
			size = len(contents) - i
		case i%40 == 1:
			size = 1 << 18
		}
		if err := os.WriteFile(name, contents[:size], 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return root
}

// cpuTime is what this process has used, in user and kernel mode.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// measure reports the time and the CPU time of work, without those of undo, which may be nil.
func measure(b *testing.B, size int64, work, undo func()) {
	b.SetBytes(size)
	b.ReportAllocs()
	var used time.Duration
	once := func() {
		start := cpuTime(b)
		work()
		used += cpuTime(b) - start
		if undo != nil {
			b.StopTimer()
			undo()
			b.StartTimer()
		}
	}
	once() // warms caches and pools
	used = 0
	for b.Loop() {
		once()
	}
	b.ReportMetric(float64(used)/float64(b.N)/1e6, "cpu-ms/op")
}

// BenchmarkDumpHash hashes the NAR of a tree on disk (in the page cache). Compare its cpu-ms/op with BenchmarkHash.
func BenchmarkDumpHash(b *testing.B) {
	root := realisticTree(b)
	size, err := nar.Dump(context.Background(), io.Discard, root)
	if err != nil {
		b.Fatal(err)
	}
	measure(b, size, func() {
		if _, err := nar.Dump(context.Background(), sha256.New(), root); err != nil {
			b.Fatal(err)
		}
	}, nil)
}

// BenchmarkHash hashes the same bytes in memory: the limit.
func BenchmarkHash(b *testing.B) {
	var archive bytes.Buffer
	if _, err := nar.Dump(context.Background(), &archive, realisticTree(b)); err != nil {
		b.Fatal(err)
	}
	measure(b, int64(archive.Len()), func() {
		sha256.New().Write(archive.Bytes())
	}, nil)
}

// BenchmarkDump is BenchmarkDumpHash without the hash.
func BenchmarkDump(b *testing.B) {
	root := realisticTree(b)
	size, err := nar.Dump(context.Background(), io.Discard, root)
	if err != nil {
		b.Fatal(err)
	}
	measure(b, size, func() {
		if _, err := nar.Dump(context.Background(), io.Discard, root); err != nil {
			b.Fatal(err)
		}
	}, nil)
}

// BenchmarkRead reads the entries of an archive in memory and skips their contents.
func BenchmarkRead(b *testing.B) {
	var archive bytes.Buffer
	if _, err := nar.Dump(context.Background(), &archive, realisticTree(b)); err != nil {
		b.Fatal(err)
	}
	measure(b, int64(archive.Len()), func() {
		if _, err := nar.ReadListing(bytes.NewReader(archive.Bytes())); err != nil {
			b.Fatal(err)
		}
	}, nil)
}

// BenchmarkRestore makes a tree on disk as a store object. On ext4 it mostly measures how inodes that were just removed are
// avoided; TMPDIR=/dev/shm shows what Restore costs.
func BenchmarkRestore(b *testing.B) {
	var archive bytes.Buffer
	if _, err := nar.Dump(context.Background(), &archive, realisticTree(b)); err != nil {
		b.Fatal(err)
	}
	dest := filepath.Join(tempDir(b), "tree")
	measure(b, int64(archive.Len()), func() {
		opt := nar.RestoreOptions{Canonical: true}
		if _, err := nar.Restore(context.Background(), bytes.NewReader(archive.Bytes()), dest, opt); err != nil {
			b.Fatal(err)
		}
	}, func() {
		if err := os.RemoveAll(dest); err != nil {
			b.Fatal(err)
		}
	})
}
