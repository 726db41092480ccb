package wire

import (
	"fmt"
	"strings"

	"larder/store"
	"larder/store/derivation"
)

// BuildDerivation builds a derivation that is sent along: a basic derivation, which
// has the store paths of all its inputs as sources. It need not be in the store.
//
// What arrives was not validated: a client could claim any path for an output.
type BuildDerivation struct {
	Path store.StorePath // of the derivation as the client knows it
	Drv  derivation.Derivation
	Mode BuildMode
}

func (*BuildDerivation) Op() Op         { return OpBuildDerivation }
func (*BuildDerivation) Reply() Message { return &BuildResult{} }
func (m *BuildDerivation) code(c *coder) {
	c.path(&m.Path)
	m.Drv.Name = strings.TrimSuffix(m.Path.Name(), ".drv")
	c.basicDerivation(&m.Drv)
	c.buildMode(&m.Mode)
}

func (c *coder) basicDerivation(drv *derivation.Derivation) {
	dict(c, &drv.Outputs, (*coder).name, (*coder).output)
	c.paths(&drv.InputSrcs)
	c.text(&drv.System)
	c.text(&drv.Builder)
	c.texts(&drv.Args)
	dict(c, &drv.Env, (*coder).text, (*coder).text)
}

// output is the three strings that describe an output in an ATerm too.
func (c *coder) output(o *derivation.Output) {
	var path, algo, hash string
	if !c.reading() {
		path, algo, hash = o.Texts(c.dir)
	}
	c.text(&path)
	c.text(&algo)
	c.text(&hash)
	if c.err != nil || !c.reading() {
		return
	}
	parsed, err := derivation.ParseOutput(c.dir, path, algo, hash)
	if err == nil && parsed.Kind() == derivation.FixedOutput && parsed.Path.IsZero() {
		err = fmt.Errorf("a fixed output without a path: %w", ErrRange)
	}
	if err != nil {
		c.fail(err)
		return
	}
	*o = parsed
}
