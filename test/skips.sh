#!/bin/sh
# Fails, in CI, when a test was skipped that CI's machine can run. Takes a file
# of `go test -json`; test/skips.txt lists what may be skipped, and why.
set -eu
json=$1
allowed=$(dirname "$0")/skips.txt
skipped=$(sed -n 's/.*"Action":"skip","Package":"\([^"]*\)","Test":"\([^"]*\)".*/\1 \2/p' "$json" | sort -u)
unexpected=$(printf '%s\n' "$skipped" | while read -r package test; do
	[ -n "$test" ] || continue
	grep -q "^$package $test\( \|$\)" "$allowed" || echo "  $package $test"
done)
[ -n "$unexpected" ] || exit 0
echo "Skipped, although not listed in test/skips.txt:"
echo "$unexpected"
[ "${CI:-}" != true ]
