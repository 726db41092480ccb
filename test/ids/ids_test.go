package ids_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"larder/test/ids"
)

func TestRanges(t *testing.T) {
	var first ids.Range
	t.Run("one", func(t *testing.T) {
		first = ids.New(t)
		second := ids.New(t)
		if first.Dir == second.Dir || first.Start < second.Start+second.Count && second.Start < first.Start+first.Count {
			t.Errorf("%+v and %+v overlap", first, second)
		}
	})
	if _, err := os.Stat(first.Dir); err == nil {
		t.Error("the directory of the locks is left")
	}
}

func TestMachineIsTidy(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has locks of build users")
	}
	var free, held string
	var holder *os.File
	t.Run("locks", func(t *testing.T) {
		dir := filepath.Join(ids.Machine(t), "userpool")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Skipf("no place for the machine's locks: %v", err)
		}
		free, held = filepath.Join(dir, "larder-test-free"), filepath.Join(dir, "larder-test-held")
		if err := os.WriteFile(free, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var err error
		if holder, err = os.Create(held); err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(holder.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
	})
	if holder == nil {
		return
	}
	defer holder.Close()
	if _, err := os.Stat(free); err == nil {
		t.Error("a lock that nobody holds is left")
	}
	if err := os.Remove(held); err != nil {
		t.Errorf("a lock that is held: %v", err)
	}
	_ = os.Remove(filepath.Dir(held)) // it was held, so the directory could not go
}
