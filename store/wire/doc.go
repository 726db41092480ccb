// Package wire is the codec of Nix's daemon protocol, which is also called the
// worker protocol: what a client such as `nix build` and a daemon say to each other
// on a socket, or through ssh (ssh-ng://). It has both sides, and decides nothing:
// a daemon and a client stand on top.
//
// # The conversation
//
// The client speaks first and the daemon answers each request in turn:
//
//	client                               daemon
//	"nixc" version        ───────▶                      AcceptClient, DialDaemon
//	                      ◀───────       "dxio" version
//	features (1.38)       ───────▶
//	                      ◀───────       features (1.38)
//	two numbers of old    ───────▶
//	                      ◀───────       Nix's version (1.33), trust (1.35)
//	                      ◀───────       log messages, Last
//	                 … for each request …
//	operation, arguments  ───────▶                      ReadRequest, WriteRequest
//	body, for some        ───────▶                      BodyOf
//	                      ◀───────       log messages   Logger, Listener
//	                      ◀───────       Last and the reply, or Error
//
// Both use the lower of the two versions. A daemon takes a client that is newer than
// itself for one of its own version. Since 1.38 the version stays, and what is new
// has a name: both tell the features that they know and use those that both do.
//
// # The bytes
//
// Everything is made of numbers of 64 bits, little-endian, and strings: a number, so
// many bytes, and zero bytes up to a multiple of eight. A list is a number and so
// many elements, a map a number and so many pairs. An optional value is a 0, or a 1
// and the value; optional paths are empty strings instead. Nothing says what it is:
// who does not know the version, or a field, has lost the thread, and can only hang
// up. That is why a [Reader] repeats its first error for ever.
//
// [Message] has the messages as Go structs. Each has a single method that passes over
// its fields in order, to read and to write them, so that the two can't differ.
//
// # Log messages
//
// A client listens only between a request and its reply. Then the daemon sends lines
// ([Next]), activities that start and stop ([StartActivity], [StopActivity]) and what
// happens in them ([Result]): a phase, a line of a builder, progress. Clients make
// progress bars of them by the types of activities and the order of their fields.
// [Last] is the end, and the reply follows at once; an [Error] stands in place of both,
// and the connection goes on.
//
// # Bodies
//
// A NAR travels in four ways. In frames ([FramedReader], since 1.23 and 1.25): chunks
// with their length, a 0 at the end. On demand ([TunnelReader], AddToStoreNar of 1.21
// and 1.22, and ImportPaths): the daemon asks by a log message, and so must be logging.
// As it is ([Reader.NAR]): after AddToStore before 1.25, and as the reply of NarFromPath;
// its end shows only in its syntax. And as log messages ([WriteData], ExportPath).
//
// # Traps
//
//   - What is read is well-formed, not true: a derivation need not be valid, a path
//     info not fit its path, a link not be absolute. Who is allowed to ask for what is
//     not known here either.
//   - A client that sends a body does not listen. A daemon that has lost interest must
//     read it to the end before it sends its error, or both wait for ever
//     ([FramedReader.Drain]).
//   - A daemon that has sent Last for NarFromPath can't send an error any more, only
//     hang up. It should look first whether the path is valid.
//   - Nix's daemon sends an error in the arguments of a request twice and hangs up; its
//     clients cope with both one and two.
//   - Errors of Nix hold escape sequences for colours, before 1.26 also "error: " in
//     front. [Error.Error] removes both.
//   - Clients may send the next request before they have the reply of the last one.
//   - Sets are sent sorted by Nix. They are passed on in the order they have.
//   - [FeatureRealisationWithPath] changes what realisations are named by, so a daemon
//     may offer it only if it knows them by the paths of derivations.
//
// # Limits
//
// Peers are hostile. Every length is bounded by [Limits], and memory grows with the
// bytes that arrive, never with what is claimed. Bodies are streams of any length;
// their readers have to bound them. There are no deadlines here: set them on the
// connection.
//
// # Sources
//
// The protocol has no specification by Nix. This follows the description of it in the
// documentation of Tvix ("Nix Daemon Protocol": handshake, operations, serialisation,
// logging, change log), the Nix manual for the formats inside (store paths, content
// addresses, build trace entries), and above all recordings of real sessions with Nix
// 2.8.0 (test/testdata/protocol), which the tests decode and encode again to the same
// bytes. The forms of 1.35 to 1.38 were compared with the golden data of Nix's own unit
// tests, as of August 2026.
package wire
