package builder

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestMessages(t *testing.T) {
	var ms messages
	for _, c := range []struct {
		line  string
		known bool
		want  *Message
	}{
		{`plain`, false, nil},
		{` @nix {"action":"setPhase","phase":"x"}`, false, nil},
		{`@nix {"action":"setPhase","phase":"buildPhase"}`, true, &Message{Action: SetPhase, Phase: "buildPhase"}},
		{`@nix {"action":"msg","level":3,"msg":"hello \u001b[1m"}`, true, &Message{Action: Say, Level: 3, Text: "hello \x1b[1m"}},
		{`@nix {"action":"start","id":7,"level":4,"type":101,"text":"get","fields":["url",3],"parent":0}`, true,
			&Message{Action: Start, ID: 7, Level: 4, Type: 101, Text: "get", Fields: []any{"url", uint64(3)}}},
		{`@nix {"action":"start","id":7,"level":4,"type":101,"text":"again"}`, true, nil},
		{`@nix {"action":"start","id":8,"level":4,"type":105,"text":"not a transfer"}`, true, nil},
		{`@nix {"action":"result","id":7,"type":105,"fields":[1,2,0,0]}`, true,
			&Message{Action: Report, ID: 7, Type: 105, Fields: []any{uint64(1), uint64(2), uint64(0), uint64(0)}}},
		{`@nix {"action":"result","id":8,"type":105}`, true, nil},
		{`@nix {"action":"stop","id":8}`, true, nil},
		{`@nix {"action":"stop","id":7}`, true, &Message{Action: Stop, ID: 7}},
		{`@nix {"action":"stop","id":7}`, true, nil},
		// What is no message stays a line.
		{`@nix not json`, false, nil},
		{`@nix `, false, nil},
		{`@nix []`, false, nil},
		{`@nix null`, false, nil},
		{`@nix {}`, false, nil},
		{`@nix {"action":"explode"}`, false, nil},
		{`@nix {"Action":"setPhase","phase":"x"}`, false, nil},
		{`@nix {"action":"setPhase"}`, false, nil},
		{`@nix {"action":"setPhase","phase":null}`, false, nil},
		{`@nix {"action":"setPhase","phase":1}`, false, nil},
		{`@nix {"action":"msg","level":8,"msg":"x"}`, false, nil},
		{`@nix {"action":"msg","level":-1,"msg":"x"}`, false, nil},
		{`@nix {"action":"msg","msg":"x"}`, false, nil},
		{`@nix {"action":"stop","id":-1}`, false, nil},
		{`@nix {"action":"start","id":1,"level":3,"type":101,"text":"x","fields":[null]}`, false, nil},
		{`@nix {"action":"start","id":1,"level":3,"type":101,"text":"x","fields":[1.5]}`, false, nil},
		{`@nix {"action":"start","id":1,"level":3,"type":101,"text":"x","fields":{}}`, false, nil},
		{`@nix ` + strings.Repeat("[", 4000), false, nil},
	} {
		if m, known := ms.take(c.line); known != c.known || !reflect.DeepEqual(m, c.want) {
			t.Errorf("%.100s: %+v %v", c.line, m, known)
		}
	}
}

func TestActivitiesAreBounded(t *testing.T) {
	var ms messages
	told := 0
	for i := range 10 * maxActivities {
		if m, _ := ms.take(fmt.Sprintf(`@nix {"action":"start","id":%d,"level":3,"type":101,"text":"x"}`, i)); m != nil {
			told++
		}
	}
	stops := ms.end()
	if told != maxActivities || len(stops) != told || stops[0].Action != Stop || stops[1].ID != 1 || len(ms.end()) != 0 {
		t.Errorf("%d activities began, %d were stopped at the end", told, len(stops))
	}
}

// Lines with messages are in the file, but neither among the lines of the log
// nor among the last ones.
func TestLogTellsMessages(t *testing.T) {
	l := newLog(t.TempDir()+"/log", 10)
	var got []string
	l.onLine = func(line string) { got = append(got, line) }
	l.onMessage = func(m *Message) { got = append(got, m.Action+" "+m.Phase+m.Text) }
	for _, piece := range []string{"a\n@ni", `x {"action":"setPhase","phase":"p"}`, "\n@nix not json\n",
		`@nix {"action":"start","id":1,"level":3,"type":101,"text":"t"}`, "\r\nend"} {
		l.Write([]byte(piece))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "setPhase p", "@nix not json", "start t", "end", "stop "}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := []string{"a", "@nix not json", "end"}; !reflect.DeepEqual(l.Tail(), want) {
		t.Errorf("the last lines are %q, want %q", l.Tail(), want)
	}
}

func FuzzMessage(f *testing.F) {
	for _, line := range []string{`{"action":"setPhase","phase":"x"}`, `{"action":"start","id":1,"level":3,"type":101,"text":"x","fields":["a",1]}`,
		`{"action":"result","id":1,"type":105,"fields":[1]}`, `{"action":"msg","level":0,"msg":"\ud800"}`} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		var ms messages
		m, known := ms.take(messagePrefix + line)
		if m == nil {
			return
		}
		if !known || m.Level < 0 || m.Level > maxLevel {
			t.Errorf("%+v %v", m, known)
		}
		for _, field := range m.Fields {
			switch field.(type) {
			case string, uint64:
			default:
				t.Errorf("a field is %T", field)
			}
		}
	})
}
