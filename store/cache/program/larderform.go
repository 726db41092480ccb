package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"larder/store"
)

// larderForm asks in our own protocol.
type larderForm Program

func (f *larderForm) narInfo(ctx context.Context, path store.StorePath) (n *store.NarInfo, err error) {
	p := (*Program)(f)
	err = p.withSession(ctx, func(s *session) error {
		if err := p.checkStoreDir(); err != nil {
			return err
		}
		if err := s.say("info " + p.opt.StoreDir.Join(path)); err != nil {
			return err
		}
		text, err := s.text()
		if err != nil {
			return err
		}
		if n, err = store.ParseNarInfo(p.opt.StoreDir, text); err != nil {
			return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
		}
		return nil
	})
	return n, err
}

// checkStoreDir says of a program for another store directory that it has nothing.
func (p *Program) checkStoreDir() error {
	p.mu.Lock()
	theirs := p.info.StoreDir
	p.mu.Unlock()
	if theirs == "" || theirs == p.opt.StoreDir {
		return nil
	}
	p.warnedForeign.Do(func() {
		p.opt.Logger.Warn("a substituter is of no use", "substituter", p.name, "err",
			fmt.Sprintf("it holds paths of %s, not of %s", theirs, p.opt.StoreDir))
	})
	return fmt.Errorf("it holds paths of %s, not of %s: %w", theirs, p.opt.StoreDir, store.ErrNotFound)
}

// text reads the answer to info.
func (s *session) text() (string, error) {
	length, err := s.answer()
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseUint(length, 10, 31)
	if err != nil || n > store.MaxNarInfo {
		return "", corruptf("it announces a narinfo of %q bytes, expected at most %d", clip(length), store.MaxNarInfo)
	}
	// Not all at once: it may promise more than it has.
	var b strings.Builder
	if _, err = io.CopyN(&b, s.lines, int64(n)); err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return b.String(), err
}

func (f *larderForm) nar(ctx context.Context, n *store.NarInfo) (io.ReadCloser, error) {
	p := (*Program)(f)
	opened := make(chan struct{})
	st := newStream(ctx, p, n, func(ctx context.Context, w io.Writer) error {
		return p.withSession(ctx, func(s *session) error {
			if err := s.say("nar " + p.opt.StoreDir.Join(n.Path)); err != nil {
				return err
			}
			if _, err := s.answer(); err != nil {
				return err
			}
			close(opened)
			return s.chunks(w, n.NarSize)
		})
	})
	select {
	case <-opened:
		return st, nil
	case <-st.done:
		return st, st.err // it may have been as quick as that
	}
}

// chunks copies a NAR of so many bytes.
func (s *session) chunks(w io.Writer, size uint64) error {
	for left := size; ; {
		l, err := s.line()
		if err != nil {
			return err
		}
		if text, failed := strings.CutPrefix(l, "error"); failed {
			return &refusal{strings.TrimSpace(text)}
		}
		n, err := strconv.ParseUint(l, 10, 63)
		switch {
		case err != nil:
			return corruptf("it printed %q in the place of the length of a chunk", clip(l))
		case n == 0 && left > 0:
			return corruptf("the NAR ends after %d bytes, expected %d", size-left, size)
		case n == 0:
			return nil
		case n > left:
			return corruptf("the NAR is longer than the %d bytes that were promised", size)
		}
		if _, err := io.CopyN(w, s.lines, int64(n)); errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		} else if err != nil {
			return err
		}
		left -= n
	}
}
