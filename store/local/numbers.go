package local

import (
	"container/list"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"larder/store"
)

const (
	// numberBlock is how many numbers one durable note reserves, and how many a crash may waste.
	numberBlock = 4096
	// maxReservations bounds the memory for numbers of absent paths, at some 300 bytes each.
	maxReservations = 1 << 17
)

var errNumbersExhausted = errors.New("all 4,294,967,295 object numbers are used up")

// numbers hands out object numbers and remembers those of paths that may not be registered yet. The highest number is
// noted in the database, a block ahead, before a number of the block is used: so none that was registered is ever used again,
// not even after a crash. A reservation that was released is: who asks for names that do not exist, 30,000 a second, would
// have used up all numbers within two days, for good.
type numbers struct {
	s *Store

	refill sync.Mutex // held while a block is being reserved, which writes to disk; taken before mu

	mu       sync.Mutex // guards what follows
	next     uint32     // the next number, if less than limit
	limit    uint32     // the first that is not reserved
	recent   *list.List // of *reservation, the one used last first
	byPath   map[store.StorePath]*list.Element
	byNumber map[uint32]*list.Element
	free     []uint32 // to be used again, at most maxReservations
}

type reservation struct {
	path       store.StorePath
	number     uint32
	registered bool // or about to be: the number is of no other path, ever
}

func (n *numbers) init(s *Store) {
	n.s = s
	n.recent = list.New()
	n.byPath = map[store.StorePath]*list.Element{}
	n.byNumber = map[uint32]*list.Element{}
}

// load reads the high-water mark.
func (n *numbers) load() error {
	v, err := n.s.db.get(keyNumbers)
	if err != nil {
		return err
	}
	n.next = 1
	if v != nil {
		if len(v) != 4 || binary.BigEndian.Uint32(v) == 0 {
			return corrupt(keyNumbers, fmt.Errorf("%d bytes", len(v)))
		}
		n.next = binary.BigEndian.Uint32(v)
	}
	n.limit = n.next
	return nil
}

// save gives the unused part of the block back.
func (n *numbers) save(b *pebble.Batch) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return b.Set(keyNumbers, binary.BigEndian.AppendUint32(nil, n.next), nil)
}

// fresh returns a number that nobody has, and no registered path had.
func (n *numbers) fresh() (uint32, error) {
	for {
		n.mu.Lock()
		if last := len(n.free) - 1; last >= 0 {
			defer n.mu.Unlock()
			number := n.free[last]
			n.free = n.free[:last]
			return number, nil
		}
		if n.next < n.limit {
			n.next++
			defer n.mu.Unlock()
			return n.next - 1, nil
		}
		n.mu.Unlock()
		if err := n.reserve(); err != nil {
			return 0, err
		}
	}
}

func (n *numbers) reserve() error {
	n.refill.Lock()
	defer n.refill.Unlock()
	n.mu.Lock()
	next, limit := n.next, n.limit
	n.mu.Unlock()
	if next < limit {
		return nil
	}
	if limit > 1<<32-1-numberBlock {
		return errNumbersExhausted
	}
	limit += numberBlock
	if !n.s.readOnly {
		err := n.s.db.change(true, func(b *pebble.Batch) error {
			return b.Set(keyNumbers, binary.BigEndian.AppendUint32(nil, limit), nil)
		})
		if err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.limit = limit
	return nil
}

// reserved returns the reservation of p and keeps it fresh.
func (n *numbers) reserved(p store.StorePath) (uint32, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reservedLocked(p)
}

func (n *numbers) reservedLocked(p store.StorePath) (uint32, bool) {
	e := n.byPath[p]
	if e == nil {
		return 0, false
	}
	n.recent.MoveToFront(e)
	return e.Value.(*reservation).number, true
}

// take returns the number that p has or gets, of an absent path.
func (n *numbers) take(p store.StorePath) (uint32, error) {
	if number, ok := n.reserved(p); ok {
		return number, nil
	}
	number, err := n.fresh()
	if err != nil {
		return 0, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if earlier, ok := n.reservedLocked(p); ok {
		n.freeLocked(number)
		return earlier, nil // somebody was faster
	}
	e := n.recent.PushFront(&reservation{path: p, number: number})
	n.byPath[p], n.byNumber[number] = e, e
	if n.recent.Len() > maxReservations {
		n.dropLocked(n.recent.Back())
	}
	return number, nil
}

// register is take for a path that is about to be registered.
func (n *numbers) register(p store.StorePath) (uint32, error) {
	for {
		number, err := n.take(p)
		if err != nil || n.markRegistered(p, number) {
			return number, err
		}
	}
}

// markRegistered fails if the reservation has been released.
func (n *numbers) markRegistered(p store.StorePath, number uint32) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.byPath[p]
	if e == nil || e.Value.(*reservation).number != number {
		return false
	}
	e.Value.(*reservation).registered = true
	return true
}

func (n *numbers) freeLocked(number uint32) {
	if len(n.free) < maxReservations {
		n.free = append(n.free, number)
	}
}

func (n *numbers) dropLocked(e *list.Element) {
	r := n.recent.Remove(e).(*reservation)
	delete(n.byPath, r.path)
	delete(n.byNumber, r.number)
}

// forget drops the reservation of a path, if there is one.
func (n *numbers) forget(p store.StorePath) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e := n.byPath[p]; e != nil {
		n.dropLocked(e)
	}
}

// Number returns the object number of a path. An absent path gets a reservation, which Register keeps, unless it was
// released or so many others were asked for since that it was forgotten: then the path gets another number.
//
// Numbers are greater than 0. That of a path that was registered is never used again, also not after a crash or after the path was
// deleted; one that was released before may become another path's.
func (s *Store) Number(p store.StorePath) (uint32, error) {
	if number, ok := s.numbers.reserved(p); ok {
		return number, nil
	}
	if r, ok, err := s.entry(s.db, p); err != nil || ok {
		return r.number, err
	}
	number, err := s.numbers.take(p)
	if err != nil {
		return 0, err
	}
	// Register may have made p valid between our two looks, and its reservation be gone again.
	if r, ok, err := s.entry(s.db, p); err != nil || ok && r.number != number {
		s.ReleaseNumber(number)
		return r.number, err
	}
	return number, nil
}

// PathOf is the inverse of Number: the path that has a number, registered or reserved.
func (s *Store) PathOf(number uint32) (store.StorePath, bool) {
	s.numbers.mu.Lock()
	e := s.numbers.byNumber[number]
	s.numbers.mu.Unlock()
	if e != nil {
		return e.Value.(*reservation).path, true // it never changes
	}
	p, err := s.name(s.db, number)
	if err != nil {
		return store.StorePath{}, false
	}
	return p, true
}

// ReleaseNumber forgets the reservation of a path that is not registered; nobody may know the number by then. The number of a
// registered path stays.
func (s *Store) ReleaseNumber(number uint32) {
	n := &s.numbers
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.byNumber[number]
	if e == nil {
		return
	}
	n.dropLocked(e)
	if !e.Value.(*reservation).registered {
		n.freeLocked(number)
	}
}
