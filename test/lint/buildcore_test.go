package lint_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const buildCore = "docs/build-core.md"

// testName is what go test runs; what follows a slash is one of its cases.
var testName = regexp.MustCompile(`^(Test|Fuzz|Benchmark|Example)\w*`)

// TestBuildCoreTable: what docs/build-core.md says proves a behaviour is there, and so is the code.
func TestBuildCoreTable(t *testing.T) {
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, buildCore))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for number, line := range strings.Split(string(text), "\n") {
		cells, ok := tableRow(line)
		if !ok {
			continue
		}
		rows++
		if len(cells) != 3 {
			t.Errorf("%s:%d: %d cells, not 3", buildCore, number+1, len(cells))
			continue
		}
		for _, file := range strings.Split(cells[1], ",") {
			if file = strings.TrimSpace(file); file == "" {
				t.Errorf("%s:%d: no code is named", buildCore, number+1)
			} else if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s:%d: %v", buildCore, number+1, err)
			}
		}
		for _, group := range strings.Split(cells[2], ";") {
			folder, names, ok := strings.Cut(group, ":")
			if !ok {
				t.Errorf("%s:%d: %q does not say in which package a test is", buildCore, number+1, group)
				continue
			}
			found := 0
			for _, name := range strings.Split(names, ",") {
				// Not one: a further case of the test before it.
				if name = testName.FindString(strings.TrimSpace(name)); name == "" {
					continue
				}
				found++
				if !hasTest(t, filepath.Join(root, strings.TrimSpace(folder)), name) {
					t.Errorf("%s:%d: there is no %s in %s", buildCore, number+1, name, folder)
				}
			}
			if found == 0 {
				t.Errorf("%s:%d: no test is named in %q", buildCore, number+1, group)
			}
		}
	}
	if rows < 100 {
		t.Errorf("%s has only %d rows", buildCore, rows)
	}
}

// tableRow returns the cells of a table's line, which is neither its head nor the line below that.
func tableRow(line string) ([]string, bool) {
	inner, ok := strings.CutPrefix(line, "| ")
	if !ok || strings.HasPrefix(line, "| behaviour ") {
		return nil, false
	}
	cells := strings.Split(strings.ReplaceAll(strings.TrimSuffix(inner, " |"), `\|`, "\x00"), " | ")
	for i := range cells {
		cells[i] = strings.ReplaceAll(cells[i], "`", "")
	}
	return cells, true
}

func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
