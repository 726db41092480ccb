// Package compress reads and writes the compressions that occur around stores: of the NARs and logs of binary caches, and of
// archives that builders unpack.
//
//	written             none, xz, zstd, gzip, bzip2, br
//	read besides those  lz4, lzma, lzip (with liblzma 5.4)
//
// All of it is streaming, and the input decides about nothing but its contents: the memory that a decoder may use is bounded.
// How much comes out of it is the caller's business; a few bytes may become terabytes.
//
// Readers and writers are for one goroutine at a time. Those of xz hold memory of C and must be closed.
package compress
