package builder

import (
	"bytes"
	"path/filepath"
	"testing"
)

// What a builder makes the daemon remember of its lines is little, however long they are.
func TestLongLinesAreCut(t *testing.T) {
	const lines = 10
	l := newLog(filepath.Join(t.TempDir(), "log"), lines)
	for range 2 * lines {
		if _, err := l.Write(append(bytes.Repeat([]byte("x"), 1<<20), '\n')); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, line := range l.Tail() {
		size += len(line)
	}
	if size == 0 || size > lines*(4<<10) {
		t.Errorf("%d bytes are kept", size)
	}
}
