package derivation

import (
	"strings"

	"larder/store"
)

// Placeholder stands in a derivation's own text for the path of its output,
// where that is not known yet; the builder sees the path instead. It is 53
// bytes, a slash and nix32.
func Placeholder(output string) string {
	return render(store.SHA256.Sum([]byte("nix-output:" + output)))
}

// UpstreamPlaceholder stands in a derivation's text for the path of an output
// of an input derivation, where that is not known yet. More outputs mean that the
// output before each is itself a derivation: drv^output^more.
func UpstreamPlaceholder(drv store.StorePath, output string, more ...string) string {
	h := upstream(drv, output)
	for _, output := range more {
		h = computed(h, output)
	}
	return render(h)
}

func upstream(drv store.StorePath, output string) store.Hash {
	name := store.OutputPathName(strings.TrimSuffix(drv.Name(), ".drv"), output)
	return store.SHA256.Sum([]byte("nix-upstream-output:" + drv.HashPart() + ":" + name))
}

// computed is for an output of a derivation that has a placeholder itself.
func computed(drv store.Hash, output string) store.Hash {
	var folded [20]byte // as the digest of a store path
	for i, b := range drv.Bytes() {
		folded[i%len(folded)] ^= b
	}
	return store.SHA256.Sum([]byte("nix-computed-output:" + store.EncodeNix32(folded[:]) + ":" + output))
}

func render(placeholder store.Hash) string { return "/" + placeholder.Encode(store.Nix32) }
