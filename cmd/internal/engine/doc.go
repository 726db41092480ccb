// Package engine puts the parts together: it opens the local store, the binary caches, the sandbox and the realiser that a
// configuration describes, and is the control.Service that commands and the daemon use.
//
// What a command does not need is not started: the caches and the realiser come with the first call that realises or asks
// for logs, the sandbox with the first build.
//
// # Order of closing
//
// Who serves from the engine (control socket, file system) ends first. Close then ends the realiser, which cancels goals and
// waits for them; then the sandbox, which nobody uses any more; then the caches; the store last.
package engine
