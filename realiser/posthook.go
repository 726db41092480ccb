package realiser

import (
	"maps"
	"os"
	"slices"
	"strings"

	"larder/realiser/hook"
	"larder/realiser/result"
	"larder/store"
)

// runPostBuildHook runs the post-build-hook (nix.conf(5)) after outputs were built
// and registered. What it says become lines of the goal's log. A goal whose hook
// fails has failed, though its outputs are valid, so that nothing is built on top of
// what the hook could not, say, upload. The error has the last of the lines.
//
// OUT_PATHS has the names of the outputs. The hook lives in the daemon's mount
// namespace, which never sees the mounted store: the objects lie at these names if
// the object directory is the store directory, as by default, and else in
// LARDER_OBJECT_DIR under the same base names.
func (d *drvRun) runPostBuildHook(outputs map[string]store.StorePath) ending {
	if d.opt.PostBuildHook == "" || d.g.key.mode == ModeCheck || len(outputs) == 0 {
		return ending{}
	}
	var names []string
	for _, p := range store.SortPaths(slices.Collect(maps.Values(outputs))) {
		names = append(names, d.dir.Join(p))
	}
	d.enter(d.g, PhaseHook, d.opt.PostBuildHook)
	var said []string
	h := hook.Hook{Path: d.opt.PostBuildHook, Dir: "/",
		Env: append(os.Environ(), "DRV_PATH="+d.name, "OUT_PATHS="+strings.Join(names, " "), "NIX_CONFIG="+d.opt.NixConfig,
			"LARDER_OBJECT_DIR="+d.store.ObjectDir()),
		Line: func(line string) {
			d.tellLine(line)
			if said = append(said, line); len(said) > max(0, d.opt.LogLines) {
				said = said[1:]
			}
		},
	}
	if err := h.Run(d.g.ctx); err != nil {
		failed := d.g.failf(result.MiscFailure, "post-build hook of '%s': %w (its outputs are valid)", d.name, err)
		failed.err.LastLines = said
		return failed
	}
	return ending{}
}
