package cli_test

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestFailures(t *testing.T) {
	for _, way := range []string{"embedded", "daemon"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			l := newLarder(t)
			l.canBuild()
			l.options = append(l.options, "--option", "build-cache-failure", "true")
			failing := l.derivation("failing", "echo the reason; exit 3", nil, "")
			out := l.ok("query", "outputs", failing)
			if way == "daemon" {
				options := l.options
				l.daemon()
				l.options, l.hasDaemon = options[:4], true
			}
			fails := func(text string) {
				t.Helper()
				if out, stderr, status := l.run("realise", failing); status != 100 || out != "" || !strings.Contains(stderr, text) {
					t.Errorf("status %d, expected %q:\n%s%s", status, text, out, stderr)
				}
			}
			fails("failed with exit code 3")
			fails("failed previously")
			var rows []map[string]string
			if err := json.Unmarshal([]byte(l.ok("--json", "failures")), &rows); err != nil || len(rows) != 1 || rows[0]["path"] != out ||
				rows[0]["drvPath"] != failing || rows[0]["status"] != "PermanentFailure" {
				t.Errorf("%v, %v", rows, err)
			}
			l.ok("failures", "clear", failing)
			if list := l.ok("failures", "list"); list != "" {
				t.Errorf("after clear: %s", list)
			}
			fails("failed with exit code 3")
			l.ok("failures", "clear", out)
			fails("failed with exit code 3")
			l.ok("failures", "clear")
			if list := l.ok("failures"); list != "" {
				t.Errorf("after clearing all: %s", list)
			}
		})
	}
}
