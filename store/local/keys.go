package local

import (
	"encoding/binary"

	"larder/store"
)

// The key layout. The first byte of a key is its table; numbers are big-endian, so that they sort. Why it is like this:
// docs/decisions/0030-key-layout.md.
//
//	p digest name          state, number          what is valid, and is it here
//	n number               path                   the name of a number
//	i number               path info              everything but path and references
//	e number               numbers                references ("edges")
//	b number number        -                      referrers ("back edges"): the second refers to the first
//	w number               outputs                what a .drv says it makes
//	o digest number        output, path           the inverse: the .drvs that have an output with that digest
//	r DRVHASH!OUTPUT       realisation
//	q number DRVHASH!OUTPUT  -                    realisations of a path
//	c cache digest         narinfo                what a binary cache answered, with its expiry
//	C cache                nix-cache-info         the same for the cache as a whole
//	t block                session                temporary names that may exist on disk
//	x final 0 temp         intent                 a rename that may be under way, or is not known to be durable
//	g link                 path                   what a user's root pointed to
//	l number               time                   last use
//	f digest name          failure                a build that failed for good
//	m word                 -                      the schema, the store directory, the highest number handed out
const (
	tablePath        = 'p'
	tableName        = 'n'
	tableInfo        = 'i'
	tableReferences  = 'e'
	tableReferrers   = 'b'
	tableOutputs     = 'w'
	tableDerivers    = 'o'
	tableRealisation = 'r'
	tableRealises    = 'q'
	tableNarInfo     = 'c'
	tableCacheInfo   = 'C'
	tableTemps       = 't'
	tableIntent      = 'x'
	tableRoot        = 'g'
	tableLastUse     = 'l'
	tableFailure     = 'f'
	tableMeta        = 'm'
)

const digestSize = 20

var (
	keySchema    = []byte("mschema")
	keyStoreDir  = []byte("mstore-dir")
	keyObjectDir = []byte("mobject-dir")
	keyNumbers   = []byte("mnumbers")
)

func pathKey(p store.StorePath) []byte {
	d := p.Digest()
	k := append(make([]byte, 0, 1+digestSize+len(p.Name())), tablePath)
	return append(append(k, d[:]...), p.Name()...)
}

func digestKey(table byte, digest [digestSize]byte) []byte {
	return append([]byte{table}, digest[:]...)
}

func numberKey(table byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{table}, n)
}

func referrerKey(of, by uint32) []byte {
	return binary.BigEndian.AppendUint32(numberKey(tableReferrers, of), by)
}

func deriverKey(output store.StorePath, drv uint32) []byte {
	return binary.BigEndian.AppendUint32(digestKey(tableDerivers, output.Digest()), drv)
}

func realisationKey(id store.DrvOutput) []byte {
	return append([]byte{tableRealisation}, id.String()...)
}

func realisesKey(out uint32, id store.DrvOutput) []byte {
	return append(numberKey(tableRealises, out), id.String()...)
}

// lastNumber is the number at the end of a key.
func lastNumber(key []byte) uint32 { return binary.BigEndian.Uint32(key[len(key)-4:]) }

// after is the first key behind all that begin with prefix.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
