package realiser

// buildCount keeps the counts of one build: expected from the decision to build on, whether or not it then comes to it.
type buildCount struct {
	events *events
	began  bool
}

func (e *events) expectBuild() *buildCount {
	e.count(func(c *Counts) { c.Builds.Expected++ })
	return &buildCount{events: e}
}

// begin notes that the builder starts.
func (b *buildCount) begin() {
	b.began = true
	b.events.count(func(c *Counts) { c.Builds.Running++ })
}

// end notes how it went. A build that was cancelled, or that was not needed after all, counts as never expected; so does
// one whose dependencies failed: their own failures are counted.
func (b *buildCount) end(failed, cancelled bool) {
	b.events.count(func(c *Counts) {
		if b.began {
			c.Builds.Running--
		}
		switch {
		case !b.began || cancelled:
			c.Builds.Expected--
		case failed:
			c.Builds.Failed++
		default:
			c.Builds.Done++
		}
	})
}

// substitutionCount keeps the counts of one substitution: expected as soon as a substituter has the path. It is failed if a
// substituter failed and no other delivered.
type substitutionCount struct {
	events        *events
	expected      bool
	nar, download int64 // bytes
}

func (e *events) newSubstitution() *substitutionCount { return &substitutionCount{events: e} }

// expect notes that a substituter has the path; the sizes of the first are what is expected.
func (s *substitutionCount) expect(nar, download uint64) {
	if s.expected {
		return
	}
	s.expected, s.nar, s.download = true, int64(nar), int64(download)
	s.events.count(func(c *Counts) {
		c.Substitutions.Expected++
		c.Bytes.Expected += s.nar
		c.Downloads.Expected += s.download
	})
}

// run counts what fetch does.
func (s *substitutionCount) run(fetch func() error) error {
	s.events.count(func(c *Counts) { c.Substitutions.Running++ })
	err := fetch()
	s.events.count(func(c *Counts) { c.Substitutions.Running-- })
	return err
}

// delivered notes what came. The sizes may differ from those expected, or not have been known.
func (s *substitutionCount) delivered(nar, download int64) {
	s.events.count(func(c *Counts) {
		c.Substitutions.Done++
		c.Bytes.Expected += nar - s.nar
		c.Bytes.Done += nar
		c.Downloads.Expected += download - s.download
		c.Downloads.Done += download
	})
	s.expected = false
}

// end notes that nothing came.
func (s *substitutionCount) end(failed bool) {
	if !s.expected {
		return
	}
	s.events.count(func(c *Counts) {
		c.Bytes.Expected -= s.nar
		c.Downloads.Expected -= s.download
		if failed {
			c.Substitutions.Failed++
		} else {
			c.Substitutions.Expected--
		}
	})
}
