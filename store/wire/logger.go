package wire

import "sync"

// Logger is the daemon's side of the messages between requests and replies. A
// client listens only while it waits for a reply: what is logged at other times
// is kept until then.
//
//	logger.Open()               // the request is complete
//	logger.Log(…)               // any number, from any goroutine
//	logger.Reply(reply)         // or Fail; the client listens no more
//
// Safe for concurrent use. After Open nobody else may write to the Writer, until
// Reply, Last or Fail has returned.
type Logger struct {
	mu      sync.Mutex // guards all below, and the writer while the logger is open
	w       *Writer
	open    bool
	waiting []LogMessage
	err     error // of the connection
}

// maxWaiting bounds what is kept while nobody listens.
const maxWaiting = 1000

// NewLogger logs to w, which must have been through the handshake.
func NewLogger(w *Writer) *Logger { return &Logger{w: w} }

// Open sends what was kept; from now on messages are sent at once.
func (l *Logger) Open() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = true
	for _, m := range l.waiting {
		l.writeLocked(m)
	}
	l.waiting = nil
	l.flushLocked()
	return l.err
}

// Log sends a message. The error is that of the connection, so that whoever works
// for its client learns that it has gone.
func (l *Logger) Log(m LogMessage) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open {
		if len(l.waiting) < maxWaiting {
			l.waiting = append(l.waiting, m)
		}
		return l.err
	}
	l.writeLocked(m)
	l.flushLocked()
	return l.err
}

// Reply ends the messages and sends the reply; nil if the operation has none.
func (l *Logger) Reply(reply Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = false
	l.writeLocked(&Last{})
	if reply != nil && l.err == nil {
		l.err = l.w.Message(reply)
	}
	l.flushLocked()
	return l.err
}

// Last ends the messages without a flush: the caller writes what follows, a NAR, to
// the Writer and flushes it.
func (l *Logger) Last() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = false
	l.writeLocked(&Last{})
	return l.err
}

// Fail ends the messages with an error instead of a reply.
func (l *Logger) Fail(e *Error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = false
	l.writeLocked(e)
	l.flushLocked()
	return l.err
}

func (l *Logger) writeLocked(m LogMessage) {
	if l.err == nil {
		l.err = l.w.WriteLog(m)
	}
}

func (l *Logger) flushLocked() {
	if l.err == nil {
		l.err = l.w.Flush()
	}
}
