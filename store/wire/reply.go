package wire

import "larder/store"

// Done is the reply of operations that either work or are an error. It is a 1 that
// nobody looks at.
type Done struct{}

func (*Done) code(c *coder) { c.constant(1) }

// Bool is a yes or no.
type Bool struct{ Value bool }

func (m *Bool) code(c *coder) { c.boolean(&m.Value) }

// Path is a store path.
type Path struct{ Path store.StorePath }

func (m *Path) code(c *coder) { c.path(&m.Path) }

// OptPath is a store path, or none.
type OptPath struct{ Path store.StorePath }

func (m *OptPath) code(c *coder) { c.optPath(&m.Path) }

// Paths is a set of store paths. Nix sends it sorted.
type Paths struct{ Paths []store.StorePath }

func (m *Paths) code(c *coder) { c.paths(&m.Paths) }

// Texts is a set of strings.
type Texts struct{ Texts []string }

func (m *Texts) code(c *coder) { c.texts(&m.Texts) }
