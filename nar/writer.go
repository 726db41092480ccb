package nar

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Writer writes one archive entry by entry. It refuses what would not be canonical, so what it writes can always be read
// back. It is not for concurrent use.
type Writer struct {
	enc     encoder
	trail   trail
	size    int64 // of the current regular file
	left    int64 // bytes of it still to be written
	started bool
	open    bool // the current entry is a regular file that still has to be closed
	closed  bool
	err     error // sticky
}

// NewWriter returns a Writer that writes an archive to w. The caller must Close it, and closes w itself.
func NewWriter(w io.Writer) *Writer {
	return &Writer{enc: newEncoder(w)}
}

// Offset is the number of bytes of the archive so far, those still buffered included. After WriteEntry of a regular file
// it is where the contents begin.
func (w *Writer) Offset() int64 { return w.enc.offset() }

// WriteEntry begins the entry e; its Offset is ignored. Entries must come as a Reader returns them: the root first, a
// directory before what is in it, siblings sorted. A regular file's e.Size bytes must follow by Write. Errors are final:
// of the underlying writer, or saying what is wrong with e.
func (w *Writer) WriteEntry(e *Entry) error {
	if err := w.usable(); err != nil {
		return err
	}
	return w.keep(w.writeEntry(e))
}

func (w *Writer) usable() error {
	if w.err == nil && w.closed {
		return errors.New("nar: Writer is closed")
	}
	return w.err
}

func (w *Writer) keep(err error) error {
	if w.err == nil {
		w.err = err
	}
	return err
}

func (w *Writer) writeEntry(e *Entry) error {
	if err := w.endNode(); err != nil {
		return err
	}
	if !w.started {
		if e.Path != "" {
			return fmt.Errorf("nar: first entry is %q, not the root", e.Path)
		}
		w.started = true
		w.enc.raw(wordMagic)
		return w.node(e)
	}
	parent, name := "", e.Path
	if i := strings.LastIndexByte(e.Path, '/'); i > 0 { // at 0 it stays in the name, which is refused
		parent, name = e.Path[:i], e.Path[i+1:]
	}
	if err := w.leaveTo(parent); err != nil {
		return fmt.Errorf("nar: entry %q: %w", e.Path, err)
	}
	if reason := w.trail.next([]byte(name)); reason != "" {
		return fmt.Errorf("nar: entry %q: %s", e.Path, reason)
	}
	w.enc.beginEntry(name)
	return w.node(e)
}

// leaveTo closes directories until the innermost open one is parent.
func (w *Writer) leaveTo(parent string) error {
	for w.trail.depth() > 0 {
		start := w.trail.starts[w.trail.depth()-1]
		if string(w.trail.path[:max(start-1, 0)]) == parent {
			return nil
		}
		w.endDirectory()
	}
	return errors.New("its directory is not open")
}

func (w *Writer) node(e *Entry) error {
	switch e.Type {
	case Regular:
		if e.Size < 0 {
			return fmt.Errorf("nar: entry %q: size %d", e.Path, e.Size)
		}
		w.enc.beginRegular(e.Executable, e.Size)
		w.size, w.left, w.open = e.Size, e.Size, true
	case Symlink:
		if reason := checkTarget(e.Target); reason != "" {
			return fmt.Errorf("nar: entry %q: %s", e.Path, reason)
		}
		w.enc.symlink(e.Target)
		w.endEntry()
	case Directory:
		if reason := w.trail.enter(); reason != "" {
			return fmt.Errorf("nar: entry %q: %s", e.Path, reason)
		}
		w.enc.beginDirectory()
	default:
		return fmt.Errorf("nar: entry %q: no such type: %v", e.Path, e.Type)
	}
	return w.enc.err
}

// endNode closes the current regular file.
func (w *Writer) endNode() error {
	if w.left > 0 {
		return fmt.Errorf("nar: contents of %q are %d bytes too short", w.trail.path, w.left)
	}
	if w.open {
		w.open = false
		w.enc.endRegular(w.size)
		w.endEntry()
	}
	return nil
}

func (w *Writer) endDirectory() {
	w.trail.leave()
	w.enc.endDirectory()
	w.endEntry()
}

// endEntry closes the directory entry of the node that just ended, unless that is the root.
func (w *Writer) endEntry() {
	if w.trail.depth() > 0 {
		w.enc.endEntry()
	}
}

// Write writes contents of the current regular file. More than its size is an error, and then nothing is written.
func (w *Writer) Write(p []byte) (int, error) {
	if err := w.usable(); err != nil {
		return 0, err
	}
	if int64(len(p)) > w.left {
		return 0, w.keep(fmt.Errorf("nar: contents of %q are longer than its %d bytes", w.trail.path, w.size))
	}
	written := 0
	for written < len(p) {
		space, err := w.enc.room()
		if err != nil {
			return written, w.keep(err)
		}
		n := copy(space, p[written:])
		w.enc.advance(n)
		w.left -= int64(n)
		written += n
	}
	return written, nil
}

// Close completes the archive and writes out what is buffered. It is an error if there is no root or if contents are
// incomplete. After an error of another method Close returns that error. Calling it again does nothing.
func (w *Writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	defer w.enc.release()
	if w.err == nil && !w.started {
		w.err = errors.New("nar: archive without a root")
	}
	if w.err == nil {
		w.err = w.endNode()
	}
	if w.err != nil {
		return w.err
	}
	for w.trail.depth() > 0 {
		w.endDirectory()
	}
	w.err = w.enc.flush()
	return w.err
}
