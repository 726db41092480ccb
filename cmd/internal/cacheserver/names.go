package cacheserver

import (
	"fmt"
	"net/http"
	"strings"

	"larder/store"
)

// Content types, as Nix's own cache has them.
const (
	typeCacheInfo = "text/x-nix-cache-info"
	typeNarInfo   = "text/x-nix-narinfo"
	typeNar       = "application/x-nix-nar"
	typeListing   = "application/json"
	typeLog       = "text/plain; charset=utf-8"
)

const defaultPriority = 30

// cacheInfo is the text of nix-cache-info.
func cacheInfo(d store.Dir, priority int) string {
	return fmt.Sprintf("StoreDir: %s\nWantMassQuery: 1\nPriority: %d\n", d, priority)
}

// readOnly lets nothing but GET and HEAD through.
func readOnly(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "a binary cache is read only", http.StatusMethodNotAllowed)
			return
		}
		h(w, r)
	})
}

// digestName parses "<digest><suffix>".
func digestName(name, suffix string) (digest [20]byte, ok bool) {
	part, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return digest, false
	}
	digest, err := store.ParseHashPart(part)
	return digest, err == nil
}

// plainName reports whether name is one component that cannot be mistaken for anything else.
func plainName(name string) bool {
	return name != "" && name[0] != '.' && len(name) <= 255 && !strings.ContainsAny(name, "/\\\x00")
}
