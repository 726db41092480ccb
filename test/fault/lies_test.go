package fault_test

import (
	"slices"
	"strings"
	"testing"

	"larder/store"
	"larder/test/harness"
)

// lies are the ways in which a cache may not be trusted, each applied to an object that it has.
var lies = []struct {
	name string
	lie  func(s *harness.Site, c *harness.Cache, o *harness.Object)
	says string // by larder why
}{
	{"other content", func(_ *harness.Site, _ *harness.Cache, o *harness.Object) {
		o.NAR = []byte(strings.Replace(string(o.NAR), "inside", "INSIDE", 1))
	}, "hash mismatch"},
	{"another archive", func(_ *harness.Site, c *harness.Cache, o *harness.Object) {
		o.NAR = c.Add("another-archive", harness.Tree{"": "something else"}).NAR
	}, "the NAR ends after"},
	{"truncated", func(_ *harness.Site, _ *harness.Cache, o *harness.Object) {
		o.NAR = o.NAR[:len(o.NAR)/2]
	}, "ends"},
	{"longer than promised", func(_ *harness.Site, _ *harness.Cache, o *harness.Object) {
		o.NAR = append(slices.Clone(o.NAR), make([]byte, 64)...)
	}, "is longer than"},
	{"no archive", func(_ *harness.Site, _ *harness.Cache, o *harness.Object) {
		o.NAR = []byte(strings.Repeat("nonsense", len(o.NAR)/8))
	}, "malformed NAR"},
	{"a wrong hash, signed", func(s *harness.Site, c *harness.Cache, o *harness.Object) {
		o.Info.NarHash = store.SHA256.Sum([]byte("something else"))
		o.Info.Signatures = nil
		o.Info.Sign(store.Dir(s.Dir), c.Key)
	}, "hash mismatch"},
	{"a hash that was changed after signing", func(_ *harness.Site, _ *harness.Cache, o *harness.Object) {
		o.Info.NarHash = store.SHA256.Sum([]byte("something else"))
	}, "signature"},
	{"a wrong size, signed", func(s *harness.Site, c *harness.Cache, o *harness.Object) {
		o.Info.NarSize += 8
		o.Info.Signatures = nil
		o.Info.Sign(store.Dir(s.Dir), c.Key)
	}, "the NAR ends after"},
	{"references that were added after signing", func(_ *harness.Site, _ *harness.Cache, o *harness.Object) {
		o.Info.References = append(o.Info.References, o.Info.Path)
	}, "signature"},
	{"no signature", func(_ *harness.Site, _ *harness.Cache, o *harness.Object) {
		o.Info.Signatures = nil
	}, "signature"},
	{"a key that nobody trusts", func(s *harness.Site, _ *harness.Cache, o *harness.Object) {
		o.Info.Signatures = nil
		o.Info.Sign(store.Dir(s.Dir), s.NewCache(99).Key)
	}, "signature"},
	{"the narinfo of another path", func(_ *harness.Site, c *harness.Cache, o *harness.Object) {
		o.Info = c.Add("another", harness.Tree{"": "another"}).Info
	}, "another"},
	{"a content address that does not follow", func(_ *harness.Site, _ *harness.Cache, o *harness.Object) {
		o.Info.Signatures = nil
		o.Info.CA = store.ContentAddress{Method: store.Recursive, Hash: o.Info.NarHash}
	}, "does not follow from its content address"},
}

const program = "#!/bin/sh\necho hello\n"

// A cache that lies is not believed: the next one is asked, and where there is none the access fails and says why. Nothing
// of the lie is left.
func TestLyingCache(t *testing.T) {
	t.Parallel()
	s := harness.NewSite(t)
	liar, honest := s.NewCache(10), s.NewCache(20)
	s.Configure([]*harness.Cache{liar, honest})
	s.Mount()
	tree := harness.Tree{"bin/hello": program, "text": "inside"}
	var good []string
	for i, l := range lies {
		t.Run(l.name, func(t *testing.T) {
			s := s.In(t)
			name := "lie-" + string(rune('a'+i))
			alone := liar.Add(name+"-alone", tree)
			l.lie(s, liar, alone)
			if got := s.Read(alone.Path + "/text"); got != "EIO" {
				t.Errorf("without another cache: %q", got)
			}
			why := s.Must("why", alone.Path)
			if !strings.Contains(why, "is failed") || !strings.Contains(why, liar.URL) || !strings.Contains(why, l.says) {
				t.Errorf("larder why does not name the cache and %q:\n%s", l.says, why)
			}
			if strings.Count(why, "\n") > 4 {
				t.Errorf("larder why is long:\n%s", why)
			}
			if r := s.Larder("realise", alone.Path); r.Status != 1 || r.Out != "" {
				t.Errorf("larder realise: %+v", r)
			}
			lied := liar.Add(name+"-both", tree)
			l.lie(s, liar, lied)
			right := honest.Add(name+"-both", tree)
			if got := s.Read(right.Path + "/text"); got != "ok inside" {
				t.Errorf("with another cache: %q", got)
			}
			if got := s.Touch("exec", right.Path+"/bin/hello").Wait(); got.Out != "hello" {
				t.Errorf("with another cache: %+v", got)
			}
			good = append(good, right.Path)
			s.CheckValid(good...)
		})
	}
	s.Unmount()
	s.CheckObjects(good...)
}
