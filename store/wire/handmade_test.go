package wire_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"larder/store"
	"larder/store/wire"
)

// handmade are the hand-made clients that do not end well, and how. What Nix 2.8
// answered is in test/testdata/protocol/sessions/handmade.txt.
var handmade = map[string]func(error) bool{
	"add-bad-name":               syntax("store path name"),
	"add-fixed-r-nonsense":       syntax("hash algorithm"),
	"add-r-sha256":               formatError,
	"add-text-obsolete":          syntax("store path name"), // the third request
	"build-1.29-caret":           syntax("store path name"),
	"build-bad-mode":             is(wire.ErrRange), // 2.8 takes any number, newer ones refuse it
	"build-bad-path":             syntax("store path"),
	"build-derivation-fixed-bad": is(wire.ErrRange),
	"list-huge":                  is(wire.ErrTooLong),
	"log-add":                    syntax("store path"), // a full path where a base name belongs
	"magic-http":                 is(wire.ErrMagic),
	"magic-short":                is(io.ErrUnexpectedEOF),
	"magic-wrong":                is(wire.ErrMagic),
	"nar-1.18":                   version(1<<8 | 18),
	"nar-junk-ca":                syntax("content address"),
	"nothing":                    is(io.ErrUnexpectedEOF),
	"op-2":                       op(2),
	"op-clear-failed":            op(25),
	"op-failed-paths":            op(24),
	"op-huge":                    op(1 << 63),
	"op-unknown":                 op(999),
	"op-zero":                    op(0),
	"path-letter-e":              syntax("store path digest"),
	"path-not-store":             syntax("store path"),
	"path-relative":              syntax("store path"),
	"string-cut":                 is(io.ErrUnexpectedEOF),
	"string-huge":                is(wire.ErrTooLong),
	"version-0.34":               version(34),
	"version-1.9":                version(1<<8 | 9),
	"version-1.11":               version(1<<8 | 11),
	"version-1.12":               version(1<<8 | 12),
	"version-1.14":               version(1<<8 | 14),
	"version-1.15":               version(1<<8 | 15),
	"version-1.17":               version(1<<8 | 17),
	"version-1.18":               version(1<<8 | 18),

	// The daemon's fault: it fails after it has said that a NAR follows, or dies.
	"query-absent":         is(wire.ErrNAR),
	"obsolete-queries":     is(io.ErrUnexpectedEOF),
	"query-map-of-non-drv": is(io.ErrUnexpectedEOF),
	"signatures":           is(io.ErrUnexpectedEOF),
}

// canonical says why a hand-made message comes out as other bytes.
var notCanonical = map[string]string{
	"add-many-frames": "frames of one byte",
	"bool-17":         "17 is true",
	"cpu-affinity":    "a number that nobody uses",
	"options":         "settings that are not sorted",
	"path-dotdot":     "a path with dots",
	"signatures":      "signatures that are none",
}

// secondError says where Nix sends an error twice.
var secondError = map[string]bool{"add-fixed-git-sha1": true}

func TestHandmade(t *testing.T) {
	left := len(handmade)
	for _, rec := range recordings(t) {
		name, ok := strings.CutPrefix(rec.name, "handmade/")
		if !ok {
			continue
		}
		want, bad := handmade[name]
		if bad {
			left--
		} else {
			want = func(err error) bool { return errors.Is(err, io.EOF) }
		}
		p := newReplay(rec.c2s, rec.s2c)
		err := p.run()
		if !want(err) {
			t.Errorf("%s: %v", name, err)
		}
		if (len(p.differ) > 0) != (notCanonical[name] != "") {
			t.Errorf("%s: %q", name, p.differ)
		}
		if !bad && p.daemon.Offset() != uint64(len(rec.s2c)) && !secondError[name] {
			t.Errorf("%s: not all of the daemon was read", name)
		}
		agreesWithNix(t, name, rec, p, err)
	}
	if left != 0 {
		t.Errorf("%d of the table are not in the recordings", left)
	}
}

// agreesWithNix checks that what we refuse while we read a request was an error for
// Nix too.
func agreesWithNix(t *testing.T, name string, rec recording, p *replay, err error) {
	var format *wire.FormatError
	var unknown *wire.OpError
	refused := errors.As(err, &format) && p.daemon.Offset() > 16 || errors.As(err, &unknown)
	switch name {
	case "query-absent", "obsolete-queries", "query-map-of-non-drv", "signatures", "build-bad-mode":
		return // the daemon's fault, and the one where we are stricter
	}
	if !refused {
		return
	}
	if _, again := p.client.ReadRequest(); again == nil {
		t.Errorf("%s: the reader goes on after %v", name, err)
	}
	r := wire.NewReader(bytes.NewReader(rec.s2c[p.daemon.Offset():]), store.DefaultDir, wire.Limits{})
	r.Protocol = p.daemon.Protocol
	m, logErr := r.ReadLog()
	if logErr != nil {
		t.Errorf("%s: refused with %v, but Nix has no answer: %v", name, err, logErr)
	} else if _, ok := m.(*wire.Error); !ok {
		t.Errorf("%s: refused with %v, but Nix answers %T", name, err, m)
	}
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) && formatError(err) }
}

func formatError(err error) bool {
	var format *wire.FormatError
	return errors.As(err, &format)
}

func syntax(what string) func(error) bool {
	return func(err error) bool {
		var bad *store.SyntaxError
		return errors.As(err, &bad) && bad.What == what && formatError(err)
	}
}

func op(want wire.Op) func(error) bool {
	return func(err error) bool {
		var unknown *wire.OpError
		return errors.As(err, &unknown) && unknown.Op == want
	}
}

func version(want wire.Version) func(error) bool {
	return func(err error) bool {
		var old *wire.VersionError
		return errors.As(err, &old) && old.Peer == want
	}
}
