package wire

import (
	"encoding/binary"
	"io"
)

// NAR returns the NAR that is next in the stream, and not a byte more. It finds the
// end by the nesting of the format and leaves it to the reader of the NAR to
// check everything else. Its memory does not depend on the NAR.
//
// Read it to the end before anything else.
func (r *Reader) NAR() io.Reader { return &narStream{r: r} }

type narStream struct {
	r      *Reader
	token  []byte // bytes of a token that are still to be handed out
	left   uint64 // bytes of a value, with padding, that are still to be read
	depth  int
	value  bool // the next string is a value, whatever it says
	begun  bool
	closed bool
}

func (s *narStream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(s.token) == 0 && s.left == 0 {
		if s.closed {
			return 0, io.EOF
		}
		if err := s.next(); err != nil {
			return 0, s.r.fail("NAR", err)
		}
	}
	if len(s.token) > 0 {
		n := copy(p, s.token)
		s.token = s.token[n:]
		return n, nil
	}
	n, err := s.r.some(p[:min(uint64(len(p)), s.left)])
	s.left -= uint64(n)
	if n == 0 && err != nil {
		return 0, s.r.fail("NAR", err)
	}
	return n, nil
}

// maxKeyword is the longest string that is not a value, padded: "nix-archive-1".
const maxKeyword = 2 * wordSize

// next reads the length of the next string, and the string too if it is not a value.
func (s *narStream) next() error {
	n, err := s.r.word()
	if err != nil {
		return err
	}
	s.token = binary.LittleEndian.AppendUint64(make([]byte, 0, wordSize+maxKeyword), n)
	padded := n + -n%wordSize
	if s.value {
		if padded < n {
			return ErrTooLong
		}
		s.value, s.left = false, padded
		return nil
	}
	if padded < n || padded > maxKeyword {
		return ErrNAR
	}
	s.token = s.token[:wordSize+padded]
	if err := s.r.full(s.token[wordSize:]); err != nil {
		return cut(err)
	}
	return s.keyword(string(s.token[wordSize : wordSize+n]))
}

func (s *narStream) keyword(word string) error {
	if !s.begun {
		s.begun = true
		if word != "nix-archive-1" {
			return ErrNAR
		}
		return nil
	}
	switch word {
	case "(":
		s.depth++
	case ")":
		s.depth--
		s.closed = s.depth == 0
	case "type", "name", "contents", "target", "executable":
		s.value = true
	case "node", "entry":
	default:
		return ErrNAR
	}
	if s.depth <= 0 && !s.closed {
		return ErrNAR
	}
	return nil
}
