// Package local is a Nix store on this machine: objects as plain files in a directory, and a database (Pebble) of what is
// known about them. Pebble is used nowhere else.
package local
