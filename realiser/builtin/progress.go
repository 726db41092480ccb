package builtin

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// progress tells in the log how a download goes, in Nix's format for machines: lines of "@nix " and JSON.
type progress struct {
	log            io.Writer
	id             uint64
	done, expected int64
	said           time.Time
}

const (
	activityFileTransfer = 101
	resultProgress       = 105
	levelTalkative       = 4

	progressEvery = time.Second
)

type message struct {
	Action string `json:"action"`
	Fields []any  `json:"fields,omitempty"`
	ID     uint64 `json:"id"`
	Level  int    `json:"level,omitempty"`
	Text   string `json:"text,omitempty"`
	Type   int    `json:"type,omitempty"`
}

func startProgress(log io.Writer, number uint64, url string) *progress {
	// As Nix makes ids: of the process, and a number in it.
	p := &progress{log: log, id: uint64(os.Getpid())<<32 | number, said: time.Now()}
	p.say(message{Action: "start", ID: p.id, Fields: []any{url}, Level: levelTalkative, Text: "downloading '" + url + "'", Type: activityFileTransfer})
	return p
}

func (p *progress) say(m message) {
	line, err := json.Marshal(m)
	if err != nil {
		return // strings and numbers have no such errors
	}
	fmt.Fprintf(p.log, "@nix %s\n", line)
}

// expect begins an attempt that will bring so many bytes; 0: unknown.
func (p *progress) expect(size int64) { p.done, p.expected = 0, size }

func (p *progress) report() {
	p.said = time.Now()
	p.say(message{Action: "result", ID: p.id, Fields: []any{p.done, p.expected, 0, 0}, Type: resultProgress})
}

func (p *progress) stop() {
	p.report()
	p.say(message{Action: "stop", ID: p.id})
}

// reader counts what is read from r.
func (p *progress) reader(r io.Reader) io.Reader { return &counted{r, p} }

type counted struct {
	r io.Reader
	p *progress
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.p.done += int64(n)
	if time.Since(c.p.said) >= progressEvery {
		c.p.report()
	}
	return n, err
}
