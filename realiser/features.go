package realiser

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"larder/realiser/builtin"
	"larder/realiser/result"
	"larder/store/derivation"
)

// caFeature is what content-addressed derivations may demand of Nix, where they are an experiment.
const caFeature = "ca-derivations"

// errUnknownBuiltin is a refusal that in Nix is the failure of a builder that has begun.
var errUnknownBuiltin = errors.New("unsupported builtin builder")

// refused is the end of a derivation that can't be built as it is meant to.
func (d *drvRun) refused(err error) ending {
	if errors.Is(err, errUnknownBuiltin) {
		return d.g.failed(result.PermanentFailure, err)
	}
	return d.g.failed(result.InputRejected, err)
}

// refuse says why drv can't be built as it is meant to.
func (r *Realiser) refuse(drv *derivation.Derivation, asks *derivation.Options, name string) error {
	if called, ok := strings.CutPrefix(drv.Builder, builtin.Prefix); ok && !builtin.Known(called) {
		return fmt.Errorf("derivation '%s': %w '%s'", name, errUnknownBuiltin, called)
	}
	if err := r.builder.Refuse(drv, asks, name); err != nil {
		return err
	}
	return r.refusePlatform(drv, asks.RequiredSystemFeatures, name)
}

// refusePlatform says why this machine is not one that drv can be built on.
func (r *Realiser) refusePlatform(drv *derivation.Derivation, features []string, name string) error {
	platform := drv.System == r.opt.System || slices.Contains(r.opt.ExtraPlatforms, drv.System) || strings.HasPrefix(drv.Builder, builtin.Prefix)
	for _, f := range features {
		platform = platform && (slices.Contains(r.opt.SystemFeatures, f) || f == caFeature)
	}
	if platform {
		return nil
	}
	return fmt.Errorf("a '%s' with features {%s} is required to build '%s', but I am a '%s' with features {%s}", drv.System,
		strings.Join(features, ", "), name, r.opt.System, strings.Join(r.opt.SystemFeatures, ", "))
}
