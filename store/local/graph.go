package local

import "math/bits"

// graph is a set of objects and their references in compact form: an object is an index, the order is that of discovery or
// of the numbers.
type graph struct {
	numbers []uint32 // of the objects
	start   []uint32 // the references of i are edges[start[i]:start[i+1]]
	edges   []uint32 // indices
}

func (g *graph) references(i uint32) []uint32 { return g.edges[g.start[i]:g.start[i+1]] }

// order returns the given objects and all they refer to, references before referrers. Objects for which skip is true are left
// out, with what only they refer to. In a circle, which a store does not have, the order is arbitrary.
func (g *graph) order(from []uint32, skip func(uint32) bool) []uint32 {
	type step struct{ node, next uint32 } // next: position in edges
	seen := newBitmap(len(g.numbers))
	out := make([]uint32, 0, len(g.numbers))
	var stack []step
	push := func(i uint32) {
		if !seen.has(i) && !skip(i) {
			seen.add(i)
			stack = append(stack, step{i, g.start[i]})
		}
	}
	for _, i := range from {
		push(i)
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if top.next == g.start[top.node+1] {
				out = append(out, top.node)
				stack = stack[:len(stack)-1]
				continue
			}
			top.next++
			push(g.edges[top.next-1])
		}
	}
	return out
}

// bitmap is a set of small numbers.
type bitmap []uint64

func newBitmap(n int) bitmap       { return make(bitmap, (n+63)/64) }
func (b bitmap) has(i uint32) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitmap) add(i uint32)      { b[i/64] |= 1 << (i % 64) }

// ranks finds the position of a number in an ascending list in constant time. It takes 1.5 bits for each number up to the
// highest, so that holes in the numbering do little harm.
type ranks struct {
	set    bitmap
	before []uint32 // how many numbers are in the words before
}

func newRanks(ascending []uint32) ranks {
	if len(ascending) == 0 {
		return ranks{}
	}
	r := ranks{set: newBitmap(int(ascending[len(ascending)-1]) + 1)}
	for _, n := range ascending {
		r.set.add(n)
	}
	r.before = make([]uint32, len(r.set))
	sum := 0
	for i, word := range r.set {
		r.before[i] = uint32(sum)
		sum += bits.OnesCount64(word)
	}
	return r
}

func (r ranks) find(n uint32) (i uint32, ok bool) {
	if int(n/64) >= len(r.set) || !r.set.has(n) {
		return 0, false
	}
	below := r.set[n/64] & (1<<(n%64) - 1)
	return r.before[n/64] + uint32(bits.OnesCount64(below)), true
}
