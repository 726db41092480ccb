// Command larder is a Nix-compatible store that fills itself; see README.md, and larder --help.
//
// It is also the process that sets up its sandboxes, and the daemon inside its mount: both are this program started again,
// which the first lines of main find out.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"larder/cmd/internal/cli"
	"larder/fusefs/mount"
	"larder/realiser/builtin"
	"larder/sandbox/linux"
)

// version is set by the linker.
var version = "dev"

func main() {
	linux.MaybeChild(builtin.All()...)
	inherited, err := mount.Inherited()
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
	os.Exit(run(inherited))
}

func run(inherited *mount.Daemon) int {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/" // it was deleted; absolute names still work
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() { // ends with the process
		s := <-signals
		signal.Stop(signals) // the second one kills
		if s, ok := s.(syscall.Signal); ok {
			cancel(&cli.Interrupted{Signal: s})
		}
	}()
	return cli.Main(ctx, os.Args[1:], cli.Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, UID: os.Geteuid(),
		Dir: dir, Version: version, Inherited: inherited})
}
