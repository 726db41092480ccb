package cli

import "strings"

// nixNames are commands of Nix, without "nix" or "nix-store --", and what does the same here.
var nixNames = map[string]string{
	"build": "larder realise", "check": "larder realise --check", "repair": "larder realise --repair", "repair-path": "larder realise --repair",
	"verify": "larder store verify", "verify-path": "larder store verify", "optimise": "larder store optimise", "optimise-store": "larder store optimise",
	"copy": "larder cache push", "serve": "larder cache serve", "umount": "larder unmount",
	"delete": "larder gc PATH", "collect-garbage": "larder gc", "show-config": "larder config", "show-derivation": "larder derivation show",
	"instantiate": "larder derivation add", "hash": "larder nar hash", "hash-path": "larder nar hash", "dump": "larder nar dump",
	"dump-path": "larder nar dump", "restore": "larder nar restore", "ls": "larder nar ls", "read-log": "larder log", "why-depends": "larder query closure",
	"query-failed-paths": "larder failures", "clear-failed-paths": "larder failures clear", "print-roots": "larder roots",

	"store gc": "larder gc", "store delete": "larder gc PATH", "store add": "larder add", "store ls": "larder nar ls", "store repair": "larder realise --repair",
	"store info": "larder status", "store ping": "larder status",
	"query requisites": "larder query closure", "query roots": "larder roots", "query hash": "larder path-info", "query size": "larder path-info",
	"query failed-paths": "larder failures",
}

// nixName is what does here what a command that there is not does in Nix, or "".
func nixName(command, sub string) string {
	_, group, _ := strings.Cut(command, " ")
	return nixNames[strings.TrimSpace(group+" "+sub)]
}
