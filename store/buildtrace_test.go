package store_test

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"

	"larder/store"
)

func TestBuildTrace(t *testing.T) {
	drv, err := store.ParseStorePath("g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo.drv")
	if err != nil {
		t.Fatal(err)
	}
	out, err := store.ParseStorePath("g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo")
	if err != nil {
		t.Fatal(err)
	}
	key, err := store.GenerateKey("asdf", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	e := &store.BuildTrace{Drv: drv, Output: "out", OutPath: out}
	const fingerprint = `{"key":{"drvPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo.drv","outputName":"out"},` +
		`"value":{"outPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo"}}`
	if got := e.Fingerprint(); got != fingerprint {
		t.Errorf("fingerprint %s", got)
	}
	e.Signatures = []store.Signature{key.Sign(e.Fingerprint())}
	text, err := e.Text()
	if err != nil || !strings.HasPrefix(string(text), `{"outPath":"g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo","signatures":[{"keyName":"asdf","sig":"`) {
		t.Fatalf("%s %v", text, err)
	}
	ring := store.NewKeyRing(key.Public())
	old := []byte(`{"outPath":"` + out.String() + `","signatures":["` + e.Signatures[0].String() + `","bad",{"keyName":1}],"dependentRealisations":{}}`)
	for _, text := range [][]byte{text, old} {
		again, err := store.ParseBuildTrace(drv, "out", text)
		if err != nil || again.OutPath != out || len(again.Signatures) != 1 || !again.SignedBy(ring) {
			t.Errorf("%s: %+v %v", text, again, err)
		}
		if other, err := store.ParseBuildTrace(drv, "dev", text); err != nil || other.SignedBy(ring) {
			t.Errorf("the signature is good for another output: %v", err)
		}
	}
	for _, bad := range []string{``, `{}`, `null`, `[]`, `{"outPath":"/nix/store/x"}`, `{"outPath":"x"}`,
		`{"outPath":"` + out.String() + `","signatures":[` + string(bytes.Repeat([]byte(`"",`), 1<<20)) + `""]}`} {
		if e, err := store.ParseBuildTrace(drv, "out", []byte(bad)); err == nil {
			t.Errorf("%.80s is taken for %+v", bad, e)
		}
	}
}
