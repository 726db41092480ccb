package e2e_test

import (
	"os"
	"testing"

	"larder/test/harness"
)

// An access to a mounted store starts a builder without a sandbox. It writes where the mount is, for everybody else, read-only, and what is not
// there it neither waits for nor has made.
func TestAccessBuildsWithoutSandbox(t *testing.T) {
	t.Parallel()
	for name, site := range map[string]func(testing.TB) *harness.Site{"root": harness.NewSite, "user": harness.NewUserSite} {
		t.Run(name, func(t *testing.T) {
			s := site(t)
			marker := s.Top + "/marker"
			if err := os.WriteFile(marker, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			s.Configure(nil, "sandbox = false")
			s.Mount()
			unwanted := s.Derive(harness.Recipe{Name: "unwanted", Script: "echo made > $out"})[0]
			dep := s.Derive(harness.Recipe{Name: "dep", Script: "echo dep > $out"})[0]
			top := s.Derive(harness.Recipe{Name: "top", Inputs: []harness.Derived{dep}, Script: `
				export PATH=/bin:/usr/bin
				set -e
				cat $in1
				[ -e ` + marker + ` ]
				[ ! -e ` + unwanted.Out + ` ]
				ls $NIX_STORE > list; grep -q dep list
				(echo evil > $in1) 2>/dev/null || true
				rm -f $in1 2>/dev/null || true
				echo > $NIX_STORE/litter
				sleep 1000 >/dev/null 2>&1 &
				mkdir $out; echo made > $out/file; ln -s $in1 $out/link`})[0]
			if got := s.Read(top.Out + "/file"); got != "ok made" {
				t.Errorf("the output is %q", got)
			}
			if got := s.Read(top.Out + "/link"); got != "ok dep" {
				t.Errorf("its input is %q", got)
			}
			s.CheckValid(unwanted.Drv, dep.Drv, top.Drv, top.Out, dep.Out)
		})
	}
}
