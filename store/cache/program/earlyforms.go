package program

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"larder/store"
)

// nixForm asks in the protocol of Nix 1.
type nixForm Program

func (f *nixForm) narInfo(ctx context.Context, path store.StorePath) (n *store.NarInfo, err error) {
	p := (*Program)(f)
	name := p.opt.StoreDir.Join(path)
	err = p.withSession(ctx, func(s *session) error {
		if err := s.say("info " + name); err != nil {
			return err
		}
		l, err := s.firstLine()
		if err != nil {
			return err
		}
		if l == "" {
			return store.ErrNotFound
		}
		if l != name {
			return corruptf("it answers %q, expected %s or an empty line", clip(l), name)
		}
		if n, err = p.readRecord(s.lines, l, true); err != nil {
			return err
		}
		if l, err = s.line(); err == nil && l != "" {
			err = corruptf("it prints %q behind a record, expected an empty line", clip(l))
		}
		return err
	})
	return n, err
}

func (f *nixForm) nar(ctx context.Context, n *store.NarInfo) (io.ReadCloser, error) {
	return (*Program)(f).substitute(ctx, n)
}

// argvForm asks with arguments.
type argvForm Program

func (f *argvForm) narInfo(ctx context.Context, path store.StorePath) (n *store.NarInfo, err error) {
	p := (*Program)(f)
	name := p.opt.StoreDir.Join(path)
	err = p.runOnce(ctx, p.at.timeout, []string{"--query-info", name}, func(r *bufio.Reader) error {
		if end, err := atEnd(r); end || err != nil {
			return err
		}
		l, err := readLine(r)
		if err != nil {
			return err
		}
		if l != name {
			return corruptf("it answers %q, expected %s or nothing", clip(l), name)
		}
		if n, err = p.readRecord(r, l, false); err != nil {
			return err
		}
		end, err := atEnd(r)
		if err == nil && !end {
			err = corruptf("it prints more than the record of %s", name)
		}
		return err
	})
	if err == nil && n == nil {
		err = store.ErrNotFound
	}
	return n, err
}

func (f *argvForm) nar(ctx context.Context, n *store.NarInfo) (io.ReadCloser, error) {
	return (*Program)(f).substitute(ctx, n)
}

// runOnce runs the program with arguments, to its end. If it fails, that is the error, whatever read made of its output.
func (p *Program) runOnce(ctx context.Context, timeout time.Duration, args []string, read func(*bufio.Reader) error) error {
	if err := p.acquire(ctx); err != nil {
		return err
	}
	defer p.release()
	pr, err := p.start(timeout, args...)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, pr.kill)
	defer stop()
	err = read(bufio.NewReaderSize(pr, maxLine))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		pr.abandon() // it is not understood
		return err
	}
	status := pr.end()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if status != nil {
		return fmt.Errorf("%s: it failed: %w", args[0], status)
	}
	return died(err)
}
