// Package remote is a client of a daemon that speaks Nix's daemon protocol: another
// Larder, or a nix-daemon. What such a daemon has can be read, copied from it and
// copied to it.
//
// A [Store] keeps connections and gives each request one of its own, so that
// it can be used by many goroutines at once. A connection that a request broke, or
// that was cancelled in the middle of one, is closed; one on which the daemon merely
// said no is used again.
//
// Nothing here is checked: path infos are the daemon's word, and a NAR may be
// anything. Who takes objects from a daemon that he does not trust checks signatures
// and hashes, as with a binary cache. The methods [Store.NarInfo] and [Store.NAR] are
// those of a substituter.
//
// Errors of the daemon are a [*wire.Error]. store.ErrNotValid (wrapped) says that a path
// is not valid there.
package remote
