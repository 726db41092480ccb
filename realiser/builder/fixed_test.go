package builder_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"larder/realiser/builder"
	"larder/realiser/content"
	"larder/realiser/result"
	"larder/store"
	"larder/store/derivation"
)

// promising is a derivation of an output with that hash.
func promising(t *testing.T, m store.Method, h store.Hash) *derivation.Derivation {
	t.Helper()
	ca := store.ContentAddress{Method: m, Hash: h}
	d := withOutputs(derivation.Output{CA: ca}, "out")
	p, err := store.DefaultDir.ContentPath(d.Name, ca, store.References{})
	if err != nil {
		t.Fatal(err)
	}
	d.Outputs["out"] = derivation.Output{CA: ca, Path: p}
	return d
}

// A fixed output of each method and algorithm: what was promised is taken; what was
// not is registered under the path that is right for it, and the error has both
// hashes.
func TestFixedOutputs(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	hello := func(at map[string]place) error { return at["out"].write("hello") }
	for _, m := range []store.Method{store.Text, store.Flat, store.Recursive, store.Git} {
		for _, a := range []store.HashAlgo{store.MD5, store.SHA1, store.SHA256, store.SHA512, store.BLAKE3} {
			if m.CheckAlgo(a) != nil {
				continue
			}
			h, err := content.Of(t.Context(), unix.AT_FDCWD, file, m, a, "")
			if err != nil {
				t.Fatal(err)
			}
			promised, other := promising(t, m, h), promising(t, m, a.Sum([]byte("other")))
			says := l.refused(result.OutputRejected, other, hello)
			if want := "specified " + other.Outputs["out"].CA.Hash.Text(store.SRI) + ", got " + h.Text(store.SRI); !strings.HasSuffix(says, want) {
				t.Errorf("%s %s: %s", m, a, says)
			}
			right := promised.Outputs["out"].Path
			info, err := l.store.PathInfo(t.Context(), right)
			if err != nil {
				t.Fatalf("%s %s: %v", m, a, err)
			}
			l.checkObject(info)
			if valid, err := l.store.Valid(t.Context(), []store.StorePath{other.Outputs["out"].Path}); err != nil || valid[0] {
				t.Errorf("%s %s: what was promised is valid, %v", m, a, err)
			}
			if _, err := l.store.Delete(t.Context(), right); err != nil {
				t.Fatal(err)
			}
			if got := l.mustBuild(promised, hello)["out"]; got.CA != promised.Outputs["out"].CA || got.Path != right {
				t.Errorf("%s %s: %+v", m, a, got)
			}
		}
	}
}

func TestFixedOutputsWithReferences(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	input := l.addInput("input", "i")
	text := store.DefaultDir.Join(input)
	refer := func(at map[string]place) error { return at["out"].write(text) }
	drv := promising(t, store.Flat, store.SHA256.Sum([]byte(text)))
	if says := l.refused(result.OutputRejected, drv, refer); !strings.Contains(says, "must not refer to store paths") || !strings.Contains(says, text) {
		t.Error(says)
	}
	// Under which path would that be right?
	other := promising(t, store.Flat, store.SHA256.Sum([]byte("other")))
	var mismatch *result.HashMismatchError
	if _, err := l.build(other, refer); !errors.As(err, &mismatch) {
		t.Error(err)
	}
	if valid, err := l.store.Valid(t.Context(), []store.StorePath{drv.Outputs["out"].Path}); err != nil || valid[0] {
		t.Errorf("it was registered, %v", err)
	}
	drv.Env["__json"] = `{"unsafeDiscardReferences":{"out":true}}`
	if info := l.mustBuild(drv, refer)["out"]; len(info.References) != 0 {
		t.Errorf("%+v", info)
	}
}

// The hash of a tree that refers to itself leaves its own path out, whether the
// references count or not.
func TestFixedOutputThatRefersToItself(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	build := func(at map[string]place) error { return at["out"].write(at["out"].path) }
	floats := l.mustBuild(floating(store.Recursive, store.SHA256, "out"), build)["out"]
	// Its own hash part is zeros for the hash, so any path of the same name will do.
	drv := promising(t, store.Recursive, floats.CA.Hash)
	if says := l.refused(result.OutputRejected, drv, build); !strings.Contains(says, "must not refer to store paths") {
		t.Error(says)
	}
	drv.Env["__json"] = `{"unsafeDiscardReferences":{"out":true}}`
	l.mustBuild(drv, build)
}

// failingStore gives no temporary names once the builder has run.
type failingStore struct {
	builder.Store
	ran *bool
	err error
}

func (s failingStore) NewTemp(ctx context.Context) (string, error) {
	if *s.ran {
		return "", &os.PathError{Op: "create", Path: "temporary", Err: s.err}
	}
	return s.Store.NewTemp(ctx)
}

// It is not the builder's fault if the machine fails while outputs are taken.
func TestMachineFailsWhileOutputsAreTaken(t *testing.T) {
	t.Parallel()
	for errno, want := range map[unix.Errno]result.Status{
		unix.ENOSPC: result.TransientFailure, unix.EDQUOT: result.TransientFailure, unix.EIO: result.MiscFailure, unix.EMFILE: result.MiscFailure,
	} {
		ran := false
		l := newLab(t, func(o *builder.Options) { o.Store = failingStore{o.Store, &ran, errno} })
		l.refused(want, floating(store.Flat, store.SHA256, "out"), func(at map[string]place) error {
			ran = true
			return at["out"].write("x")
		})
	}
}
