#!/bin/sh
# Installs what building and testing Larder needs and this machine lacks, on
# Debian and Ubuntu. Says what it does; does nothing where nothing is missing.
#
#   packaging/install-deps.sh build   what a build and the demo need
#   packaging/install-deps.sh test    also what the tests compare with
set -eu

case "${1:-build}" in
build) wanted="gcc libc6-dev pkg-config libseccomp-dev liblzma-dev fuse3 busybox-static ca-certificates" ;;
test) wanted="gcc g++ libc6-dev pkg-config libseccomp-dev liblzma-dev fuse3 busybox-static ca-certificates
	nix-bin nix-setup-systemd git zstd xz-utils python3-minimal strace curl" ;;
*)
	echo "usage: $0 build|test" >&2
	exit 2
	;;
esac

if ! command -v go >/dev/null 2>&1; then
	echo "error: Go is not installed; Larder needs $(sed -n 's/^go /Go /p' "$(dirname "$0")/../go.mod") or newer: https://go.dev/dl" >&2
	exit 1
fi
if ! command -v dpkg-query >/dev/null 2>&1; then
	echo "note: this is neither Debian nor Ubuntu; please see that these are there: $wanted" >&2
	exit 0
fi

missing=
for p in $wanted; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)
	[ "$state" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null 2>&1; then
		echo "error: these packages are missing, and there is no sudo to install them:$missing" >&2
		exit 1
	fi
	sudo=sudo
fi
echo "Installing with apt-get:$missing"
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
