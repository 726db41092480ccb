package builder

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"larder/realiser/userpool"
	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
	"larder/test/fixture"
)

// prepare makes a build that has come to the point where the builder's files
// are written.
func prepare(t *testing.T, s Store, env map[string]string, outputs map[string]store.StorePath) *build {
	t.Helper()
	drv := &derivation.Derivation{Name: "x", Env: env, Outputs: map[string]derivation.Output{}}
	for name, p := range outputs {
		drv.Outputs[name] = derivation.Output{Path: p}
	}
	asks, err := drv.Options()
	if err != nil {
		t.Fatal(err)
	}
	return &build{
		Builder: &Builder{store: s, dir: store.DefaultDir, opt: Options{SandboxBuildDir: "/build"}},
		Job:     &Job{Drv: drv, Asks: asks, Outputs: outputs},
		ctx:     t.Context(),
		scratch: &scratch{build: t.TempDir()},
		user:    &userpool.Lock{Identity: userpool.Identity{UID: sandbox.CallingUser, GID: sandbox.CallingUser}},
	}
}

func (b *build) readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.scratch.build, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func storePath(t *testing.T, text string) store.StorePath {
	t.Helper()
	p, err := store.DefaultDir.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Structured attributes reach a builder byte for byte as real Nix writes them.
func TestStructuredAttributes(t *testing.T) {
	for _, name := range []string{"numbers", "strings", "shapes"} {
		t.Run(name, func(t *testing.T) {
			golden := func(ext string) string { return string(fixture.Read(t, "attrs/"+name+ext)) }
			out := storePath(t, golden(".path"))
			b := prepare(t, nil, map[string]string{"__json": golden(".in.json"), "out": "not seen"}, map[string]store.StorePath{"out": out})
			env, err := b.environment()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := b.readFile(t, ".attrs.json"), golden(".attrs.json"); got != want {
				t.Errorf(".attrs.json is\n%s\nwant\n%s", got, want)
			}
			if got, want := b.readFile(t, ".attrs.sh"), golden(".attrs.sh"); got != want {
				t.Errorf(".attrs.sh is\n%s\nwant\n%s", got, want)
			}
			if env["NIX_ATTRS_JSON_FILE"] != "/build/.attrs.json" || env["NIX_ATTRS_SH_FILE"] != "/build/.attrs.sh" {
				t.Errorf("the files are said to be at %q and %q", env["NIX_ATTRS_JSON_FILE"], env["NIX_ATTRS_SH_FILE"])
			}
			for _, own := range []string{"__json", "out", "name", "builder"} {
				if v, ok := env[own]; ok {
					t.Errorf("%s = %q is in the environment", own, v)
				}
			}
		})
	}
}

// The attributes of a derivation are shared with others who build it: writing
// them leaves them as they are.
func TestStructuredAttributesAreNotChanged(t *testing.T) {
	out := storePath(t, dep2)
	b := prepare(t, nil, map[string]string{"__json": `{"outputs":["out"]}`}, map[string]store.StorePath{"out": out})
	if err := b.writeAttrs(map[string]string{}); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Asks.Structured["outputs"].([]any); !ok {
		t.Errorf("outputs have become %v", b.Asks.Structured["outputs"])
	}
	if text := b.readFile(t, ".attrs.json"); !strings.Contains(text, dep2) {
		t.Errorf(".attrs.json is %s", text)
	}
}

// What is printed is read as the same attributes again.
func FuzzAttributes(f *testing.F) {
	for _, name := range []string{"numbers", "strings", "shapes"} {
		f.Add(string(fixture.Read(f, "attrs/"+name+".in.json")))
	}
	f.Add(`{"a":-0.0,"b":1e-5,"c":1e15,"d":123456789012345678901234567890,"\u0000\u2028":"\ud83d\ude00"}`)
	f.Fuzz(func(t *testing.T, text string) {
		read := func(text string) map[string]any {
			o, err := (&derivation.Derivation{Name: "x", Env: map[string]string{"__json": text}}).Options()
			if err != nil {
				return nil
			}
			return o.Structured
		}
		attrs := read(text)
		if attrs == nil {
			return
		}
		appendShell(nil, attrs)
		if printed := string(appendJSON(nil, attrs)); !reflect.DeepEqual(read(printed), attrs) {
			t.Errorf("%q is printed as %q", text, printed)
		}
	})
}
