package local

import (
	"errors"
	"fmt"
	"time"

	"larder/store"
)

// State says where the content of a valid path is.
type State uint8

const (
	// Present: complete in the object directory.
	Present State = 1
	// Promised: known and trusted, not here; the content comes when somebody wants it.
	Promised State = 2
)

// Kind is the type of an object's root, as far as it is known without having the object.
type Kind uint8

const (
	KindUnknown Kind = iota
	KindDirectory
	KindRegular
	KindExecutable
	KindSymlink
)

// entry is the record of table p: the least that tells whether a path is valid.
type entry struct {
	state  State
	number uint32
}

func (r entry) encode() []byte {
	e := newRecord()
	e.byte(byte(r.state))
	e.uint(uint64(r.number))
	return e.b
}

func decodeEntry(b []byte) (entry, error) {
	d := readRecord(b)
	r := entry{state: State(d.byte())}
	n := d.uint()
	r.number = uint32(n)
	if err := d.end(); err != nil {
		return entry{}, err
	}
	if n == 0 || n > 1<<32-1 {
		return entry{}, fmt.Errorf("object number %d", n)
	}
	if r.state != Present && r.state != Promised {
		return entry{}, fmt.Errorf("unknown state %d", r.state)
	}
	return r, nil
}

// promise is where the content of a promised path will come from.
type promise struct {
	kind    Kind
	sources []string   // binary cache URLs, or the base name of a .drv
	listing store.Hash // of the .ls text that the placeholder is served from
}

// info is the record of table i: a path info without its path and references.
type info struct {
	narHash    store.Hash
	narSize    uint64
	registered time.Time
	deriver    store.StorePath
	ca         store.ContentAddress
	signatures []store.Signature
	ultimate   bool
	promise    *promise // not nil if and only if the state is Promised
}

const (
	flagUltimate = 1 << iota
	flagPromise
)

func (r *info) encode() []byte {
	e := newRecord()
	flags := byte(0)
	if r.ultimate {
		flags |= flagUltimate
	}
	if r.promise != nil {
		flags |= flagPromise
	}
	e.byte(flags)
	e.hash(r.narHash)
	e.uint(r.narSize)
	e.int(r.registered.Unix())
	e.path(r.deriver)
	e.byte(byte(r.ca.Method))
	if r.ca.Method != 0 {
		e.hash(r.ca.Hash)
	}
	e.uint(uint64(len(r.signatures)))
	for _, s := range r.signatures {
		e.text(s.Name)
		e.raw(s.Data[:])
	}
	if r.promise != nil {
		e.byte(byte(r.promise.kind))
		e.uint(uint64(len(r.promise.sources)))
		for _, s := range r.promise.sources {
			e.text(s)
		}
		e.hash(r.promise.listing)
	}
	return e.b
}

func decodeInfo(b []byte) (*info, error) {
	d := readRecord(b)
	flags := d.byte()
	if flags&^(flagUltimate|flagPromise) != 0 {
		d.fail(fmt.Errorf("unknown flags %#x", flags))
	}
	r := &info{ultimate: flags&flagUltimate != 0}
	r.narHash = d.hash()
	r.narSize = d.uint()
	r.registered = time.Unix(d.int(), 0)
	r.deriver = d.path()
	if r.ca.Method = store.Method(d.byte()); r.ca.Method != 0 {
		if r.ca.Method > store.Git {
			d.fail(fmt.Errorf("unknown content-address method %d", r.ca.Method))
		}
		if r.ca.Hash = d.hash(); r.ca.Hash.IsZero() {
			d.fail(errors.New("content address without hash"))
		}
	}
	var signature store.Signature
	for range d.count(1 + len(signature.Data)) {
		signature.Name = d.text()
		copy(signature.Data[:], d.raw(len(signature.Data)))
		r.signatures = append(r.signatures, signature)
	}
	if flags&flagPromise != 0 {
		r.promise = &promise{kind: Kind(d.byte())}
		if r.promise.kind > KindSymlink {
			d.fail(fmt.Errorf("unknown kind %d", r.promise.kind))
		}
		for range d.count(1) {
			r.promise.sources = append(r.promise.sources, d.text())
		}
		r.promise.listing = d.hash()
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	if r.narHash.Algo() != store.SHA256 {
		return nil, errors.New("NAR hash is not SHA-256")
	}
	return r, nil
}

// encodeNumbers is the record of table e. The numbers are sorted, so their differences are small.
func encodeNumbers(sorted []uint32) []byte {
	e := newRecord()
	e.uint(uint64(len(sorted)))
	last := uint32(0)
	for _, n := range sorted {
		e.uint(uint64(n - last))
		last = n
	}
	return e.b
}

// appendNumbers decodes the record of table e to the end of list.
func appendNumbers(list []uint32, b []byte) ([]uint32, error) {
	d := readRecord(b)
	last := uint64(0)
	for i := range d.count(1) {
		step := d.uint()
		if d.err == nil && (i > 0 && step == 0 || step > 1<<32-1 || last+step > 1<<32-1 || last+step == 0) {
			d.fail(errors.New("numbers are not ascending"))
		}
		last += step
		list = append(list, uint32(last))
	}
	return list, d.end()
}

// output is an output of a derivation. The path is zero where it follows only from building.
type output struct {
	name string
	path store.StorePath
}

func encodeOutputs(outputs []output) []byte {
	e := newRecord()
	e.uint(uint64(len(outputs)))
	for _, o := range outputs {
		e.text(o.name)
		e.path(o.path)
	}
	return e.b
}

func decodeOutputs(b []byte) ([]output, error) {
	d := readRecord(b)
	n := d.count(2)
	list := make([]output, 0, n)
	for range n {
		list = append(list, output{name: d.text(), path: d.path()})
	}
	return list, d.end()
}

func encodePath(p store.StorePath) []byte {
	e := newRecord()
	e.path(p)
	return e.b
}

func decodePath(b []byte) (store.StorePath, error) {
	d := readRecord(b)
	p := d.path()
	if err := d.end(); err != nil {
		return store.StorePath{}, err
	}
	if p.IsZero() {
		return p, errors.New("empty path")
	}
	return p, nil
}
