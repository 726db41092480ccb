package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"larder/cmd/internal/control"
	"larder/fusefs"
)

// Daemon is an engine that answers on the control socket, and shows its store as a file system if there is a mount.
type Daemon struct {
	engine *Engine
	server *control.Server
}

// Start opens the store, its realiser and the control socket. Configuration errors show now, not at the first access.
func Start(ctx context.Context, o Options) (_ *Daemon, err error) {
	o.Daemon = true
	e, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	if _, err := e.Realiser(ctx); err != nil {
		return nil, err
	}
	mode := os.FileMode(0o600)
	if len(o.Config.AllowedUsers) > 0 {
		mode = 0o666
	}
	l, err := control.Listen(o.Config.ControlSocket(), mode)
	if err != nil {
		return nil, err
	}
	d := &Daemon{engine: e, server: control.NewServer(e, o.Config.AllowedUsers, e.log)}
	d.server.Start(l)
	return d, nil
}

// Engine is the open store.
func (d *Daemon) Engine() *Engine { return d.engine }

// ServeMount shows the store through a /dev/fuse descriptor, which it takes over, until the mount is gone (nil) or ctx ends.
// Ready is called when the mount can be used.
func (d *Daemon) ServeMount(ctx context.Context, dev *os.File, ready func()) error {
	r, err := d.engine.Realiser(ctx)
	if err != nil {
		return errors.Join(err, dev.Close())
	}
	f, err := fusefs.New(fusefs.Options{Objects: d.engine.store, Realiser: r, Logger: d.engine.log,
		UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())})
	if err != nil {
		return errors.Join(err, dev.Close())
	}
	d.engine.Show(f)
	defer d.engine.Show(nil)
	if err := f.Serve(ctx, dev, ready); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("serving the mount: %w", err)
	}
	return nil
}

// Close ends the control API, then the engine.
func (d *Daemon) Close() error { return closeAll(d.server, d.engine) }

func closeAll(list ...io.Closer) error {
	var errs []error
	for _, c := range list {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
