package program_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"larder/store"
	"larder/store/cache/program"
)

// early is a script that speaks the protocols of old Nix: it has one path, which refers to another.
func early(o, ref *object, hash string) string {
	return `path=` + o.path + `
record() { printf '%s\n' $path ` + ref.path + `-x.drv 1 ` + ref.path + `; }
case $1 in
--query)
	echo
	while read -r word asked; do
		if [ "$word $asked" = "info $path" ]; then record; echo 123; echo ` + number(len(o.nar)) + `; fi
		echo
	done;;
--query-info)
	shift
	for asked; do [ $asked != $path ] || record; done;;
--substitute)
	echo substituting $2 >&2
	[ -n "$FAIL" ] && exit 1
	printf 'some text\n' >${3:-$2}
	printf '` + hash + `';;
*) exit 2;;
esac
`
}

func TestEarlyForms(t *testing.T) {
	dir := store.Dir(filepath.Join(t.TempDir(), "store"))
	if err := os.Mkdir(string(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	ref := newObject(t, dir, "ref", "referred to\n")
	o := newObject(t, dir, "hello", "some text\n", ref.info.Path)
	good := o.info.NarHash.String() + `\n`
	for _, c := range []struct {
		name, settings, hash string
		sizes                bool
	}{
		{"nix", "form=nix", good, true},
		{"nix without a hash", "form=nix", `\n`, true},
		{"argv", "form=argv", good, false},
		{"argv that prints nothing", "form=argv", "", false},
		{"argv without DEST", "form=argv&dest=false", "any words", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := open(t, script(t, early(o, ref, c.hash), "trusted=true&"+c.settings), program.Options{StoreDir: dir, Policy: signed})
			if _, err := p.NarInfo(t.Context(), ref.info.Path); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("a path that it does not have: %v", err)
			}
			n, err := p.NarInfo(t.Context(), o.info.Path)
			if err != nil {
				t.Fatal(err)
			}
			if n.Path != o.info.Path || len(n.References) != 1 || n.References[0] != ref.info.Path || !n.NarHash.IsZero() ||
				n.Deriver.Name() != "ref-x.drv" || c.sizes != (n.NarSize == o.info.NarSize && n.FileSize == 123) {
				t.Errorf("%+v", n)
			}
			for range 2 {
				if got, err := readNAR(t, p, n); err != nil || !bytes.Equal(got, o.nar) {
					t.Errorf("%q %v", got, err)
				}
			}
			if left, _ := os.ReadDir(string(dir)); len(left) > 0 {
				t.Errorf("left in the store directory: %v", left)
			}
		})
	}
}

func TestEarlyFormsFail(t *testing.T) {
	dir := store.Dir(filepath.Join(t.TempDir(), "store"))
	if err := os.Mkdir(string(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	ref := newObject(t, dir, "ref", "referred to\n")
	o := newObject(t, dir, "hello", "some text\n", ref.info.Path)
	other := "sha256:" + strings.Repeat("0", 64) + `\n`
	for _, c := range []struct{ name, settings, text, want string }{
		{"exit status", "form=argv", "FAIL=1\n" + early(o, ref, ""), "exit status 1"},
		{"another hash", "form=argv", early(o, ref, other), "hash mismatch"},
		{"no hash", "form=nix", early(o, ref, `hello\n`), `prints "hello"`},
		{"nothing made", "form=argv", strings.Replace(early(o, ref, ""), ">${3:-$2}", "", 1), "expected a hash"},
		{"nothing made, silently", "form=argv", strings.Replace(early(o, ref, ""), ">${3:-$2}", ">/dev/null", 1), "did not make"},
		{"too long", "form=argv&max-nar-size=100", early(o, ref, ""), "longer than expected"},
		{"not the size", "form=nix", strings.Replace(early(o, ref, ""), "echo "+number(len(o.nar)), "echo 900", 1), "expected 900"},
		{"query fails", "form=argv", "exit 9", "exit status 9"},
		{"session fails", "form=nix", "exit 9", "exit status 9"},
		{"another path", "form=argv", "echo " + ref.path, "expected " + o.path},
		{"half a record", "form=argv", "echo $2; echo; echo 7", "in the middle of an answer"},
		{"no number", "form=argv", "echo $2; echo; echo many", "not a number"},
		{"more than a record", "form=argv", "echo $2; echo; echo 0; echo 0", "more than the record"},
		{"references elsewhere", "form=argv", "echo $2; echo; echo 1; echo /etc/passwd", "reference"},
		{"too many references", "form=argv", "echo $2; echo; echo 999999; yes " + o.path, "more than 100000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := open(t, script(t, c.text, "trusted=true&timeout=5&"+c.settings), program.Options{StoreDir: dir, Policy: signed})
			if got, err := fetch(t, p, o.info.Path); err == nil || errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q %v, expected %q", got, err, c.want)
			}
		})
	}
}

// Without DEST the program makes the object at its store path. What lies there already is not ours.
func TestWithoutDestSparesWhatIsThere(t *testing.T) {
	dir := store.Dir(filepath.Join(t.TempDir(), "store"))
	if err := os.Mkdir(string(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	ref := newObject(t, dir, "ref", "referred to\n")
	o := newObject(t, dir, "hello", "some text\n", ref.info.Path)
	if err := os.WriteFile(o.path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := open(t, script(t, early(o, ref, ""), "form=argv&trusted=true&dest=false"), program.Options{StoreDir: dir})
	if _, err := fetch(t, p, o.info.Path); err == nil || !strings.Contains(err.Error(), "without being registered") {
		t.Errorf("%v", err)
	}
	if b, err := os.ReadFile(o.path); string(b) != "mine" {
		t.Errorf("%q %v", b, err)
	}
}
