package local_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"larder/store"
	"larder/store/local"
)

func quiet(o *local.Options) { o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil)) }

// fill registers n objects, each of which refers to some before it.
func fill(b *testing.B, f *fixture, n, refs int) []store.StorePath {
	b.Helper()
	ctx := context.Background()
	all := make([]store.StorePath, 0, n)
	adds := make([]store.Addition, 0, 500)
	for i := range n {
		temp, err := f.NewTemp(ctx)
		check(b, err)
		dir := filepath.Join(f.ObjectDir(), temp)
		check(b, os.Mkdir(dir, 0o555))
		check(b, os.WriteFile(filepath.Join(dir, "file"), []byte("contents"), 0o444))
		info := pathInfo(fmt.Sprint("object-", i))
		for k := 1; k <= refs && k <= i; k++ {
			info.References = append(info.References, all[(i-1)-((k*k*7)%i)])
		}
		all = append(all, info.Path)
		if adds = append(adds, store.Addition{Info: info, Temp: temp}); len(adds) == cap(adds) || i == n-1 {
			check(b, f.Register(ctx, adds...))
			adds = adds[:0]
		}
	}
	return all
}

func BenchmarkClosure19000(b *testing.B) {
	f := newFixture(b, quiet)
	all := fill(b, f, 19000, 10)
	for b.Loop() {
		got, err := f.Closure(context.Background(), all)
		check(b, err)
		if len(got) != len(all) {
			b.Fatal(len(got))
		}
	}
}

func BenchmarkValid(b *testing.B) {
	f := newFixture(b, quiet)
	all := fill(b, f, 10000, 5)
	f.reopen()
	i := 0
	b.Run("hit", func(b *testing.B) {
		for b.Loop() {
			if !f.IsPresent(all[i%len(all)]) {
				b.Fatal("miss")
			}
			i += 7
		}
	})
	absent := make([]store.StorePath, 10000)
	for i := range absent {
		absent[i] = path(fmt.Sprint("absent-", i))
	}
	b.Run("miss", func(b *testing.B) {
		for b.Loop() {
			if f.IsPresent(absent[i%len(absent)]) {
				b.Fatal("hit")
			}
			i++
		}
	})
	b.Run("path-info", func(b *testing.B) {
		for b.Loop() {
			_, err := f.PathInfo(context.Background(), all[i%len(all)])
			check(b, err)
			i += 7
		}
	})
}

// BenchmarkRegister is the durable registration of one small object; in parallel, commits are shared.
func BenchmarkRegister(b *testing.B) {
	for _, workers := range []int{1, 8, 32} {
		b.Run(fmt.Sprint("callers-", workers), func(b *testing.B) {
			f := newFixture(b, quiet)
			var wg sync.WaitGroup
			b.ResetTimer()
			for w := range workers {
				wg.Go(func() {
					for i := w; i < b.N; i += workers {
						a := f.object(fmt.Sprint("object-", i))
						if err := f.Register(context.Background(), a); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// BenchmarkGC deletes 10,000 of 20,000 objects, and rm -rf the other half.
func BenchmarkGC(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		f := newFixture(b, quiet)
		all := fill(b, f, 20000, 0)
		ctx := context.Background()
		release := f.AddTempRoot(all[:10000]...)
		b.StartTimer()
		result, err := f.GC(ctx, local.GCOptions{})
		b.StopTimer()
		check(b, err)
		if len(result.Paths) != 10000 {
			b.Fatal(len(result.Paths))
		}
		release()
		b.StartTimer()
	}
}

// BenchmarkRemove is the limit for BenchmarkGC: the same files without a store.
func BenchmarkRemove(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		for i := range 10000 {
			d := filepath.Join(dir, fmt.Sprint(i))
			check(b, os.Mkdir(d, 0o755))
			check(b, os.WriteFile(filepath.Join(d, "file"), []byte("contents"), 0o444))
		}
		b.StartTimer()
		check(b, os.RemoveAll(dir))
	}
}
