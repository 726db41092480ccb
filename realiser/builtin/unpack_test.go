package builtin

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"larder/store/compress"
)

// entry of an archive: a directory if the name ends in "/", a symlink or hard link if there is a target.
type entry struct {
	name, content string
	kind          byte
	mode          int64
}

func tarOf(t testing.TB, method string, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	c, err := compress.NewWriter(method, 0, &b)
	must(t, err)
	w := tar.NewWriter(c)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode}
		switch e.kind {
		case tar.TypeSymlink, tar.TypeLink:
			h.Linkname = e.content
		case tar.TypeReg:
			h.Size = int64(len(e.content))
		case tar.TypeXGlobalHeader:
			h = &tar.Header{Typeflag: e.kind, PAXRecords: map[string]string{"comment": e.content}}
		}
		must(t, w.WriteHeader(h))
		if e.kind == tar.TypeReg {
			_, err := w.Write([]byte(e.content))
			must(t, err)
		}
	}
	must(t, errors.Join(w.Close(), c.Close()))
	return b.Bytes()
}

func zipOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		mode := fs.FileMode(e.mode)
		if e.kind == tar.TypeSymlink {
			mode |= fs.ModeSymlink
		} else if e.kind == tar.TypeFifo {
			mode |= fs.ModeNamedPipe
		}
		h.SetMode(mode)
		f, err := w.CreateHeader(h)
		must(t, err)
		_, err = f.Write([]byte(e.content))
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func file(name, content string) entry { return entry{name, content, tar.TypeReg, 0o644} }
func link(name, target string) entry  { return entry{name, target, tar.TypeSymlink, 0o777} }
func hard(name, target string) entry  { return entry{name, target, tar.TypeLink, 0o644} }
func dir(name string) entry           { return entry{name, "", tar.TypeDir, 0o755} }

// channel unpacks an archive as builtin:unpack-channel and lists what is there then.
func channel(t *testing.T, archive []byte) (list string, err error) {
	t.Helper()
	base := t.TempDir()
	in := &Input{Out: filepath.Join(base, "out"), Attributes: map[string]string{"channelName": "channel", "src": filepath.Join(base, "src")}}
	must(t, os.WriteFile(in.Attributes["src"], archive, 0o644))
	must(t, os.WriteFile(filepath.Join(base, "outside"), []byte("untouched"), 0o644))
	err = UnpackChannel(in, &bytes.Buffer{})
	if text, readErr := os.ReadFile(filepath.Join(base, "outside")); readErr != nil || string(text) != "untouched" {
		t.Fatalf("the file beside the output: %q, %v", text, readErr)
	}
	if entries, _ := os.ReadDir(base); len(entries) != 3 {
		t.Fatalf("beside the output: %v", entries)
	}
	if err != nil {
		return "", errors.New(strings.ReplaceAll(err.Error(), base, "DIR"))
	}
	var lines []string
	must(t, filepath.WalkDir(in.Out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == in.Out {
			return err
		}
		name := path[len(in.Out)+1:]
		switch d.Type() {
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			lines = append(lines, name+" -> "+target)
			return err
		case fs.ModeDir:
			lines = append(lines, name+"/")
			return nil
		}
		text, err := os.ReadFile(path)
		info, statErr := d.Info()
		if statErr == nil && info.Mode()&0o111 != 0 {
			name += "*"
		}
		lines = append(lines, name+" "+string(text))
		return errors.Join(err, statErr)
	}))
	return strings.Join(lines, "\n"), nil
}

func TestUnpackChannel(t *testing.T) {
	tree := []entry{
		{"", "from git", tar.TypeXGlobalHeader, 0}, dir("top/"), file("top/default.nix", "{ }"), {"top/run", "#!", tar.TypeReg, 0o6755},
		link("top/link", "../../outside"), file("top/deep/er/f", "made its parents"), hard("top/hard", "top/default.nix"),
		file("top/twice", "first, and longer"), file("top/twice", "second"), {"top/bare", "", tar.TypeReg, 0},
	}
	want := "channel/\nchannel/bare \nchannel/deep/\nchannel/deep/er/\nchannel/deep/er/f made its parents\nchannel/default.nix { }\n" +
		"channel/hard { }\nchannel/link -> ../../outside\nchannel/run* #!\nchannel/twice second"
	for _, method := range []string{"none", "xz", "zstd", "gzip", "bzip2"} {
		if got, err := channel(t, tarOf(t, method, tree...)); err != nil || got != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", method, err, got, want)
		}
	}
	got, err := channel(t, zipOf(t, entry{"top/", "", 0, int64(fs.ModeDir | 0o755)}, file("top/default.nix", "{ }"), entry{"top/run", "#!", tar.TypeReg, 0o755},
		link("top/link", "../../outside")))
	if want := "channel/\nchannel/default.nix { }\nchannel/link -> ../../outside\nchannel/run* #!"; err != nil || got != want {
		t.Errorf("zip: %v\n%s\nwant\n%s", err, got, want)
	}
	for name, entries := range map[string][]entry{
		"a file alone":       {file("f", "alone")},
		"named like channel": {file("channel", "alone")},
		"odd names":          {file(".//./f", "alone")},
		"absolute":           {file("/f", "alone")},
	} {
		if got, err := channel(t, tarOf(t, "none", entries...)); err != nil || got != "channel alone" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestUnpackChannelFailures(t *testing.T) {
	long := strings.Repeat("d/", 2048)
	for _, c := range []struct {
		name    string
		archive []byte
		says    string
	}{
		{"two", tarOf(t, "xz", file("a", ""), file("b", "")), "channel tarball 'DIR/src' contains more than one file"},
		{"none", tarOf(t, "xz"), "channel tarball 'DIR/src' contains no file"},
		{"empty", nil, "contains no file"},
		{"junk", []byte(strings.Repeat("junk", 1000)), "unpacking 'DIR/src'"},
		{"junk zip", []byte("PK\x03\x04junk"), "unpacking 'DIR/src'"},
		{"cut off", tarOf(t, "none", file("top/f", strings.Repeat("x", 10000)))[:3000], "entry 'top/f': unexpected EOF"},
		{"upwards", tarOf(t, "none", file("top/../../outside", "escaped")), "has '..' in it"},
		{"upwards in a zip", zipOf(t, file("../outside", "escaped")), "has '..' in it"},
		{"through a symlink", tarOf(t, "none", link("top", ".."), file("top/outside", "escaped")), "'top' is no directory"},
		{"through a symlink in a zip", zipOf(t, link("top", ".."), file("top/outside", "escaped")), "'top' is no directory"},
		{"symlink where a directory is", tarOf(t, "none", dir("top/d"), link("top/d", "../.."), file("top/d/outside", "escaped")), "it is a directory as well"},
		{"link to what is outside", tarOf(t, "none", hard("top/f", "../outside")), "has '..' in it"},
		{"link through a symlink", tarOf(t, "none", link("top/up", "../.."), hard("top/f", "top/up/outside")), "not a file of the archive"},
		{"link to a directory", tarOf(t, "none", dir("top/d"), hard("top/f", "top/d")), "not a file of the archive"},
		{"link to nothing", tarOf(t, "none", dir("top"), hard("top/f", "top/absent")), "no such file"},
		{"fifo", tarOf(t, "none", entry{"top/f", "", tar.TypeFifo, 0o644}), "neither a file, nor a directory, nor a link"},
		{"fifo in a zip", zipOf(t, entry{"top/f", "", tar.TypeFifo, 0o644}), "neither a file, nor a directory, nor a link"},
		{"device", tarOf(t, "none", entry{"top/f", "", tar.TypeBlock, 0o644}), "neither a file, nor a directory, nor a link"},
		{"root as a file", tarOf(t, "none", file(".", "x")), "it is a directory as well"},
		{"deep", tarOf(t, "none", file(long+"f", "x")), "file name too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := channel(t, c.archive); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want …%s…", err, c.says)
			}
		})
	}
	for _, name := range []string{"", ".", "..", "a/b", "/"} {
		in := &Input{Out: filepath.Join(t.TempDir(), "out"), Attributes: map[string]string{"channelName": name, "src": "/absent"}}
		if err := UnpackChannel(in, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "channelName must be") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestSymlinkIsReplaced: what has the name of a symlink does not go where that leads.
func TestSymlinkIsReplaced(t *testing.T) {
	got, err := channel(t, tarOf(t, "none", link("top/f", "../../outside"), file("top/f", "escaped")))
	if want := "channel/\nchannel/f escaped"; err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(tarOf(f, "none", dir("top"), file("top/f", "x"), link("top/l", "f"), hard("top/h", "top/f")))
	f.Add(tarOf(f, "gzip", link("top", ".."), file("top/outside", "x")))
	f.Add(zipOf(f, file("top/f", "x"), link("top/l", "..")))
	f.Fuzz(func(t *testing.T, archive []byte) {
		base := t.TempDir()
		src, out := filepath.Join(base, "src"), filepath.Join(base, "out")
		must(t, os.WriteFile(src, archive, 0o644))
		must(t, os.Mkdir(out, 0o755))
		_ = unpack(src, out) // whatever comes of it
		entries, err := os.ReadDir(base)
		must(t, err)
		if text, err := os.ReadFile(src); len(entries) != 2 || err != nil || !bytes.Equal(text, archive) {
			t.Errorf("outside of the directory: %v, %v", entries, err)
		}
		must(t, filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && d.Type() != 0 && d.Type() != fs.ModeSymlink {
				err = fmt.Errorf("%s is %v", path, d.Type())
			}
			return err
		}))
	})
}
