package engine

import (
	"os"
	"testing"

	"larder/cmd/internal/config"
)

func TestBuildUsers(t *testing.T) {
	c := config.Default()
	if p, err := buildUsers(c, 1000); err != nil || p.Lends() {
		t.Errorf("a plain user: %v", err)
	}
	c.BuildUsersGroup = "nixbld"
	if p, err := buildUsers(c, 0); err != nil || !p.Lends() {
		t.Errorf("root, with a group: %v", err)
	}
	c.BuildUsersGroup, c.UserPoolDir = "", t.TempDir()
	p, err := buildUsers(c, 0)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile("/proc/self/uid_map"); err != nil || string(text) != "         0          0 4294967295\n" {
		t.Skipf("root has ids of nobody where all ids exist: %v %q", err, text)
	}
	if !p.Lends() {
		t.Error("root has none, without a group")
	}
	c.AutoAllocateUIDs, c.StartID = true, 5
	if _, err := buildUsers(c, 0); err != nil {
		t.Error(err)
	}
	c.IDCount = 5
	if _, err := buildUsers(c, 0); err == nil {
		t.Error("five ids for builds that have 65536 each")
	}
}
