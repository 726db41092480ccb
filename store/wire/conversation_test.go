package wire_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"larder/store"
	"larder/store/wire"
)

// daemon answers a few operations, as a real one would with this package.
type daemon struct {
	r      *wire.Reader
	w      *wire.Writer
	logger *wire.Logger
}

func serve(c net.Conn, own wire.Protocol) error {
	d := &daemon{r: wire.NewReader(c, store.DefaultDir, wire.Limits{}), w: wire.NewWriter(c, store.DefaultDir)}
	if err := wire.AcceptClient(d.r, d.w, own, wire.Greeting{NixVersion: "larder", Trust: wire.Trusted}); err != nil {
		return err
	}
	d.logger = wire.NewLogger(d.w)
	if err := d.logger.Reply(nil); err != nil {
		return err
	}
	for {
		req, err := d.r.ReadRequest()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := d.answer(req); err != nil {
			return err
		}
	}
}

func (d *daemon) answer(req wire.Request) error {
	// Something happens while the client is still busy with the request.
	if err := d.logger.Log(&wire.Next{Text: "early\n"}); err != nil {
		return err
	}
	var body bytes.Buffer
	if wire.BodyOf(req.Op(), d.r.Protocol.Version) == wire.Framed {
		if _, err := body.ReadFrom(wire.NewFramedReader(d.r)); err != nil {
			return err
		}
	}
	if err := d.logger.Open(); err != nil {
		return err
	}
	switch req := req.(type) {
	case *wire.AddToStoreNar:
		if wire.BodyOf(req.Op(), d.r.Protocol.Version) == wire.Tunnelled {
			r := bufio.NewReader(wire.NewTunnelReader(d.r, d.logger))
			if _, err := io.CopyN(&body, r, int64(req.Info.NarSize)); err != nil {
				return err
			}
		}
		if got := store.SHA256.Sum(body.Bytes()); got != req.Info.NarHash {
			return d.logger.Fail(&wire.Error{Message: "\x1b[31;1merror:\x1b[0m wrong hash"})
		}
		return d.logger.Reply(nil)
	case *wire.NarFromPath:
		if err := d.logger.Last(); err != nil {
			return err
		}
		if _, err := d.w.Write(narOfHello); err != nil {
			return err
		}
		return d.w.Flush()
	case *wire.ExportPath:
		if err := d.logger.Log(&wire.WriteData{Data: narOfHello}); err != nil {
			return err
		}
		return d.logger.Reply(&wire.Done{})
	case *wire.BuildPaths:
		return d.build()
	}
	return d.logger.Fail(&wire.Error{Message: fmt.Sprintf("%s is not for tests", req.Op())})
}

// build logs from many goroutines at once.
func (d *daemon) build() error {
	var all sync.WaitGroup
	for id := range uint64(builds) {
		all.Go(func() {
			d.logger.Log(&wire.StartActivity{ID: id + 1, Type: wire.ActivityBuild})
			for range lines {
				d.logger.Log(&wire.Result{ID: id + 1, Type: wire.ResultBuildLogLine, Fields: []wire.Field{wire.TextField("line")}})
			}
			d.logger.Log(&wire.StopActivity{ID: id + 1})
		})
	}
	all.Wait()
	return d.logger.Reply(&wire.Done{})
}

const builds, lines = 8, 20

var narOfHello = join(str("nix-archive-1"), str("("), str("type"), str("regular"), str("contents"), str("hello"), str(")"))

type client struct {
	t *testing.T
	r *wire.Reader
	w *wire.Writer
}

func (c *client) await(l wire.Listener) error { return l.Await(c.r, c.w) }

func (c *client) send(req wire.Request) {
	c.t.Helper()
	if err := c.w.WriteRequest(req); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) reply(m wire.Message) {
	c.t.Helper()
	if err := c.r.Message(m); err != nil {
		c.t.Fatal(err)
	}
}

// converse runs f against a daemon over a connection without any buffer.
func converse(t *testing.T, clientSide, daemonSide wire.Protocol, f func(*client, wire.Greeting)) {
	t.Helper()
	a, b := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serve(b, daemonSide) }()
	c := &client{t, wire.NewReader(a, store.DefaultDir, wire.Limits{}), wire.NewWriter(a, store.DefaultDir)}
	greeting, err := wire.DialDaemon(c.r, c.w, clientSide)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.await(wire.Listener{}); err != nil {
		t.Fatal(err)
	}
	f(c, greeting)
	a.Close()
	if err := <-ended; err != nil {
		t.Errorf("the daemon ends with %v", err)
	}
}

func TestHandshakeAgrees(t *testing.T) {
	withFeatures := wire.Protocol{Version: wire.MaxVersion, Features: append(wire.Features(), "something-new")}
	for _, c := range []struct{ client, daemon, want wire.Protocol }{
		{latest, latest, latest},
		{wire.Protocol{Version: 1<<8 | 99}, wire.Protocol{Version: 1<<8 | 34}, wire.Protocol{Version: 1<<8 | 34}},
		{wire.Protocol{Version: 2<<8 | 1}, wire.Protocol{Version: 1<<8 | 34}, wire.Protocol{Version: 1<<8 | 34}},
		{wire.Protocol{Version: wire.MinVersion}, latest, wire.Protocol{Version: wire.MinVersion}},
		{withFeatures, latest, latest},
		{withFeatures, wire.Protocol{Version: wire.MaxVersion, Features: wire.Features()}, wire.Protocol{Version: wire.MaxVersion, Features: wire.Features()}},
		{withFeatures, wire.Protocol{Version: 1<<8 | 37}, wire.Protocol{Version: 1<<8 | 37}},
	} {
		converse(t, c.client, c.daemon, func(cl *client, g wire.Greeting) {
			got := cl.r.Protocol
			if got.Version != c.want.Version || fmt.Sprint(got.Features) != fmt.Sprint(c.want.Features) {
				t.Errorf("%v and %v agree on %v, want %v", c.client, c.daemon, got, c.want)
			}
			if (g.NixVersion != "") != got.Version.Since(33) || (g.Trust != wire.TrustUnknown) != got.Version.Since(35) {
				t.Errorf("with %s the daemon says %+v", got.Version, g)
			}
		})
	}
}

func TestBodiesOfEveryForm(t *testing.T) {
	for _, p := range protocols() {
		converse(t, p, latest, func(c *client, _ wire.Greeting) {
			info := info
			info.NarHash, info.NarSize = store.SHA256.Sum(narOfHello), uint64(len(narOfHello))
			for _, data := range [][]byte{narOfHello, bytes.ToUpper(narOfHello)} {
				c.send(&wire.AddToStoreNar{Info: info})
				listener := wire.Listener{Body: bytes.NewReader(data)}
				if wire.BodyOf(wire.OpAddToStoreNar, p.Version) == wire.Framed {
					f := wire.NewFramedWriter(c.w)
					if _, err := f.Write(data); err != nil {
						t.Fatal(err)
					}
					if err := f.Close(); err != nil {
						t.Fatal(err)
					}
				}
				err := c.await(listener)
				var refused *wire.Error
				if good := &data[0] == &narOfHello[0]; good != (err == nil) || !good && !(errors.As(err, &refused) && err.Error() == "wrong hash") {
					t.Errorf("with %s: %v", p.Version, err)
				}
			}
			c.send(&wire.NarFromPath{Path: hello})
			if err := c.await(wire.Listener{}); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(c.r.NAR()); err != nil || !bytes.Equal(got, narOfHello) {
				t.Errorf("with %s: NarFromPath %q, %v", p.Version, got, err)
			}
			var exported bytes.Buffer
			c.send(&wire.ExportPath{Path: hello})
			if err := c.await(wire.Listener{Data: &exported}); err != nil || !bytes.Equal(exported.Bytes(), narOfHello) {
				t.Errorf("with %s: ExportPath %q, %v", p.Version, exported.Bytes(), err)
			}
			c.reply(&wire.Done{})
		})
	}
}

func TestLogsOfManyBuilds(t *testing.T) {
	converse(t, latest, latest, func(c *client, _ wire.Greeting) {
		var early, started, logged, stopped int
		c.send(&wire.BuildPaths{})
		err := c.await(wire.Listener{Log: func(m wire.LogMessage) {
			switch m.(type) {
			case *wire.Next:
				early++
			case *wire.StartActivity:
				started++
			case *wire.Result:
				logged++
			case *wire.StopActivity:
				stopped++
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		c.reply(&wire.Done{})
		if early != 1 || started != builds || logged != builds*lines || stopped != builds {
			t.Errorf("got %d early, %d starts, %d results, %d stops", early, started, logged, stopped)
		}
		c.send(&wire.OptimiseStore{})
		if err := c.await(wire.Listener{}); err == nil || err.Error() != "OptimiseStore is not for tests" {
			t.Errorf("refused: %v", err)
		}
	})
}

func TestTunnelRefusesMoreThanItAskedFor(t *testing.T) {
	var sent bytes.Buffer
	w := wire.NewWriter(&sent, store.DefaultDir)
	w.Protocol = latest
	logger := wire.NewLogger(w)
	if err := logger.Open(); err != nil {
		t.Fatal(err)
	}
	tunnel := wire.NewTunnelReader(reader(latest, join(str("12345678"), str("123456789"))), logger)
	b := make([]byte, 8)
	if n, err := tunnel.Read(b); n != 8 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	if _, err := tunnel.Read(b); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("9 bytes where 8 were asked for: %v", err)
	}
	if want := bytes.Repeat(join(num(0x64617461), num(8)), 2); !bytes.Equal(sent.Bytes(), want) {
		t.Errorf("asked %q", sent.Bytes())
	}
}
