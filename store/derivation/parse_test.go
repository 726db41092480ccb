package derivation_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"larder/store/derivation"
)

const (
	depDrv  = "/nix/store/lk80pmykwikkmqkk2f4w9dywqgsza15c-dep.drv"
	depOut  = "/nix/store/ri33cw60p5dwrh3g4cbbzw8nfwmi17wf-dep"
	dep2Drv = "/nix/store/4pd7x139kj8ji1bng82zn7xs1xwf901z-dep2.drv"
	srcPath = "/nix/store/g6000gkkqay6cgbqsvjalfx8gr3yr6f4-flat-hello"
	hexHash = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"

	sample = `Derive([("dev","","",""),("out","","","")],[("` + dep2Drv + `",["dev","out"]),("` + depDrv + `",["out"])],["` +
		srcPath + `","` + depOut + `"],"x86_64-linux","/bin/sh",["-c","a\n\"b\"\\"],[("a","1"),("b","2"),("dev",""),("out","")])`
)

func TestParseRefuses(t *testing.T) {
	if drv := mustParse(t, "x", sample); string(drv.ATerm(dir)) != sample {
		t.Fatalf("printed as %s", drv.ATerm(dir))
	}
	for _, c := range []struct{ old, new, want string }{
		{`Derive(`, ``, `expected "Derive("`},
		{`Derive(`, `derive(`, `expected "Derive("`},
		{`Derive(`, ` Derive(`, `expected "Derive("`},
		{`Derive(`, `DrvWithVersion("xp-dyn-drv",`, `uses no output of a dynamic derivation`},
		{`",["out"])]`, `",(["out"],[("out",["out"])]))]`, `expected "["`},
		{`Derive(`, `DrvWithVersion("2",`, `unknown version "2"`},
		{`Derive(`, `DrvWithVersion(`, `expected "\""`},
		{`","")])`, `","")]) `, `after the end`},
		{`","")])`, `","")]`, `text ends`},
		{`","")])`, `","")`, `text ends`},
		{`","")])`, `","`, `does not end`},
		{`","")])`, `","\`, `does not end`},
		{`"dev","","",""`, `"dev","",""`, `expected ","`},
		{`"dev","","",""`, `"dev","","","",""`, `expected ")"`},
		{`("dev","","",""),("out","","","")`, `("out","","",""),("dev","","","")`, `not in order`},
		{`("dev","","",""),("out","","","")`, `("out","","",""),("out","","","")`, `repeated`},
		{`("dev","","",""),("out","","","")`, ``, `no outputs`},
		{`("dev","","",""),`, `,("dev","","",""),`, `expected "("`},
		{`("out","","","")]`, `("out","","",""),]`, `expected "("`},
		{`("dev","","",""),`, `("dev","","r:sha256",""),`, `can't be mixed`},
		{`("dev","","",""),`, `("dev","","sha3",""),`, `sha3`},
		{`("dev","","",""),`, `("dev","","","` + hexHash + `"),`, `no algorithm`},
		{`("dev","","",""),`, `("","","",""),`, `empty`},
		{`("dev","","",""),`, `("a/b","","",""),`, `'/'`},
		{`("dev","","",""),`, `("dev","/gnu/store/x","",""),`, `not in /nix/store`},
		{`("dev","","",""),`, `("dev","` + depOut + `/x","",""),`, `'/'`},
		{`[("dev","","",""),("out","","","")]`, `[("out","","sha256","` + strings.ToUpper(hexHash) + `")]`, `lower-case`},
		{`[("dev","","",""),("out","","","")]`, `[("out","","sha256","` + hexHash[1:] + `")]`, `length`},
		{`[("dev","","",""),("out","","","")]`, `[("doc","","sha256","` + hexHash + `")]`, `called "out"`},
		{`[("dev","","",""),("out","","","")]`, `[("dev","","sha256","` + hexHash + `"),("out","","sha256","` + hexHash + `")]`, `single output`},
		{`[("dev","","",""),("out","","","")]`, `[("dev","","r:sha1",""),("out","","r:sha256","")]`, `same hash algorithm`},
		{`[("dev","","",""),("out","","","")]`, `[("out","` + depOut + `","r:sha256","")]`, `can't have a path`},
		{`[("dev","","",""),("out","","","")]`, `[("out","` + depOut + `","r:sha256","impure")]`, `can't have a path`},
		{`[("dev","","",""),("out","","","")]`, `[("out","","text:sha1","")]`, `always hashed with sha256`},
		{`[("dev","","",""),("out","","","")]`, `[("out","","git:sha512","")]`, `git hashes with sha1 or sha256`},
		{`[("dev","","",""),("out","","","")]`, `[("out","","text:md5","5eb63bbbe01eeed093cb22bb8f5acdc3")]`, `always hashed with sha256`},
		{`("` + dep2Drv + `",["dev","out"]),("` + depDrv + `",["out"])`, `("` + depDrv + `",["out"]),("` + dep2Drv + `",["out"])`, `not in order`},
		{`("` + dep2Drv + `",["dev","out"])`, `("` + depDrv + `",["out"])`, `repeated`},
		{`["dev","out"]`, `["out","dev"]`, `not in order`},
		{`["dev","out"]`, `["out","out"]`, `repeated`},
		{`["dev","out"]`, `["o t"]`, `' '`},
		{dep2Drv, `/nix/store/4pd7x139kj8ji1bng82zn7xs1xwf901z-dep2`, `not named .drv`},
		{dep2Drv, `dep2.drv`, `not in /nix/store`},
		{`"` + srcPath + `","` + depOut + `"`, `"` + depOut + `","` + srcPath + `"`, `not in order`},
		{`"` + srcPath + `"`, `"` + depOut + `"`, `repeated`},
		{`("a","1"),("b","2")`, `("b","2"),("a","1")`, `not in order`},
		{`("a","1"),("b","2")`, `("b","1"),("b","2")`, `repeated`},
		{`"1"`, "\"\n\"", `must be escaped`},
		{`"1"`, "\"\t\"", `must be escaped`},
		{`"1"`, `"\x"`, `no escape`},
		{`"1"`, "\"\x00\"", `zero byte`},
		{`"-c"`, "\"\x00\"", `zero byte`},
		{`"/bin/sh"`, "\"\x00\"", `zero byte`},
		{sample, ``, `text ends`},
	} {
		text := strings.Replace(sample, c.old, c.new, 1)
		if text == sample {
			t.Fatalf("the sample has no %s", c.old)
		}
		_, err := derivation.Parse(dir, "x", []byte(text))
		var syntax *derivation.SyntaxError
		var invalid *derivation.InvalidError
		switch {
		case err == nil:
			t.Errorf("parsed: %s", text)
		case !errors.As(err, &syntax) && !errors.As(err, &invalid):
			t.Errorf("%s: untyped error %v", text, err)
		case !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: error %q does not say %q", text, err, c.want)
		}
		if syntax != nil && (syntax.Offset < 0 || syntax.Offset > len(text)) {
			t.Errorf("%s: offset %d", text, syntax.Offset)
		}
	}
}

func TestSyntaxErrorOffset(t *testing.T) {
	for text, want := range map[string]int{
		`Derive([("out","","","")],[],[],"s","b",[],[("a","\x")])`:                 50,
		`Derive([("out","","","")],[],[],"s","b",[],[("b",""),("a","")])`:          53,
		`Derive([("out","","","")],[],["/nix/store/x"],"s","b",[],[])`:             30,
		`Derive([("out","","",""),("out","","","")],[],[],"s","b",[],[])`:          25,
		`Derive([("out","","md6","00")],[],[],"s","b",[],[])`:                      8,
		`Derive([("out","","","")],[],[],"s","b",[],[]),`:                          46,
		`Derive([("out","","","")],[("` + depDrv + `",["b","a"])],[],"","",[],[])`: 87,
	} {
		_, err := derivation.Parse(dir, "x", []byte(text))
		var syntax *derivation.SyntaxError
		if !errors.As(err, &syntax) || syntax.Offset != want {
			t.Errorf("%s: %v, want offset %d", text, err, want)
		}
	}
}

func TestParseUnsupported(t *testing.T) {
	for _, text := range []string{`DrvWithVersion("9",[])`} {
		if _, err := derivation.Parse(dir, "x", []byte(text)); !errors.Is(err, derivation.ErrUnsupported) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestParseNames(t *testing.T) {
	const text = `Derive([("out","","",""),("docs","","","")],[],[],"","",[],[])`
	sorted := strings.Replace(text, `("out","","",""),("docs","","","")`, `("docs","","",""),("out","","","")`, 1)
	for name, ok := range map[string]bool{
		"x":                      true,
		".hidden":                true,
		"aZ09+-._?=":             true,
		strings.Repeat("n", 206): true,  // with -docs the longest
		strings.Repeat("n", 207): false, // the .drv still fits
		"":                       false,
		"a b":                    false,
		"a/b":                    false,
		"ä":                      false,
	} {
		if _, err := derivation.Parse(dir, name, []byte(sorted)); (err == nil) != ok {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

// Whatever parses prints back equal: there is one text for one derivation.
func FuzzParse(f *testing.F) {
	c := readCorpus(f, "derivations/drvs.tar.zst")
	for _, p := range c.paths() {
		if len(c[p]) < 2000 {
			f.Add(c[p])
		}
	}
	f.Add([]byte(sample))
	f.Add([]byte(`DrvWithVersion("xp-dyn-drv",[],[],[],"","",[],[])`))
	f.Add([]byte(dynamicText))
	f.Fuzz(func(t *testing.T, text []byte) {
		drv, err := derivation.Parse(dir, "x", text)
		if err != nil {
			return
		}
		if got := drv.ATerm(dir); !bytes.Equal(got, text) {
			t.Fatalf("%q prints back as %q", text, got)
		}
		if _, err := drv.Path(dir); err != nil {
			t.Fatal(err)
		}
		drv.References()
		text, err = drv.JSON(dir, derivation.FormatShow)
		if err != nil {
			return // not UTF-8
		}
		back, err := derivation.FromJSON(dir, "x", text)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := back.ATerm(dir), drv.ATerm(dir); !bytes.Equal(got, want) {
			t.Fatalf("%q comes back from JSON as %q", want, got)
		}
	})
}
