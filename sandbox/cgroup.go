package sandbox

import "fmt"

// Cgroup asks for a control group (version 2, cgroups(7)) of the build's own. A limit implies one; Use is for the rest: exact
// processor time in Result, and one more way to kill all processes.
type Cgroup struct {
	Use bool
	// Memory is how many bytes all its processes may have together, with files in memory and without swapping. The kernel kills them
	// all when they need more. 0: no limit.
	Memory int64
	// Processes is how many processes and threads there may be; fork(2) fails with EAGAIN then. 0: no limit.
	Processes int64
	// CPU is how much processor time they may use, in thousandths of one processor; more of it has to wait. 0: no limit.
	CPU int64
}

// Wanted reports whether there is to be one.
func (c Cgroup) Wanted() bool { return c.Use || c.Limited() }

// Limited reports whether there is a limit.
func (c Cgroup) Limited() bool { return c.Memory > 0 || c.Processes > 0 || c.CPU > 0 }

func (c Cgroup) validate() error {
	for _, l := range []struct {
		field string
		value int64
	}{{"Memory", c.Memory}, {"Processes", c.Processes}, {"CPU", c.CPU}} {
		if l.value < 0 {
			return fmt.Errorf("control group: %s is %d, less than nothing", l.field, l.value)
		}
	}
	return nil
}
