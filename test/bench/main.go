// Command bench measures Larder against its peers and its limits, in pairs in
// the same run, and prints the ratios as a Markdown table.
//
//	go run ./test/bench -larder bin/larder [-only REGEXP] [-pairs N] [-out docs/benchmarks.md]
//
// Absolute times mean nothing on a shared machine; what is quoted is the median
// of the ratios ours / peer of runs that took turns. Peers: the native
// directory, real Nix, and the pipe of programs that does the same work and no
// more. It needs root, real Nix (nix-bin), curl, xz, zstd, gcc and g++.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"larder/nar/tree"
	"larder/realiser/builtin"
	"larder/sandbox/linux"
)

// contest is one row: our work against a peer's, and what we aim at.
type contest struct {
	name string
	peer string
	aim  string
	by   metric // what aim is about
	// memory is what we aim at for the most memory that the programs have; "": it is not measured.
	memory string
	pair   func() (pair, error) // sets up what both sides need
}

// pair is a contest that is ready to run. Each side is run in turn.
type pair struct {
	ours, peer side
}

// suite is what the contests share.
type suite struct {
	ctx     context.Context
	larder  string // the binary under test
	scratch string
	cleanup []func()

	watch bool         // measure the memory of programs that are run
	peak  atomic.Int64 // the most memory that one has had in this run, in kB
}

func main() {
	linux.MaybeChild(builtin.All()...)
	larder := flag.String("larder", "bin/larder", "the binary to measure")
	only := flag.String("only", "", "measure only rows whose name matches")
	pairs := flag.Int("pairs", 5, "pairs of runs")
	out := flag.String("out", "", "also write the page to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx, *larder, *only, *pairs, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, larder, only string, pairs int, out string) error {
	match, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	if larder, err = filepath.Abs(larder); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "larder-bench.")
	if err != nil {
		return err
	}
	s := &suite{ctx: ctx, larder: larder, scratch: scratch}
	defer s.close()
	table := newTable(pairs)
	for _, c := range s.contests() {
		if !match.MatchString(c.name) {
			continue
		}
		if err := s.measure(table, c, pairs); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	fmt.Print(table)
	if out != "" {
		return os.WriteFile(out, []byte(table.String()), 0o644)
	}
	return nil
}

func (s *suite) contests() []contest {
	var all []contest
	all = append(all, s.warm()...)
	all = append(all, s.nar()...)
	all = append(all, s.substitution()...)
	all = append(all, s.launch()...)
	all = append(all, s.builds()...)
	return append(all, s.planning()...)
}

// measure sets a contest up and runs it; what the setup registered with
// s.onClose is undone before the next.
func (s *suite) measure(table *table, c contest, pairs int) error {
	fmt.Fprintln(os.Stderr, "measuring", c.name, "against", c.peer)
	p, err := c.pair()
	if err != nil {
		return err
	}
	s.watch = c.memory != ""
	ratios, err := s.ratios(p, pairs)
	if err != nil {
		return err
	}
	table.add(c, ratios)
	return nil
}

func (s *suite) onClose(f func()) { s.cleanup = append(s.cleanup, f) }

func (s *suite) close() {
	for i := len(s.cleanup) - 1; i >= 0; i-- {
		s.cleanup[i]()
	}
	if err := tree.Remove(context.Background(), s.scratch); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}
