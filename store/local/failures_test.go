package local_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"larder/store"
	"larder/store/local"
)

func TestFailures(t *testing.T) {
	f, ctx := newFixture(t), context.Background()
	at := time.Unix(1e9, 0).UTC()
	a := store.Failure{Path: path("a"), Drv: path("a.drv"), Status: "PermanentFailure", Error: "builder failed", Time: at}
	b := store.Failure{Path: path("b"), Drv: path("a.drv"), Status: "OutputRejected", Error: strings.Repeat("x", 10000), Time: at}
	if err := f.RememberFailures(ctx, a, b); err != nil {
		t.Fatal(err)
	}
	f.reopen()
	if got, err := f.Failure(ctx, path("c"), path("a"), path("b")); err != nil || got == nil || *got != a {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := f.Failure(ctx, path("c")); err != nil || got != nil {
		t.Errorf("%+v %v", got, err)
	}
	all, err := f.Failures(ctx)
	if err != nil || len(all) != 2 || len(all[0].Error) > 4096 || len(all[1].Error) > 4096 {
		t.Fatalf("%d failures, %v", len(all), err)
	}
	a.Status = "NotDeterministic" // in the place of the first
	if err := f.RememberFailures(ctx, a); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Failure(ctx, path("a")); err != nil || got == nil || *got != a {
		t.Errorf("%+v %v", got, err)
	}
	if n, err := f.ForgetFailures(ctx, path("a"), path("a"), path("c")); n != 1 || err != nil {
		t.Errorf("forgot %d, %v", n, err)
	}
	if n, err := f.ForgetFailures(ctx); n != 1 || err != nil {
		t.Errorf("forgot %d, %v", n, err)
	}
	if all, err := f.Failures(ctx); err != nil || len(all) != 0 {
		t.Errorf("%v %v", all, err)
	}
}

func TestFailuresOfReadOnlyStore(t *testing.T) {
	f, ctx := newFixture(t), context.Background()
	if err := f.RememberFailures(ctx, store.Failure{Path: path("a")}); err != nil {
		t.Fatal(err)
	}
	f.options.ReadOnly = true
	f.reopen()
	if all, err := f.Failures(ctx); err != nil || len(all) != 1 {
		t.Errorf("%v %v", all, err)
	}
	if err := f.RememberFailures(ctx, store.Failure{Path: path("b")}); !errors.Is(err, local.ErrReadOnly) {
		t.Errorf("%v", err)
	}
	if _, err := f.ForgetFailures(ctx); !errors.Is(err, local.ErrReadOnly) {
		t.Errorf("%v", err)
	}
}
