package local

import (
	"bytes"
	"errors"
	"fmt"

	"larder/store"
)

// An intent notes that what lies at one name of the object directory is about to get another: a temporary name and the
// final one, in either direction. It says which file is meant, because the names alone do not: by the time that recovery
// reads it, somebody else may have put something at the final name.
type intent struct {
	kind intentKind
	file identity
}

type intentKind byte

const (
	put    intentKind = 1 // temporary to final, by Register
	remove intentKind = 2 // final to temporary, by GC
	swap   intentKind = 3 // each to the other's place, by Replace; the file is that of the temporary name
)

// intentKey holds both names; store paths and temporary names have no zero byte.
func intentKey(final, temp string) []byte {
	return append(append(append([]byte{tableIntent}, final...), 0), temp...)
}

func splitIntentKey(key []byte) (final store.StorePath, temp string, err error) {
	name, rest, ok := bytes.Cut(key[1:], []byte{0})
	if !ok {
		return final, "", corrupt(key, errors.New("it has no temporary name"))
	}
	if final, err = store.ParseStorePath(string(name)); err != nil {
		return final, "", corrupt(key, err)
	}
	return final, string(rest), nil
}

func (i intent) encode() []byte {
	e := newRecord()
	e.byte(byte(i.kind))
	e.uint(i.file.ino)
	e.int(i.file.birth)
	return e.b
}

func decodeIntent(b []byte) (intent, error) {
	d := readRecord(b)
	i := intent{kind: intentKind(d.byte())}
	i.file = identity{ino: d.uint(), birth: d.int()}
	if err := d.end(); err != nil {
		return intent{}, err
	}
	if i.kind < put || i.kind > swap {
		return intent{}, fmt.Errorf("unknown intent %d", i.kind)
	}
	return i, nil
}
