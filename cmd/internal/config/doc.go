// Package config reads larder.conf and holds what it says.
//
// # The file
//
// larder.conf has the syntax of nix.conf, and its names wherever the meaning is the same:
//
//	# a comment
//	substituters = https://cache.nixos.org/ file:///srv/cache
//	extra-trusted-public-keys = cache.example.org-1:…
//	include other.conf
//	!include perhaps-not-there.conf
//
// A line is words separated by white space: a name, "=", and the value's words. "extra-" before the name of a list appends to
// it. A later line replaces an earlier one. An included file is named relative to the file that includes it; "!include" forgives
// one that does not exist. A name that Larder does not know is a [Warning], because nix.conf has names that mean nothing here; a
// value that a known name cannot have is an [*Error], with file and line.
//
// # Who wins
//
// Later in this list wins: the defaults in the table of [Settings]; /etc/larder/larder.conf; the user's own
// $XDG_CONFIG_HOME/larder/larder.conf; the environment (LARDER_STORE_DIR, LARDER_STATE_DIR, LARDER_OBJECT_DIR); options of the
// command line. A file that the command line or LARDER_CONFIG names replaces both default files.
//
// # Adding a setting
//
// One entry in the table (table.go): name, kind of value by the type of its field, default, documentation. Parsing, printing,
// `larder config` and docs/larder.conf.md follow from it.
package config
