#!/usr/bin/env bash
# Larder's main job in one minute: a program opens a path that is not there, and it is.
#
#   examples/demo/demo.sh [path of the larder binary]
#
# Everything happens in a scratch directory, on loopback, and is removed at the end.
set -euo pipefail

larder=$(realpath "${1:-bin/larder}")
if [ "$(id -u)" -ne 0 ] && { [ ! -w /dev/fuse ] || ! unshare --user --map-root-user true 2>/dev/null; }; then
	echo "A plain user may not mount FUSE file systems or make user namespaces on this machine: going on with sudo."
	command -v sudo >/dev/null || { echo "error: there is no sudo; please run this as root" >&2; exit 1; }
	exec sudo -- "$(realpath "$0")" "$larder"
fi
busybox=$(command -v busybox)
system=$(uname -m)-linux
scratch=$(mktemp -d "${TMPDIR:-/tmp}/larder-demo.XXXXXX")
store=$scratch/store
server=

bold() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '  $ %s\n' "$*" | sed "s|$scratch|…|g"; }
quiet_rm() { # store objects are read-only directories, also for their owner
	find "$1" -type d ! -perm -u+w -exec chmod u+w {} + 2>/dev/null || true
	rm -rf "$1"
}

cleanup() {
	status=$?
	trap - EXIT INT TERM HUP
	"${mounted[@]}" unmount "$store" >/dev/null 2>&1 || true
	[ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true; }
	quiet_rm "$scratch"
	[ $status -eq 0 ] && echo && echo "Cleaned up; nothing is left."
	exit $status
}

# Two stores of the same store directory: one that publishes, one that is mounted and empty.
sandbox=(--option sandbox-paths "/bin/sh=$busybox")
publisher=("$larder" --store-dir "$store" --object-dir "$scratch/publisher/objects" --state-dir "$scratch/publisher/state")
mounted=("$larder" --store-dir "$store" --state-dir "$scratch/state")
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# timed NAME COMMAND...: shows the command's output indented, and notes in $scratch/NAME how long it took.
timed() {
	local name=$1 start status=0
	shift
	start=$(milliseconds)
	"$@" >"$scratch/output" || status=$?
	echo $(($(milliseconds) - start)) >"$scratch/$name"
	sed 's/^/    /' "$scratch/output"
	return $status
}

bold "Preparing: a signed binary cache, served on loopback"
mkdir -p "$store" "$scratch/publisher/objects" "$scratch/tools/bin"
cp "$busybox" "$scratch/tools/bin/busybox"
for applet in uname tr seq; do ln -s busybox "$scratch/tools/bin/$applet"; done
tools=$("${publisher[@]}" add "$scratch/tools")
public=$("$larder" key generate demo-1 "$scratch/demo.key")
"${publisher[@]}" cache push --to "file://$scratch/cache?compression=zstd&secret-key=$scratch/demo.key" "$tools" 2>/dev/null
"$larder" --store-dir "$store" cache serve --listen 127.0.0.1:0 "$scratch/cache" >"$scratch/url" 2>"$scratch/server.log" &
server=$!
until [ -s "$scratch/url" ]; do
	kill -0 "$server" || { cat "$scratch/server.log" >&2; exit 1; }
	sleep 0.05
done
url=$(head -n 1 "$scratch/url")
echo "  $url has $(basename "$tools"), signed by ${public%%:*}"

bold "Mounting an empty store"
options=("${sandbox[@]}" --option substituters "$url" --option trusted-public-keys "$public")
show larder mount --background "$store"
"${mounted[@]}" "${options[@]}" mount --background "$store"
show "ls $store"
ls -A "$store" | sed 's/^/    /'

bold "(a) A program that is not here is executed, and runs"
show "$tools/bin/uname -sm"
timed exec-cold "$tools/bin/uname" -sm

# add NAME INPUT-DRV INPUT-OUTPUT SCRIPT: registers a derivation, prints its path.
add() {
	local inputs='{}'
	[ -z "$2" ] || inputs="{\"$2\": [\"out\"]}"
	cat >"$scratch/$1.json" <<-END
		{"name": "$1", "system": "$system", "builder": "/bin/sh", "args": ["-c", "$4"],
		 "env": {"input": "$3"}, "inputDrvs": $inputs, "inputSrcs": ["$tools"], "outputs": {"out": {}}}
	END
	"${mounted[@]}" derivation add "$scratch/$1.json"
}
out() { "${mounted[@]}" query outputs "$1" | awk '{print $NF}'; }

bold "(b) A chain of derivations is built because cat opened the last one's output"
words=$(add words "" "" "echo a store that fills itself > \$out")
loud=$(add loud "$words" "$(out "$words")" "$tools/bin/tr a-z A-Z < \$input > \$out")
framed=$(add framed "$loud" "$(out "$loud")" "read line < \$input; echo \\\"*** \$line ***\\\" > \$out")
for drv in "$words" "$loud" "$framed"; do echo "  $(basename "$drv")"; done
last=$(out "$framed")
show "cat $last"
timed build-cold cat "$last"

bold "(c) The same again, warm"
show "$tools/bin/uname -sm"
timed exec-warm "$tools/bin/uname" -sm
show "cat $last"
timed build-warm cat "$last"
row() { printf '    %-42s %8s ms %8s ms\n' "$1" "$(cat "$scratch/$2-cold")" "$(cat "$scratch/$2-warm")"; }
printf '\n    %-42s %11s %11s\n' "" "first time" "again"
row "execute a program (one download)" exec
row "cat a file (three builds)" build

bold "(d) A derivation that fails"
broken=$(add broken "" "" "echo I am trying; echo this cannot work >&2; exit 3")
show "cat $(out "$broken")"
cat "$(out "$broken")" 2>&1 | sed "s|$scratch|…|; s/^/    /" || true
show "larder why $(out "$broken")"
"${mounted[@]}" why "$(out "$broken")" 2>&1 | sed "s|$scratch|…|g; s/^/    /"
show "larder log $broken"
"${mounted[@]}" log "$broken" 2>&1 | sed "s|$scratch|…|g; s/^/    /"

bold "What is here now"
show "ls $store"
ls "$store" | sed 's/^/    /'
