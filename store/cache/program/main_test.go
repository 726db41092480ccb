package program_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails the run if a goroutine or a process outlives the tests.
func TestMain(m *testing.M) {
	status := m.Run()
	if left := leaked(); status == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "left behind:\n%s\n", left)
		status = 1
	}
	os.Exit(status)
}

// leaked returns the stack of a goroutine of the package that does not end, or the name of a child.
func leaked() string {
	left := ""
	for wait := time.Millisecond; wait < 3*time.Second; wait *= 2 {
		buf := make([]byte, 4<<20)
		left = ""
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(stack, "created by larder/store/cache/program.") {
				left = stack
			}
		}
		if b, err := os.ReadFile("/proc/thread-self/children"); err == nil && len(b) > 0 {
			left = "children " + string(b)
		}
		if left == "" {
			return ""
		}
		time.Sleep(wait)
	}
	return left
}
