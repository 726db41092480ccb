package derivation_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"larder/store/derivation"
	"larder/test/fixture"
)

// sameJSON compares texts apart from white space and the order of members.
func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	decode := func(text []byte) (v any) {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	return reflect.DeepEqual(decode(a), decode(b))
}

func TestShowDerivationSample(t *testing.T) {
	t.Parallel()
	folder := fixture.Graphs(t)
	want := fixture.Read(t, filepath.Join(folder, "corepkgs-show-derivation-sample.json.zst"))
	drvs, err := derivation.FromShowJSON(dir, want)
	if err != nil {
		t.Fatal(err)
	}
	if len(drvs) != 320 {
		t.Fatalf("%d derivations, want 320", len(drvs))
	}
	for p, drv := range drvs {
		// The text form has a hash, the path: so nothing was lost.
		if own, err := drv.Path(dir); err != nil || own != p {
			t.Errorf("%s: comes out at %s (%v)", p, own, err)
		}
	}
	got, err := derivation.ShowJSON(dir, derivation.FormatShow, drvs)
	if err != nil {
		t.Fatal(err)
	}
	if !sameJSON(t, got, want) {
		t.Error("prints back differently")
	}
	text, err := derivation.ShowJSON(dir, derivation.Format4, drvs)
	if err != nil {
		t.Fatal(err)
	}
	again, err := derivation.FromShowJSON(dir, text)
	if err != nil {
		t.Fatal(err)
	}
	h := derivation.NewHasher(dir, nil)
	for p, drv := range again {
		if drv.Kind() == derivation.FixedOutput { // version 4 leaves their path out
			if err := h.Fill(t.Context(), drv); err != nil {
				t.Error(err)
			}
		}
		if own, err := drv.Path(dir); err != nil || own != p {
			t.Errorf("%s: comes out of version 4 at %s (%v)", p, own, err)
		}
	}
}

func TestCasesJSON(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(fixture.Path(t, "derivations/expected"), "*.json"))
	if err != nil || len(files) < 100 {
		t.Fatalf("%d cases (%v)", len(files), err)
	}
	for _, file := range files {
		var c struct {
			Case          string
			DrvPath       string
			DrvFileBase64 string
			Derivation    json.RawMessage
		}
		if err := json.Unmarshal(fixture.Read(t, file), &c); err != nil {
			t.Fatal(err)
		}
		if c.DrvPath == "" {
			continue // it does not evaluate
		}
		p := fullPath(t, c.DrvPath)
		name := strings.TrimSuffix(p.Name(), ".drv")
		aterm, err := base64.StdEncoding.DecodeString(c.DrvFileBase64)
		if err != nil {
			t.Fatal(err)
		}
		drv, err := derivation.Parse(dir, name, aterm)
		if err != nil {
			t.Error(err)
			continue
		}
		got, err := drv.JSON(dir, derivation.FormatShow)
		if c.Case == "env-raw-bytes" {
			if err == nil {
				t.Errorf("%s: printed as JSON although it is not UTF-8", c.Case)
			}
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if !sameJSON(t, got, c.Derivation) {
			t.Errorf("%s: printed as\n%s\nwant\n%s", c.Case, got, c.Derivation)
		}
		back, err := derivation.FromJSON(dir, name, c.Derivation)
		if err != nil {
			t.Errorf("%s: %v", c.Case, err)
			continue
		}
		if !bytes.Equal(back.ATerm(dir), aterm) {
			t.Errorf("%s: JSON comes back as\n%s\nwant\n%s", c.Case, back.ATerm(dir), aterm)
		}
	}
}

// What `nix show-derivation` of Nix 2.8.0 printed for a derivation with every
// kind of escape.
const shown = `{
  "/nix/store/qcb4dq8fjc30hbxq976xs6ggl53h3759-x.drv": {
    "outputs": {
      "out": {
        "path": "/nix/store/5gw3rsckvrqnixqynjvf0xynvrmmc4pg-x",
        "hashAlgo": "r:sha256",
        "hash": "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
      }
    },
    "inputSrcs": [],
    "inputDrvs": {},
    "system": "x86_64-linux",
    "builder": "/b<&>",
    "args": [
      "a\tbu2028é"
    ],
    "env": {
      "builder": "/b<&>",
      "d": "\u0001\u001f` + "\x7f" + `\u0008\u000c",
      "name": "x",
      "out": "/nix/store/5gw3rsckvrqnixqynjvf0xynvrmmc4pg-x",
      "outputHash": "sha256-uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
      "outputHashMode": "recursive",
      "system": "x86_64-linux",
      "y": "é😀\n\"\\/"
    }
  }
}
`

func TestShowJSONIsByteExact(t *testing.T) {
	drvs, err := derivation.FromShowJSON(dir, []byte(shown))
	if err != nil {
		t.Fatal(err)
	}
	for p, drv := range drvs {
		if err := derivation.NewHasher(dir, nil).Check(t.Context(), p, drv); err != nil {
			t.Error(err)
		}
	}
	got, err := derivation.ShowJSON(dir, derivation.FormatShow, drvs)
	if err != nil || string(got) != shown {
		t.Errorf("printed as\n%s\n(%v), want\n%s", got, err, shown)
	}
}

// The same derivation in the other versions of the format.
func TestFromJSONVersions(t *testing.T) {
	const step = `"system":"s","builder":"/b","args":["-c"],"env":{"k":"v"}`
	const in, src = "lk80pmykwikkmqkk2f4w9dywqgsza15c-dep.drv", "ri33cw60p5dwrh3g4cbbzw8nfwmi17wf-dep"
	const hex = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
	texts := map[string]string{
		"1": `{"outputs":{"out":{"hashAlgo":"r:sha256","hash":"` + hex + `"}},"inputSrcs":["/nix/store/` + src + `"],"inputDrvs":{"/nix/store/` + in + `":["out"]},` + step + `}`,
		"2": `{"name":"x","outputs":{"out":{"path":null,"method":"nar","hashAlgo":"sha256","hash":"` + hex + `"}},"inputSrcs":["/nix/store/` + src + `"],"inputDrvs":{"/nix/store/` + in + `":{"outputs":["out"],"dynamicOutputs":{}}},` + step + `}`,
		"3": `{"name":"x","version":3,"outputs":{"out":{"method":"nar","hashAlgo":"sha256","hash":"` + hex + `"}},"inputSrcs":["` + src + `"],"inputDrvs":{"` + in + `":{"outputs":["out"],"dynamicOutputs":{}}},` + step + `}`,
		"4": `{"name":"x","version":4,"outputs":{"out":{"method":"nar","hash":"sha256-uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek="}},"inputs":{"srcs":["` + src + `"],"drvs":{"` + in + `":{"outputs":["out"],"dynamicOutputs":{}}}},` + step + `}`,
	}
	const want = `Derive([("out","","r:sha256","` + hex + `")],[("/nix/store/` + in + `",["out"])],["/nix/store/` + src + `"],"s","/b",["-c"],[("k","v")])`
	for version, text := range texts {
		drv, err := derivation.FromJSON(dir, "x", []byte(text))
		if err != nil {
			t.Errorf("version %s: %v", version, err)
			continue
		}
		if got := string(drv.ATerm(dir)); got != want {
			t.Errorf("version %s: %s, want %s", version, got, want)
		}
	}
}

func TestFormat4(t *testing.T) {
	const text = `{"name":"advanced","version":4,` +
		`"outputs":{"bin":{"method":"nar","hashAlgo":"sha256"},"out":{"method":"nar","hashAlgo":"sha256"}},` +
		`"inputs":{"srcs":["qnml92yh97a6fbrs2m5qg5cqlc8vni58-bar.drv"],` +
		`"drvs":{"j56sf12rxpcv5swr14vsjn5cwm6bj03h-foo.drv":{"outputs":["dev","out"],"dynamicOutputs":{}}}},` +
		`"system":"my-system","builder":"/bin/bash","args":["-c","echo hello > $out"],"env":{"out":""},` +
		`"structuredAttrs":{"big":9007199254740993,"float":2.5,"list":[1,null,true,{}],"name":"advanced"}}`
	drv, err := derivation.FromJSON(dir, "", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got, err := drv.JSON(dir, derivation.Format4)
	if err != nil || string(got) != text {
		t.Errorf("printed as\n%s (%v), want\n%s", got, err, text)
	}
	attrs, ok := drv.StructuredAttrs()
	if want := `{"big":9007199254740993,"float":2.5,"list":[1,null,true,{}],"name":"advanced"}`; !ok || string(attrs) != want {
		t.Errorf("structured attributes %s, want %s", attrs, want)
	}
	if _, err := drv.JSON(dir, 3); !errors.Is(err, derivation.ErrUnsupported) {
		t.Errorf("version 3 was printed (%v)", err)
	}
}

func TestFromJSONRefuses(t *testing.T) {
	const good = `{"outputs":{"out":{}},"inputSrcs":[],"inputDrvs":{},"system":"s","builder":"b","args":["a"],"env":{"k":"v"}}`
	if _, err := derivation.FromJSON(dir, "x", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`"args":["a"],`, ``, `no "args"`},
		{`"args":["a"]`, `"args":[null]`, `null`},
		{`"args":["a"]`, `"args":"a"`, `"args"`},
		{`"args":["a"]`, `"Args":["a"]`, `no "args"`},
		{`{"k":"v"}`, `{"k":null}`, `null`},
		{`{"k":"v"}`, `{"k":1}`, `env`},
		{`{"k":"v"}`, `{"k":"v","k":"w"}`, `twice`},
		{`{"k":"v"}`, `{"k":"\ud800"}`, `UTF-8`},
		{`{"k":"v"}`, `{"k":"\udc00\ud800"}`, `UTF-8`},
		{`{"k":"v"}`, "{\"k\":\"\xff\"}", `UTF-8`},
		{`{"k":"v"}`, `{"k":"\u0000"}`, `zero byte`},
		{`{"out":{}}`, `{}`, `no outputs`},
		{`{"out":{}}`, `{"out":{"hash":"00"}}`, `needs a method`},
		{`{"out":{}}`, `{"out":{"hashAlgo":"r:crc32"}}`, `crc32`},
		{`{"out":{}}`, `{"out":{"method":"git","hashAlgo":"md5"}}`, `git hashes with sha1 or sha256`},
		{`{"out":{}}`, `{"out":{"hash":"abcdef","hashAlgo":"sha256"}}`, `length`},
		{`{"out":{}}`, `{"out":{"path":"/gnu/store/x"}}`, `not in /nix/store`},
		{`{"out":{}}`, `{"out":{"pth":""}}`, `unknown member "pth"`},
		{`{"out":{}}`, `{"o/t":{}}`, `'/'`},
		{`"inputDrvs":{}`, `"inputDrvs":{"/nix/store/ri33cw60p5dwrh3g4cbbzw8nfwmi17wf-dep":["out"]}`, `.drv`},
		{`"inputDrvs":{}`, `"inputDrvs":{"/nix/store/lk80pmykwikkmqkk2f4w9dywqgsza15c-dep.drv":{"outputs":["out"],"dynamicOutputs":{"out":{}}}}`, `no "outputs"`},
		{`{"outputs"`, `{"version":5,"outputs"`, `version 5`},
		{`{"outputs"`, `{"version":4,"outputs"`, `no "name"`},
		{`{"outputs"`, `{"name":"y","outputs"`, `"y"`},
		{`{"outputs"`, `{"inputDrv":{},"outputs"`, `unknown member "inputDrv"`},
		{`{"outputs"`, `{"structuredAttrs":[],"outputs"`, `not a JSON object`},
		{`}}`, `}} x`, `invalid character`},
		{good, `null`, `no "`},
		{good, `[]`, `array`},
		{good, ``, `end`},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		drv, err := derivation.FromJSON(dir, "x", []byte(text))
		var syntax *derivation.SyntaxError
		var invalid *derivation.InvalidError
		switch {
		case err == nil:
			t.Errorf("%s: read as %s", text, drv.ATerm(dir))
		case !errors.As(err, &syntax) && !errors.As(err, &invalid):
			t.Errorf("%s: untyped error %v", text, err)
		case !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: error %q does not say %q", text, err, c.want)
		}
	}
}

func FuzzFromJSON(f *testing.F) {
	f.Add([]byte(shown))
	f.Add([]byte(`{"name":"x","version":4,"outputs":{"out":{}},"inputs":{"srcs":[],"drvs":{"lk80pmykwikkmqkk2f4w9dywqgsza15c-dep.drv":{"outputs":[],"dynamicOutputs":{"out":{"outputs":["a"],"dynamicOutputs":{}}}}}},"system":"","builder":"","args":[],"env":{}}`))
	f.Add([]byte(`{"name":"x","version":4,"outputs":{"out":{}},"inputs":{"srcs":[],"drvs":{}},"system":"","builder":"","args":[],"env":{},"structuredAttrs":{"a":[1e5,"\ud83d\ude00"]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		drv, err := derivation.FromJSON(dir, "", text)
		if err != nil {
			return
		}
		for _, format := range []derivation.Format{derivation.FormatShow, derivation.Format4} {
			printed, err := drv.JSON(dir, format)
			if err != nil {
				if format == derivation.Format4 && drv.Env["__json"] != "" {
					continue // not JSON
				}
				if format == derivation.FormatShow && drv.IsDynamic() {
					continue // it has no place for that
				}
				t.Fatal(err)
			}
			back, err := derivation.FromJSON(dir, drv.Name, printed)
			if err != nil {
				t.Fatalf("%s: %v", printed, err)
			}
			if again, err := back.JSON(dir, format); err != nil || !bytes.Equal(again, printed) {
				t.Fatalf("%s: %s (%v)", printed, again, err)
			}
		}
		if _, err := derivation.Parse(dir, drv.Name, drv.ATerm(dir)); err != nil {
			t.Fatal(err)
		}
	})
}
