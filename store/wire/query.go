package wire

import "larder/store"

// IsValidPath asks whether a path is valid.
type IsValidPath struct{ Path store.StorePath }

func (*IsValidPath) Op() Op          { return OpIsValidPath }
func (*IsValidPath) Reply() Message  { return &Bool{} }
func (m *IsValidPath) code(c *coder) { c.path(&m.Path) }

// HasSubstitutes asks whether a substituter has a path.
type HasSubstitutes struct{ Path store.StorePath }

func (*HasSubstitutes) Op() Op          { return OpHasSubstitutes }
func (*HasSubstitutes) Reply() Message  { return &Bool{} }
func (m *HasSubstitutes) code(c *coder) { c.path(&m.Path) }

// QueryPathHash asks for the NAR hash of a valid path.
type QueryPathHash struct{ Path store.StorePath }

func (*QueryPathHash) Op() Op          { return OpQueryPathHash }
func (*QueryPathHash) Reply() Message  { return &NarHash{} }
func (m *QueryPathHash) code(c *coder) { c.path(&m.Path) }

// QueryReferences asks what a valid path refers to.
type QueryReferences struct{ Path store.StorePath }

func (*QueryReferences) Op() Op          { return OpQueryReferences }
func (*QueryReferences) Reply() Message  { return &Paths{} }
func (m *QueryReferences) code(c *coder) { c.path(&m.Path) }

// QueryReferrers asks which valid paths refer to a path.
type QueryReferrers struct{ Path store.StorePath }

func (*QueryReferrers) Op() Op          { return OpQueryReferrers }
func (*QueryReferrers) Reply() Message  { return &Paths{} }
func (m *QueryReferrers) code(c *coder) { c.path(&m.Path) }

// QueryDeriver asks for the derivation that made a valid path.
type QueryDeriver struct{ Path store.StorePath }

func (*QueryDeriver) Op() Op          { return OpQueryDeriver }
func (*QueryDeriver) Reply() Message  { return &OptPath{} }
func (m *QueryDeriver) code(c *coder) { c.path(&m.Path) }

// QueryAllValidPaths asks for all valid paths.
type QueryAllValidPaths struct{}

func (*QueryAllValidPaths) Op() Op         { return OpQueryAllValidPaths }
func (*QueryAllValidPaths) Reply() Message { return &Paths{} }
func (*QueryAllValidPaths) code(*coder)    {}

// QueryPathInfo asks for the path info of a path.
type QueryPathInfo struct{ Path store.StorePath }

func (*QueryPathInfo) Op() Op          { return OpQueryPathInfo }
func (*QueryPathInfo) Reply() Message  { return &OptPathInfo{} }
func (m *QueryPathInfo) code(c *coder) { c.path(&m.Path) }

// QueryPathFromHashPart asks for the valid path that begins with 32 characters
// of nix32. They are not checked here.
type QueryPathFromHashPart struct{ HashPart string }

func (*QueryPathFromHashPart) Op() Op          { return OpQueryPathFromHashPart }
func (*QueryPathFromHashPart) Reply() Message  { return &OptPath{} }
func (m *QueryPathFromHashPart) code(c *coder) { c.text(&m.HashPart) }

// QueryValidPaths asks which of the paths are valid.
type QueryValidPaths struct {
	Paths      []store.StorePath
	Substitute bool // since 1.27: substitute those that are not
}

func (*QueryValidPaths) Op() Op         { return OpQueryValidPaths }
func (*QueryValidPaths) Reply() Message { return &Paths{} }
func (m *QueryValidPaths) code(c *coder) {
	c.paths(&m.Paths)
	if c.Version.Since(27) {
		c.boolean(&m.Substitute)
	} else if m.Substitute {
		c.unsupported("substitution of paths that are asked for")
	}
}

// QuerySubstitutablePaths asks which of the paths a substituter has.
type QuerySubstitutablePaths struct{ Paths []store.StorePath }

func (*QuerySubstitutablePaths) Op() Op          { return OpQuerySubstitutablePaths }
func (*QuerySubstitutablePaths) Reply() Message  { return &Paths{} }
func (m *QuerySubstitutablePaths) code(c *coder) { c.paths(&m.Paths) }

// QueryValidDerivers asks which valid derivations have a path as an output.
type QueryValidDerivers struct{ Path store.StorePath }

func (*QueryValidDerivers) Op() Op          { return OpQueryValidDerivers }
func (*QueryValidDerivers) Reply() Message  { return &Paths{} }
func (m *QueryValidDerivers) code(c *coder) { c.path(&m.Path) }

// QueryDerivationOutputs asks for the output paths of a valid derivation.
type QueryDerivationOutputs struct{ Path store.StorePath }

func (*QueryDerivationOutputs) Op() Op          { return OpQueryDerivationOutputs }
func (*QueryDerivationOutputs) Reply() Message  { return &Paths{} }
func (m *QueryDerivationOutputs) code(c *coder) { c.path(&m.Path) }

// QueryDerivationOutputNames asks for the names of a valid derivation's outputs.
type QueryDerivationOutputNames struct{ Path store.StorePath }

func (*QueryDerivationOutputNames) Op() Op          { return OpQueryDerivationOutputNames }
func (*QueryDerivationOutputNames) Reply() Message  { return &Texts{} }
func (m *QueryDerivationOutputNames) code(c *coder) { c.path(&m.Path) }

// QueryDerivationOutputMap asks for the outputs of a valid derivation.
type QueryDerivationOutputMap struct{ Path store.StorePath }

func (*QueryDerivationOutputMap) Op() Op          { return OpQueryDerivationOutputMap }
func (*QueryDerivationOutputMap) Reply() Message  { return &OutputMap{} }
func (m *QueryDerivationOutputMap) code(c *coder) { c.path(&m.Path) }

// OutputMap is the path of every output; zero for those that are not known yet.
type OutputMap struct{ Outputs map[string]store.StorePath }

func (m *OutputMap) code(c *coder) { dict(c, &m.Outputs, (*coder).name, (*coder).optPath) }
