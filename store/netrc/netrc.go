// Package netrc knows user names and passwords by host: ftp(1), and curl's manual, "netrc". [Transport] gives them to HTTP
// requests.
package netrc

import "strings"

// Netrc is the contents of a netrc file. It does not change, and may be used concurrently; the zero value has nothing.
type Netrc struct{ entries []entry }

type entry struct {
	machine         string
	any             bool // "default": for every machine
	login, password string
}

// Parse reads the words that matter. As for curl nothing is an error: words that mean nothing are passed over, what is
// missing is empty.
func Parse(text string) Netrc {
	var entries []entry
	w := words{rest: text}
	for word, ok := w.next(); ok; word, ok = w.next() {
		switch word {
		case "machine":
			name, _ := w.next()
			entries = append(entries, entry{machine: name})
			continue
		case "default":
			entries = append(entries, entry{any: true})
			continue
		case "macdef":
			w.skipMacro()
			continue
		}
		if word != "login" && word != "password" && word != "account" {
			continue
		}
		value, _ := w.next()
		if len(entries) == 0 {
			continue
		}
		switch last := &entries[len(entries)-1]; word {
		case "login":
			last.login = value
		case "password":
			last.password = value
		}
	}
	return Netrc{entries}
}

// Find returns what the first entry for a host says, or the default before it; false if that is nothing.
func (n Netrc) Find(host string) (login, password string, ok bool) {
	for _, e := range n.entries {
		if e.any || strings.EqualFold(e.machine, host) {
			return e.login, e.password, e.login != "" || e.password != ""
		}
	}
	return "", "", false
}

// words splits at white space. A word in double quotes may have some, and \", \\, \n, \r, \t. A word that begins with "#"
// begins a comment.
type words struct{ rest string }

const space = " \t\r\n\f\v"

func (w *words) next() (word string, ok bool) {
	for {
		w.rest = strings.TrimLeft(w.rest, space)
		if !strings.HasPrefix(w.rest, "#") {
			break
		}
		w.skipLine()
	}
	if w.rest == "" {
		return "", false
	}
	if w.rest[0] == '"' {
		return w.quoted(), true
	}
	end := strings.IndexAny(w.rest, space)
	if end < 0 {
		end = len(w.rest)
	}
	word, w.rest = w.rest[:end], w.rest[end:]
	return word, true
}

func (w *words) quoted() string {
	var word strings.Builder
	for i := 1; i < len(w.rest); i++ {
		c := w.rest[i]
		if c == '"' {
			w.rest = w.rest[i+1:]
			return word.String()
		}
		if c == '\\' && i+1 < len(w.rest) {
			i++
			switch c = w.rest[i]; c {
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			}
		}
		word.WriteByte(c)
	}
	w.rest = ""
	return word.String()
}

func (w *words) skipLine() {
	_, w.rest, _ = strings.Cut(w.rest, "\n")
}

// skipMacro passes over a macro, which an empty line ends.
func (w *words) skipMacro() {
	for {
		line, rest, found := strings.Cut(w.rest, "\n")
		w.rest = rest
		if !found {
			return
		}
		// The first line is what is left of the one with "macdef NAME".
		if strings.Trim(line, space) == "" {
			return
		}
	}
}
