package control

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"

	"larder/nar"
	"larder/store"
	"larder/store/derivation"
)

// PathInfo implements Service.
func (c *Client) PathInfo(ctx context.Context, p store.StorePath) (*store.PathInfo, error) {
	var j PathInfo
	if err := c.get(ctx, "path-info/"+p.String(), &j); err != nil {
		return nil, err
	}
	return j.Parse(c.Dir())
}

// PathFromHashPart implements Service.
func (c *Client) PathFromHashPart(ctx context.Context, digest [20]byte) (store.StorePath, error) {
	return c.path(c.do(ctx, http.MethodGet, "hash-part/"+store.EncodeNix32(digest[:]), "", nil))
}

// Query implements Service.
func (c *Client) Query(ctx context.Context, relation Relation, paths []store.StorePath) (list []store.StorePath, err error) {
	err = c.post(ctx, "query", queryBody{relation, paths}, &list)
	return list, err
}

// Outputs implements Service.
func (c *Client) Outputs(ctx context.Context, drv store.StorePath) (outputs map[string]store.StorePath, err error) {
	err = c.get(ctx, "outputs/"+drv.String(), &outputs)
	return outputs, err
}

// Realisation implements Service.
func (c *Client) Realisation(ctx context.Context, id store.DrvOutput) (*store.Realisation, error) {
	r := &store.Realisation{}
	return r, c.get(ctx, "realisation/"+id.String(), r)
}

// Realisations implements Service.
func (c *Client) Realisations(ctx context.Context, p store.StorePath) (list []*store.Realisation, err error) {
	err = c.get(ctx, "realisations/"+p.String(), &list)
	return list, err
}

// Derivation implements Service.
func (c *Client) Derivation(ctx context.Context, p store.StorePath) (*derivation.Derivation, error) {
	s, err := c.open(ctx, "derivation/"+p.String())
	if err != nil {
		return nil, err
	}
	defer s.Close()
	text, err := io.ReadAll(io.LimitReader(s, maxAnswer))
	if err != nil {
		return nil, err
	}
	return derivation.Parse(c.Dir(), DrvName(p), text)
}

// DumpNAR implements Service.
func (c *Client) DumpNAR(ctx context.Context, w io.Writer, p store.StorePath) error {
	s, err := c.open(ctx, "nar/"+p.String())
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = io.Copy(w, s)
	return err
}

// Listing implements Service.
func (c *Client) Listing(ctx context.Context, p store.StorePath) (*nar.Listing, error) {
	var text json.RawMessage
	if err := c.get(ctx, "listing/"+p.String(), &text); err != nil {
		return nil, err
	}
	return nar.ParseListing(text)
}

// Add implements Service.
func (c *Client) Add(ctx context.Context, r AddRequest, archive io.Reader) (store.StorePath, error) {
	q := url.Values{"name": {r.Name}, "method": {r.Method.String()}, "algo": {r.Algo.String()}}
	for _, p := range r.References {
		q.Add("reference", p.String())
	}
	return c.path(c.do(ctx, http.MethodPost, "add?"+q.Encode(), "application/x-nix-nar", archive))
}

// AddDerivation implements Service.
func (c *Client) AddDerivation(ctx context.Context, name string, text []byte) (store.StorePath, error) {
	q := url.Values{"name": {name}}
	return c.path(c.do(ctx, http.MethodPost, "derivation?"+q.Encode(), "application/octet-stream", bytes.NewReader(text)))
}

// path takes the store path out of an answer.
func (c *Client) path(res *http.Response, err error) (store.StorePath, error) {
	if err != nil {
		return store.StorePath{}, err
	}
	var b pathBody
	err = decodeAnswer(res, &b)
	return b.Path, err
}

// Roots implements Service.
func (c *Client) Roots(ctx context.Context) (roots []Root, err error) {
	err = c.get(ctx, "roots", &roots)
	return roots, err
}

// AddRoot implements Service.
func (c *Client) AddRoot(ctx context.Context, link string) error {
	return c.post(ctx, "roots", rootBody{link}, &none{})
}

// CollectGarbage implements Service.
func (c *Client) CollectGarbage(ctx context.Context, r GCRequest) (*GCResult, error) {
	g := &GCResult{}
	return g, c.post(ctx, "gc", r, g)
}

// Failures implements Service.
func (c *Client) Failures(ctx context.Context) (list []store.Failure, err error) {
	err = c.get(ctx, "failures", &list)
	return list, err
}

// ForgetFailures implements Service.
func (c *Client) ForgetFailures(ctx context.Context, paths []store.StorePath) (int, error) {
	var forgotten countBody
	err := c.post(ctx, "failures/forget", pathsBody{paths}, &forgotten)
	return forgotten.Count, err
}
