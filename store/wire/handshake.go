package wire

import (
	"fmt"
	"math"
)

const (
	magicClient = 0x6e697863 // "nixc"
	magicDaemon = 0x6478696f // "dxio"
)

// Trust is what a daemon says of its client.
type Trust uint8

const (
	// TrustUnknown: the daemon does not say, or is too old to.
	TrustUnknown Trust = iota
	// Trusted clients may do everything.
	Trusted
	// NotTrusted clients may not.
	NotTrusted
)

// Greeting is what a daemon says of itself.
type Greeting struct {
	NixVersion string // since 1.33: "2.8.0"; shown to users
	Trust      Trust  // since 1.35
}

func (m *Greeting) code(c *coder) {
	if c.Version.Since(33) {
		c.text(&m.NixVersion)
	}
	if c.Version.Since(35) {
		number(c, &m.Trust, NotTrusted)
	}
}

// hello is the first number of a side, and its version.
type hello struct {
	magic   uint64
	version Version
}

func (m *hello) code(c *coder) {
	c.word(&m.magic)
	c.versionNumber(&m.version)
}

func (c *coder) versionNumber(p *Version) { number(c, p, math.MaxUint32) }

// preamble is what clients send for daemons of old.
type preamble struct{}

func (*preamble) code(c *coder) {
	var affinity, ignored uint64
	c.word(&affinity) // whether the CPU follows to which builds are to be bound
	if affinity != 0 {
		c.word(&ignored)
	}
	c.constant(0) // whether to reserve disk space for the garbage collector
}

// AcceptClient is the daemon's side of the handshake. It sets the protocol of r and
// w to the newest version that both sides speak, and the features that both have.
// The client then waits for [Logger.Reply] with nil, or [Logger.Fail].
//
// The error is ErrMagic (wrapped) if the peer is something else, which then got no
// answer, or a [*VersionError] if it is too old. There is no way to tell it why.
func AcceptClient(r *Reader, w *Writer, own Protocol, greeting Greeting) error {
	magic, err := r.word()
	if err != nil {
		return r.fail("greeting", err)
	}
	if magic != magicClient {
		return r.fail("greeting", fmt.Errorf("%w: the client begins with %#x", ErrMagic, magic))
	}
	// A client may wait for this before it says more.
	if err := send(w, &hello{magicDaemon, own.Version}); err != nil {
		return err
	}
	var client clientVersion
	if err := r.Message(&client); err != nil {
		return err
	}
	agreed, err := agree(own, client.version)
	if err != nil {
		r.err = err
		return err
	}
	if agreed.Version.Since(38) {
		var theirs, ours = Texts{}, Texts{own.Features}
		if err := r.Message(&theirs); err != nil {
			return err
		}
		if err := send(w, &ours); err != nil {
			return err
		}
		agreed.Features = commonFeatures(own.Features, theirs.Texts)
	}
	r.Protocol, w.Protocol = agreed, agreed
	if err := r.Message(&preamble{}); err != nil {
		return err
	}
	return send(w, &greeting)
}

// DialDaemon is the client's side of the handshake. It sets the protocol of r and w.
// Then the client has to [Listener.Await] once, before its first request.
func DialDaemon(r *Reader, w *Writer, own Protocol) (Greeting, error) {
	var greeting Greeting
	if err := send(w, &hello{magicClient, own.Version}); err != nil {
		return greeting, err
	}
	var daemon hello
	if err := r.Message(&daemon); err != nil {
		return greeting, err
	}
	if daemon.magic != magicDaemon {
		return greeting, r.fail("greeting", fmt.Errorf("%w: the daemon begins with %#x", ErrMagic, daemon.magic))
	}
	agreed, err := agree(own, daemon.version)
	if err != nil {
		r.err = err
		return greeting, err
	}
	if agreed.Version.Since(38) {
		var theirs, ours = Texts{}, Texts{own.Features}
		if err := send(w, &ours); err != nil {
			return greeting, err
		}
		if err := r.Message(&theirs); err != nil {
			return greeting, err
		}
		agreed.Features = commonFeatures(own.Features, theirs.Texts)
	}
	r.Protocol, w.Protocol = agreed, agreed
	if err := send(w, &preamble{}); err != nil {
		return greeting, err
	}
	return greeting, r.Message(&greeting)
}

func send(w *Writer, m Message) error {
	if err := w.Message(m); err != nil {
		return err
	}
	return w.Flush()
}

type clientVersion struct{ version Version }

func (m *clientVersion) code(c *coder) { c.versionNumber(&m.version) }

// agree takes the lower version. Peers that are newer than anything we know,
// with another major number even, are taken as far as our own version: that is
// what they expect.
func agree(own Protocol, peer Version) (Protocol, error) {
	v := min(own.Version, peer)
	if v < MinVersion {
		return Protocol{}, &VersionError{Peer: peer}
	}
	return Protocol{Version: v}, nil
}
