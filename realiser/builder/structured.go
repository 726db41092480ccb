package builder

import (
	"maps"
	"path/filepath"
)

// The files in which a builder finds structured attributes, and the variables
// that name them.
const (
	attrsJSONFile, attrsJSONVariable   = ".attrs.json", "NIX_ATTRS_JSON_FILE"
	attrsShellFile, attrsShellVariable = ".attrs.sh", "NIX_ATTRS_SH_FILE"
)

// writeAttrs writes the structured attributes into the build directory, with
// the paths of the outputs and the graphs that were asked for (Nix manual,
// "Advanced attributes"). Placeholders are replaced in the finished text, as Nix
// does it, so that they can be in names too and do not change the order.
func (b *build) writeAttrs(env map[string]string) error {
	attrs := maps.Clone(b.Asks.Structured)
	outputs := map[string]any{}
	for name, p := range b.Outputs {
		outputs[name] = b.dir.Join(p)
	}
	attrs["outputs"] = outputs
	for _, g := range b.graphs() {
		infos, err := b.closureOf(g)
		if err != nil {
			return err
		}
		if attrs[g.Name], err = pathInfosJSON(b.ctx, b.dir, infos); err != nil {
			return err
		}
	}
	rewrite := b.placeholders()
	for _, file := range []struct{ name, variable, text string }{
		{attrsJSONFile, attrsJSONVariable, string(appendJSON(nil, attrs))},
		{attrsShellFile, attrsShellVariable, string(appendShell(nil, attrs))},
	} {
		if err := b.writeFile(file.name, rewrite.Replace(file.text)); err != nil {
			return err
		}
		env[file.variable] = filepath.Join(b.buildDir(), file.name)
	}
	return nil
}
