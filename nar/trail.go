package nar

import (
	"bytes"
	"fmt"
)

// trail is the position in a depth-first walk in canonical order: the path of the current entry and which parts of it are
// open directories. Of the siblings that came before only the last name is needed to check the order, and that is still
// in the path.
type trail struct {
	path   []byte
	starts []int // for each open directory, where in path the names of its entries begin
}

// depth is the number of open directories.
func (t *trail) depth() int { return len(t.starts) }

// enter opens the current entry, a directory. It says what is wrong if that is too deep.
func (t *trail) enter() string {
	if len(t.starts) == MaxDepth {
		return fmt.Sprintf("directories are nested more than %d deep", MaxDepth)
	}
	if len(t.starts) > 0 {
		t.path = append(t.path, '/')
	}
	t.starts = append(t.starts, len(t.path))
	return ""
}

// leave closes the innermost open directory, which becomes the current entry again.
func (t *trail) leave() {
	start := t.starts[len(t.starts)-1]
	t.starts = t.starts[:len(t.starts)-1]
	t.path = t.path[:max(start-1, 0)]
}

// next goes on to the entry called name in the innermost open directory. It says what is wrong if the name is invalid, or
// does not come after the names before it.
func (t *trail) next(name []byte) string {
	if reason := checkName(name); reason != "" {
		return reason
	}
	start := t.starts[len(t.starts)-1]
	last := t.path[start:]
	if len(last) > 0 {
		switch bytes.Compare(last, name) {
		case 0:
			return fmt.Sprintf("file name %q appears twice in a directory", name)
		case 1:
			return fmt.Sprintf("file name %q comes after %q: not sorted", name, last)
		}
	}
	if start+len(name) > MaxPath {
		return fmt.Sprintf("path is longer than %d bytes", MaxPath)
	}
	t.path = append(t.path[:start], name...)
	return ""
}
