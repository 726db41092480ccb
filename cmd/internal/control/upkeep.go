package control

import (
	"context"

	"larder/store"
)

// VerifyRequest says which objects to look at, and how.
type VerifyRequest struct {
	Paths    []store.StorePath `json:"paths,omitempty"`    // valid ones
	All      bool              `json:"all,omitempty"`      // every valid path
	Contents bool              `json:"contents,omitempty"` // read them; otherwise only whether they are there
	Repair   bool              `json:"repair,omitempty"`   // substitute or build again what is bad
}

// VerifyResult is what was found, and what became of it.
type VerifyResult struct {
	Checked  int       `json:"checked"` // paths
	Bad      []BadPath `json:"bad"`
	BadLinks []string  `json:"badLinks,omitempty"` // shared files (larder store optimise) that are damaged; a repair drops them
}

// BadPath is a valid path whose object is missing or damaged.
type BadPath struct {
	Path     store.StorePath `json:"path"`
	Problem  string          `json:"problem"`
	Repaired bool            `json:"repaired"`
	Failure  string          `json:"failure,omitempty"` // why it could not be repaired
}

// OptimiseResult is what was shared.
type OptimiseResult struct {
	Files int    `json:"files"` // that became links to others
	Freed uint64 `json:"freed"` // bytes on disk
}

// Verify implements Service.
func (c *Client) Verify(ctx context.Context, _ store.Caller, r VerifyRequest) (*VerifyResult, error) {
	v := &VerifyResult{}
	return v, c.post(ctx, "verify", r, v)
}

// Optimise implements Service.
func (c *Client) Optimise(ctx context.Context) (*OptimiseResult, error) {
	o := &OptimiseResult{}
	return o, c.post(ctx, "optimise", none{}, o)
}

func (r *request) verify() error {
	var b VerifyRequest
	if err := r.body(&b); err != nil {
		return err
	}
	v, err := r.service.Verify(r.context(), r.caller, b)
	return r.answer(v, err)
}

func (r *request) optimise() error {
	var b none
	if err := r.body(&b); err != nil {
		return err
	}
	o, err := r.service.Optimise(r.context())
	return r.answer(o, err)
}
