package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"golang.org/x/term"

	"larder/store"
)

// printJSON prints a value for machines. HTML is not what they read.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.Out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printPaths prints absolute store paths, one a line, or as a JSON list.
func (a *app) printPaths(d store.Dir, paths []store.StorePath) error {
	names := make([]string, 0, len(paths))
	for _, p := range paths {
		names = append(names, d.Join(p))
	}
	if a.flags.json {
		return a.printJSON(names)
	}
	for _, n := range names {
		if _, err := fmt.Fprintln(a.Out, n); err != nil {
			return err
		}
	}
	return nil
}

// isTerminal reports whether a stream is one.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// notToTerminal refuses to write binary data where somebody would have to look at it.
func (a *app) notToTerminal() error {
	if isTerminal(a.Out) {
		return usagef("this is binary data and not for a terminal; send it to a file or a pipe")
	}
	return nil
}

// sortedKeys are the keys of a map in their order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// counted is a number of things: "1 path", "2 paths".
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// humanBytes is a size for people, in powers of 1024.
func humanBytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, u := float64(n)/1024, 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[u])
}
