package store

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
)

// Method says how a content-addressed object's hash is taken.
type Method uint8

const (
	// Text: the hash of a single file that may have references (.drv files).
	Text Method = iota + 1
	// Flat: the hash of the contents of a single file.
	Flat
	// Recursive: the hash of the NAR serialisation.
	Recursive
	// Git: the id that git gives the same blob or tree.
	Git
)

// String is the name that Nix's newer JSON uses: "text", "flat", "nar", "git".
func (m Method) String() string {
	switch m {
	case Text:
		return "text"
	case Flat:
		return "flat"
	case Recursive:
		return "nar"
	case Git:
		return "git"
	}
	return ""
}

// CheckAlgo says what is wrong with hashing so by that algorithm.
func (m Method) CheckAlgo(a HashAlgo) error {
	switch {
	case m == Text && a != SHA256:
		return errors.New("text is always hashed with sha256")
	case m == Git && a != SHA1 && a != SHA256:
		return errors.New("git hashes with sha1 or sha256")
	}
	return nil
}

// ParseMethod is the inverse of String.
func ParseMethod(s string) (Method, error) {
	for m := Text; m <= Git; m++ {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, syntaxError("content-addressing method", s, "expected text, flat, nar or git")
}

// ContentAddress says what an object's store path was computed from. It is
// comparable; the zero value means input-addressed.
type ContentAddress struct {
	Method Method
	Hash   Hash
}

// IsZero reports whether there is no content address.
func (c ContentAddress) IsZero() bool { return c.Method == 0 }

// String is the form of narinfo files and databases: "text:sha256:…",
// "fixed:sha256:…", "fixed:r:sha256:…", "fixed:git:sha1:…", "" for none.
func (c ContentAddress) String() string {
	switch c.Method {
	case Text:
		return "text:" + c.Hash.String()
	case Flat:
		return "fixed:" + c.Hash.String()
	case Recursive:
		return "fixed:r:" + c.Hash.String()
	case Git:
		return "fixed:git:" + c.Hash.String()
	}
	return ""
}

// ParseContentAddress is the inverse of String; "" is the zero value.
func ParseContentAddress(s string) (ContentAddress, error) {
	if s == "" {
		return ContentAddress{}, nil
	}
	c, rest := ContentAddress{}, ""
	if r, ok := strings.CutPrefix(s, "text:"); ok {
		c.Method, rest = Text, r
	} else if r, ok := strings.CutPrefix(s, "fixed:r:"); ok {
		c.Method, rest = Recursive, r
	} else if r, ok := strings.CutPrefix(s, "fixed:git:"); ok {
		c.Method, rest = Git, r
	} else if r, ok := strings.CutPrefix(s, "fixed:"); ok {
		c.Method, rest = Flat, r
	} else {
		return c, syntaxError("content address", s, "expected text: or fixed:")
	}
	if !strings.Contains(rest, ":") {
		return ContentAddress{}, syntaxError("content address", s, "expected ALGORITHM:DIGEST")
	}
	var err error
	if c.Hash, err = ParseHash(rest, 0); err != nil {
		return ContentAddress{}, err
	}
	if err := c.Method.CheckAlgo(c.Hash.Algo()); err != nil {
		return ContentAddress{}, syntaxError("content address", s, "%v", err)
	}
	return c, nil
}

// MakePath computes a store path: the digest is the SHA-256, folded to 20
// bytes, of "kind:sha256:<digest>:<store dir>:<name>" (Nix manual, "Store Path
// Specification").
func (d Dir) MakePath(kind string, inner Hash, name string) (StorePath, error) {
	if err := CheckName(name); err != nil {
		return StorePath{}, err
	}
	sum := sha256.Sum256([]byte(kind + ":" + inner.Text(Base16) + ":" + string(d) + ":" + name))
	p := StorePath{name: name}
	for i, b := range sum {
		p.digest[i%digestSize] ^= b
	}
	return p, nil
}

// OutputPath computes the path of an input-addressed output from the hash of
// its derivation modulo fixed outputs. drvName is without ".drv".
func (d Dir) OutputPath(output string, modulo Hash, drvName string) (StorePath, error) {
	return d.MakePath("output:"+output, modulo, OutputPathName(drvName, output))
}

// OutputPathName is the name of an output's path: "hello", "hello-dev".
func OutputPathName(drvName, output string) string {
	if output == "out" {
		return drvName
	}
	return drvName + "-" + output
}

// References are what a content-addressed object refers to. A reference to
// itself is apart, because its path is not known before it is computed.
type References struct {
	Others []StorePath // any order
	Self   bool
}

// ContentPath computes the path of a content-addressed object.
func (d Dir) ContentPath(name string, ca ContentAddress, refs References) (StorePath, error) {
	if err := ca.Method.CheckAlgo(ca.Hash.Algo()); err != nil {
		return StorePath{}, syntaxError("content address", ca.String(), "%v", err)
	}
	kind := ""
	switch {
	case ca.Method == Text:
		if refs.Self {
			return StorePath{}, syntaxError("content address", ca.String(), "a text object can't refer to itself")
		}
		kind = "text"
	case ca.Method == Recursive && ca.Hash.Algo() == SHA256:
		kind = "source"
	case ca.Method == Flat || ca.Method == Recursive || ca.Method == Git:
		if ca.Hash.IsZero() {
			return StorePath{}, syntaxError("content address", ca.String(), "it has no hash")
		}
		if len(refs.Others) > 0 || refs.Self {
			return StorePath{}, syntaxError("content address", ca.String(), "only text and recursive sha256 may have references")
		}
		prefix := map[Method]string{Recursive: "r:", Git: "git:"}[ca.Method]
		inner := SHA256.Sum([]byte("fixed:out:" + prefix + ca.Hash.Text(Base16) + ":"))
		return d.MakePath("output:out", inner, name)
	default:
		return StorePath{}, syntaxError("content address", ca.String(), "it has no method")
	}
	var b strings.Builder
	b.WriteString(kind)
	others := slices.Clone(refs.Others)
	slices.SortFunc(others, StorePath.Compare)
	for _, r := range slices.Compact(others) {
		b.WriteString(":" + d.Join(r))
	}
	if refs.Self {
		b.WriteString(":self")
	}
	return d.MakePath(b.String(), ca.Hash, name)
}
