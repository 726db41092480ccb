package wire

import (
	"fmt"

	"larder/store"
)

// AddTempRoot keeps a path from being collected as long as the connection lives.
type AddTempRoot struct{ Path store.StorePath }

func (*AddTempRoot) Op() Op          { return OpAddTempRoot }
func (*AddTempRoot) Reply() Message  { return &Done{} }
func (m *AddTempRoot) code(c *coder) { c.path(&m.Path) }

// AddIndirectRoot registers a symlink into the store that the client has made. The
// link is an absolute path, which is not checked here.
type AddIndirectRoot struct{ Link string }

func (*AddIndirectRoot) Op() Op          { return OpAddIndirectRoot }
func (*AddIndirectRoot) Reply() Message  { return &Done{} }
func (m *AddIndirectRoot) code(c *coder) { c.text(&m.Link) }

// AddPermRoot makes a symlink to a path and registers it. The reply is the link.
type AddPermRoot struct {
	Path store.StorePath
	Link string
}

func (*AddPermRoot) Op() Op         { return OpAddPermRoot }
func (*AddPermRoot) Reply() Message { return &Text{} }
func (m *AddPermRoot) code(c *coder) {
	c.path(&m.Path)
	c.text(&m.Link)
}

// Text is a string.
type Text struct{ Text string }

func (m *Text) code(c *coder) { c.text(&m.Text) }

// SyncWithGC waits until no collection runs.
type SyncWithGC struct{}

func (*SyncWithGC) Op() Op         { return OpSyncWithGC }
func (*SyncWithGC) Reply() Message { return &Done{} }
func (*SyncWithGC) code(*coder)    {}

// FindRoots asks for all roots.
type FindRoots struct{}

func (*FindRoots) Op() Op         { return OpFindRoots }
func (*FindRoots) Reply() Message { return &Roots{} }
func (*FindRoots) code(*coder)    {}

// Root is a reason why a path is alive: the path of a symlink, or something like
// "/proc/1234/exe" or "{censored}".
type Root struct {
	Link string
	Path store.StorePath
}

// Roots are all roots.
type Roots struct{ Roots []Root }

func (m *Roots) code(c *coder) {
	list(c, &m.Roots, func(c *coder, r *Root) {
		c.text(&r.Link)
		c.path(&r.Path)
	})
}

// GCAction says what a collection is to do.
type GCAction uint8

const (
	// GCReturnLive lists what is alive.
	GCReturnLive GCAction = iota
	// GCReturnDead lists what is dead.
	GCReturnDead
	// GCDeleteDead deletes what is dead.
	GCDeleteDead
	// GCDeleteSpecific deletes the given paths if they are dead.
	GCDeleteSpecific
)

func (a GCAction) String() string {
	names := []string{"return live", "return dead", "delete dead", "delete specific"}
	if int(a) < len(names) {
		return names[a]
	}
	return fmt.Sprintf("GCAction(%d)", uint8(a))
}

// CollectGarbage lists or deletes garbage.
type CollectGarbage struct {
	Action         GCAction
	Paths          []store.StorePath // for GCDeleteSpecific
	IgnoreLiveness bool              // for GCDeleteSpecific; daemons refuse it
	MaxFreed       uint64            // bytes after which to stop
}

func (*CollectGarbage) Op() Op         { return OpCollectGarbage }
func (*CollectGarbage) Reply() Message { return &Collected{} }
func (m *CollectGarbage) code(c *coder) {
	number(c, &m.Action, GCDeleteSpecific)
	c.paths(&m.Paths)
	c.boolean(&m.IgnoreLiveness)
	c.word(&m.MaxFreed)
	for range 3 {
		c.constant(0) // once: when a path was used last
	}
}

// Collected is what was found or deleted.
type Collected struct {
	Paths []string // absolute; what is deleted need not be a store path
	Freed uint64   // bytes
}

func (m *Collected) code(c *coder) {
	c.texts(&m.Paths)
	c.word(&m.Freed)
	c.constant(0)
}

// OptimiseStore makes identical files one file.
type OptimiseStore struct{}

func (*OptimiseStore) Op() Op         { return OpOptimiseStore }
func (*OptimiseStore) Reply() Message { return &Done{} }
func (*OptimiseStore) code(*coder)    {}

// VerifyStore looks for what is damaged. The reply says whether anything is left
// that is.
type VerifyStore struct {
	CheckContents bool
	Repair        bool
}

func (*VerifyStore) Op() Op         { return OpVerifyStore }
func (*VerifyStore) Reply() Message { return &Bool{} }
func (m *VerifyStore) code(c *coder) {
	c.boolean(&m.CheckContents)
	c.boolean(&m.Repair)
}
