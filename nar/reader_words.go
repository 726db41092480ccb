package nar

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The part of Reader that reads single strings of the grammar, and says where one is wrong.

// readFull fills p.
func (r *Reader) readFull(p []byte) error {
	for len(p) > 0 {
		n, err := r.src.Read(p)
		r.off += int64(n)
		p = p[n:]
		if err != nil && len(p) > 0 {
			return r.readError(err)
		}
	}
	return nil
}

// readError makes an error of the underlying stream one of ours. Only a plain io.EOF means that the archive is truncated:
// io.ErrUnexpectedEOF is what decompressors and HTTP bodies say when it was them that broke off.
func (r *Reader) readError(err error) error {
	if err == io.EOF {
		return &FormatError{Offset: r.off, Reason: "the archive is truncated", Err: io.ErrUnexpectedEOF}
	}
	return fmt.Errorf("reading NAR at byte %d: %w", r.off, err)
}

// readWord reads the first wordSize bytes of a keyword into r.word.
func (r *Reader) readWord() error { return r.readFull(r.word[:]) }

// expect reads a string that the grammar demands, given in encoded form. The description is for the error.
func (r *Reader) expect(word, description string) error {
	at := r.off
	if len(word) < wordSize {
		if err := r.readFull(r.word[:len(word)]); err != nil {
			return err
		}
		if string(r.word[:len(word)]) != word {
			return &FormatError{Offset: at, Reason: "expected " + description}
		}
		return nil
	}
	if err := r.readWord(); err != nil {
		return err
	}
	if string(r.word[:]) != word[:wordSize] {
		return r.unexpected(at, description)
	}
	return r.expectRest(word, at, description)
}

// expectRest reads the rest of a string whose first wordSize bytes were right.
func (r *Reader) expectRest(word string, at int64, description string) error {
	rest := word[wordSize:]
	if err := r.readFull(r.word[:len(rest)]); err != nil {
		return err
	}
	if string(r.word[:len(rest)]) != rest {
		return &FormatError{Offset: at, Reason: "expected " + description}
	}
	return nil
}

// unexpected describes the string in r.word, which the grammar does not allow where it is.
func (r *Reader) unexpected(at int64, description string) error {
	reason := "expected " + description
	if n := binary.LittleEndian.Uint64(r.word[:8]); n <= 8 {
		reason += fmt.Sprintf(", found %q", r.word[8:8+n])
	}
	return &FormatError{Offset: at, Reason: reason}
}

func (r *Reader) readLength() (uint64, error) {
	if err := r.readFull(r.word[:8]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(r.word[:8]), nil
}

// readString reads a string of at most limit bytes. The description is for the error.
func (r *Reader) readString(limit int, description string) ([]byte, error) {
	at := r.off
	n, err := r.readLength()
	if err != nil {
		return nil, err
	}
	if n > uint64(limit) {
		return nil, &FormatError{Offset: at, Reason: fmt.Sprintf("%s of %d bytes is longer than %d", description, n, limit)}
	}
	s := make([]byte, n)
	if err := r.readFull(s); err != nil {
		return nil, err
	}
	return s, r.readPadding(padding(int64(n)))
}

func (r *Reader) readPadding(n int64) error {
	at := r.off
	if err := r.readFull(r.word[:n]); err != nil {
		return err
	}
	for i, c := range r.word[:n] {
		if c != 0 {
			return &FormatError{Offset: at + int64(i), Reason: "padding is not zero"}
		}
	}
	return nil
}
