// Package cli is larder's command line: one file for each command, on spf13/cobra.
//
// [Main] runs one command line and returns the exit status. It takes its streams and environment as values, so a test runs
// commands in memory. Results go to standard output, one thing a line; progress, warnings and errors go to standard error.
//
// A command that needs the store asks for a control.Service (open.go): the daemon if one is running, else the store itself.
// Errors become the user's line and the exit status in one place, exit.go.
package cli
