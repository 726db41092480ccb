package builder

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// appendShell prints structured attributes as declarations for bash: strings,
// whole numbers, Booleans, nulls, and lists and objects of only those. What bash
// can't hold, or under a name that is none to it, is left out.
func appendShell(b []byte, attrs map[string]any) []byte {
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		if !isShellName(name) {
			continue
		}
		switch v := attrs[name].(type) {
		case []any:
			if words, ok := shellList(v); ok {
				b = fmt.Appendf(b, "declare -a %s=(%s)\n", name, words)
			}
		case map[string]any:
			if words, ok := shellTable(v); ok {
				b = fmt.Appendf(b, "declare -A %s=(%s)\n", name, words)
			}
		default:
			if word, ok := shellWord(v); ok {
				b = fmt.Appendf(b, "declare %s=%s\n", name, word)
			}
		}
	}
	return b
}

func shellList(list []any) (string, bool) {
	var words strings.Builder
	for _, e := range list {
		word, ok := shellWord(e)
		if !ok {
			return "", false
		}
		words.WriteString(word + " ")
	}
	return words.String(), true
}

func shellTable(table map[string]any) (string, bool) {
	var words strings.Builder
	for _, key := range slices.Sorted(maps.Keys(table)) {
		word, ok := shellWord(table[key])
		if !ok {
			return "", false
		}
		fmt.Fprintf(&words, "[%s]=%s ", shellQuote(key), word)
	}
	return words.String(), true
}

// shellWord prints a value that is no list and no object, if bash can hold it.
func shellWord(value any) (word string, ok bool) {
	switch v := value.(type) {
	case string:
		return shellQuote(v), true
	case bool:
		if v {
			return "1", true
		}
		return "", true
	case nil:
		return "''", true
	case int64:
		return fmt.Sprint(int32(v)), true // Nix keeps 32 bits, and outputs depend on it
	case uint64:
		return fmt.Sprint(int32(v)), true
	case float64:
		// Nix looks at it in single precision to tell whether it is whole.
		if f := float64(float32(v)); math.Ceil(f) != f {
			return "", false
		}
		return fmt.Sprint(truncate(v)), true
	}
	return "", false
}

// truncate is what x86 makes of a number that does not fit.
func truncate(f float64) int32 {
	if f = math.Trunc(f); f < math.MinInt32 || f > math.MaxInt32 {
		return math.MinInt32
	}
	return int32(f)
}

func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func isShellName(name string) bool {
	for i, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
