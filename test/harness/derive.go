package harness

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Recipe is a derivation with one output.
type Recipe struct {
	Name   string
	Script string // of the shell that is its builder; $out is the output
	Inputs []Derived
}

// Derived is a registered derivation.
type Derived struct {
	Drv, Out string // absolute
}

// Derive registers derivations with the running daemon, or with the store itself.
func (s *Site) Derive(recipes ...Recipe) []Derived {
	s.t.Helper()
	var files []string
	for _, r := range recipes {
		inputs := map[string][]string{}
		env := map[string]string{}
		for i, in := range r.Inputs {
			inputs[in.Drv] = []string{"out"}
			env[fmt.Sprintf("in%d", i+1)] = in.Out
		}
		text, err := json.Marshal(map[string]any{
			"name": r.Name, "system": map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH] + "-linux",
			"builder": "/bin/sh", "args": []string{"-c", r.Script}, "env": env,
			"inputDrvs": inputs, "inputSrcs": []string{}, "outputs": map[string]any{"out": map[string]any{}},
		})
		if err != nil {
			s.t.Fatal(err)
		}
		file := filepath.Join(s.Top, fmt.Sprintf("%s-%d.json", r.Name, serial.Add(1)))
		if err := os.WriteFile(file, text, 0o644); err != nil {
			s.t.Fatal(err)
		}
		files = append(files, file)
	}
	drvs := strings.Fields(s.Must(append([]string{"derivation", "add"}, files...)...))
	outs := strings.Fields(s.Must(append([]string{"query", "outputs"}, drvs...)...))
	if len(drvs) != len(recipes) || len(outs) != len(recipes) {
		s.t.Fatalf("%d recipes gave %d derivations and %d outputs", len(recipes), len(drvs), len(outs))
	}
	var all []Derived
	for i := range drvs {
		all = append(all, Derived{drvs[i], outs[i]})
	}
	return all
}
