package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"larder/store"
	"larder/test/fixture"
)

// What `nix path-info --json --closure-size` of Nix 2.8.0 printed for a signed
// file, a path that is not valid, and one in a binary cache.
const pathInfos = `[` +
	`{"path":"/nix/store/i1rngfb9rq4fk4vdafz5qalx07flbs9g-f1","narHash":"sha256-EFUdrtf6Rn0LWIJufrmg8q99aT3jGfLvd1//zaJEufY=","narSize":120,"references":[],"ca":"fixed:r:sha256:1xmr8jicvzszfzpz46g37mlpvbzjl2wpwvl2b05psipssyp1sm8h","closureSize":120,"registrationTime":1795235504,"signatures":["cache.example.org-1:BzRxdARHc/4GVJa7yxwlVsK2owE9lTQRsDZqnachumTsNQmUJkFZj+5m/z8TaUAUVn9T81VCz4jZyf6WmE1WCw=="]},` +
	`{"path":"/nix/store/srnxqq03izmmq003gaz5x6gyg8pv36h6-simple","valid":false},` +
	`{"path":"/nix/store/vds695s5vacf87gpc6kqh7rngk328zbb-leaf","narHash":"sha256-a5a6x7qKmqNj4+brUlOAx2Wqdk2GdRTpV9ye/r0I6/I=","narSize":1224,"references":[],"closureSize":1224,"deriver":"/nix/store/qxibk30bjf5phhpnh0lvwh5dk79pbbqp-leaf.drv","url":"nar/0fw26mj4rj67s5l8d9jf86spidi24dg9j6ajg77527pr25y7arav.nar.xz","downloadHash":"sha256-W2V1fBH5HlHOeVIZmV4jIrZ4tUFOpoZo0cfITGQ1gjs=","downloadSize":264,"closureDownloadSize":264}` +
	`]`

func TestPathInfoJSONIsByteExact(t *testing.T) {
	var list []store.PathInfoJSON
	if err := json.Unmarshal([]byte(pathInfos), &list); err != nil {
		t.Fatal(err)
	}
	file, err := list[0].PathInfo(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, public := readKeys(t, "cache.example.org-1"); !file.SignedBy(dir, store.NewKeyRing(public)) || !file.ContentAddressed(dir) {
		t.Errorf("%+v is not signed or not content-addressed", file)
	}
	if want := time.Unix(1795235504, 0); !file.RegistrationTime.Equal(want) {
		t.Errorf("registered %v, want %v", file.RegistrationTime, want)
	}
	if _, err := list[1].PathInfo(dir); !errors.Is(err, store.ErrNotValid) {
		t.Errorf("error %v, want not valid", err)
	}
	n, err := store.ParseNarInfo(dir, narInfos(t, "caches/plain.tar.zst")["compression-xz"]["vds695s5vacf87gpc6kqh7rngk328zbb.narinfo"])
	if err != nil {
		t.Fatal(err)
	}
	got := []store.PathInfoJSON{file.JSON(dir), store.InvalidPathJSON(dir, mustPath(t, "srnxqq03izmmq003gaz5x6gyg8pv36h6-simple")), n.JSON(dir)}
	got[0].ClosureSize, got[2].ClosureSize, got[2].ClosureDownloadSize = 120, 1224, 264
	text, err := json.Marshal(got)
	if err != nil || string(text) != pathInfos {
		t.Errorf("printed as\n%s (%v), want\n%s", text, err, pathInfos)
	}
}

// Every path info of the fixtures comes back from a PathInfo as it was.
func TestGoldenPathInfos(t *testing.T) {
	type lists struct{ PathInfo, ClosureInfo []json.RawMessage }
	var all []json.RawMessage
	files, err := filepath.Glob(filepath.Join(fixture.Path(t, "derivations/expected"), "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, fixture.Path(t, "caches/contents.json")) {
		var l lists
		if err := json.Unmarshal(fixture.Read(t, file), &l); err != nil {
			t.Fatal(err)
		}
		all = append(append(all, l.PathInfo...), l.ClosureInfo...)
	}
	if len(all) < 100 {
		t.Fatalf("only %d path infos", len(all))
	}
	for _, text := range all {
		var j store.PathInfoJSON
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&j); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		info, err := j.PathInfo(dir)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		back, err := json.Marshal(info.JSON(dir))
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		if json.Unmarshal(text, &want) != nil || json.Unmarshal(back, &got) != nil || !reflect.DeepEqual(want, got) {
			t.Errorf("%s comes back as %s", text, back)
		}
	}
}

func TestPathInfoJSONRefuses(t *testing.T) {
	var list []store.PathInfoJSON
	if err := json.Unmarshal([]byte(pathInfos), &list); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*store.PathInfoJSON){
		"path":      func(j *store.PathInfoJSON) { j.Path = leaf },
		"hash":      func(j *store.PathInfoJSON) { j.NarHash = "" },
		"reference": func(j *store.PathInfoJSON) { j.References = []string{leaf} },
		"deriver":   func(j *store.PathInfoJSON) { j.Deriver = leaf },
		"ca":        func(j *store.PathInfoJSON) { j.CA = "junk" },
		"signature": func(j *store.PathInfoJSON) { j.Signatures = []string{"junk"} },
	} {
		j := list[0]
		change(&j)
		if info, err := j.PathInfo(dir); err == nil {
			t.Errorf("a bad %s makes %+v", what, info)
		}
	}
}

func TestClone(t *testing.T) {
	secret, _ := readKeys(t, "cache.example.org-1")
	info := &store.PathInfo{Path: mustPath(t, leaf), References: []store.StorePath{mustPath(t, leaf)}}
	info.Sign(dir, secret)
	c := info.Clone()
	c.References[0] = store.StorePath{}
	c.Signatures[0].Name = "other"
	if info.References[0].IsZero() || info.Signatures[0].Name == "other" {
		t.Error("the clone shares slices")
	}
	if !slices.Equal(store.SortPaths(nil), nil) {
		t.Error("nothing sorts to something")
	}
}
