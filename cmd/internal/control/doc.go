// Package control is how the CLI talks to a running daemon: HTTP and JSON on a unix socket, control.sock in the runtime
// directory. [Service] says what can be asked. It is implemented by the engine, which has the store open, and by [Client],
// which asks a [Server] that has an engine; so each command of the CLI works with either.
//
// # The protocol
//
// A request is a path below /v1/ with a JSON body, or, for contents of store objects, with a NAR as body; see the table of
// routes in routes.go. The answer is JSON, a raw stream (NAR, log), or a stream of JSON lines (realise, events): each has
// one member, "event", "result" or "error". A raw stream ends with the trailer Larder-End, "ok" or a JSON error; without it
// the stream was cut off. GET /v1/hello tells the version of the protocol, the store and the process. An incompatible
// change gets a new prefix.
//
// Nothing is asked of the daemon by file name on the caller's side: what is to be added comes as a stream. So a daemon that
// runs as root opens no file for a user. (The one exception is the link of a GC root, which it notes and reads at garbage
// collection, as Nix does.)
//
// # Errors
//
// An error crosses as its message, the sentinels that it matches and the typed errors in its tree (errors.go). What the
// client returns matches the same sentinels with errors.Is, and holds *result.BuildError and
// *result.HashMismatchError for errors.As.
//
// # Who may
//
// The kernel tells who is at the other end. The daemon's own user and root may do everything. Users that the setting
// allowed-users names may do what does not endanger others: realise, add and read. Everybody else is refused.
package control
