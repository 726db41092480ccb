package program

import (
	"bufio"
	"io"
	"log/slog"
)

// maxLogLine is how many bytes of a line of standard error are logged.
const maxLogLine = 1024

// logLines logs what a program has to say, cutting what is too long, until the end or an error.
func logLines(log *slog.Logger, r io.Reader) {
	b := bufio.NewReaderSize(r, maxLogLine)
	for {
		line, more, err := b.ReadLine()
		if err != nil {
			return
		}
		log.Info("a substituter says", "line", string(line))
		for more && err == nil {
			_, more, err = b.ReadLine()
		}
	}
}
