package builtin

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// UnpackChannel is builtin:unpack-channel. Attributes:
//
//	src          an archive with one entry at the top
//	channelName  the name that this entry gets in the output
func UnpackChannel(in *Input, _ io.Writer) error {
	out, err := in.out()
	if err != nil {
		return err
	}
	name, err := in.attribute("channelName")
	if err != nil {
		return err
	}
	if name == "" || name == "." || name == ".." || strings.ContainsRune(name, '/') {
		return fmt.Errorf("channelName must be the name of a file, not '%s'", name)
	}
	src, err := in.attribute("src")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := unpack(src, out); err != nil {
		return fmt.Errorf("unpacking '%s': %w", src, err)
	}
	dir, err := os.Open(out)
	if err != nil {
		return err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(2)
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("channel tarball '%s' contains no file", src)
	case err != nil:
		return err
	case len(entries) > 1:
		return fmt.Errorf("channel tarball '%s' contains more than one file", src)
	}
	return os.Rename(filepath.Join(out, entries[0].Name()), filepath.Join(out, name))
}
