#!/bin/sh
# Makes the files of this folder again, with real Nix 2.8.0 and /bin/busybox; needs root for the sandbox.
set -eu
cd "$(dirname "$0")"
store=$(mktemp -d)
export NIX_CONFIG='sandbox = true
sandbox-paths = /bin/sh=/bin/busybox
build-users-group =
substituters =
experimental-features = nix-command'
for case in numbers strings shapes; do
	out=$(nix-build --store "$store" --no-out-link cases.nix -A "$case")
	for file in attrs.json attrs.sh; do
		cp "$store$out/.$file" "$case.$file"
	done
	drv=$(nix-instantiate --store "$store" cases.nix -A "$case")
	nix show-derivation --store "$store" "$drv" | jq -j '.[].env.__json' > "$case.in.json"
	nix show-derivation --store "$store" "$drv" | jq -j '.[].env.out' > "$case.path"
done
chmod -R u+w "$store"
rm -r "$store"
