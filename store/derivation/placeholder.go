package derivation

import (
	"strings"

	"larder/store"
)

// Placeholder stands in a derivation's own text for the path of its output,
// where that is not known yet; the builder sees the path instead. It is 53
// bytes, a slash and nix32.
func Placeholder(output string) string {
	return "/" + store.SHA256.Sum([]byte("nix-output:"+output)).Encode(store.Nix32)
}

// UpstreamPlaceholder stands in a derivation's text for the path of an output
// of an input derivation, where that is not known yet.
func UpstreamPlaceholder(drv store.StorePath, output string) string {
	name := store.OutputPathName(strings.TrimSuffix(drv.Name(), ".drv"), output)
	text := "nix-upstream-output:" + drv.HashPart() + ":" + name
	return "/" + store.SHA256.Sum([]byte(text)).Encode(store.Nix32)
}
