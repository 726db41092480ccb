package linux

import (
	"fmt"
	"os"
)

// IsChild reports whether a process with these arguments was started by this package for its own purposes.
func IsChild(args []string) bool {
	return len(args) == 1 && (args[0] == launcherName || args[0] == setupName)
}

// MaybeChild must be the first thing that main (and TestMain) does in a program that uses a Runner: the Runner starts
// the same program again. If this is such a process, MaybeChild does its work and does not return.
func MaybeChild() {
	if !IsChild(os.Args) {
		return
	}
	var err error
	switch os.Args[0] {
	case launcherName:
		err = launch()
	case setupName:
		err = setUp()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
	os.Exit(0)
}
