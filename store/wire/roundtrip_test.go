package wire_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"larder/store"
	"larder/store/wire"
)

// encode writes with a protocol.
func encode(t testing.TB, p wire.Protocol, write func(*wire.Writer) error) ([]byte, error) {
	t.Helper()
	var b bytes.Buffer
	w := wire.NewWriter(&b, store.DefaultDir)
	w.Protocol = p
	err := write(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), err
}

func reader(p wire.Protocol, b []byte) *wire.Reader {
	r := wire.NewReader(bytes.NewReader(b), store.DefaultDir, wire.Limits{})
	r.Protocol = p
	return r
}

// newest is where a message loses nothing but what the feature leaves out.
func newest(p wire.Protocol) bool { return p.Version == wire.MaxVersion && len(p.Features) == 0 }

func TestRequestsRoundTrip(t *testing.T) {
	for _, s := range samples() {
		for _, p := range protocols() {
			b, err := encode(t, p, func(w *wire.Writer) error { return w.WriteRequest(s.request) })
			if !p.Version.Since(s.since) {
				if !errors.Is(err, wire.ErrUnsupported) || len(b) != 0 {
					t.Errorf("%s with %s: %v and %d bytes, where it can't be said", s.request.Op(), p.Version, err, len(b))
				}
				continue
			}
			if err != nil {
				t.Errorf("%s with %s: %v", s.request.Op(), p.Version, err)
				continue
			}
			r := reader(p, b)
			got, err := r.ReadRequest()
			if err != nil || r.Offset() != uint64(len(b)) {
				t.Errorf("%s with %s: %v at %d of %d", s.request.Op(), p.Version, err, r.Offset(), len(b))
				continue
			}
			again, err := encode(t, p, func(w *wire.Writer) error { return w.WriteRequest(got) })
			if err != nil || !bytes.Equal(b, again) {
				t.Errorf("%s with %s: %v\nfirst  %q\nsecond %q", got.Op(), p.Version, err, b, again)
			}
			if register, ok := got.(*wire.RegisterDrvOutput); ok && newest(p) {
				register.Trace = s.request.(*wire.RegisterDrvOutput).Trace
			}
			if query, ok := got.(*wire.QueryRealisation); ok && newest(p) {
				query.Drv, query.Output = helloDrv, "out"
			}
			if newest(p) && !reflect.DeepEqual(got, s.request) {
				t.Errorf("%s: got %+v, want %+v", got.Op(), got, s.request)
			}
		}
	}
}

func TestRepliesRoundTrip(t *testing.T) {
	for _, s := range samples() {
		empty := s.request.Reply()
		if reflect.TypeOf(empty) != reflect.TypeOf(s.reply) {
			t.Errorf("%s: reply of type %T, sample %T", s.request.Op(), empty, s.reply)
			continue
		}
		for _, p := range protocols() {
			if s.reply == nil || !p.Version.Since(s.since) {
				continue
			}
			b, err := encode(t, p, func(w *wire.Writer) error { return w.Message(s.reply) })
			if err != nil {
				t.Errorf("reply of %s with %s: %v", s.request.Op(), p.Version, err)
				continue
			}
			got, r := s.request.Reply(), reader(p, b)
			if err := r.Message(got); err != nil || r.Offset() != uint64(len(b)) {
				t.Errorf("reply of %s with %s: %v at %d of %d", s.request.Op(), p.Version, err, r.Offset(), len(b))
				continue
			}
			again, err := encode(t, p, func(w *wire.Writer) error { return w.Message(got) })
			if err != nil || !bytes.Equal(b, again) {
				t.Errorf("reply of %s with %s: %v\nfirst  %q\nsecond %q", s.request.Op(), p.Version, err, b, again)
			}
			if newest(p) && !reflect.DeepEqual(got, s.reply) {
				t.Errorf("reply of %s: got %+v, want %+v", s.request.Op(), got, s.reply)
			}
		}
	}
}

func TestLogMessagesRoundTrip(t *testing.T) {
	for _, m := range logSamples() {
		for _, p := range protocols() {
			b, err := encode(t, p, func(w *wire.Writer) error { return w.WriteLog(m) })
			if err != nil {
				t.Fatal(err)
			}
			got, err := reader(p, b).ReadLog()
			if err != nil {
				t.Errorf("%T with %s: %v", m, p.Version, err)
				continue
			}
			if e, ok := got.(*wire.Error); ok && !p.Version.Since(26) {
				if e.Message != "no" || e.Traces != nil {
					t.Errorf("old error: %+v", e)
				}
				continue
			}
			if !reflect.DeepEqual(got, m) {
				t.Errorf("with %s: got %+v, want %+v", p.Version, got, m)
			}
		}
	}
}

func TestOldRequestsForOutputs(t *testing.T) {
	old := wire.Protocol{Version: 1<<8 | 29}
	for _, p := range []wire.DerivedPath{{Path: helloDrv}, {Path: helloDrv, Dynamic: []string{"out"}, All: true}} {
		_, err := encode(t, old, func(w *wire.Writer) error { return w.WriteRequest(&wire.QueryMissing{Paths: []wire.DerivedPath{p}}) })
		if !errors.Is(err, wire.ErrUnsupported) {
			t.Errorf("%s: %v", p.Text(store.DefaultDir), err)
		}
	}
	b, err := encode(t, old, func(w *wire.Writer) error {
		return w.WriteRequest(&wire.QueryMissing{Paths: []wire.DerivedPath{{Path: helloDrv, All: true}}})
	})
	if err != nil || !bytes.Contains(b, []byte("hello.drv")) || bytes.Contains(b, []byte("!")) {
		t.Errorf("all outputs for an old daemon: %q, %v", b, err)
	}
	req, err := reader(old, b).ReadRequest()
	if err != nil || !req.(*wire.QueryMissing).Paths[0].All {
		t.Errorf("a derivation of an old client is all its outputs: %+v, %v", req, err)
	}
}
