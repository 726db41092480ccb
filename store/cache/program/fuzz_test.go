package program_test

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"larder/store"
	"larder/store/cache/program"
)

// FuzzAnswers: whatever a program prints, it is taken or it is an error, and never more than was promised.
func FuzzAnswers(f *testing.F) {
	o := newObject(f, store.DefaultDir, "hello", "some text\n")
	info := o.info.Text(store.DefaultDir)
	f.Add("larder", "hello 1\n\nok "+number(len(info))+"\n"+info)
	f.Add("larder", "hello 1\nPriority: 3\n\nmissing\n")
	f.Add("larder", "hello 1\n\nerror no\n")
	f.Add("nix", "\n"+o.path+"\n\n1\n"+o.path+"\n0\n120\n\n")
	f.Add("nix", "\n\n")
	f.Add("argv", o.path+"\n"+o.path+".drv\n0\n")
	f.Fuzz(func(t *testing.T, form, answer string) {
		if form != "larder" && form != "nix" && form != "argv" {
			return
		}
		file := filepath.Join(t.TempDir(), "answer")
		if err := os.WriteFile(file, []byte(answer), 0o644); err != nil {
			t.Fatal(err)
		}
		p, err := program.Open("exec:/bin/sh?trusted=true&form="+form+"&arg=-c&arg="+url.QueryEscape(`cat "$0"`)+"&arg="+url.QueryEscape(file), program.Options{TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		n, err := p.NarInfo(t.Context(), o.info.Path)
		var e *program.Error
		if err != nil && !errors.As(err, &e) || err == nil && (n.Path != o.info.Path || len(n.References) > len(answer)) {
			t.Errorf("%+v %v", n, err)
		}
	})
}
