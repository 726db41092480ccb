// Package derivation reads, writes and checks store derivations: the .drv files
// that say how to build something. It does no I/O; whoever needs the derivations
// that one depends on passes a function that reads them (see [Hasher]).
//
// # Concepts
//
// A [Derivation] names a builder with arguments and environment, its inputs
// (outputs of other derivations, and plain sources), and its outputs. It is a
// text object: its own store path follows from its text ([Derivation.Path]).
//
// How an output gets its store path is its [Kind]:
//
//   - [InputAddressed]: from the derivation, by its hash modulo;
//   - [FixedOutput]: from a content hash that the derivation promises;
//   - [FloatingCA]: from the content, once it is built;
//   - [Deferred]: input-addressed, but an input's path is not known before it
//     is built, so neither is this one's;
//   - [Impure]: as floating, but never the same thing twice.
//
// The hash modulo of a derivation is the hash of its text in which every input
// derivation is replaced by that one's own hash modulo, and every fixed-output
// derivation by what it promises. So the way in which a source is fetched can
// change without changing every path in the store. A [Hasher] computes it, and
// from it the output paths.
//
// # Forms
//
// A derivation can use outputs of a derivation that is itself an output of another
// one (dynamic derivations, see [Use]). [Derivation.Resolve] replaces everything
// that is used by the paths that were built, which is what is really built where
// those paths were not known.
//
// The .drv file is an ATerm ([Parse], [Derivation.ATerm]). Nix prints
// derivations as JSON in several versions ([FromJSON], [Derivation.JSON]).
//
// # Life cycle
//
//	drv, err := derivation.Parse(dir, "hello", text)  // or FromJSON
//	err = hasher.Fill(ctx, drv)                       // only if paths are missing
//	path, err := drv.Path(dir)
//	err = hasher.Check(ctx, path, drv)                // before anything trusts it
//
// # Traps
//
//   - Parse accepts only the canonical text, the one that ATerm prints: another
//     text would have another store path and still mean the same.
//   - Parse does not know whether the output paths are right: that needs the
//     inputs. A derivation of unknown origin must pass [Hasher.Check], or its
//     outputs could claim any path in the store.
//   - The paths of a derivation's outputs are in its environment too, so that
//     both are blanked out before the hash is taken that they follow from.
//   - A derivation's name is that of its store path without ".drv"; it is not
//     in the ATerm, yet output paths depend on it.
//
// Sources: Nix manual, "Store derivation and deriving path", "Derivation JSON
// format", "Complete store path calculation".
package derivation
