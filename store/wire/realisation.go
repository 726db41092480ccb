package wire

import "larder/store"

// RegisterDrvOutput says what an output turned out to be. Which of the fields is
// sent depends on [FeatureRealisationWithPath].
type RegisterDrvOutput struct {
	Realisation store.Realisation // without the feature; before 1.31 only id and path
	Trace       store.BuildTrace  // with the feature
}

func (*RegisterDrvOutput) Op() Op         { return OpRegisterDrvOutput }
func (*RegisterDrvOutput) Reply() Message { return nil }
func (m *RegisterDrvOutput) code(c *coder) {
	switch {
	case c.Has(FeatureRealisationWithPath):
		c.path(&m.Trace.Drv)
		c.name(&m.Trace.Output)
		c.path(&m.Trace.OutPath)
		c.signatures(&m.Trace.Signatures)
	case c.Version.Since(31):
		c.realisation(&m.Realisation)
	default:
		c.drvOutput(&m.Realisation.ID)
		c.path(&m.Realisation.OutPath)
	}
}

func (c *coder) drvOutput(p *store.DrvOutput) {
	textual(c, p, store.DrvOutput.String, store.ParseDrvOutput)
}

// outputTrace is an entry of a build trace without its key.
func (c *coder) outputTrace(p *store.Realisation) {
	c.path(&p.OutPath)
	c.signatures(&p.Signatures)
}

// QueryRealisation asks what an output turned out to be. Which of the keys is sent
// depends on [FeatureRealisationWithPath].
type QueryRealisation struct {
	ID     store.DrvOutput // without the feature
	Drv    store.StorePath // with the feature, as the next
	Output string
}

func (*QueryRealisation) Op() Op         { return OpQueryRealisation }
func (*QueryRealisation) Reply() Message { return &Realisations{} }
func (m *QueryRealisation) code(c *coder) {
	if c.Has(FeatureRealisationWithPath) {
		c.path(&m.Drv)
		c.name(&m.Output)
		return
	}
	c.drvOutput(&m.ID)
}

// Realisations is what is known, at most one today. With
// [FeatureRealisationWithPath] only paths and signatures are sent, before 1.31 only
// paths: who asked knows the key.
type Realisations struct{ Realisations []store.Realisation }

func (m *Realisations) code(c *coder) {
	switch {
	case c.Has(FeatureRealisationWithPath):
		m.codeOptional(c)
	case c.Version.Since(31):
		list(c, &m.Realisations, (*coder).realisation)
	default:
		list(c, &m.Realisations, func(c *coder, r *store.Realisation) { c.path(&r.OutPath) })
	}
}

// codeOptional is a 0, or a 1 and a realisation.
func (m *Realisations) codeOptional(c *coder) {
	tag := uint8(min(1, len(m.Realisations)))
	number(c, &tag, 1)
	if c.err != nil || tag == 0 {
		return
	}
	if c.reading() {
		m.Realisations = make([]store.Realisation, 1)
	}
	c.outputTrace(&m.Realisations[0])
}
