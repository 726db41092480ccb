//go:build !amd64

package main

import "golang.org/x/sys/unix"

// Only x86 has them.
func ioPorts() error { return unix.EPERM }
