package fusefs

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// toucherDir is where the toucher is built, once; TestMain removes it.
var toucherDir string

func TestMain(m *testing.M) {
	status := m.Run()
	os.RemoveAll(toucherDir)
	os.Exit(status)
}

// toucher builds testdata/toucher and returns where it is. It is a program of its own so
// that hundreds of them start fast, with the race detector in the tests too.
var toucher = sync.OnceValues(func() (string, error) {
	var err error
	if toucherDir, err = os.MkdirTemp("", "larder-toucher"); err != nil {
		return "", err
	}
	program := filepath.Join(toucherDir, "toucher")
	cmd := exec.Command("go", "build", "-o", program, "./testdata/toucher")
	cmd.Stderr = os.Stderr
	return program, cmd.Run()
})
