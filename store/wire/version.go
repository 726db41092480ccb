package wire

import (
	"fmt"
	"slices"
)

// Version is a version of the protocol: 256 * major + minor. The major number
// has always been 1.
type Version uint32

const (
	// MinVersion is the oldest version that Larder speaks, that of Nix 2.1 to 2.3.
	MinVersion Version = 1<<8 | 21
	// MaxVersion is the newest one that was published. What is newer than that is
	// negotiated by the names of features.
	MaxVersion Version = 1<<8 | 38
)

func (v Version) String() string { return fmt.Sprintf("%d.%d", v>>8, v&0xff) }

// Since reports whether v is version 1.minor or newer.
func (v Version) Since(minor Version) bool { return v >= 1<<8|minor }

// FeatureRealisationWithPath changes the key of realisations from a hash to the
// path of the derivation, and their form from JSON to fields ([store.BuildTrace]).
// Nix has it since 2.35.
const FeatureRealisationWithPath = "realisation-with-path-not-hash"

// Features are those that this package can encode. A feature of which it does
// not know the encoding must never be agreed on.
func Features() []string { return []string{FeatureRealisationWithPath} }

// Protocol is what two peers have agreed on; every message depends on it.
type Protocol struct {
	Version  Version
	Features []string // that both have, sorted
}

// Has reports whether a feature was agreed on.
func (p Protocol) Has(feature string) bool { return slices.Contains(p.Features, feature) }

// commonFeatures keeps those of ours that the peer has too.
func commonFeatures(ours, theirs []string) []string {
	var both []string
	for _, f := range ours {
		if slices.Contains(theirs, f) && !slices.Contains(both, f) {
			both = append(both, f)
		}
	}
	slices.Sort(both)
	return both
}
