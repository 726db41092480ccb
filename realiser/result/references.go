package result

import (
	"fmt"
	"strings"
)

// ForbiddenReferencesError says that an output fails one of the checks of
// references that its derivation asks for.
type ForbiddenReferencesError struct {
	Output string // absolute path
	// Chains lead from the output to each path that it must not refer to: absolute
	// paths, both ends included. The output alone is in a chain of its own if it is
	// not allowed among its own requisites.
	Chains [][]string
}

// mostChains is how many are shown.
const mostChains = 10

func (e *ForbiddenReferencesError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "output '%s' is not allowed to refer to the following paths: ", e.Output)
	for i, chain := range e.Chains {
		if i == mostChains {
			fmt.Fprintf(&b, ", and %d more", len(e.Chains)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(chain[len(chain)-1])
		if len(chain) > 2 {
			fmt.Fprintf(&b, " (%s)", strings.Join(chain, " -> "))
		}
	}
	return b.String()
}
