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

// realisticTree makes a tree like that of a development package: 2,000 files in 100 directories, most of them a few
// kilobytes and a few of them megabytes, 64 MB in all. Every tenth name is a symlink.
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

func measure(b *testing.B, size int64, work func()) {
	work() // warm caches and pools
	b.SetBytes(size)
	b.ReportAllocs()
	start := cpuTime(b)
	for b.Loop() {
		work()
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N)/1e6, "cpu-ms/op")
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
	})
}

// BenchmarkHash hashes the same bytes in memory: the limit.
func BenchmarkHash(b *testing.B) {
	var archive bytes.Buffer
	if _, err := nar.Dump(context.Background(), &archive, realisticTree(b)); err != nil {
		b.Fatal(err)
	}
	measure(b, int64(archive.Len()), func() {
		sha256.New().Write(archive.Bytes())
	})
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
	})
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
	})
}

// BenchmarkRestore makes a tree on disk as a store object, and removes it.
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
		b.StopTimer()
		if err := os.RemoveAll(dest); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	})
}
