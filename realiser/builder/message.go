package builder

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Message is what a builder said on a line of its log that begins with "@nix ",
// as setup scripts and fetchers do. The words and numbers
// are those of Nix's internal-json log format.
type Message struct {
	Action string `json:"action"`
	Phase  string `json:"phase,omitempty"`  // SetPhase
	Text   string `json:"text,omitempty"`   // Say, Start
	Level  int    `json:"level,omitempty"`  // Say, Start: 0 (an error) to 7 (of no interest)
	ID     uint64 `json:"id,omitempty"`     // Start, Stop, Report: the activity, chosen by the builder
	Type   int    `json:"type,omitempty"`   // Start: of the activity; Report: of the result
	Fields []any  `json:"fields,omitempty"` // Start, Report: strings and uint64s
}

// Actions of a Message.
const (
	SetPhase = "setPhase" // the build has come to a phase
	Say      = "msg"      // words to the user
	Start    = "start"    // an activity begins …
	Report   = "result"   // … tells something …
	Stop     = "stop"     // … and ends, at the latest with the build
)

const (
	messagePrefix = "@nix "
	maxLevel      = 7
	// fileTransfer is the one type of activity that Nix believes builders.
	fileTransfer = 101
	// maxActivities is how many a builder may have at once. More are not noticed.
	maxActivities = 64
)

// messages knows the activities of a builder that have begun and not ended.
type messages struct {
	open map[uint64]struct{}
}

// take reads a line. It is a message if known is true; if nobody need be told,
// m is nil.
func (ms *messages) take(line string) (m *Message, known bool) {
	text, ok := strings.CutPrefix(line, messagePrefix)
	if !ok {
		return nil, false
	}
	if m = parseMessage(text); m == nil {
		return nil, false
	}
	_, open := ms.open[m.ID]
	switch m.Action {
	case Start:
		if open || m.Type != fileTransfer || len(ms.open) == maxActivities {
			return nil, true
		}
		if ms.open == nil {
			ms.open = map[uint64]struct{}{}
		}
		ms.open[m.ID] = struct{}{}
	case Report:
		if !open {
			return nil, true
		}
	case Stop:
		if !open {
			return nil, true
		}
		delete(ms.open, m.ID)
	}
	return m, true
}

// end stops what the builder did not stop.
func (ms *messages) end() (stops []*Message) {
	for _, id := range slices.Sorted(maps.Keys(ms.open)) {
		stops = append(stops, &Message{Action: Stop, ID: id})
	}
	ms.open = nil
	return stops
}

// parseMessage returns nil for what is not a message, or not a complete one.
func parseMessage(text string) *Message {
	var members map[string]json.RawMessage // a struct would not mind the case of names
	if json.Unmarshal([]byte(text), &members) != nil {
		return nil
	}
	m := &Message{}
	good := true
	read := func(name string, dst any) {
		value, ok := members[name]
		good = good && ok && string(value) != "null" && json.Unmarshal(value, dst) == nil
	}
	read("action", &m.Action)
	switch m.Action {
	case SetPhase:
		read("phase", &m.Phase)
	case Say:
		read("level", &m.Level)
		read("msg", &m.Text)
	case Start:
		read("id", &m.ID)
		read("type", &m.Type)
		read("level", &m.Level)
		read("text", &m.Text)
	case Report:
		read("id", &m.ID)
		read("type", &m.Type)
	case Stop:
		read("id", &m.ID)
	default:
		return nil
	}
	if m.Action == Start || m.Action == Report {
		var ok bool
		m.Fields, ok = parseFields(members["fields"])
		good = good && ok
	}
	if !good || m.Level < 0 || m.Level > maxLevel {
		return nil
	}
	return m
}

// parseFields reads a list of strings and natural numbers, which may be missing.
func parseFields(text json.RawMessage) (fields []any, ok bool) {
	var list []json.RawMessage
	if text == nil {
		return nil, true
	}
	if json.Unmarshal(text, &list) != nil {
		return nil, false
	}
	for _, e := range list {
		var s string
		var n uint64
		switch {
		case string(e) == "null":
			return nil, false
		case json.Unmarshal(e, &s) == nil:
			fields = append(fields, s)
		case json.Unmarshal(e, &n) == nil:
			fields = append(fields, n)
		default:
			return nil, false
		}
	}
	return fields, true
}
