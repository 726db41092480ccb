package builder

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// appendJSON prints a value of [derivation.Options.Structured] byte for byte as
// Nix does: members sorted, no white space, the escapes and numbers of its JSON
// library. Hashes of outputs depend on it.
func appendJSON(b []byte, value any) []byte {
	switch v := value.(type) {
	case map[string]any:
		b = append(b, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendJSONString(b, key), ':')
			b = appendJSON(b, v[key])
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, e)
		}
		return append(b, ']')
	case string:
		return appendJSONString(b, v)
	case float64:
		return appendJSONFloat(b, v)
	case nil:
		return append(b, "null"...)
	}
	return fmt.Append(b, value) // bool, int64, uint64
}

var jsonEscapes = strings.NewReplacer(jsonEscapePairs()...)

// jsonEscapePairs are all characters that are escaped; everything else stays.
func jsonEscapePairs() []string {
	pairs := []string{`"`, `\"`, `\`, `\\`, "\b", `\b`, "\f", `\f`, "\n", `\n`, "\r", `\r`, "\t", `\t`}
	for c := range ' ' {
		if !slices.Contains(pairs, string(c)) {
			pairs = append(pairs, string(c), fmt.Sprintf(`\u%04x`, c))
		}
	}
	return pairs
}

func appendJSONString(b []byte, s string) []byte {
	return append(append(append(b, '"'), jsonEscapes.Replace(s)...), '"')
}

// The decimal exponents between which floats are printed without one.
const minPlainExponent, maxPlainExponent = -4, 15

// appendJSONFloat prints the shortest decimal that is read as the same number,
// always with a dot or an exponent, which has two digits at least. (Nix's library
// misses the shortest of one in a thousand of the numbers that need all 17 digits.)
func appendJSONFloat(b []byte, f float64) []byte {
	exponent := 0
	if f != 0 {
		// "d.ddde±xx" is the shortest; what is before the 'e' is not needed.
		text := strconv.FormatFloat(f, 'e', -1, 64)
		exponent, _ = strconv.Atoi(text[strings.IndexByte(text, 'e')+1:])
	}
	if minPlainExponent <= exponent && exponent < maxPlainExponent {
		b = strconv.AppendFloat(b, f, 'f', -1, 64)
		if f == math.Trunc(f) {
			b = append(b, ".0"...)
		}
		return b
	}
	return strconv.AppendFloat(b, f, 'e', -1, 64)
}
