package program

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"larder/store"
	"larder/store/cache"
)

const (
	version  = 1
	maxLine  = 4096 // bytes, with the newline
	maxHello = 64   // lines of a greeting
)

// greetingTimeout is how long a program may take over its greeting.
const greetingTimeout = 30 * time.Second

// session is a process that is asked one thing after the other.
type session struct {
	*process
	lines *bufio.Reader
}

// begin starts a process that answers requests.
func (p *Program) begin(ctx context.Context) (*session, error) {
	var args []string
	if p.at.form == formNix {
		args = []string{"--query"}
	}
	pr, err := p.startSession(args...)
	if err != nil {
		return nil, err
	}
	s := &session{process: pr, lines: bufio.NewReaderSize(pr, maxLine)}
	pr.timeout = min(pr.timeout, greetingTimeout) // others wait to know its priority
	stop := context.AfterFunc(ctx, pr.kill)
	if p.at.form == formNix {
		_, err = s.line()
	} else {
		err = s.greet(p)
	}
	if stop() && err == nil {
		pr.timeout = p.at.timeout
		return s, nil
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errGone) {
		if status := s.end(); status == nil && ctx.Err() == nil {
			return nil, errDisabled
		} else if ctx.Err() == nil {
			return nil, fmt.Errorf("it ended without a greeting: %w", status)
		}
		return nil, context.Cause(ctx)
	}
	s.abandon()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, err
}

// errDisabled says that a program has nothing to offer.
var errDisabled = fmt.Errorf("it has nothing to offer: %w", store.ErrNotFound)

// greet exchanges greetings.
func (s *session) greet(p *Program) error {
	if err := s.say(fmt.Sprintf("hello %d %s", version, p.opt.StoreDir)); err != nil {
		return err
	}
	first, err := s.line()
	if err != nil {
		return err
	}
	if first != fmt.Sprintf("hello %d", version) {
		return corruptf("it greets with %q instead of \"hello %d\"", clip(first), version)
	}
	var text strings.Builder
	for range maxHello {
		l, err := s.line()
		if err != nil {
			return err
		}
		if l == "" {
			info, err := cache.ParseInfo(text.String())
			if err == nil {
				p.mu.Lock()
				p.info, p.greeted = info, true
				p.mu.Unlock()
			}
			return err
		}
		text.WriteString(l + "\n")
	}
	return corruptf("its greeting is longer than %d lines", maxHello)
}

// errGone says that the program ended before it had anything to say to a request.
var errGone = errors.New("it ended")

func (s *session) say(line string) error {
	if _, err := io.WriteString(s.process, line+"\n"); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return nil
}

// line reads a line. The end of the output instead of one is io.ErrUnexpectedEOF.
func (s *session) line() (string, error) { return readLine(s.lines) }

// firstLine is line at the beginning of an answer: the end of the output is errGone.
func (s *session) firstLine() (string, error) {
	if _, err := s.lines.Peek(1); err == io.EOF {
		return "", errGone
	}
	return s.line()
}

func readLine(r *bufio.Reader) (string, error) {
	b, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", corruptf("it printed a line of more than %d bytes", maxLine)
	case err == io.EOF:
		return "", io.ErrUnexpectedEOF
	case err != nil:
		return "", err
	}
	return string(b[:len(b)-1]), nil
}

// answer reads the first line of an answer, and returns what follows "ok". Missing is store.ErrNotFound, an error
// *refusal: the session can go on after these.
func (s *session) answer() (string, error) {
	l, err := s.firstLine()
	if err != nil {
		return "", err
	}
	word, rest, _ := strings.Cut(l, " ")
	switch {
	case word == "ok":
		return rest, nil
	case l == "missing":
		return "", store.ErrNotFound
	case word == "error":
		return "", &refusal{rest}
	}
	return "", corruptf("it answers %q, expected ok, missing or error", clip(l))
}

// refusal is a failure that the program tells of itself.
type refusal struct{ text string }

func (r *refusal) Error() string {
	if r.text == "" {
		return "it failed without saying why"
	}
	return "it says: " + strconv.Quote(clip(r.text))
}

// goesOn reports whether a session can be used again after an answer.
func goesOn(err error) bool {
	var r *refusal
	return err == nil || errors.Is(err, store.ErrNotFound) || errors.As(err, &r)
}

// clip shortens what a program says to what fits into a message.
func clip(text string) string {
	const most = 200
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
