package wire

import (
	"fmt"

	"larder/store"
)

// NarHash is the SHA-256 of a NAR in base 16, without its algorithm.
type NarHash struct{ Hash store.Hash }

func (m *NarHash) code(c *coder) { c.narHash(&m.Hash) }

func (c *coder) narHash(p *store.Hash) {
	if !c.reading() && p.Algo() != store.SHA256 {
		c.fail(fmt.Errorf("a NAR hash that is not SHA-256: %w", ErrRange))
	}
	textual(c, p, func(h store.Hash) string { return h.Encode(store.Base16) },
		func(s string) (store.Hash, error) { return store.ParseHash(s, store.SHA256) })
}

func (c *coder) contentAddress(p *store.ContentAddress) {
	textual(c, p, store.ContentAddress.String, store.ParseContentAddress)
}

// signatures leaves out those that can't be parsed, as when a narinfo is read:
// they convince nobody.
func (c *coder) signatures(p *[]store.Signature) {
	var texts []string
	for _, s := range *p {
		texts = append(texts, s.String())
	}
	c.texts(&texts)
	if c.err != nil || !c.reading() {
		return
	}
	if len(texts) > store.MaxSignatures {
		c.fail(ErrTooLong)
		return
	}
	*p = nil
	for _, t := range texts {
		if s, err := store.ParseSignature(t); err == nil {
			*p = append(*p, s)
		}
	}
}

// details is what Nix calls an unkeyed valid path info: all but the path.
func (c *coder) details(i *store.PathInfo) {
	c.optPath(&i.Deriver)
	c.narHash(&i.NarHash)
	c.paths(&i.References)
	c.instant(&i.RegistrationTime)
	c.word(&i.NarSize)
	c.boolean(&i.Ultimate)
	c.signatures(&i.Signatures)
	c.contentAddress(&i.CA)
}

// PathInfo is a path info with its path: what is in front of each NAR of
// [AddMultipleToStore].
type PathInfo struct{ Info store.PathInfo }

func (m *PathInfo) code(c *coder) {
	c.path(&m.Info.Path)
	c.details(&m.Info)
}

// OptPathInfo is a path info without its path, for whoever asked knows it. Nil:
// the path is not valid.
type OptPathInfo struct{ Info *store.PathInfo }

func (m *OptPathInfo) code(c *coder) {
	found := m.Info != nil
	c.boolean(&found)
	if c.err != nil || !found {
		return
	}
	if c.reading() {
		m.Info = &store.PathInfo{}
	}
	c.details(m.Info)
}

// SubstitutableInfo is what a substituter says of a path.
type SubstitutableInfo struct {
	Path         store.StorePath // not in the reply about a single path
	Deriver      store.StorePath // zero if unknown
	References   []store.StorePath
	DownloadSize uint64 // 0 if unknown
	NarSize      uint64 // 0 if unknown
}

func (i *SubstitutableInfo) code(c *coder) {
	c.optPath(&i.Deriver)
	c.paths(&i.References)
	c.word(&i.DownloadSize)
	c.word(&i.NarSize)
}

// QuerySubstitutablePathInfo asks what the substituters say of one path.
type QuerySubstitutablePathInfo struct{ Path store.StorePath }

func (*QuerySubstitutablePathInfo) Op() Op          { return OpQuerySubstitutablePathInfo }
func (*QuerySubstitutablePathInfo) Reply() Message  { return &OptSubstitutable{} }
func (m *QuerySubstitutablePathInfo) code(c *coder) { c.path(&m.Path) }

// OptSubstitutable is nil if no substituter has the path.
type OptSubstitutable struct{ Info *SubstitutableInfo }

func (m *OptSubstitutable) code(c *coder) {
	found := m.Info != nil
	c.boolean(&found)
	if c.err != nil || !found {
		return
	}
	if c.reading() {
		m.Info = &SubstitutableInfo{}
	}
	m.Info.code(c)
}

// Wanted is a path that may be substituted.
type Wanted struct {
	Path store.StorePath
	CA   store.ContentAddress // since 1.22: the same content may have another path elsewhere
}

// QuerySubstitutablePathInfos asks what the substituters say of many paths.
type QuerySubstitutablePathInfos struct{ Paths []Wanted }

func (*QuerySubstitutablePathInfos) Op() Op         { return OpQuerySubstitutablePathInfos }
func (*QuerySubstitutablePathInfos) Reply() Message { return &Substitutables{} }
func (m *QuerySubstitutablePathInfos) code(c *coder) {
	list(c, &m.Paths, func(c *coder, w *Wanted) {
		c.path(&w.Path)
		if c.Version.Since(22) {
			c.contentAddress(&w.CA)
		}
	})
}

// Substitutables has an element for each path that a substituter has.
type Substitutables struct{ Infos []SubstitutableInfo }

func (m *Substitutables) code(c *coder) {
	list(c, &m.Infos, func(c *coder, i *SubstitutableInfo) {
		c.path(&i.Path)
		i.code(c)
	})
}
