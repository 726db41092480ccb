package wire_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"larder/store"
	"larder/store/wire"
)

// TestFormsNewerThanTheRecordings spells out, byte for byte, what came after 1.34.
func TestFormsNewerThanTheRecordings(t *testing.T) {
	path, drv := str("/nix/store/"+hello.String()), str("/nix/store/"+helloDrv.String())
	user, system := 500*time.Second, 604*time.Second
	plain := store.Realisation{ID: outID, OutPath: hello}
	built := wire.BuildResult{TimesBuilt: 1, Start: time.Unix(30, 0), Stop: time.Unix(50, 0), CPUUser: &user, CPUSystem: &system}
	head := join(num(0), str(""), num(1), num(0), num(30), num(50))
	cpu := join(num(1), num(500_000_000), num(1), num(604_000_000))
	withOut := built
	withOut.Outputs = map[string]store.Realisation{"out": plain}
	id := "sha256:" + outID.DrvHash.Encode(store.Base16) + "!out"
	json := `{"dependentRealisations":{},"id":"` + id + `","outPath":"` + hello.String() + `","signatures":[]}`

	v36, v37 := wire.Protocol{Version: 1<<8 | 36}, wire.Protocol{Version: 1<<8 | 37}
	featured := wire.Protocol{Version: 1<<8 | 38, Features: wire.Features()}
	for name, c := range map[string]struct {
		protocol wire.Protocol
		message  wire.Message
		want     []byte
	}{
		"greeting, 1.35":         {wire.Protocol{Version: 1<<8 | 35}, &wire.Greeting{NixVersion: "2.15", Trust: wire.NotTrusted}, join(str("2.15"), num(2))},
		"greeting, 1.34":         {wire.Protocol{Version: 1<<8 | 34}, &wire.Greeting{NixVersion: "2.15", Trust: wire.Trusted}, str("2.15")},
		"permanent root":         {v36, &wire.AddPermRoot{Path: hello, Link: "/r"}, join(path, str("/r"))},
		"no CPU before 1.37":     {v36, &built, join(head, num(0))},
		"CPU":                    {v37, &built, join(head, cpu, num(0))},
		"outputs as JSON":        {v37, &withOut, join(head, cpu, num(1), str(id), str(json))},
		"outputs by name":        {featured, &withOut, join(head, cpu, num(1), str("out"), path, num(0))},
		"the key is a path":      {featured, &wire.QueryRealisation{Drv: helloDrv, Output: "out"}, join(drv, str("out"))},
		"no realisation":         {featured, &wire.Realisations{}, num(0)},
		"a realisation":          {featured, &wire.Realisations{Realisations: []store.Realisation{realisation}}, join(num(1), path, num(1), str(sig.String()))},
		"build trace":            {featured, &wire.RegisterDrvOutput{Trace: store.BuildTrace{Drv: helloDrv, Output: "out", OutPath: hello}}, join(drv, str("out"), path, num(0))},
		"without the feature":    {latest, &wire.QueryRealisation{ID: outID}, str(id)},
		"realisations, and JSON": {latest, &wire.Realisations{Realisations: []store.Realisation{plain}}, join(num(1), str(json))},
	} {
		got, err := encode(t, c.protocol, func(w *wire.Writer) error { return w.Message(c.message) })
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %v\n got %q\nwant %q", name, err, got, c.want)
		}
	}
}

// TestStructuredSignatures: daemons of some versions send them in realisations.
func TestStructuredSignatures(t *testing.T) {
	key, digest, _ := strings.Cut(sig.String(), ":")
	json := `{"dependentRealisations":{},"id":"` + outID.String() + `","outPath":"` + hello.String() +
		`","signatures":[{"keyName":"` + key + `","sig":"` + digest + `"}]}`
	var got wire.Realisations
	if err := reader(latest, join(num(1), str(json))).Message(&got); err != nil {
		t.Fatal(err)
	}
	if s := got.Realisations[0].Signatures; len(s) != 1 || s[0] != sig {
		t.Errorf("got %v", s)
	}
}

// TestFeatureExchange spells out the handshake of 1.38.
func TestFeatureExchange(t *testing.T) {
	own := wire.Protocol{Version: wire.MaxVersion, Features: wire.Features()}
	const feature = wire.FeatureRealisationWithPath
	fromClient := join(num(0x6e697863), num(0x126), num(2), str("another"), str(feature), num(0), num(0))
	fromDaemon := join(num(0x6478696f), num(0x126), num(1), str(feature), str("larder"), num(1))

	var sent bytes.Buffer
	r, w := wire.NewReader(bytes.NewReader(fromClient), store.DefaultDir, wire.Limits{}), wire.NewWriter(&sent, store.DefaultDir)
	if err := wire.AcceptClient(r, w, own, wire.Greeting{NixVersion: "larder", Trust: wire.Trusted}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sent.Bytes(), fromDaemon) || !r.Protocol.Has(feature) || r.Protocol.Has("another") || !w.Protocol.Has(feature) {
		t.Errorf("the daemon agrees on %v and sends %q", r.Protocol, sent.Bytes())
	}

	sent.Reset()
	r, w = wire.NewReader(bytes.NewReader(fromDaemon), store.DefaultDir, wire.Limits{}), wire.NewWriter(&sent, store.DefaultDir)
	own.Features = []string{"another", feature}
	if _, err := wire.DialDaemon(r, w, own); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sent.Bytes(), fromClient) || len(w.Protocol.Features) != 1 {
		t.Errorf("the client agrees on %v and sends %q", w.Protocol, sent.Bytes())
	}
}
