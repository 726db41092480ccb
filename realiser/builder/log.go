package builder

import (
	"strings"
	"sync"
)

// maxLine is how many bytes of a line are kept for events and errors: failures are
// remembered by the thousand, and builders choose how long lines are. The log
// file has all of them.
const maxLine = 4 << 10

// Log takes the raw output of a builder: into a file, as lines and messages to
// whoever listens, and the last lines for errors. Write is called by one goroutine;
// Tail may be called at any time.
type Log struct {
	maxSize    int64 // 0: any
	onWrite    func()
	onOverflow func()
	onLine     func(string)
	onMessage  func(*Message)

	size int64
	file logFile
	line []byte // what is on the current line
	pos  int    // where the next byte goes: a carriage return moves it back
	said messages

	mu   sync.Mutex // guards tail
	tail []string   // at most most lines
	most int
}

func newLog(path string, lines int) *Log { return &Log{file: logFile{path: path}, most: lines} }

// Write never fails: a log that can't be stored does not fail the build.
func (l *Log) Write(p []byte) (int, error) {
	if l.onWrite != nil {
		l.onWrite()
	}
	taken := p
	if l.maxSize > 0 && l.size+int64(len(p)) > l.maxSize {
		taken = p[:l.maxSize-l.size]
		defer l.onOverflow()
	}
	l.size += int64(len(taken))
	l.file.write(taken)
	for _, c := range taken {
		l.put(c)
	}
	return len(p), nil
}

// put does with a byte what a terminal would do.
func (l *Log) put(c byte) {
	switch {
	case c == '\n':
		l.flushLine()
	case c == '\r':
		l.pos = 0
	case l.pos == maxLine:
	case l.pos < len(l.line):
		l.line[l.pos] = c
		l.pos++
	default:
		l.line = append(l.line, c)
		l.pos++
	}
}

func (l *Log) flushLine() {
	line := strings.ToValidUTF8(string(l.line), "\uFFFD")
	l.line, l.pos = l.line[:0], 0
	if m, known := l.said.take(line); known {
		l.tell(m)
		return
	}
	l.mu.Lock()
	if l.tail = append(l.tail, line); len(l.tail) > l.most {
		l.tail = append(l.tail[:0], l.tail[len(l.tail)-max(l.most, 0):]...)
	}
	l.mu.Unlock()
	if l.onLine != nil {
		l.onLine(line)
	}
}

func (l *Log) tell(m *Message) {
	if m != nil && l.onMessage != nil {
		l.onMessage(m)
	}
}

// Tail returns the last lines.
func (l *Log) Tail() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.tail...)
}

// Close ends the last line and gives the file its name, also if nothing was
// written. It returns the first error of storing the log.
func (l *Log) Close() error {
	if len(l.line) > 0 {
		l.flushLine()
	}
	for _, m := range l.said.end() {
		l.tell(m)
	}
	return l.file.close()
}
