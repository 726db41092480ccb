// Package local is a Nix store on this machine: objects as plain files in a directory, and a Pebble database of what is
// known about them. Pebble is used nowhere else.
//
// # Concepts
//
// The object directory holds one file, tree or symlink for each path that is present, under its base name, with canonical
// metadata. The database holds everything else: path infos, references both ways, outputs of derivations, realisations,
// what caches answered, and notes about what is being written. A path is valid if the database says so; it is then
// present (the object is here, complete) or promised (it can be fetched).
//
// Every valid path has an object number of 32 bits, which is never used for another. References are stored as numbers.
//
// # Life cycle of an object
//
//	name := NewTemp            a name that the next Open removes, should we not come back
//	(make the object there)
//	Canonicalise(name, uid)    if others made it: owner, modes, times, attributes
//	Register(info, name)       durable, renamed to its place, valid: all or nothing, several at once
//	...
//	Replace(info, name)        another object in its place, where one is damaged
//	GC                         invalid first, then unlinked
//
// AddNAR, AddTree, AddText and AddDerivation do all of that.
//
// Files of equal contents can be links to one file, of which LinksDir has another: Optimise, or Options.AutoOptimise. GC removes
// the links that no object needs.
//
// # Crashes
//
// A path is valid if and only if one batch of the database is durable, and its data is durable before. What is under way has a
// temporary name that was noted beforehand, and each rename between a temporary and a final name has an intent in the
// database, made durable before the rename. Open undoes or finishes those, removes what has a noted temporary name, and
// touches nothing else. Files: commit.go (the order of steps), intent.go, recover.go, temps.go.
//
// # Who may do what at the same time
//
// Everything may be called concurrently, GC too. What holds what:
//
//   - an import lock (Lock) is the caller's: who makes a path, holds it while making;
//   - a claim is held by Register and GC while they move things to or from a final name;
//   - the token of commits is held by who changes which paths are valid: the leader of a group of registrations, or GC for one
//     batch.
//
// They are taken in this order; no mutex is held while one is waited for. Decision 0033 explains why GC never deletes what is in
// use.
//
// # Traps
//
//   - Add the temp root first and then ask whether the path is valid; the other way round GC may come between.
//   - Register takes over the temporary names also when it fails.
//   - After an error of the disk in a commit it is not known whether the commit counts. The store then refuses everything until it
//     is opened again.
//   - A reservation by Number is forgotten after a restart; the number is then never used. ReleaseNumber is for who knows that nobody
//     has the number any more: it may be given to another path.
//   - The database of one process can't be opened by another, not even for reading.
package local
