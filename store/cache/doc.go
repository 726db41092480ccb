// Package cache reads binary caches, and writes those that are a directory.
//
// # What a binary cache is
//
// A tree of files behind a URL, http(s):// or file:// (Nix manual, "HTTP Binary Cache Store", "Local Binary Cache Store"):
//
//	nix-cache-info                 store directory, priority, "want mass query"
//	<hash part>.narinfo            the path info of a store path, signed, and where its NAR lies
//	nar/<file hash>.nar[.xz|…]     the NAR, compressed
//	<hash part>.ls                 the table of contents of the NAR (optional)
//	log/<name>.drv                 the build log of a derivation (optional)
//	realisations/<id>.doi          what an output of a content-addressed derivation turned out to be
//	build-trace-v2/<drv>/<output>.doi  the same in the form of Nix 2.35, for resolved derivations
//
// # Life cycle
//
// [Open] only parses the URL; a cache that is down costs nothing until it is asked. The first question fetches
// nix-cache-info. [Cache.NarInfo] answers from the [Memory] if that knows, and otherwise asks the cache, once for all who
// want the same path at the same time. It only returns what the [Policy] accepts. [Cache.NAR] is the stream of a NAR: the
// download, the decompression and the consumer run beside each other, with bounded buffers in between; Close ends them and
// waits for them.
//
// # Errors
//
// Everything that fails is an [*Error]. A path that the cache does not have wraps store.ErrNotFound: that is an answer.
// Data that contradicts its format, size or name wraps store.ErrCorrupt; a narinfo that nobody trusted has signed wraps
// store.ErrBadSignature. Transient says whether another attempt later may succeed; attempts that make sense at once have
// been made by then.
//
// # Traps
//
//   - A cache is not trusted. The signature covers path, NAR hash, NAR size and references: not the URL, the compression,
//     the file hash, the deriver. FileHash and FileSize are often wrong in the wild, Nix ignores them, and so do we.
//   - NAR checks the size of what it delivers. It does not check the NAR hash: whoever consumes the stream hashes it anyway.
//   - A narinfo from the memory may outlive its NAR. NAR then says ErrNotFound and makes the memory forget.
//   - The compression that a narinfo claims is only believed if it is "none" or "br"; everything else is recognised by its
//     first bytes, as Nix does.
//   - A file:// cache is not remembered in the Memory: looking is as cheap, and what was just pushed must be seen.
package cache
