package wire

import (
	"fmt"
	"strings"

	"larder/store"
)

// DerivedPath is something that can be had: a store path itself, or outputs of a
// derivation. The derivation may itself be an output of another one.
type DerivedPath struct {
	Path    store.StorePath
	Dynamic []string // outputs that lead from Path to the derivation: nil if that is Path
	Outputs []string // names, sorted
	All     bool     // all outputs; then Outputs is nil
}

// Built reports whether outputs of a derivation are meant, not the path itself.
func (p DerivedPath) Built() bool { return p.All || len(p.Outputs) > 0 }

// Text is the form of version 1.30 and later: "PATH", "PATH!*" or "PATH!out,dev".
func (p DerivedPath) Text(d store.Dir) string {
	s := d.Join(p.Path)
	for _, o := range p.Dynamic {
		s += "!" + o
	}
	if p.All {
		return s + "!*"
	}
	if len(p.Outputs) > 0 {
		s += "!" + strings.Join(p.Outputs, ",")
	}
	return s
}

// maxDynamic bounds how deep derivations that are outputs can nest.
const maxDynamic = 64

func (c *coder) parseDerivedPath(s string) (p DerivedPath, err error) {
	parts := strings.Split(s, "!")
	if p.Path, err = c.parsePath(parts[0]); err != nil {
		return p, err
	}
	if len(parts) == 1 {
		// Old clients can't ask for a derivation itself, only for what it makes.
		p.All = !c.Version.Since(30) && p.Path.IsDerivation()
		return p, nil
	}
	if len(parts) > maxDynamic {
		return p, ErrTooLong
	}
	for _, o := range parts[1 : len(parts)-1] {
		if err := store.CheckName(o); err != nil {
			return p, err
		}
		p.Dynamic = append(p.Dynamic, o)
	}
	last := parts[len(parts)-1]
	if last == "*" {
		p.All = true
		return p, nil
	}
	p.Outputs = strings.Split(last, ",")
	for _, o := range p.Outputs {
		if err := store.CheckName(o); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (c *coder) derivedPath(p *DerivedPath) {
	if !c.reading() && !c.Version.Since(30) {
		switch {
		case !p.Built() && p.Path.IsDerivation():
			c.unsupported("a request for the derivation %s itself", p.Path)
		case len(p.Dynamic) > 0:
			c.unsupported("a derivation that is an output")
		case p.All:
			p = &DerivedPath{Path: p.Path} // the form that means all
		}
	}
	textual(c, p, func(p DerivedPath) string { return p.Text(c.dir) }, c.parseDerivedPath)
}

func (c *coder) derivedPaths(p *[]DerivedPath) { list(c, p, (*coder).derivedPath) }

// BuildMode says what to do with outputs that are valid already.
type BuildMode uint8

const (
	// BuildNormal leaves them alone.
	BuildNormal BuildMode = iota
	// BuildRepair builds them again if they are damaged.
	BuildRepair
	// BuildCheck builds them again and compares.
	BuildCheck
)

func (m BuildMode) String() string {
	names := []string{"normal", "repair", "check"}
	if int(m) < len(names) {
		return names[m]
	}
	return fmt.Sprintf("BuildMode(%d)", uint8(m))
}

func (c *coder) buildMode(p *BuildMode) { number(c, p, BuildCheck) }

// BuildPaths builds or substitutes. The first failure is an [Error].
type BuildPaths struct {
	Paths []DerivedPath
	Mode  BuildMode
}

func (*BuildPaths) Op() Op         { return OpBuildPaths }
func (*BuildPaths) Reply() Message { return &Done{} }
func (m *BuildPaths) code(c *coder) {
	c.derivedPaths(&m.Paths)
	c.buildMode(&m.Mode)
}

// BuildPathsWithResults builds or substitutes, and says how each of the paths ended.
type BuildPathsWithResults struct {
	Paths []DerivedPath
	Mode  BuildMode
}

func (*BuildPathsWithResults) Op() Op         { return OpBuildPathsWithResults }
func (*BuildPathsWithResults) Reply() Message { return &BuildResults{} }
func (m *BuildPathsWithResults) code(c *coder) {
	c.derivedPaths(&m.Paths)
	c.buildMode(&m.Mode)
}

// EnsurePath substitutes a path unless it is valid.
type EnsurePath struct{ Path store.StorePath }

func (*EnsurePath) Op() Op          { return OpEnsurePath }
func (*EnsurePath) Reply() Message  { return &Done{} }
func (m *EnsurePath) code(c *coder) { c.path(&m.Path) }

// QueryMissing asks what building the paths would take.
type QueryMissing struct{ Paths []DerivedPath }

func (*QueryMissing) Op() Op          { return OpQueryMissing }
func (*QueryMissing) Reply() Message  { return &Missing{} }
func (m *QueryMissing) code(c *coder) { c.derivedPaths(&m.Paths) }

// Missing is what is not there yet.
type Missing struct {
	WillBuild      []store.StorePath // derivations
	WillSubstitute []store.StorePath
	Unknown        []store.StorePath // nobody has them
	DownloadSize   uint64            // bytes
	NarSize        uint64            // bytes, unpacked
}

func (m *Missing) code(c *coder) {
	c.paths(&m.WillBuild)
	c.paths(&m.WillSubstitute)
	c.paths(&m.Unknown)
	c.word(&m.DownloadSize)
	c.word(&m.NarSize)
}
