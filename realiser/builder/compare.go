package builder

import (
	"fmt"

	"larder/realiser/result"
	"larder/store"
)

// compareWithValid compares a build that is only a check with what is registered. What
// is equal needs not be registered, and is noted as confirmed.
func (b *build) compareWithValid() *result.BuildError {
	var failure *result.BuildError
	for _, o := range b.result.Outputs {
		valid := b.Check[o.Name]
		if valid == nil {
			continue // somebody wants others to be checked
		}
		if o.mismatch != nil {
			return b.failed(result.OutputRejected, o.mismatch)
		}
		if o.Info.Path == valid.Path && o.Info.NarHash == valid.NarHash {
			b.result.confirmed = append(b.result.confirmed, valid)
			continue
		}
		if failure == nil { // the first is enough of an error; all are kept and shown to the hook
			failure = b.failf(result.NotDeterministic, "derivation '%s' may not be deterministic: output '%s' differs%s",
				b.name, b.dir.Join(valid.Path), b.hashes(valid.NarHash, o.Info.NarHash))
		}
		kept := b.keepForComparison(o, valid.Path)
		if kept == "" {
			continue
		}
		failure.Err = fmt.Errorf("%w; what was built now is kept as '%s'", failure.Err, kept)
		b.runDiffHook(b.store.ObjectPath(valid.Path), kept)
	}
	if failure != nil {
		b.result.confirmed = nil
	} else {
		b.result.discard()
	}
	return failure
}

// compareWithPrevious compares a round with the one before it. Where
// non-determinism is no failure, it is said, and no further round tells more.
func (b *build) compareWithPrevious() *result.BuildError {
	before := map[string]*Output{}
	for _, o := range b.previous.Outputs {
		before[o.Name] = o
	}
	var failure *result.BuildError
	for _, o := range b.result.Outputs {
		was := before[o.Name]
		if was.Info.Path == o.Info.Path && was.Info.NarHash == o.Info.NarHash {
			continue
		}
		hashes := b.hashes(was.Info.NarHash, o.Info.NarHash)
		from := "previous round"
		if kept := b.keepForComparison(was, o.Info.Path); kept != "" {
			from = fmt.Sprintf("'%s' from previous round", kept)
			b.runDiffHook(kept, b.objectPath(o))
		}
		if failure == nil {
			failure = b.failf(result.NotDeterministic, "output '%s' of '%s' differs from %s%s", b.dir.Join(o.Info.Path), b.name, from, hashes)
		}
	}
	if failure != nil && b.opt.AllowNonDeterminism {
		b.tell("warning: " + failure.Error())
		b.known = true
		return nil
	}
	return failure
}

// replacesDamaged refuses an output that can't take the place of the damaged one: it
// has other contents, and with them another path.
func (b *build) replacesDamaged() *result.BuildError {
	for _, o := range b.result.Outputs {
		if damaged, ok := b.Corrupt[o.Name]; ok && o.mismatch == nil && o.Info.Path != damaged {
			return b.failf(result.NotDeterministic, "cannot repair '%s': this time the builder of '%s' made '%s'", b.dir.Join(damaged), b.name, b.dir.Join(o.Info.Path))
		}
	}
	return nil
}

func (b *build) hashes(was, is store.Hash) string {
	return fmt.Sprintf(" (%s before, %s now)", was.Text(store.SRI), is.Text(store.SRI))
}

// sayLevel is "info" in Nix's verbosity levels: of interest to who did not ask for more.
const sayLevel = 3

// tell says something about the build to whoever watches it. It is no part of the builder's log.
func (b *build) tell(line string) {
	b.opt.Logger.Info(line, "drv", b.Path.String())
	b.Watch.Message(&Message{Action: Say, Level: sayLevel, Text: line})
}
