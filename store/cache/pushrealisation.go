package cache

import (
	"context"
	"encoding/json"
	"path"

	"larder/store"
)

// realisations writes what is known of outputs that turned out to be the path, in both forms. One that the cache has is
// kept as it is.
func (p *push) realisations(ctx context.Context, info *store.PathInfo) error {
	list, err := p.src.Realisations(ctx, info.Path)
	if err != nil {
		return err
	}
	for _, r := range list {
		if err := p.writeRealisation(r); err != nil {
			return err
		}
		// What made a content-addressed path is a resolved derivation: the key of the newer form.
		if !info.CA.IsZero() && info.Deriver.IsDerivation() {
			if err := p.writeBuildTrace(&store.BuildTrace{Drv: info.Deriver, Output: r.ID.Output, OutPath: info.Path}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *push) writeRealisation(r *store.Realisation) error {
	signed := *r
	if p.opt.Key != nil {
		signed.Signatures = append(signed.Signatures[:len(r.Signatures):len(r.Signatures)], p.opt.Key.Sign(r.Fingerprint()))
	}
	text, err := json.Marshal(signed)
	if err != nil {
		return err
	}
	return writeNew(p.root, "realisations/"+r.ID.String()+".doi", text)
}

func (p *push) writeBuildTrace(t *store.BuildTrace) error {
	if p.opt.Key != nil {
		t.Signatures = []store.Signature{p.opt.Key.Sign(t.Fingerprint())}
	}
	text, err := t.Text()
	if err != nil {
		return err
	}
	name := buildTraceName(t.Drv, t.Output)
	if err := p.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	return writeNew(p.root, name, text)
}

func buildTraceName(drv store.StorePath, output string) string {
	return "build-trace-v2/" + drv.String() + "/" + output + ".doi"
}
