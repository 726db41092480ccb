// Package cacheserver is a binary cache over HTTP: what `larder cache serve` runs. It serves either a store ([Store]) or a
// directory that holds a binary cache already ([Directory]), to Nix and to Larder alike.
//
//	nix-cache-info             store directory, priority
//	<digest>.narinfo           path info, signed
//	<digest>.ls                table of contents of the NAR
//	nar/<digest>-<hash>.nar    the NAR, as it is (byte ranges work) or compressed with zstd (.nar.zst)
//	log/<derivation>           build log
//
// There is nothing to be had by any other name, and no method but GET and HEAD.
//
// # Bounds
//
// [Server] gives up on clients that are slow to ask or that stop reading, and limits how many are served at a time; the rest
// hear 503 with Retry-After, which both Nix and Larder understand. A NAR is streamed from the store objects, never kept.
//
// # Traps
//
// The name of a NAR file contains its hash, so that a client never gets another archive than the one its narinfo spoke of,
// even when the path was deleted and built again differently in between.
package cacheserver
