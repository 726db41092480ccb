package linux

import (
	"fmt"
	"os"
	"strconv"

	"larder/sandbox"
)

// IsChild reports whether a process with these arguments was started by this package for its own purposes.
func IsChild(args []string) bool {
	switch len(args) {
	case 1:
		return args[0] == launcherName || args[0] == builtinName
	case 2:
		return args[0] == killerName
	}
	return false
}

// MaybeChild must be the first thing that main (and TestMain) does in a program that uses a Runner or KillUser: they start
// the same program again. If this is such a process, MaybeChild does its work and does not return. builtins are all
// that a Spec.Builtin may name.
func MaybeChild(builtins ...sandbox.Builtin) {
	if !IsChild(os.Args) {
		return
	}
	var err error
	switch os.Args[0] {
	case launcherName:
		err = launch()
	case builtinName:
		if err := runBuiltin(builtins); err != nil {
			fmt.Fprintf(os.Stderr, "error: %v\n", err)
			os.Exit(1)
		}
	case killerName:
		var uid int
		if uid, err = strconv.Atoi(os.Args[1]); err == nil {
			err = killAll(uid)
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
	os.Exit(0)
}
