package engine_test

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"larder/cmd/internal/control"
	"larder/nar"
	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
)

// TestProgramAsSubstituter: an exec: URL in the setting substituters is a source like any other, in every form.
func TestProgramAsSubstituter(t *testing.T) {
	for name, c := range map[string]struct{ settings, script string }{
		"larder": {"", `
while read -r word path; do
	case $word in
	hello) printf 'hello 1\n\n';;
	info) if [ $path = $PATH_TO_SERVE ]; then echo ok $(($(wc -c <$DIR/info))); cat $DIR/info; else echo missing; fi;;
	nar) echo ok; echo $(($(wc -c <$DIR/nar))); cat $DIR/nar; echo 0;;
	esac
done`},
		"argv": {"&form=argv", `
case $1 in
--query-info) [ $2 != $PATH_TO_SERVE ] || printf '%s\n\n0\n' $2;;
--substitute) printf contents >$3;;
esac`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			program := filepath.Join(dir, "program.sh")
			e := open(t, [2]string{"substituters", "exec:/bin/sh?trusted=true&arg=" + url.QueryEscape(program) + c.settings})
			p, err := e.Dir().MakePath("output:out", store.SHA256.Sum(nil), "thing")
			if err != nil {
				t.Fatal(err)
			}
			archived := archive(t, "contents", false).Bytes()
			info := &store.NarInfo{URL: "nar", PathInfo: store.PathInfo{Path: p, NarHash: store.SHA256.Sum(archived), NarSize: uint64(len(archived))}}
			for file, text := range map[string]string{"info": info.Text(e.Dir()), "nar": string(archived),
				"program.sh": "DIR=" + dir + "\nPATH_TO_SERVE=" + e.Dir().Join(p) + c.script} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			nowhere, err := e.Dir().MakePath("output:out", store.SHA256.Sum(nil), "nowhere")
			if err != nil {
				t.Fatal(err)
			}
			o, err := e.Realise(t.Context(), store.Caller{}, control.RealiseRequest{KeepGoing: true, Targets: []realiser.Target{{Path: p}, {Path: nowhere}}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if o.Results[0].Status != result.Substituted || o.Results[1].Status != result.NoSubstituters {
				t.Errorf("%v: %v; %v: %v", o.Results[0].Status, o.Results[0].Err, o.Results[1].Status, o.Results[1].Err)
			}
			if got, err := e.PathInfo(t.Context(), p); err != nil || got.NarHash != info.NarHash || got.NarSize != info.NarSize {
				t.Errorf("%+v %v", got, err)
			}
			if l, err := nar.ListTree(t.Context(), e.Store().ObjectPath(p)); err != nil || l.Root.Type != nar.Regular {
				t.Errorf("%+v %v", l, err)
			}
			if left, _ := os.ReadDir(filepath.Join(e.Store().StateDir(), "substitutes")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
