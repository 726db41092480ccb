package wire

import (
	"encoding/json"
	"math"
	"time"

	"larder/store"
)

// BuildResult says how a build ended.
type BuildResult struct {
	Status   uint8  // the numbers of package realiser/result
	ErrorMsg string // "" if it went well

	TimesBuilt       uint32 // since 1.29, as the next three
	NonDeterministic bool
	Start, Stop      time.Time // whole seconds; zero if nothing was built

	CPUUser, CPUSystem *time.Duration // since 1.37; whole microseconds, nil if not known

	// Outputs are the realisations of the outputs by their names; since 1.28, empty
	// if it failed. With [FeatureRealisationWithPath] their ids are not sent: on
	// reading, only name, path and signatures are set.
	Outputs map[string]store.Realisation
}

func (m *BuildResult) code(c *coder) {
	number(c, &m.Status, math.MaxUint8)
	c.text(&m.ErrorMsg)
	if c.Version.Since(29) {
		number(c, &m.TimesBuilt, math.MaxUint32)
		c.boolean(&m.NonDeterministic)
		c.instant(&m.Start)
		c.instant(&m.Stop)
	}
	if c.Version.Since(37) {
		c.optMicroseconds(&m.CPUUser)
		c.optMicroseconds(&m.CPUSystem)
	}
	switch {
	case c.Has(FeatureRealisationWithPath):
		dict(c, &m.Outputs, (*coder).name, (*coder).outputTrace)
		for name, r := range m.Outputs {
			if c.reading() {
				r.ID.Output = name
				m.Outputs[name] = r
			}
		}
	case c.Version.Since(28):
		c.builtOutputs(&m.Outputs)
	}
}

// builtOutputs is a map from ids to realisations in JSON. All ids have the
// derivation's hash, so that the order by ids is that by names.
func (c *coder) builtOutputs(p *map[string]store.Realisation) {
	byID := map[string]store.Realisation{}
	for _, r := range *p {
		byID[r.ID.String()] = r
	}
	dict(c, &byID, (*coder).text, (*coder).realisation)
	if c.err != nil || !c.reading() {
		return
	}
	*p = map[string]store.Realisation{}
	for _, r := range byID {
		(*p)[r.ID.Output] = r
	}
}

// realisation is a realisation as JSON.
func (c *coder) realisation(p *store.Realisation) {
	var text []byte
	if !c.reading() {
		b, err := json.Marshal(*p)
		if err != nil {
			c.fail(err)
			return
		}
		text = b
	}
	c.blob(&text)
	if c.err == nil && c.reading() {
		if err := json.Unmarshal(text, p); err != nil {
			c.fail(err)
		}
	}
}

// optMicroseconds is a 0, or a 1 and a time.
func (c *coder) optMicroseconds(p **time.Duration) {
	known := *p != nil
	tag := uint8(0)
	if known {
		tag = 1
	}
	number(c, &tag, 1)
	if c.err != nil || tag == 0 {
		return
	}
	var n uint64
	if known {
		n = uint64(max(0, (*p).Microseconds()))
	}
	number(c, &n, math.MaxInt64/uint64(time.Microsecond))
	if c.err == nil && c.reading() {
		d := time.Duration(n) * time.Microsecond
		*p = &d
	}
}

// BuildResults are the replies for many paths, in the order of the request.
type BuildResults struct{ Results []KeyedBuildResult }

// KeyedBuildResult is the result of one of many paths.
type KeyedBuildResult struct {
	Path   DerivedPath
	Result BuildResult
}

func (m *BuildResults) code(c *coder) {
	list(c, &m.Results, func(c *coder, r *KeyedBuildResult) {
		c.derivedPath(&r.Path)
		r.Result.code(c)
	})
}
