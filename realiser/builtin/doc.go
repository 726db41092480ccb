// Package builtin has the builders that are part of Larder, those that derivations name with "builtin:". They are Nix's:
//
//	builtin:fetchurl        downloads a file, or a NAR that it unpacks
//	builtin:buildenv        merges packages into one tree of symlinks, a profile
//	builtin:unpack-channel  unpacks an archive with one directory in it
//
// # Life cycle
//
// A build of one is a build like any other, but that its sandbox.Spec has Builtin instead of Builder, and an encoded [Input]
// instead of arguments and environment. In the sandbox a process of this program decodes it and does the work, with the rights
// of a builder. The main program says what is there by handing [All] to linux.MaybeChild.
//
// # What they believe
//
// Attributes are what the derivation's author chose; packages, archives and what servers send may be anybody's. Inside of the
// sandbox no harm can be done with them that a builder's own program could not do. One thing is kept from all of them: the
// netrc's passwords. They are in memory only, and go to the hosts that the netrc names, not to where those redirect.
//
// # Differences from Nix 2.8
//
//   - fetchurl must be of a fixed output (or an impure one), as in newer versions: others have no network and fail in odd ways.
//   - A hashed mirror that has other contents than it should counts as one that has none.
//   - unpack takes any compression, whatever the URL's name ends in.
//   - Archives are tar, in any compression that package compress reads, and zip; libarchive reads some more. An entry that would
//     leave the directory or go through a symlink is an error, and so is a device or a pipe.
package builtin
