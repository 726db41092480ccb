package wire

import (
	"fmt"

	"larder/store"
)

// AddToStore adds a content-addressed object. The body is what is hashed: a NAR for
// the methods that hash a tree, the contents of the file otherwise; before 1.25 it
// is always a NAR.
type AddToStore struct {
	Name       string
	Method     ContentMethod
	References []store.StorePath // since 1.25
	Repair     bool              // since 1.25
}

func (*AddToStore) Op() Op         { return OpAddToStore }
func (*AddToStore) Reply() Message { return &Added{} }
func (m *AddToStore) code(c *coder) {
	c.name(&m.Name)
	if !c.Version.Since(25) {
		m.codeOld(c)
		return
	}
	textual(c, &m.Method, ContentMethod.String, ParseContentMethod)
	c.paths(&m.References)
	c.boolean(&m.Repair)
}

// codeOld is the form before 1.25: flat or recursive and an algorithm. The first
// number says that it is not what was meant first of all, recursive SHA-256.
func (m *AddToStore) codeOld(c *coder) {
	if m.Method.Method != store.Flat && m.Method.Method != store.Recursive && !c.reading() {
		c.unsupported("content-addressing method %s", m.Method)
	}
	if len(m.References) > 0 || m.Repair {
		c.unsupported("references of added files, and repair")
	}
	recursive := m.Method.Method == store.Recursive
	fixed := !recursive || m.Method.Algo != store.SHA256
	c.boolean(&fixed)
	c.boolean(&recursive)
	textual(c, &m.Method.Algo, store.HashAlgo.String, store.ParseHashAlgo)
	if c.err != nil || !c.reading() {
		return
	}
	m.Method.Method = store.Flat
	if recursive || !fixed {
		m.Method.Method = store.Recursive
	}
	if !fixed {
		m.Method.Algo = store.SHA256
	}
}

// Added is the object that was added. Before 1.25 only its path is told.
type Added struct{ Info store.PathInfo }

func (m *Added) code(c *coder) {
	c.path(&m.Info.Path)
	if c.Version.Since(25) {
		c.details(&m.Info)
	}
}

// AddTextToStore adds a text object, such as a derivation.
type AddTextToStore struct {
	Name       string
	Text       []byte
	References []store.StorePath
}

func (*AddTextToStore) Op() Op         { return OpAddTextToStore }
func (*AddTextToStore) Reply() Message { return &Path{} }
func (m *AddTextToStore) code(c *coder) {
	c.name(&m.Name)
	c.blob(&m.Text)
	c.paths(&m.References)
}

// AddToStoreNar adds an object with its path info. The body is its NAR.
type AddToStoreNar struct {
	Info          store.PathInfo
	Repair        bool
	DontCheckSigs bool // a daemon heeds it only from those whom it trusts
}

func (*AddToStoreNar) Op() Op         { return OpAddToStoreNar }
func (*AddToStoreNar) Reply() Message { return nil }
func (m *AddToStoreNar) code(c *coder) {
	c.path(&m.Info.Path)
	c.details(&m.Info)
	c.boolean(&m.Repair)
	c.boolean(&m.DontCheckSigs)
}

// AddMultipleToStore adds many objects, references before what refers to them. The
// body is a [Count] and then, for each, a [PathInfo] and its NAR.
type AddMultipleToStore struct {
	Repair        bool
	DontCheckSigs bool // a daemon heeds it only from those whom it trusts
}

func (*AddMultipleToStore) Op() Op         { return OpAddMultipleToStore }
func (*AddMultipleToStore) Reply() Message { return nil }
func (m *AddMultipleToStore) code(c *coder) {
	c.boolean(&m.Repair)
	c.boolean(&m.DontCheckSigs)
}

// Count is a number of things that follow.
type Count struct{ N uint64 }

func (m *Count) code(c *coder) { c.word(&m.N) }

// AddBuildLog stores the log of a build. The body is the log, not compressed.
type AddBuildLog struct{ Drv store.StorePath }

func (*AddBuildLog) Op() Op         { return OpAddBuildLog }
func (*AddBuildLog) Reply() Message { return &Done{} }
func (m *AddBuildLog) code(c *coder) {
	// Of all operations, this one alone sends the base name.
	textual(c, &m.Drv, store.StorePath.String, store.ParseStorePath)
}

// AddSignatures adds signatures to a valid path. They are passed on as they came:
// whether a text that is no signature is refused is the daemon's decision.
type AddSignatures struct {
	Path       store.StorePath
	Signatures []string
}

func (*AddSignatures) Op() Op         { return OpAddSignatures }
func (*AddSignatures) Reply() Message { return &Done{} }
func (m *AddSignatures) code(c *coder) {
	c.path(&m.Path)
	c.texts(&m.Signatures)
}

// NarFromPath asks for the NAR of a valid path, which follows after [Last].
type NarFromPath struct{ Path store.StorePath }

func (*NarFromPath) Op() Op          { return OpNarFromPath }
func (*NarFromPath) Reply() Message  { return nil }
func (m *NarFromPath) code(c *coder) { c.path(&m.Path) }

// ExportPath asks for a path in the format of `nix-store --export`, without the
// number before and after it. It arrives as [WriteData].
type ExportPath struct {
	Path store.StorePath
	Sign bool // ignored
}

func (*ExportPath) Op() Op         { return OpExportPath }
func (*ExportPath) Reply() Message { return &Done{} }
func (m *ExportPath) code(c *coder) {
	c.path(&m.Path)
	c.boolean(&m.Sign)
}

// ImportPaths adds the paths of a stream that `nix-store --export` wrote, which is
// the body. The reply says which they were.
type ImportPaths struct{}

func (*ImportPaths) Op() Op         { return OpImportPaths }
func (*ImportPaths) Reply() Message { return &Paths{} }
func (*ImportPaths) code(*coder)    {}

const exportMagic = 0x4558494e

// Exported is what follows the NAR of each path in the stream of `nix-store
// --export`. Before each NAR there is a 1, and at the end a 0.
type Exported struct {
	Path       store.StorePath
	References []store.StorePath
	Deriver    store.StorePath // zero if unknown
}

func (m *Exported) code(c *coder) {
	magic := uint64(exportMagic)
	c.word(&magic)
	if c.err == nil && magic != exportMagic {
		c.fail(fmt.Errorf("export stream: %w", ErrMagic))
	}
	c.path(&m.Path)
	c.paths(&m.References)
	c.optPath(&m.Deriver)
	var signed bool
	c.boolean(&signed)
	if signed {
		var ignored string
		c.text(&ignored)
	}
}
