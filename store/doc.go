// Package store is the vocabulary of a Nix store: the values that every other
// package of Larder passes around, and the text forms in which Nix writes them.
// It does no I/O and imports nothing of the project.
//
// # Concepts
//
// A store directory ([Dir], usually /nix/store) holds store objects: a file,
// a directory tree or a symlink each. A [StorePath] names one: a 160-bit digest
// and a name, written "<32 characters of nix32>-<name>". A StorePath does not
// know its store directory, although its digest depends on it; join them with
// [Dir.Join] and split them with [Dir.Parse].
//
// What is known about a valid path is its [PathInfo]: the hash and size of its
// NAR serialisation, the paths that it refers to, the derivation that made it,
// and who signed that. A binary cache publishes the same as a [NarInfo].
//
// A path is input-addressed (its digest comes from the derivation that builds
// it) or content-addressed: then a [ContentAddress] says how its digest comes
// from its content, and anybody can check it without trusting anyone.
//
// A [Realisation] says which store path an output of a content-addressed
// derivation turned out to be.
//
// # Traps
//
//   - Nix's base 32 ([Nix32]) has an alphabet and a bit order of its own.
//   - The digest of a store path is a SHA-256 folded to 20 bytes, and the text
//     that is hashed contains the store directory.
//   - References are sorted by the text of the base name; fingerprints depend on
//     that order.
//   - A path info's references may include the path itself.
//
// All types here are values without hidden state; their methods may be called
// concurrently as long as nobody changes the value.
package store
