package linux

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestHomeless(t *testing.T) {
	home := t.TempDir()
	if err := checkHomeless(filepath.Join(home, "absent")); err != nil {
		t.Error(err)
	}
	err := checkHomeless(home)
	if err == nil || !strings.Contains(err.Error(), "home directory '"+home+"' exists; please remove it") {
		t.Errorf("it exists: %v", err)
	}
	// Neither can be known: better not.
	if err := checkHomeless(home + "/\x00"); err == nil {
		t.Error("it cannot be looked at: no error")
	}
}
