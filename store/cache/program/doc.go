// Package program is a substituter that is a program on this machine: it is asked for path infos and for NARs over its
// standard streams.
//
// # The URL
//
//	exec:/path/to/program?setting=value&…
//
// (exec:///path/to/program is the same.) The program is executed as it is, by nobody's shell, with the rights and the
// environment of Larder, and NIX_STORE_DIR. Settings:
//
//	form=larder|nix|argv   which protocol it speaks, see below; larder is the default
//	arg=TEXT               an argument, before those of the protocol; may be there several times
//	trusted=true           its path infos need no signature
//	priority=N             lower is asked earlier; default: what the program says, else 50
//	processes=N            how many of it may run at once; default 4
//	timeout=SECONDS        how long it may let us wait for its next byte; default 300, at most 30 for a greeting
//	substitute-timeout=SECONDS  how long --substitute may take; default one day
//	max-nar-size=BYTES     of forms that do not tell the size beforehand; default 64 GiB
//	dest=false             form=argv: --substitute gets no DEST
//
// # form=larder
//
// A session: Larder writes requests to the program's standard input, one line each, and reads one answer to each from its
// standard output, in the same order. There is never more than one request under way in a process; for more at once Larder
// starts more processes. A process lives as long as it likes: when it has ended, the next request starts another one. It
// must end when its standard input does.
//
//	> hello 1 /nix/store            the highest version that Larder speaks, the store directory
//	< hello 1                       the version that is spoken from here on
//	< Priority: 30                  any lines of a nix-cache-info: Priority, StoreDir, …
//	<                               an empty line
//
//	> info /nix/store/HASH-NAME
//	< ok LENGTH                     followed by so many bytes: a narinfo, as of a binary cache. Of URL, Compression, FileHash
//	<                               and FileSize only FileSize is looked at, as the size of the download
//	> nar /nix/store/HASH-NAME
//	< ok                            followed by chunks of the NAR, not compressed, of any length greater than 0:
//	< LENGTH                        so many bytes follow
//	< 0                             that was all of it
//
// Instead of "ok …" the answer may be "missing" (it does not have the path: not a failure), or "error TEXT" (a failure). In the place of
// a chunk, "error TEXT" breaks the NAR off. After any of these the session goes on. Lines end in a newline and are at most 4096 bytes
// long; numbers are decimal; a narinfo has at most store.MaxNarInfo bytes.
//
// A program that has nothing to offer may exit with status 0 instead of greeting.
//
// # form=nix
//
// The protocol of Nix 1.0 to 1.11 (download-using-manifests, copy-from-other-stores, …). "PROGRAM --query" is a session: it
// prints a line first, then answers each line "info PATH" with a record for the path if it has it, and an empty line:
//
//	PATH, DERIVER or empty, number of references, each of them, download size or 0, NAR size or 0    (a line each)
//
// "PROGRAM --substitute PATH DEST" makes the object at DEST, prints the hash of its NAR ("sha256:…") or an empty line or nothing, and exits
// with status 0.
//
// # form=argv
//
// The first protocol, without sessions. "PROGRAM --query-info PATH…" prints for each path that it has a record as above, but
// without the two sizes and the empty line. "PROGRAM --substitute PATH DEST" is as above. With dest=false it is
// "PROGRAM --substitute PATH", which makes the object at PATH itself; that works where the objects lie in the store
// directory, and what it prints goes to the log.
//
// # Trust
//
// A program is believed like a binary cache: what it says of a path must be signed by a trusted key, be content-addressed,
// or come from a URL with trusted=true. The records of form=nix and form=argv have no signatures, nor a hash that one could
// sign, so these forms are only accepted as trusted, or where no signatures are required. Their NarInfo has a NAR hash of zero:
// whoever takes the NAR takes what comes, after the hash that the program printed, if any, was compared.
//
// # Traps
//
//   - Standard error goes to the log, line by line. It is not for errors: those that are not in an answer nobody connects with it.
//   - Every process has a process group of its own. When Larder is done with it, the whole group is killed.
//   - A NAR that nobody wants any more, a timeout, and an answer that is not understood end the process.
//   - A program that could not be started, or did not greet, is left alone for a while, like a cache that is down.
package program
