package cache_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails the run if a goroutine of the package outlives the tests.
func TestMain(m *testing.M) {
	status := m.Run()
	if left := leaked(); status == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "a goroutine was left behind:\n%s\n", left)
		status = 1
	}
	os.Exit(status)
}

// leaked returns the stack of a goroutine that the package started and that does not end.
func leaked() string {
	left := ""
	for wait := time.Millisecond; wait < 3*time.Second; wait *= 2 {
		buf := make([]byte, 4<<20)
		left = ""
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(stack, "created by larder/store/cache.") || strings.Contains(stack, "created by github.com/") {
				left = stack
			}
		}
		if left == "" {
			return ""
		}
		time.Sleep(wait)
	}
	return left
}
