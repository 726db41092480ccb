package e2e_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"larder/test/harness"
)

// Commands talk to the daemon that runs, and what they do shows in the mount at once.
func TestCommandsAndDaemon(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	c := s.NewCache(10)
	s.Configure([]*harness.Cache{c})
	s.Mount()
	library := c.Add("library", harness.Tree{"": "library"})
	program := c.Add("program", harness.Tree{"bin/hello": hello, "uses": "->" + library.Path}, library)
	chain := s.Derive(harness.Recipe{Name: "first", Script: "echo one > $out"})
	chain = append(chain, s.Derive(harness.Recipe{Name: "second", Script: "read x < $in1; echo $x two $in1 > $out", Inputs: chain})...)

	contains(t, "realise --dry-run", s.Must("realise", "--dry-run", program.Path, chain[1].Drv), chain[0].Drv, chain[1].Drv, program.Path, library.Path)
	var outcome []struct {
		DrvPath, Path, Status string
		Success               bool
		Outputs               map[string]string
	}
	decode(t, s.Must("--json", "realise", program.Path, chain[1].Drv+"^out"), &outcome)
	if len(outcome) != 2 || !outcome[0].Success || !outcome[1].Success || outcome[1].Outputs["out"] != chain[1].Out {
		t.Errorf("realise --json: %+v", outcome)
	}
	if got := s.Read(chain[1].Out); got != "ok one two "+chain[0].Out {
		t.Errorf("what was built: %q", got)
	}
	if r := s.Larder("realise", s.Dir+unknown); r.Status == 0 {
		t.Errorf("realise of an unknown path: %+v", r)
	}

	for _, q := range []struct {
		args []string
		want []string
	}{
		{[]string{"references", program.Path}, []string{library.Path}},
		{[]string{"references", chain[1].Out}, []string{chain[0].Out}},
		{[]string{"referrers", library.Path}, []string{program.Path}},
		{[]string{"closure", program.Path}, []string{library.Path, program.Path}},
		{[]string{"deriver", chain[1].Out}, []string{chain[1].Drv}},
		{[]string{"outputs", chain[1].Drv}, []string{chain[1].Out}},
	} {
		if got := strings.Fields(s.Must(append([]string{"query"}, q.args...)...)); !slices.Equal(got, q.want) {
			t.Errorf("query %v: got %v, want %v", q.args, got, q.want)
		}
	}
	var infos []struct {
		Path, NarHash, Deriver string
		NarSize                int
		References, Signatures []string
		Ultimate               bool
	}
	decode(t, s.Must("path-info", "--json", program.Path, chain[0].Out), &infos)
	if len(infos) != 2 || infos[0].NarSize != len(program.NAR) || !slices.Equal(infos[0].References, []string{library.Path}) ||
		len(infos[0].Signatures) != 1 || infos[0].Ultimate || !infos[1].Ultimate || infos[1].Deriver != chain[0].Drv {
		t.Errorf("path-info --json: %+v", infos)
	}

	file := filepath.Join(s.Top, "added")
	if err := os.WriteFile(file, []byte("by hand"), 0o644); err != nil {
		t.Fatal(err)
	}
	added := s.Must("add", file)
	if got := s.Read(added); got != "ok by hand" {
		t.Errorf("what was added: %q", got)
	}
	want := []string{added, library.Path, program.Path}
	for _, d := range chain {
		want = append(want, d.Drv, d.Out)
	}
	for i := range want {
		want[i] = filepath.Base(want[i])
	}
	slices.Sort(want)
	if got := s.List(); !slices.Equal(got, want) {
		t.Errorf("ls shows %q, want %q", got, want)
	}
	s.Unmount()
	s.CheckObjects(want...)

	// Without the daemon the same commands open the store themselves.
	if got := s.Must("query", "closure", program.Path); got != library.Path+"\n"+program.Path {
		t.Errorf("without a daemon: %q", got)
	}
}

// What a cache made by larder holds, a mount elsewhere has.
func TestPushAndServe(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	s.Objects = filepath.Join(s.Top, "publisher")
	mounted := filepath.Join(s.Top, "state")
	s.State = filepath.Join(s.Top, "publisher-state")
	s.Configure(nil)
	chain := s.Derive(harness.Recipe{Name: "first", Script: "echo one > $out"})
	chain = append(chain, s.Derive(harness.Recipe{Name: "second", Script: "mkdir $out; echo $in1 > $out/text", Inputs: chain})...)
	s.Must("realise", chain[1].Drv)
	public := s.Must("key", "generate", "site-1", filepath.Join(s.Top, "key"))
	s.Must("cache", "push", "--to", "file://"+s.Top+"/cache?compression=zstd", "--key", filepath.Join(s.Top, "key"), chain[1].Out)
	server := s.StartLarder("cache", "serve", "--listen", "127.0.0.1:0", filepath.Join(s.Top, "cache"))
	harness.Eventually(t, "the cache is served", func() bool { return strings.HasSuffix(server.Stdout(), "\n") })

	s.State, s.Objects = mounted, s.Dir
	s.Configure(nil, "substituters = "+server.Stdout(), "trusted-public-keys = "+public)
	s.Mount()
	if got := s.Read(chain[1].Out + "/text"); got != "ok "+chain[0].Out {
		t.Errorf("got %q", got)
	}
	if n := s.Status().Realiser.Counts; n.Substitutions.Done != 2 || n.Builds.Done != 0 {
		t.Errorf("counts: %+v", n)
	}
	s.Unmount()
	s.CheckObjects(chain[0].Out, chain[1].Out)
}
