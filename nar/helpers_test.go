package nar_test

import (
	"os"
	"path/filepath"
	"testing"
)

// tempDir is t.TempDir for trees whose directories are read-only, which a plain user cannot remove as they are.
func tempDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		// WalkDir does not follow symlinks.
		filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				os.Chmod(path, 0o700)
			}
			return nil
		})
	})
	return dir
}
