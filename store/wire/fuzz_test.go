package wire_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"larder/store"
	"larder/store/wire"
)

// smallLimits keep the fuzzer from filling memory with what is allowed.
var smallLimits = wire.Limits{String: 1 << 20, List: 1 << 12, Message: 4 << 20}

func fuzzReader(p wire.Protocol, b []byte) *wire.Reader {
	r := wire.NewReader(bytes.NewReader(b), store.DefaultDir, smallLimits)
	r.Protocol = p
	return r
}

// protocolOf makes one of any byte.
func protocolOf(b byte) wire.Protocol {
	all := protocols()
	return all[int(b)%len(all)]
}

func byteOf(v wire.Version) byte { return byte(v - wire.MinVersion) }

// parts are the messages of a kind from the recordings, few of each operation.
func parts(f *testing.F, kind string) []part {
	var list []part
	count := map[wire.Op]int{}
	for _, rec := range recordings(f) {
		p := newReplay(rec.c2s, rec.s2c)
		if err := p.run(); err == nil {
			f.Fatal("a recording without end")
		}
		for _, m := range p.parts {
			if count[m.op]++; m.kind == kind && count[m.op] < 40 && len(m.bytes) < 4096 {
				list = append(list, m)
			}
		}
	}
	return list
}

func FuzzRequest(f *testing.F) {
	for _, m := range parts(f, "request") {
		f.Add(byteOf(m.version), m.bytes)
	}
	f.Fuzz(func(t *testing.T, version byte, b []byte) {
		p := protocolOf(version)
		req, err := fuzzReader(p, b).ReadRequest()
		if err != nil {
			mustBeTyped(t, err)
			return
		}
		first, err := encode(t, p, func(w *wire.Writer) error { return w.WriteRequest(req) })
		if errors.Is(err, wire.ErrUnsupported) {
			return // an operation before its time
		} else if err != nil {
			t.Fatal(err)
		}
		again, err := fuzzReader(p, first).ReadRequest()
		if err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
		second, err := encode(t, p, func(w *wire.Writer) error { return w.WriteRequest(again) })
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%v\nfirst  %q\nsecond %q", err, first, second)
		}
	})
}

func FuzzReply(f *testing.F) {
	for _, m := range parts(f, "reply") {
		f.Add(byteOf(m.version), byte(m.op), m.bytes)
	}
	all := samples()
	f.Fuzz(func(t *testing.T, version, op byte, b []byte) {
		p := protocolOf(version)
		for _, s := range all {
			if byte(s.request.Op()) != op || s.request.Reply() == nil {
				continue
			}
			reply := s.request.Reply()
			if err := fuzzReader(p, b).Message(reply); err != nil {
				mustBeTyped(t, err)
				return
			}
			first, err := encode(t, p, func(w *wire.Writer) error { return w.Message(reply) })
			if err != nil {
				t.Fatal(err)
			}
			again := s.request.Reply()
			if err := fuzzReader(p, first).Message(again); err != nil {
				t.Fatalf("what was written can't be read: %v", err)
			}
			return
		}
	})
}

func FuzzLog(f *testing.F) {
	for _, m := range parts(f, "log") {
		f.Add(byteOf(m.version), m.bytes)
	}
	f.Fuzz(func(t *testing.T, version byte, b []byte) {
		p := protocolOf(version)
		m, err := fuzzReader(p, b).ReadLog()
		if err != nil {
			mustBeTyped(t, err)
			return
		}
		first, err := encode(t, p, func(w *wire.Writer) error { return w.WriteLog(m) })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fuzzReader(p, first).ReadLog(); err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
	})
}

// FuzzConnection lets a stranger be either side.
func FuzzConnection(f *testing.F) {
	for _, rec := range recordings(f)[:60] {
		if len(rec.c2s) < 4096 && len(rec.s2c) < 4096 {
			f.Add(rec.c2s, rec.s2c)
		}
	}
	f.Fuzz(func(t *testing.T, c2s, s2c []byte) {
		if len(c2s) < 16 {
			return // the replay looks for the version there
		}
		p := newReplay(c2s, s2c)
		if err := p.run(); err == nil {
			t.Fatal("no end")
		}
	})
}

func FuzzStreams(f *testing.F) {
	for _, nar := range nars(f, "bad") {
		if len(nar) < 4096 {
			f.Add(nar)
		}
	}
	f.Add(narOfHello)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, stream := range []io.Reader{fuzzReader(latest, b).NAR(), wire.NewFramedReader(fuzzReader(latest, b))} {
			if _, err := io.Copy(io.Discard, stream); err != nil {
				mustBeTyped(t, err)
			}
		}
	})
}

func mustBeTyped(t *testing.T, err error) {
	t.Helper()
	var format *wire.FormatError
	var op *wire.OpError
	if !errors.As(err, &format) && !errors.As(err, &op) && err != io.EOF {
		t.Fatalf("an error of no type: %v", err)
	}
}
