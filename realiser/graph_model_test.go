package realiser

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"larder/store"
	"larder/store/derivation"
)

// smallGraph is how many derivations there are in graphs of which a test has several.
const smallGraph = 250

// graphSize is how many derivations a generated graph has otherwise.
func graphSize() int {
	if testing.Short() { // once more, for races
		return 300
	}
	return 1000
}

// model is a generated graph of derivations, and what is to be expected of it.
type model struct {
	random *rand.Rand
	nodes  []*node // inputs before users
	named  map[string]*node
}

// node is one derivation of a model. Builders find out about theirs by its name.
type node struct {
	name     string
	drv      store.StorePath
	outputs  map[string]store.StorePath // the zero path if it is not known beforehand
	inputs   []edge
	refers   []bool // which of the inputs the outputs refer to
	cached   map[string]bool
	fails    bool // its builder exits with 1
	unknown  bool // paths of its outputs follow from realisations
	prefers  bool // preferLocalBuild
	building bool // its builder runs; guarded by graphLab.mu
}

type edge struct {
	from   *node
	output string
}

// recipe says what a generated graph is made of: probabilities.
type recipe struct {
	many     float64 // more than one output
	floating float64 // content-addressed
	cached   float64 // outputs that a substituter has, with all that they refer to
	partly   bool    // …, each output on its own
	failing  float64
	local    float64 // preferLocalBuild
}

// seeded returns a random source; a failed test prints how to have the same again.
func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	if text := os.Getenv("LARDER_TEST_SEED"); text != "" {
		if _, err := fmt.Sscan(text, &seed); err != nil {
			t.Fatalf("LARDER_TEST_SEED: %v", err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to have the same graph: LARDER_TEST_SEED=%d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// newModel generates a graph, and registers it with a store. What is cached is
// put into the cache.
func newModel(t *testing.T, s *fakeStore, c *fakeCache, n int, mix recipe) *model {
	m := &model{random: seeded(t), named: map[string]*node{}}
	chance := func(p float64) bool { return m.random.Float64() < p }
	for i := range n {
		// Names come in no order, so that the order of names is not that of the graph.
		x := &node{name: fmt.Sprintf("n%03d-%d", m.random.IntN(1000), i), outputs: map[string]store.StorePath{"out": {}},
			cached: map[string]bool{}, fails: chance(mix.failing), prefers: chance(mix.local)}
		if chance(mix.many) {
			x.outputs["dev"], x.outputs["doc"] = store.StorePath{}, store.StorePath{}
		}
		for range m.random.IntN(4) {
			if i > 0 {
				m.addInput(x, m.nodes[max(0, i-1-m.random.IntN(60))])
			}
		}
		m.register(t, s, x, chance(mix.floating))
		all := chance(mix.cached)
		for _, name := range x.outputNames() {
			if !x.unknown && (all || mix.partly && chance(mix.cached)) {
				m.cache(t, c, x, name)
			}
		}
		m.nodes = append(m.nodes, x)
		m.named[x.name] = x
	}
	return m
}

func (m *model) addInput(x, from *node) {
	names := from.outputNames()
	e := edge{from, names[m.random.IntN(len(names))]}
	if !slices.Contains(x.inputs, e) {
		x.inputs = append(x.inputs, e)
		x.refers = append(x.refers, m.random.IntN(2) == 0)
	}
}

func (m *model) register(t *testing.T, s *fakeStore, x *node, floats bool) {
	var inputs []string
	for _, e := range x.inputs {
		p := e.from.outputs[e.output]
		if e.from.unknown {
			x.unknown = true // deferred, at least
			inputs = append(inputs, derivation.UpstreamPlaceholder(e.from.drv, e.output))
		} else {
			inputs = append(inputs, store.DefaultDir.Join(p))
		}
	}
	x.drv, _ = s.drv(t, x.name, nil, func(d *derivation.Derivation) {
		for name := range x.outputs {
			d.Outputs[name] = derivation.Output{}
		}
		for _, e := range x.inputs {
			d.InputDrvs[e.from.drv] = append(d.InputDrvs[e.from.drv], e.output)
			slices.Sort(d.InputDrvs[e.from.drv])
		}
		d.Env["inputs"] = strings.Join(inputs, " ")
		if x.prefers {
			preferLocal(d)
		}
		if floats {
			floating(d)
		}
	})
	x.unknown = x.unknown || floats
	for name, o := range s.drvs[x.drv].Outputs {
		x.outputs[name] = o.Path
	}
}

// cache puts an output into the cache, if all that it refers to is there.
func (m *model) cache(t *testing.T, c *fakeCache, x *node, name string) {
	var refs []store.StorePath
	for i, e := range x.inputs {
		if !x.refers[i] {
			continue
		}
		if !e.from.cached[e.output] {
			return
		}
		refs = append(refs, e.from.outputs[e.output])
	}
	x.cached[name] = true
	c.add(t, x.outputs[name], refs...)
}

func (x *node) outputNames() []string {
	names := make([]string, 0, len(x.outputs))
	for name := range x.outputs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// target wants some outputs of a node, nil for all.
func (x *node) target(outputs ...string) Target { return Target{Drv: x.drv, Outputs: outputs} }

// randomTarget wants some or all outputs.
func (m *model) randomTarget() (*node, []string) {
	x := m.nodes[m.random.IntN(len(m.nodes))]
	var outputs []string
	for _, name := range x.outputNames() {
		if m.random.IntN(2) == 0 {
			outputs = append(outputs, name)
		}
	}
	return x, outputs
}

// demand is what callers want: of each node some outputs.
type demand map[*node]map[string]bool

func (d demand) add(x *node, outputs ...string) {
	if d[x] == nil {
		d[x] = map[string]bool{}
	}
	if len(outputs) == 0 {
		outputs = x.outputNames()
	}
	for _, o := range outputs {
		d[x][o] = true
	}
}

// substituted: all that is wanted of x comes from the cache.
func (d demand) substituted(x *node) bool {
	for o := range d[x] {
		if !x.cached[o] {
			return false
		}
	}
	return true
}

// expectation is what comes of a demand when nothing stops at a failure.
type expectation struct {
	runs map[*node]bool // its builder runs
	good map[*node]bool // what is wanted of it becomes valid
}

// expect follows a demand down the graph, and the results up. may says whether a
// node's builder may run here.
func (m *model) expect(d demand, may func(*node) bool) expectation {
	for _, x := range slices.Backward(m.nodes) {
		if d[x] == nil || d.substituted(x) || !may(x) {
			continue
		}
		for _, e := range x.inputs {
			d.add(e.from, e.output)
		}
	}
	want := expectation{runs: map[*node]bool{}, good: map[*node]bool{}}
	for _, x := range m.nodes {
		switch {
		case d[x] == nil:
		case d.substituted(x):
			want.good[x] = true
		case may(x) && !slices.ContainsFunc(x.inputs, func(e edge) bool { return !want.good[e.from] }):
			want.runs[x] = true
			want.good[x] = !x.fails
		}
	}
	return want
}

func anywhere(*node) bool { return true }
