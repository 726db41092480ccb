package builtin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"larder/nar"
	"larder/store"
	"larder/store/compress"
)

// FetchURL is builtin:fetchurl. Attributes:
//
//	url         where the file is: file, http or https
//	unpack      "1": it is a NAR, compressed or not, and the output is what is in it
//	executable  "1": the output can be executed
//
// Hashed mirrors are asked first for a file whose own hash is promised.
func FetchURL(in *Input, log io.Writer) error {
	out, err := in.out()
	if err != nil {
		return err
	}
	if !in.Network {
		return errors.New("'builtin:fetchurl' must be a fixed-output or impure derivation")
	}
	url, err := in.attribute("url")
	if err != nil {
		return err
	}
	f := &fetch{
		out: out, unpack: in.Attributes["unpack"] == "1", executable: in.Attributes["executable"] == "1",
		down: newDownloader(&in.Fetch, log),
	}
	defer f.down.close()
	if in.FlatHash != "" && len(in.Fetch.HashedMirrors) > 0 {
		want, err := store.ParseHash(in.FlatHash, 0)
		if err != nil {
			return err
		}
		for _, mirror := range in.Fetch.HashedMirrors {
			at := strings.TrimSuffix(mirror, "/") + "/" + want.Algo().String() + "/" + want.Encode(store.Base16)
			if err := f.fromMirror(at, want); err == nil {
				return nil
			}
		}
	}
	return f.run(url)
}

// fetch is the making of one output.
type fetch struct {
	out                string
	unpack, executable bool
	down               *downloader
}

// run makes the output from what is at url.
func (f *fetch) run(url string) error {
	make := f.download
	if f.unpack {
		make = f.restore
	}
	if err := make(url); err != nil {
		return err
	}
	if f.executable {
		if err := os.Chmod(f.out, 0o755); err != nil {
			return fmt.Errorf("making '%s' executable: %w", f.out, err)
		}
	}
	return nil
}

// fromMirror is run, but of a mirror, which may have something else.
func (f *fetch) fromMirror(url string, want store.Hash) error {
	if err := f.run(url); err != nil {
		return err
	}
	if f.unpack {
		return nil // the hash will be of what was in the file
	}
	file, err := os.Open(f.out)
	if err != nil {
		return err
	}
	defer file.Close()
	got := want.Algo().New()
	if _, err := io.Copy(got, file); err != nil {
		return err
	}
	if store.SumOf(want.Algo(), got) != want {
		return fmt.Errorf("'%s' has other contents", url)
	}
	return nil
}

func (f *fetch) download(url string) error {
	file, err := os.OpenFile(f.out, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(f.down.get(context.Background(), url, file), file.Close())
}

func (f *fetch) restore(url string) error {
	file, err := os.CreateTemp(".", "download-")
	if err != nil {
		return err
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil {
		return err
	}
	if err := f.down.get(context.Background(), url, file); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	archive, err := compress.NewReader(compress.Detect, file)
	if err != nil {
		return fmt.Errorf("unpacking '%s': %w", url, err)
	}
	defer archive.Close()
	if _, err := nar.Restore(context.Background(), archive, f.out, nar.RestoreOptions{}); err != nil {
		return fmt.Errorf("unpacking '%s': %w", url, err)
	}
	return nil
}
