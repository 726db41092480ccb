package realiser_test

import (
	"os"
	"testing"

	"larder/sandbox/linux"
)

func TestMain(m *testing.M) {
	linux.MaybeChild()
	os.Exit(m.Run())
}
