package local_test

import (
	"os"
	"testing"
)

// TestMain also serves as the program that crash tests kill: they run the test binary again with a job in the environment.
func TestMain(m *testing.M) {
	if job := os.Getenv(crashJobVariable); job != "" {
		os.Exit(runCrashJob(job))
	}
	os.Exit(m.Run())
}
