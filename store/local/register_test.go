package local_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"larder/store"
	"larder/store/local"
)

func TestRegister(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	a, b := f.object("a"), f.object("b", "a", "b")
	check(t, f.Register(context.Background(), b, a))
	for range 2 {
		if !f.valid("a") || !f.valid("b") || f.valid("c") {
			t.Fatal("wrong validity")
		}
		if !f.whole("a") || !f.whole("b") || !f.IsPresent(path("a")) {
			t.Fatal("the objects are not in place")
		}
		info, err := f.PathInfo(context.Background(), path("b"))
		check(t, err)
		if got := names(info.References); len(info.References) != 2 {
			t.Errorf("references of b:%s", got)
		}
		refs, err := f.Referrers(context.Background(), path("a"))
		check(t, err)
		if got := names(refs); got != " b" {
			t.Errorf("referrers of a:%s", got)
		}
		f.reopen()
	}
	if got := f.files(); len(got) != 2 {
		t.Errorf("files left: %q", got)
	}
}

func TestRegisterRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := context.Background()
	err := f.Register(ctx, f.object("a", "missing"))
	if !errors.Is(err, store.ErrNotValid) {
		t.Errorf("missing reference: %v", err)
	}
	var circle *local.CycleError
	err = f.Register(ctx, f.object("a", "b"), f.object("b", "c"), f.object("c", "a"))
	if !errors.As(err, &circle) || len(circle.Paths) != 4 {
		t.Errorf("cycle: %v", err)
	}
	file := filepath.Join(f.ObjectDir(), path("a").String())
	check(t, os.WriteFile(file, []byte("foreign"), 0o644))
	var occupied *local.OccupiedError
	err = f.Register(ctx, f.object("z"), f.object("a"))
	if !errors.As(err, &occupied) || occupied.File != file {
		t.Errorf("occupied: %v", err)
	}
	if f.valid("a") || f.valid("z") {
		t.Error("a failed registration made something valid")
	}
	f.reopen()
	if got := f.files(); len(got) != 1 || got[0] != path("a").String() {
		t.Errorf("files left: %q", got)
	}
}

func TestRegisterTwiceKeepsTheFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.register("a")
	again := f.object("a")
	again.Info.NarSize = 99
	check(t, f.Register(context.Background(), again))
	info, err := f.PathInfo(context.Background(), path("a"))
	check(t, err)
	if info.NarSize != 1 {
		t.Errorf("NAR size %d", info.NarSize)
	}
	if got := f.files(); len(got) != 1 {
		t.Errorf("files left: %q", got)
	}
}
