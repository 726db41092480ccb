package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// side is one of the two that take turns. Prepare is not measured.
type side struct {
	prepare func() error
	work    func() error
}

// metric is what of a run is compared.
type metric uint8

const (
	clock  metric = iota // how long it takes
	cpu                  // the CPU time that this process spends
	memory               // the most memory that a program has that is run (VmHWM)
)

// measurement is what a run took, by metric.
type measurement [3]float64

func (s *suite) run(side side) (m measurement, err error) {
	if side.prepare != nil {
		if err := side.prepare(); err != nil {
			return m, err
		}
	}
	s.peak.Store(0)
	start, used := time.Now(), cpuTime()
	err = side.work()
	m[clock], m[cpu] = float64(time.Since(start)), float64(cpuTime()-used)
	m[memory] = float64(s.peak.Load())
	return m, err
}

func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // only a bad argument can fail
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ratios warms both sides up, then lets them take turns. The ratios of each metric are sorted.
func (s *suite) ratios(p pair, pairs int) (all [3][]float64, err error) {
	for i := range pairs + 1 {
		ours, err := s.run(p.ours)
		if err != nil {
			return all, fmt.Errorf("ours: %w", err)
		}
		peer, err := s.run(p.peer)
		if err != nil {
			return all, fmt.Errorf("peer: %w", err)
		}
		for by := range all {
			if i > 0 {
				all[by] = append(all[by], ours[by]/peer[by])
			}
		}
		if err := s.ctx.Err(); err != nil {
			return all, err
		}
	}
	for by := range all {
		slices.Sort(all[by])
	}
	return all, nil
}

// table is the page that is printed.
type table struct{ strings.Builder }

func newTable(pairs int) *table {
	t := &table{}
	fmt.Fprintf(t, "# Benchmarks\n\nMade by `make bench` on Linux %s, %d CPUs: median (lowest to highest) of the ratio ours / peer of %d pairs of runs that took\nturns. Below 1 we are faster, or smaller.\n\n", kernel(), cpus(), pairs)
	fmt.Fprintln(t, "| what | against | ratio | aim |\n|---|---|---|---|")
	return t
}

func (t *table) add(c contest, all [3][]float64) {
	t.row(c.name, c.peer, c.aim, all[c.by])
	if c.memory != "" {
		t.row(c.name+": peak memory", c.peer, c.memory, all[memory])
	}
}

func (t *table) row(name, peer, aim string, sorted []float64) {
	fmt.Fprintf(t, "| %s | %s | **%.2f** (%.2f to %.2f) | %s |\n",
		name, peer, sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1], aim)
}
