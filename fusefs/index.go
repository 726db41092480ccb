package fusefs

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// index numbers everything inside one object in canonical NAR order: an object
// is 0, a directory comes before what is in it, names are sorted by bytes. It
// holds names and types only, some 20 bytes and the name for each entry;
// attributes and contents come from the files. Immutable when made.
type index struct {
	names    string   // of all entries, one after the other
	nameEnd  []uint32 // where the name of an entry ends in names
	parents  []uint32
	kinds    []kind
	childEnd []uint32 // where the children of an entry end in children
	children []uint32 // entry numbers, by directory, sorted by name
}

func (x *index) len() int { return len(x.kinds) }

func (x *index) valid(e uint32) bool { return int(e) < len(x.kinds) }

func (x *index) name(e uint32) string {
	if e == 0 {
		return ""
	}
	return x.names[x.nameEnd[e-1]:x.nameEnd[e]]
}

// list returns the entries of a directory, sorted by name.
func (x *index) list(dir uint32) []uint32 {
	start := uint32(0)
	if dir > 0 {
		start = x.childEnd[dir-1]
	}
	return x.children[start:x.childEnd[dir]]
}

// find looks a name up in a directory.
func (x *index) find(dir uint32, name string) (uint32, bool) {
	l := x.list(dir)
	i := sort.Search(len(l), func(i int) bool { return x.name(l[i]) >= name })
	if i == len(l) || x.name(l[i]) != name {
		return 0, false
	}
	return l[i], true
}

// path is the path of an entry below base, the name of the object.
func (x *index) path(base string, e uint32) string {
	if e == 0 {
		return base
	}
	var parts []string
	for ; e != 0; e = x.parents[e] {
		parts = append(parts, x.name(e))
	}
	parts = append(parts, base)
	slices.Reverse(parts)
	return strings.Join(parts, "/")
}

// buildIndex walks the object called base below the descriptor dirfd. What no
// NAR can hold (a socket, say) is left out.
func buildIndex(dirfd int, base string) (*index, error) {
	b := indexBuilder{dirfd: dirfd}
	var st unix.Stat_t
	if err := statAt(dirfd, base, &st); err != nil {
		return nil, err
	}
	k, ok := kindOfMode(st.Mode)
	if !ok {
		return nil, unix.EIO
	}
	if err := b.add(0, base, k); err != nil {
		return nil, err
	}
	return b.finish(), nil
}

type indexBuilder struct {
	dirfd int
	path  []byte // of the entry that is being added
	names strings.Builder
	x     index
}

// add appends an entry and, if it is a directory, everything in it. The object
// itself is in the path, but has no name of its own.
func (b *indexBuilder) add(parent uint32, name string, k kind) error {
	e, length := uint32(len(b.x.kinds)), len(b.path)
	if e >= maxEntries || b.names.Len()+len(name) > math.MaxUint32 {
		return unix.EFBIG
	}
	if e > 0 {
		b.path = append(b.path, '/')
		b.names.WriteString(name)
	}
	b.path = append(b.path, name...)
	defer func() { b.path = b.path[:length] }()
	b.x.nameEnd = append(b.x.nameEnd, uint32(b.names.Len()))
	b.x.parents = append(b.x.parents, parent)
	b.x.kinds = append(b.x.kinds, k)
	if k != kindDirectory {
		return nil
	}
	list, err := b.read()
	if err != nil {
		return err
	}
	for _, d := range list {
		if k, ok := kindOfMode(uint32(d.typ) << 12); ok {
			if err := b.add(e, d.name, k); err != nil {
				return err
			}
		}
	}
	return nil
}

// read lists the directory at the path, sorted, every type known.
func (b *indexBuilder) read() ([]dirent, error) {
	fd, err := openBeneath(b.dirfd, string(b.path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	list, err := readDirents(fd)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].typ != unix.DT_UNKNOWN {
			continue
		}
		var st unix.Stat_t
		if err := statAt(fd, list[i].name, &st); err != nil {
			return nil, err
		}
		list[i].typ = uint8(st.Mode & unix.S_IFMT >> 12)
	}
	slices.SortFunc(list, func(a, b dirent) int { return cmp.Compare(a.name, b.name) })
	return list, nil
}

// finish groups the entries by parent. Entries are in order of name within each
// directory already, so counting is enough.
func (b *indexBuilder) finish() *index {
	x := &b.x
	x.names = b.names.String()
	x.childEnd = make([]uint32, x.len())
	x.children = make([]uint32, x.len()-1)
	for e := 1; e < x.len(); e++ {
		x.childEnd[x.parents[e]]++
	}
	next := make([]uint32, x.len())
	sum := uint32(0)
	for e := range x.childEnd {
		next[e] = sum
		sum += x.childEnd[e]
		x.childEnd[e] = sum
	}
	for e := 1; e < x.len(); e++ {
		p := x.parents[e]
		x.children[next[p]] = uint32(e)
		next[p]++
	}
	return x
}
