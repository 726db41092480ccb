package program_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"larder/store"
	"larder/store/cache"
	"larder/store/cache/program"
)

func TestInfoAndNAR(t *testing.T) {
	o := newObject(t, store.DefaultDir, "hello", "some text\n")
	count := filepath.Join(t.TempDir(), "started")
	p := open(t, script(t, "echo x >>"+count+"\n"+serve(o.files(t, store.DefaultDir), `hello() { printf 'hello 1\nPriority: 7\n\n'; }`), ""), program.Options{})
	if got := p.Priority(t.Context()); got != 7 {
		t.Errorf("priority %d", got)
	}
	for range 3 {
		got, err := fetch(t, p, o.info.Path)
		if err != nil || !bytes.Equal(got, o.nar) {
			t.Fatalf("%q %v", got, err)
		}
	}
	if b, _ := os.ReadFile(count); string(b) != "x\n" {
		t.Errorf("the program was started %d times, it should serve all requests", bytes.Count(b, []byte("x")))
	}
}

func TestManyAtOnce(t *testing.T) {
	o := newObject(t, store.DefaultDir, "hello", strings.Repeat("some text\n", 10000))
	p := open(t, script(t, serve(o.files(t, store.DefaultDir), ""), "processes=2"), program.Options{})
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if got, err := fetch(t, p, o.info.Path); err != nil || !bytes.Equal(got, o.nar) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	all.Wait()
}

// A program may end after each answer, or in the middle of nothing: it is started again.
func TestEndedProgramIsStartedAgain(t *testing.T) {
	o := newObject(t, store.DefaultDir, "hello", "some text\n")
	text := strings.Replace(serve(o.files(t, store.DefaultDir), ""), "$word $path;", "$word $path; [ $word = hello ] || exit 3;", 1)
	p := open(t, script(t, text, ""), program.Options{})
	for range 3 {
		if got, err := fetch(t, p, o.info.Path); err != nil || !bytes.Equal(got, o.nar) {
			t.Fatalf("%q %v", got, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	o := newObject(t, store.DefaultDir, "hello", "some text\n")
	at := o.files(t, store.DefaultDir)
	for _, c := range []struct {
		name, changes string
		want          error
		text          string
	}{
		{"missing", "info() { echo missing; }", store.ErrNotFound, "looking up " + o.path},
		{"error", "info() { echo error the disk is on fire; }", nil, "the disk is on fire"},
		{"error without a reason", "info() { echo error; }", nil, "without saying why"},
		{"missing NAR", "nar() { echo missing; }", store.ErrNotFound, "fetching " + o.path},
		{"error of a NAR", "nar() { echo error no; }", nil, `it says: "no"`},
		{"error in a NAR", `nar() { printf 'ok\n5\n12345error sorry\n'; }`, nil, "sorry"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := open(t, script(t, "started=0\n"+serve(at, c.changes+"\nhello() { printf 'hello 1\\n\\n'; [ $started = 0 ] || exit; started=1; }"), ""), program.Options{})
			for range 2 { // the session goes on
				_, err := fetch(t, p, o.info.Path)
				var e *program.Error
				if !errors.As(err, &e) || c.want != nil && !errors.Is(err, c.want) || c.want == nil && errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("%v, expected %v with %q", err, c.want, c.text)
				}
			}
		})
	}
}

func TestTrust(t *testing.T) {
	o := newObject(t, store.DefaultDir, "hello", "some text\n")
	url := script(t, serve(o.files(t, store.DefaultDir), ""), "")
	if _, err := fetch(t, open(t, url, program.Options{Policy: signed}), o.info.Path); !errors.Is(err, store.ErrBadSignature) {
		t.Errorf("unsigned: %v", err)
	}
	if _, err := fetch(t, open(t, url+"&trusted=true", program.Options{Policy: signed}), o.info.Path); err != nil {
		t.Errorf("trusted: %v", err)
	}
	key, err := store.GenerateKey("test-1", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o.info.Sign(store.DefaultDir, key)
	ring := store.KeyRing{"test-1": {key.Public()}}
	url = script(t, serve(o.files(t, store.DefaultDir), ""), "")
	if _, err := fetch(t, open(t, url, program.Options{Policy: cache.Policy{Keys: ring, RequireSigs: true}}), o.info.Path); err != nil {
		t.Errorf("signed: %v", err)
	}
}

// A program of another store directory is no use, and no failure.
func TestForeignStoreDir(t *testing.T) {
	o := newObject(t, store.DefaultDir, "hello", "some text\n")
	log, logged := logger()
	p := open(t, script(t, serve(o.files(t, store.DefaultDir), `hello() { printf 'hello 1\nStoreDir: /gnu/store\n\n'; }`), ""), program.Options{Logger: log})
	for range 2 {
		if _, err := p.NarInfo(t.Context(), o.info.Path); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%v", err)
		}
	}
	if n := strings.Count(logged.String(), "/gnu/store"); n != 1 {
		t.Errorf("said %d times that it is of no use:\n%s", n, logged)
	}
}

func TestNothingToOffer(t *testing.T) {
	o := newObject(t, store.DefaultDir, "hello", "some text\n")
	count := filepath.Join(t.TempDir(), "started")
	p := open(t, script(t, "echo x >>"+count+"; exit 0", ""), program.Options{})
	for range 3 {
		if _, err := p.NarInfo(t.Context(), o.info.Path); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%v", err)
		}
	}
	if b, _ := os.ReadFile(count); string(b) != "x\n" {
		t.Errorf("it was started %q", b)
	}
}

// Who goes away ends the program, and waits for nothing.
func TestCancel(t *testing.T) {
	o := newObject(t, store.DefaultDir, "hello", "some text\n")
	ready := filepath.Join(t.TempDir(), "ready")
	for name, changes := range map[string]string{
		"info":  "info() { touch " + ready + "; sleep 1000; }",
		"nar":   "nar() { echo ok; touch " + ready + "; sleep 1000; }",
		"hello": "hello() { touch " + ready + "; sleep 1000; }",
	} {
		t.Run(name, func(t *testing.T) {
			os.Remove(ready)
			p := open(t, script(t, serve(o.files(t, store.DefaultDir), changes), ""), program.Options{})
			ctx, cancel := context.WithCancelCause(t.Context())
			reason := errors.New("enough")
			go func() {
				for {
					if _, err := os.Stat(ready); err == nil || ctx.Err() != nil {
						cancel(reason)
						return
					}
					time.Sleep(time.Millisecond)
				}
			}()
			n, err := p.NarInfo(ctx, o.info.Path)
			if err == nil {
				r, failed := p.NAR(ctx, n)
				if err = failed; err == nil {
					_, err = r.Read(make([]byte, 1))
					r.Close()
				}
			}
			if !errors.Is(err, reason) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestStandardErrorIsLogged(t *testing.T) {
	o := newObject(t, store.DefaultDir, "hello", "some text\n")
	log, logged := logger()
	p := open(t, script(t, "echo good morning >&2\nhead -c 100000 /dev/zero | tr '\\0' x >&2\n"+serve(o.files(t, store.DefaultDir), ""), ""), program.Options{Logger: log})
	if _, err := fetch(t, p, o.info.Path); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if text := logged.String(); !strings.Contains(text, "good morning") || len(text) > 5000 {
		t.Errorf("%d bytes were logged: %.300s", len(text), text)
	}
}
