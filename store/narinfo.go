package store

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// MaxSignatures bounds the signatures of a narinfo: each is checked by
// every trusted key of its name.
const MaxSignatures = 1000

// MaxNarInfo bounds the text of a narinfo, in bytes. The largest closures of
// real package sets have narinfos of some 500 kB.
const MaxNarInfo = 4 << 20

// NarInfo is what a binary cache says of a path: its path info, and where and
// in which form its NAR lies (Nix manual, "Binary cache"; text/x-nix-narinfo).
type NarInfo struct {
	PathInfo
	URL         string // of the NAR file, relative to the cache
	Compression string // "xz", "none", …; a narinfo without it means "bzip2"
	FileHash    Hash   // of the file as it lies there; zero if not given
	FileSize    uint64 // 0 if not given
}

// ParseNarInfo parses a narinfo and is as strict as Nix: every line is
// "Key: value" and ends in a newline; StorePath, URL, NarHash and NarSize must
// be there; unknown keys are skipped. It is stricter in that nothing but Sig may
// be there twice. A signature that can't be parsed is nobody's and left out, as
// with Nix it only fails to convince. References come out sorted.
func ParseNarInfo(d Dir, text string) (*NarInfo, error) {
	n := &NarInfo{}
	bad := func(line, format string, args ...any) (*NarInfo, error) {
		return nil, syntaxError("narinfo line", line, format, args...)
	}
	if len(text) > MaxNarInfo {
		return bad(text[:64], "the narinfo is longer than %d bytes", MaxNarInfo)
	}
	seen := map[string]bool{}
	for text != "" {
		line, rest, ok := strings.Cut(text, "\n")
		if !ok {
			return bad(line, "it does not end in a newline")
		}
		text = rest
		key, value, ok := strings.Cut(line, ": ")
		if !ok {
			// Nix prints empty values with the space, but some caches trim it.
			if key, ok = strings.CutSuffix(line, ":"); !ok {
				return bad(line, "expected KEY: VALUE")
			}
		}
		if seen[key] && singleKey(key) {
			return bad(line, "%s is there twice", key)
		}
		seen[key] = true
		if err := n.set(d, key, value); err != nil {
			return bad(line, "%v", err)
		}
	}
	for _, key := range []string{"StorePath", "URL", "NarHash", "NarSize"} {
		if !seen[key] {
			return nil, syntaxError("narinfo", n.Path.String(), "it has no %s", key)
		}
	}
	if n.NarSize == 0 {
		return nil, syntaxError("narinfo", n.Path.String(), "NarSize is 0")
	}
	n.References = SortPaths(n.References)
	if n.Compression == "" {
		n.Compression = "bzip2"
	}
	return n, nil
}

func singleKey(key string) bool {
	switch key {
	case "StorePath", "URL", "Compression", "FileHash", "FileSize", "NarHash", "NarSize", "References", "Deriver", "CA":
		return true
	}
	return false
}

func (n *NarInfo) set(d Dir, key, value string) (err error) {
	switch key {
	case "StorePath":
		n.Path, err = d.Parse(value)
	case "URL":
		n.URL = value
		if value == "" {
			err = errors.New("it is empty")
		}
	case "Compression":
		n.Compression = value
	case "FileHash":
		n.FileHash, err = ParseHash(value, 0)
	case "FileSize":
		n.FileSize, err = strconv.ParseUint(value, 10, 64)
	case "NarHash":
		n.NarHash, err = ParseHash(value, SHA256)
	case "NarSize":
		n.NarSize, err = strconv.ParseUint(value, 10, 64)
	case "References":
		for f := range strings.SplitSeq(value, " ") {
			if f == "" {
				continue
			}
			p, err := ParseStorePath(f)
			if err != nil {
				return err
			}
			n.References = append(n.References, p)
		}
	case "Deriver":
		if value != "" && value != "unknown-deriver" {
			n.Deriver, err = ParseStorePath(value)
		}
	case "Sig":
		if len(n.Signatures) == MaxSignatures {
			return errors.New("too many signatures")
		}
		if s, err := ParseSignature(value); err == nil {
			n.Signatures = append(n.Signatures, s)
		}
	case "CA":
		n.CA, err = ParseContentAddress(value)
	}
	return err
}

// Text prints the narinfo as Nix does, references and signatures sorted.
func (n *NarInfo) Text(d Dir) string {
	var b strings.Builder
	line := func(key, value string) { b.WriteString(key + ": " + value + "\n") }
	line("StorePath", d.Join(n.Path))
	line("URL", n.URL)
	if n.Compression != "" {
		line("Compression", n.Compression)
	}
	if !n.FileHash.IsZero() {
		line("FileHash", n.FileHash.String())
	}
	if n.FileSize != 0 {
		line("FileSize", strconv.FormatUint(n.FileSize, 10))
	}
	line("NarHash", n.NarHash.String())
	line("NarSize", strconv.FormatUint(n.NarSize, 10))
	refs := make([]string, 0, len(n.References))
	for _, r := range SortPaths(n.References) {
		refs = append(refs, r.String())
	}
	line("References", strings.Join(refs, " "))
	if !n.Deriver.IsZero() {
		line("Deriver", n.Deriver.String())
	}
	for _, s := range signatureTexts(n.Signatures) {
		line("Sig", s)
	}
	if !n.CA.IsZero() {
		line("CA", n.CA.String())
	}
	return b.String()
}

// signatureTexts prints signatures in Nix's order, which keeps them as a set of
// strings.
func signatureTexts(sigs []Signature) []string {
	s := make([]string, 0, len(sigs))
	for _, sig := range sigs {
		s = append(s, sig.String())
	}
	slices.Sort(s)
	return slices.Compact(s)
}
