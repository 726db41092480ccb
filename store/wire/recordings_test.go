package wire_test

import (
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"larder/store/wire"
	"larder/test/fixture"
)

// recording is a connection between a real client and a real daemon of Nix 2.8.0.
type recording struct {
	name     string // "add/conn-1", "handmade/op-zero"
	c2s, s2c []byte
}

func recordings(t testing.TB) []recording {
	files := fixture.Open(t, "protocol/raw.tar.zst")
	var list []recording
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if base, ok := strings.CutSuffix(name, ".c2s"); ok {
			dir, file := path.Split(base)
			list = append(list, recording{path.Base(dir) + "/" + file, files[name].Data, files[base+".s2c"].Data})
		}
	}
	if len(list) < 250 {
		t.Fatalf("only %d recordings", len(list))
	}
	return list
}

// endsEarly are recordings that do not end with a reply, and why.
var endsEarly = map[string]struct {
	err  error  // that the replay ends with
	left uint64 // bytes of the daemon that nobody reads any more
}{
	"interrupted/conn-1": {err: io.ErrUnexpectedEOF}, // Ctrl-C in the client
	"interrupted/conn-2": {err: io.ErrUnexpectedEOF},
	"not-allowed/conn-1": {err: io.ErrUnexpectedEOF}, // the daemon hangs up without a word
	"not-allowed/conn-2": {err: io.ErrUnexpectedEOF},
	"untrusted/conn-6":   {err: io.EOF, left: 136}, // an error while arguments are read is sent twice
}

// TestRecordings decodes every connection of a real client in both directions, to
// its last byte, and gets the same bytes again.
func TestRecordings(t *testing.T) {
	seen := map[wire.Op]int{}
	for _, rec := range recordings(t) {
		if strings.HasPrefix(rec.name, "handmade/") {
			continue
		}
		want, early := endsEarly[rec.name]
		if !early {
			want.err = io.EOF
		}
		p := newReplay(rec.c2s, rec.s2c)
		if err := p.run(); !errors.Is(err, want.err) {
			t.Errorf("%s: %v", rec.name, err)
			continue
		}
		for _, d := range p.differ {
			t.Errorf("%s: %s", rec.name, d)
		}
		if left := uint64(len(rec.s2c)) - p.daemon.Offset(); left != want.left {
			t.Errorf("%s: %d bytes of the daemon are left", rec.name, left)
		}
		for _, op := range p.ops {
			seen[op]++
		}
	}
	if len(seen) != 22 {
		t.Errorf("%d operations instead of 22: %v", len(seen), seen)
	}
}
