package derivation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"larder/store"
)

// maxMemo bounds the hashes that a Hasher remembers. One takes some 250 bytes.
const maxMemo = 1 << 18

// Hasher computes hashes modulo, and from them output paths. It remembers the
// hashes of the derivations that it has read, so a whole graph costs each of
// them once. Its methods may be called concurrently.
type Hasher struct {
	dir  store.Dir
	read func(context.Context, store.StorePath) (*Derivation, error)

	maxMemo int

	mu   sync.Mutex
	memo map[store.StorePath]hashed // guarded by mu; at most maxMemo entries
}

// NewHasher makes a Hasher that reads input derivations by read, which must
// return what is at that store path: the Hasher doesn't check it again. Read may
// be called concurrently and may return the same value many times.
func NewHasher(d store.Dir, read func(context.Context, store.StorePath) (*Derivation, error)) *Hasher {
	return &Hasher{dir: d, read: read, maxMemo: maxMemo, memo: map[store.StorePath]hashed{}}
}

// Modulo is the hash of a derivation modulo the way in which its fixed-output
// inputs are made.
type Modulo struct {
	Hash store.Hash
	// Deferred says that no output paths follow from the hash, because the
	// derivation, or one that it depends on, is content-addressed or impure.
	Deferred bool
}

// hashed is what must be known of a derivation to hash one that depends on it.
type hashed struct {
	Modulo
	outputs []string // sorted
}

// Modulo returns the hash from which drv's output paths and the identities of
// its realisations follow. It reads the derivations that drv depends on; errors
// of that are wrapped.
func (h *Hasher) Modulo(ctx context.Context, drv *Derivation) (Modulo, error) {
	inputs, err := h.inputs(ctx, drv)
	if err != nil {
		return Modulo{}, err
	}
	return h.hash(drv, inputs, true)
}

// DrvOutputs returns the identities under which realisations of drv's outputs
// are recorded.
func (h *Hasher) DrvOutputs(ctx context.Context, drv *Derivation) (map[string]store.DrvOutput, error) {
	m, err := h.Modulo(ctx, drv)
	if err != nil {
		return nil, err
	}
	ids := make(map[string]store.DrvOutput, len(drv.Outputs))
	for name := range drv.Outputs {
		ids[name] = store.DrvOutput{DrvHash: m.Hash, Output: name}
	}
	return ids, nil
}

// needsInputs reports whether the inputs' hashes go into drv's.
func needsInputs(drv *Derivation) bool {
	k := drv.Kind()
	return k != FixedOutput && k != Impure
}

var impureHash = store.SHA256.Sum([]byte("impure"))

// hash computes a hash modulo from those of the inputs. Masked hashes are for
// the derivation itself, the others for those that depend on it.
func (h *Hasher) hash(drv *Derivation, inputs map[store.StorePath]hashed, mask bool) (Modulo, error) {
	switch drv.Kind() {
	case FixedOutput:
		return h.hashFixed(drv)
	case Impure:
		return Modulo{Hash: impureHash, Deferred: true}, nil
	}
	m := Modulo{Deferred: drv.Kind() == FloatingCA}

	// Inputs with the same hash become one: they build the same thing.
	var refs []inputRef
	for p := range drv.InputDrvs {
		in, use := inputs[p], drv.Use(p)
		m.Deferred = m.Deferred || in.Deferred || len(use.Dynamic) > 0
		for _, o := range use.Needed() {
			if _, ok := slices.BinarySearch(in.outputs, o); !ok {
				return Modulo{}, &InvalidError{Name: drv.Name, Reason: fmt.Sprintf("its input %s has no output %q", p, o)}
			}
		}
		if len(use.Needed()) > 0 {
			refs = append(refs, inputRef{in.Hash.Encode(store.Base16), use})
		}
	}
	slices.SortFunc(refs, func(a, b inputRef) int { return strings.Compare(a.key, b.key) })
	last := 0
	for i := 1; i < len(refs); i++ {
		if refs[i].key == refs[last].key {
			refs[last].use = refs[last].use.merge(refs[i].use)
		} else {
			last++
			refs[last] = refs[i]
		}
	}
	refs = refs[:min(last+1, len(refs))]
	m.Hash = store.SHA256.Sum(drv.appendATerm(nil, h.dir, refs, mask))
	return m, nil
}

func (h *Hasher) hashFixed(drv *Derivation) (Modulo, error) {
	path, err := fixedPath(h.dir, drv)
	if err != nil {
		return Modulo{}, err
	}
	ca := drv.Outputs["out"].CA
	text := "fixed:out:" + methodAlgo(ca.Method, ca.Hash.Algo()) + ":" + ca.Hash.Encode(store.Base16) + ":" + h.dir.Join(path)
	return Modulo{Hash: store.SHA256.Sum([]byte(text))}, nil
}

// fixedPath is the path of the output of a fixed-output derivation.
func fixedPath(d store.Dir, drv *Derivation) (store.StorePath, error) {
	return d.ContentPath(store.OutputPathName(drv.Name, "out"), drv.Outputs["out"].CA, store.References{})
}

// frame is a derivation whose inputs are being visited.
type frame struct {
	path   store.StorePath
	drv    *Derivation
	inputs []store.StorePath
}

// inputs returns the hashes of what drv depends on directly, and if need be
// computes those of everything below, deepest first. The stack is our own:
// a chain of derivations can be longer than a goroutine's stack is high.
func (h *Hasher) inputs(ctx context.Context, drv *Derivation) (map[store.StorePath]hashed, error) {
	if !needsInputs(drv) {
		return nil, nil
	}
	known := map[store.StorePath]hashed{} // of this call: the memo may forget
	stack := []frame{{drv: drv, inputs: h.missing(drv, known)}}
	visiting := map[store.StorePath]bool{}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		top := &stack[len(stack)-1]
		if n := len(top.inputs); n > 0 {
			p := top.inputs[n-1]
			top.inputs = top.inputs[:n-1]
			if _, ok := known[p]; ok {
				continue // it was below a sibling too
			}
			if visiting[p] {
				return nil, &InvalidError{Name: top.drv.Name, Reason: fmt.Sprintf("it depends on itself through %s", h.dir.Join(p))}
			}
			in, err := h.read(ctx, p)
			if err != nil {
				return nil, fmt.Errorf("input %s of derivation %s: %w", h.dir.Join(p), top.drv.Name, err)
			}
			visiting[p] = true
			stack = append(stack, frame{path: p, drv: in, inputs: h.missing(in, known)})
			continue
		}
		if len(stack) == 1 {
			return known, nil
		}
		m, err := h.hash(top.drv, known, false)
		if err != nil {
			return nil, err
		}
		known[top.path] = h.remember(top.path, hashed{m, top.drv.OutputNames()})
		delete(visiting, top.path)
		stack = stack[:len(stack)-1]
	}
}

// missing returns the inputs of drv that are not in known, after it has moved
// those that are in the memo there.
func (h *Hasher) missing(drv *Derivation, known map[store.StorePath]hashed) []store.StorePath {
	if !needsInputs(drv) {
		return nil
	}
	var missing []store.StorePath
	h.mu.Lock()
	defer h.mu.Unlock()
	for p := range maps.Keys(drv.InputDrvs) {
		if _, ok := known[p]; ok {
			continue
		}
		if m, ok := h.memo[p]; ok {
			known[p] = m
		} else {
			missing = append(missing, p)
		}
	}
	return missing
}

// remember puts a hash into the memo, in the place of any other if it is full.
func (h *Hasher) remember(p store.StorePath, m hashed) hashed {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.memo) >= h.maxMemo {
		for other := range h.memo {
			delete(h.memo, other)
			break
		}
	}
	h.memo[p] = m
	return m
}
