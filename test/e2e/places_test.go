package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"larder/test/harness"
)

// Objects lie underneath the mount or elsewhere; afterwards the plain directory has exactly them.
func TestPlacesOfObjects(t *testing.T) {
	t.Parallel()
	for name, elsewhere := range map[string]bool{"underneath the mount": false, "in a directory of their own": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.NewSite(t)
			if elsewhere {
				s.Objects = filepath.Join(s.Top, "objects")
			}
			c := s.NewCache(10)
			s.Configure([]*harness.Cache{c})
			for _, round := range []string{"cold", "after a remount"} {
				s.Mount()
				o := c.Add("object", helloTree)
				d := s.Derive(harness.Recipe{Name: "derived", Script: makeHello})[0]
				for _, p := range []string{o.Path, d.Out} {
					if got := s.Touch("exec", p+"/bin/hello").Wait(); got.Out != "hello" {
						t.Errorf("%s: %+v", round, got)
					}
				}
				if o := s.List(); len(o) != 3 {
					t.Errorf("%s: ls shows %q", round, o)
				}
				if elsewhere {
					s.CheckObjects(o.Path, d.Drv, d.Out)
				}
				s.Unmount()
				s.CheckObjects(o.Path, d.Drv, d.Out)
				if elsewhere {
					if left, err := os.ReadDir(s.Dir); err != nil || len(left) > 0 {
						t.Errorf("the mount point holds %v, %v", left, err)
					}
				}
			}
			if n := s.Must("path-info", "--json", c.Add("object", helloTree).Path); n == "" {
				t.Error("it is not valid any more")
			}
		})
	}
}
