package wire_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"larder/store"
	"larder/store/wire"
)

// replay decodes both directions of a recorded connection, as the daemon and as
// the client, and encodes each message again.
type replay struct {
	client, daemon *wire.Reader // what each of them sent
	c2s, s2c       []byte
	ops            []wire.Op
	parts          []part
	differ         []string // messages that came out as other bytes
}

// part is a message as it was recorded.
type part struct {
	kind    string // "request", "log", "reply"
	op      wire.Op
	version wire.Version
	bytes   []byte
}

func newReplay(c2s, s2c []byte) *replay {
	return &replay{
		client: wire.NewReader(bytes.NewReader(c2s), store.DefaultDir, wire.Limits{}),
		daemon: wire.NewReader(bytes.NewReader(s2c), store.DefaultDir, wire.Limits{}),
		c2s:    c2s, s2c: s2c,
	}
}

// run replays everything. It returns io.EOF at a good end.
func (p *replay) run() error {
	err := p.handshake()
	for err == nil {
		err = p.operation()
	}
	return err
}

func (p *replay) part(kind string, op wire.Op, bytes []byte) {
	p.parts = append(p.parts, part{kind, op, p.client.Protocol.Version, bytes})
}

// handshake plays both sides of it, with the version that the recorded side had.
func (p *replay) handshake() error {
	var sent bytes.Buffer
	w := wire.NewWriter(&sent, store.DefaultDir)
	own := wire.Protocol{Version: 1<<8 | 34}
	if err := wire.AcceptClient(p.client, w, own, wire.Greeting{NixVersion: "2.8.0"}); err != nil {
		return err
	}
	p.compare("the daemon's greeting", sent.Bytes(), p.s2c[:min(sent.Len(), len(p.s2c))])

	sent.Reset()
	w = wire.NewWriter(&sent, store.DefaultDir)
	own.Version = wire.Version(binary.LittleEndian.Uint64(p.c2s[8:]))
	greeting, err := wire.DialDaemon(p.daemon, w, own)
	if err != nil {
		return err
	}
	if p.daemon.Protocol.Version.Since(33) && greeting.NixVersion != "2.8.0" {
		return fmt.Errorf("the daemon says it is Nix %q", greeting.NixVersion)
	}
	p.compare("the client's greeting", sent.Bytes(), p.c2s[:p.client.Offset()])
	return p.messages(nil)
}

// operation replays one request. It returns io.EOF after the last one.
func (p *replay) operation() error {
	start := p.client.Offset()
	req, err := p.client.ReadRequest()
	if err != nil {
		return err
	}
	p.ops = append(p.ops, req.Op())
	p.part("request", req.Op(), p.c2s[start:p.client.Offset()])
	p.again(req.Op().String(), p.c2s[start:p.client.Offset()], p.client.Protocol,
		func(w *wire.Writer) error { return w.WriteRequest(req) })
	body := wire.BodyOf(req.Op(), p.client.Protocol.Version)
	if err := p.body(req, body); err != nil {
		return fmt.Errorf("body of %s: %w", req.Op(), err)
	}
	if err := p.messages(req); err != nil {
		return fmt.Errorf("messages of %s: %w", req.Op(), err)
	}
	return nil
}

func (p *replay) body(req wire.Request, body wire.Body) error {
	switch body {
	case wire.InlineNAR:
		_, err := io.Copy(io.Discard, p.client.NAR())
		return err
	case wire.Framed:
		start := p.client.Offset()
		data, err := io.ReadAll(wire.NewFramedReader(p.client))
		if err != nil {
			return err
		}
		p.again("frames", p.c2s[start:p.client.Offset()], p.client.Protocol, func(w *wire.Writer) error {
			f := wire.NewFramedWriter(w)
			if _, err := f.Write(data); err != nil {
				return err
			}
			return f.Close()
		})
		if req.Op() == wire.OpAddMultipleToStore {
			return p.multiple(data)
		}
	}
	return nil
}

// multiple decodes what is in the frames of AddMultipleToStore.
func (p *replay) multiple(data []byte) error {
	r := wire.NewReader(bytes.NewReader(data), store.DefaultDir, wire.Limits{})
	r.Protocol = p.client.Protocol
	var n wire.Count
	if err := r.Message(&n); err != nil {
		return err
	}
	for range n.N {
		start := r.Offset()
		var info wire.PathInfo
		if err := r.Message(&info); err != nil {
			return err
		}
		p.again("PathInfo", data[start:r.Offset()], r.Protocol, func(w *wire.Writer) error { return w.Message(&info) })
		nar := store.SHA256.New()
		size, err := io.Copy(nar, r.NAR())
		if err != nil {
			return err
		}
		if uint64(size) != info.Info.NarSize {
			return fmt.Errorf("NAR of %s: %d bytes instead of %d", info.Info.Path, size, info.Info.NarSize)
		}
	}
	if r.Offset() != uint64(len(data)) {
		return fmt.Errorf("%d bytes after the last NAR", uint64(len(data))-r.Offset())
	}
	return nil
}

// messages reads up to the reply, and the reply.
func (p *replay) messages(req wire.Request) error {
	for {
		start := p.daemon.Offset()
		m, err := p.daemon.ReadLog()
		if err != nil {
			return err
		}
		p.part("log", 0, p.s2c[start:p.daemon.Offset()])
		p.again(fmt.Sprintf("%T", m), p.s2c[start:p.daemon.Offset()], p.daemon.Protocol,
			func(w *wire.Writer) error { return w.WriteLog(m) })
		switch m.(type) {
		case *wire.Error:
			return nil
		case *wire.ReadData:
			start := p.client.Offset()
			var answer wire.Data
			if err := p.client.Message(&answer); err != nil {
				return err
			}
			p.again("Data", p.c2s[start:p.client.Offset()], p.client.Protocol, func(w *wire.Writer) error { return w.Message(&answer) })
		case *wire.Last:
			return p.reply(req)
		}
	}
}

func (p *replay) reply(req wire.Request) error {
	if req == nil {
		return nil
	}
	if req.Op() == wire.OpNarFromPath {
		_, err := io.Copy(io.Discard, p.daemon.NAR())
		return err
	}
	reply := req.Reply()
	if reply == nil {
		return nil
	}
	start := p.daemon.Offset()
	if err := p.daemon.Message(reply); err != nil {
		return err
	}
	p.part("reply", req.Op(), p.s2c[start:p.daemon.Offset()])
	p.again("reply of "+req.Op().String(), p.s2c[start:p.daemon.Offset()], p.daemon.Protocol,
		func(w *wire.Writer) error { return w.Message(reply) })
	return nil
}

// again writes something again and compares.
func (p *replay) again(what string, recorded []byte, proto wire.Protocol, write func(*wire.Writer) error) {
	var sent bytes.Buffer
	w := wire.NewWriter(&sent, store.DefaultDir)
	w.Protocol = proto
	if err := write(w); err != nil {
		p.differ = append(p.differ, fmt.Sprintf("%s: %v", what, err))
		return
	}
	if err := w.Flush(); err != nil {
		p.differ = append(p.differ, fmt.Sprintf("%s: %v", what, err))
		return
	}
	p.compare(what, sent.Bytes(), recorded)
}

func (p *replay) compare(what string, got, recorded []byte) {
	if !bytes.Equal(got, recorded) {
		p.differ = append(p.differ, fmt.Sprintf("%s:\n got %q\nwant %q", what, got, recorded))
	}
}
