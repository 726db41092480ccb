package local

import (
	"encoding/binary"
	"errors"
	"fmt"

	"larder/store"
)

// recordVersion is the first byte of every record. A reader refuses what it does not know, so a later Larder can change a
// record without touching the old ones.
const recordVersion = 1

// encoder appends the parts of a record. Numbers are varints, texts are counted.
type encoder struct{ b []byte }

func newRecord() *encoder { return &encoder{b: []byte{recordVersion}} }

func (e *encoder) uint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) int(v int64)   { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) byte(v byte)   { e.b = append(e.b, v) }
func (e *encoder) raw(v []byte)  { e.b = append(e.b, v...) }
func (e *encoder) text(v string) { e.uint(uint64(len(v))); e.b = append(e.b, v...) }
func (e *encoder) hash(h store.Hash) {
	e.byte(byte(h.Algo()))
	if !h.IsZero() {
		e.raw(h.Bytes())
	}
}

// path writes a store path, or the zero one.
func (e *encoder) path(p store.StorePath) {
	e.text(p.Name())
	if !p.IsZero() {
		d := p.Digest()
		e.raw(d[:])
	}
}

var (
	errRecordEnd = errors.New("record ends too early")
	errDangling  = errors.New("it is about a number that is not registered")
)

// decoder takes the parts off a record. After the first fault everything it returns is zero, and end reports the fault.
type decoder struct {
	b   []byte
	err error
}

func readRecord(b []byte) *decoder {
	d := &decoder{b: b}
	if v := d.byte(); d.err == nil && v != recordVersion {
		d.fail(fmt.Errorf("record version %d, this Larder reads %d", v, recordVersion))
	}
	return d
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail(errRecordEnd)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail(errRecordEnd)
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads how many things follow, each of which takes at least size bytes: no allocation by a mere claim.
func (d *decoder) count(size int) int {
	n := d.uint()
	if n > uint64(len(d.b)/size) {
		d.fail(errRecordEnd)
		return 0
	}
	return int(n)
}

func (d *decoder) raw(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.fail(errRecordEnd)
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if v := d.raw(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) text() string { return string(d.raw(d.count(1))) }

func (d *decoder) hash() store.Hash {
	algo := store.HashAlgo(d.byte())
	if algo == 0 {
		return store.Hash{}
	}
	h, err := store.NewHash(algo, d.raw(algo.Size()))
	if err != nil {
		d.fail(err)
	}
	return h
}

func (d *decoder) path() store.StorePath {
	name := d.text()
	if name == "" {
		return store.StorePath{}
	}
	digest := d.raw(digestSize)
	if digest == nil {
		return store.StorePath{}
	}
	p, err := store.NewStorePath([digestSize]byte(digest), name)
	if err != nil {
		d.fail(err)
	}
	return p
}

// end reports the first fault, and what is left over if there was none.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		return fmt.Errorf("%d bytes after the end of the record", len(d.b))
	}
	return d.err
}

// corrupt marks the fault of a record that is filed under key.
func corrupt(key []byte, err error) error {
	return fmt.Errorf("database record %q: %w: %w", key, store.ErrCorrupt, err)
}
