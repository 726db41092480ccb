package local

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"larder/nar/tree"
)

// TempPrefix begins the name of everything that Larder has in the object directory and that is not an object.
const TempPrefix = ".larder-tmp-"

// tempBlock is how many temporary names one durable note covers, and so at most how many names recovery tries in vain.
const tempBlock = 256

// temps hands out temporary names. A name must be known to be ours before anything gets it, or a crash would leave a file
// that nobody dares to remove. Noting each would cost a sync each, so they are noted by the block: a random word for this
// opening of the store and the number of the block say what its names are.
type temps struct {
	s       *Store
	session [8]byte

	refill sync.Mutex // held while a block is being noted, which writes to disk; taken before mu

	mu     sync.Mutex // guards what follows
	next   uint32     // sequence number of the next name, if less than limit
	limit  uint32
	blocks map[uint32]map[uint32]bool // names in use, by block, for blocks that are noted
}

func (t *temps) init(s *Store) {
	t.s = s
	t.blocks = map[uint32]map[uint32]bool{}
	rand.Read(t.session[:])
}

func tempName(session [8]byte, seq uint32) string {
	return TempPrefix + hex.EncodeToString(session[:]) + "-" + strconv.FormatUint(uint64(seq), 10)
}

func tempsKey(session [8]byte, block uint32) []byte {
	return binary.BigEndian.AppendUint32(append([]byte{tableTemps}, session[:]...), block)
}

// parse returns the sequence number of a name that this opening of the store gave.
func (t *temps) parse(name string) (seq uint32, err error) {
	word, ok := strings.CutPrefix(name, TempPrefix+hex.EncodeToString(t.session[:])+"-")
	n, bad := strconv.ParseUint(word, 10, 32)
	if !ok || bad != nil || tempName(t.session, uint32(n)) != name {
		return 0, fmt.Errorf("%q is not a temporary name of this store: use the ones NewTemp gives", name)
	}
	return uint32(n), nil
}

// check fails unless name was given out and is still in use.
func (t *temps) check(name string) error {
	seq, err := t.parse(name)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.blocks[seq/tempBlock][seq] {
		return fmt.Errorf("the temporary name %q is not in use any more", name)
	}
	return nil
}

func (t *temps) fresh() (string, error) {
	for {
		t.mu.Lock()
		if t.next < t.limit {
			defer t.mu.Unlock()
			t.blocks[t.next/tempBlock][t.next] = true
			t.next++
			return tempName(t.session, t.next-1), nil
		}
		t.mu.Unlock()
		if err := t.note(); err != nil {
			return "", err
		}
	}
}

// note makes the next block of names ours.
func (t *temps) note() error {
	t.refill.Lock()
	defer t.refill.Unlock()
	t.mu.Lock()
	next, limit := t.next, t.limit
	t.mu.Unlock()
	if next < limit {
		return nil
	}
	err := t.s.db.change(true, func(b *pebble.Batch) error {
		return b.Set(tempsKey(t.session, limit/tempBlock), newRecord().b, nil)
	})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.blocks[limit/tempBlock] = map[uint32]bool{}
	t.limit += tempBlock
	return nil
}

// done says that nothing has the name any more. The note of a block goes with its last name, but not before that the names
// are gone is durable.
func (t *temps) done(name string) {
	seq, err := t.parse(name)
	if err != nil {
		return
	}
	block := seq / tempBlock
	t.mu.Lock()
	delete(t.blocks[block], seq)
	over := t.blocks[block] != nil && len(t.blocks[block]) == 0 && t.next >= (block+1)*tempBlock
	if over {
		delete(t.blocks, block)
	}
	t.mu.Unlock()
	if over {
		t.s.settled.add(tempsKey(t.session, block))
	}
}

// idle returns the notes of the blocks without a name in use, at the end.
func (t *temps) idle() (keys [][]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for block, names := range t.blocks {
		if len(names) == 0 {
			keys = append(keys, tempsKey(t.session, block))
		}
	}
	return keys
}

// NewTemp returns a fresh base name for the object directory, for a file, tree or symlink that is to be registered. It
// creates nothing. Whatever has that name is removed by Register, by DropTemp, or by the next Open.
func (s *Store) NewTemp(ctx context.Context) (name string, err error) {
	if err := s.writable(); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return s.temps.fresh()
}

// DropTemp removes what has a temporary name, and gives the name up. Nothing there, or a name given up before, is no error.
func (s *Store) DropTemp(name string) error {
	if _, err := s.temps.parse(name); err != nil {
		return err
	}
	if s.temps.check(name) != nil {
		return nil
	}
	if err := s.db.enter(); err != nil {
		return err // the next Open removes it
	}
	defer s.db.leave()
	if _, err := tree.RemoveAt(context.Background(), s.objects, name); err != nil {
		return fmt.Errorf("removing %s: %w", s.objectDir+"/"+name, err)
	}
	s.temps.done(name)
	return nil
}
