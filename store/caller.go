package store

import "fmt"

// Caller is the process on whose behalf something is realised, as the kernel
// or a socket reported it. The zero value means the daemon itself.
type Caller struct {
	UID uint32
	GID uint32
	PID uint32 // 0 if unknown: another PID namespace, or no process at all
}

func (c Caller) String() string {
	if c == (Caller{}) {
		return "larder"
	}
	return fmt.Sprintf("pid %d uid %d", c.PID, c.UID)
}
