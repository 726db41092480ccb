// Package fault kills, fills and lies to the real program, and looks at what is left.
package fault_test

import (
	"testing"

	"larder/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
