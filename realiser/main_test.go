package realiser_test

import (
	"os"
	"testing"

	"larder/realiser/builtin"
	"larder/sandbox/linux"
)

func TestMain(m *testing.M) {
	linux.MaybeChild(builtin.All()...)
	os.Exit(m.Run())
}
