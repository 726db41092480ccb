#!/bin/sh
# A substituter that is a program: it serves a binary cache that is a directory. In larder.conf:
#
#   extra-substituters = exec:/path/to/directory-cache.sh?arg=/srv/cache
#
# Every line on standard input is a request, the answer goes to standard output; docs/exec-substituters.md has the protocol.
# What goes to standard error turns up in Larder's log.

cache=${1:?usage: directory-cache.sh CACHE-DIRECTORY}

narinfo() { # the narinfo file of a store path
    name=${1##*/}
    echo "$cache/${name%%-*}.narinfo"
}

field() { # the value of a field of a narinfo
    sed -n "s/^$1: //p" "$2"
}

send_info() {
    info=$(narinfo "$1")
    if [ ! -f "$info" ]; then
        echo missing
        return
    fi
    echo "ok $(($(wc -c <"$info")))"
    cat "$info"
}

send_nar() {
    info=$(narinfo "$1")
    if [ ! -f "$info" ]; then
        echo missing
        return
    fi
    file=$cache/$(field URL "$info")
    # Nothing is promised before it is all there, so that a broken file is an error and not a broken session.
    case $(field Compression "$info") in
    none) cp "$file" "$nar" ;;
    zstd) zstd -dcq "$file" >"$nar" ;;
    *) xz -dcq "$file" >"$nar" ;;
    esac || {
        echo "error $file cannot be read"
        return
    }
    echo ok
    echo "$(($(wc -c <"$nar")))" # one chunk
    cat "$nar"
    echo 0
}

nar=$(mktemp) || exit 1
trap 'rm -f "$nar"' EXIT

while read -r word argument _; do
    case $word in
    hello) printf 'hello 1\nPriority: 30\n\n' ;;
    info) send_info "$argument" ;;
    nar) send_nar "$argument" ;;
    *) echo "error there is no request $word" ;;
    esac
done
