package wire

import (
	"math"
	"time"
)

// SetOptions are the settings of a client. It is the first request of a connection,
// and may come again.
type SetOptions struct {
	KeepFailed     bool
	KeepGoing      bool
	TryFallback    bool // build what can't be substituted
	Verbosity      Verbosity
	MaxBuildJobs   uint32
	MaxSilentTime  time.Duration // whole seconds
	BuildVerbosity Verbosity     // of the lines of builders
	BuildCores     uint32
	UseSubstitutes bool
	Overrides      map[string]string // other settings by name, as in nix.conf
}

func (*SetOptions) Op() Op         { return OpSetOptions }
func (*SetOptions) Reply() Message { return nil }
func (m *SetOptions) code(c *coder) {
	c.boolean(&m.KeepFailed)
	c.boolean(&m.KeepGoing)
	c.boolean(&m.TryFallback)
	c.verbosity(&m.Verbosity)
	number(c, &m.MaxBuildJobs, math.MaxUint32)
	c.seconds(&m.MaxSilentTime)
	c.constant(1) // once: whether to use the build hook
	c.verbosity(&m.BuildVerbosity)
	c.constant(0) // once: the type of the log
	c.constant(0) // once: whether to print a trace of the build
	number(c, &m.BuildCores, math.MaxUint32)
	c.boolean(&m.UseSubstitutes)
	dict(c, &m.Overrides, (*coder).text, (*coder).text)
}

func (c *coder) seconds(p *time.Duration) {
	n := uint64(max(0, *p/time.Second))
	number(c, &n, uint64(math.MaxInt64/time.Second))
	if c.err == nil && c.reading() {
		*p = time.Duration(n) * time.Second
	}
}
