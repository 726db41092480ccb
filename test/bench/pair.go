package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// side is one of the two that take turns. Prepare is not timed.
type side struct {
	prepare func() error
	work    func() error
	cpu     bool // compare this process's CPU time instead of the clock
}

func (s side) run() (time.Duration, error) {
	if s.prepare != nil {
		if err := s.prepare(); err != nil {
			return 0, err
		}
	}
	clock := time.Now
	if s.cpu {
		clock = cpuTime
	}
	start := clock()
	err := s.work()
	return clock().Sub(start), err
}

// cpuTime is the CPU time of this process, as an offset from the epoch.
func cpuTime() time.Time {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // only a bad argument can fail
	}
	return time.Unix(0, u.Utime.Nano()+u.Stime.Nano())
}

// run warms both sides up, then lets them take turns.
func (p pair) run(ctx context.Context, pairs int) ([]float64, error) {
	var ratios []float64
	for i := range pairs + 1 {
		ours, err := p.ours.run()
		if err != nil {
			return nil, fmt.Errorf("ours: %w", err)
		}
		peer, err := p.peer.run()
		if err != nil {
			return nil, fmt.Errorf("peer: %w", err)
		}
		if i > 0 {
			ratios = append(ratios, float64(ours)/float64(peer))
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	slices.Sort(ratios)
	return ratios, nil
}

// table is the page that is printed.
type table struct{ strings.Builder }

func newTable(pairs int) *table {
	t := &table{}
	fmt.Fprintf(t, "# Benchmarks\n\nMade by `make bench` on Linux %s, %d CPUs: median (lowest to highest) of the ratio ours / peer of %d pairs of runs that took\nturns. Below 1 we are faster.\n\n", kernel(), cpus(), pairs)
	fmt.Fprintln(t, "| what | against | ratio | aim |\n|---|---|---|---|")
	return t
}

func (t *table) add(c contest, sorted []float64) {
	fmt.Fprintf(t, "| %s | %s | **%.2f** (%.2f to %.2f) | %s |\n",
		c.name, c.peer, sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1], c.aim)
}
