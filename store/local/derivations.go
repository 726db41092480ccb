package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"larder/store"
	"larder/store/derivation"
)

const (
	// maxDerivation bounds the text of a .drv that is read; the largest of a real package set has 600 kB.
	maxDerivation = 64 << 20
	// maxDerivations bounds how many parsed derivations are kept in memory.
	maxDerivations = 1024
)

// derivations keeps parsed derivations. A .drv never changes under its name, so an entry is never wrong; that its path
// is still valid is asked each time.
type derivations struct {
	hasher *derivation.Hasher

	mu     sync.Mutex // guards parsed
	parsed map[store.StorePath]*derivation.Derivation
}

func (c *derivations) init(s *Store) {
	c.parsed = map[store.StorePath]*derivation.Derivation{}
	c.hasher = derivation.NewHasher(s.dir, s.Derivation)
}

func (c *derivations) get(p store.StorePath) *derivation.Derivation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parsed[p]
}

func (c *derivations) put(p store.StorePath, drv *derivation.Derivation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for old := range c.parsed {
		if len(c.parsed) < maxDerivations {
			break
		}
		delete(c.parsed, old) // any one: the order of a map is as good as random
	}
	c.parsed[p] = drv
}

// Derivation returns the derivation at a valid path. It is shared and must not be changed: clone it.
func (s *Store) Derivation(ctx context.Context, p store.StorePath) (*derivation.Derivation, error) {
	if _, err := s.validEntry(s.db, "read derivation", p); err != nil {
		return nil, err
	}
	if drv := s.drvs.get(p); drv != nil {
		return drv, nil
	}
	text, err := s.ReadFile(ctx, p, maxDerivation)
	if err != nil {
		return nil, err
	}
	drv, err := s.parseDerivation(p, text)
	if err != nil {
		return nil, err
	}
	s.drvs.put(p, drv)
	return drv, nil
}

func (s *Store) parseDerivation(p store.StorePath, text []byte) (*derivation.Derivation, error) {
	name, ok := strings.CutSuffix(p.Name(), ".drv")
	if !ok {
		return nil, fmt.Errorf("%s is not a derivation: its name does not end in .drv", s.dir.Join(p))
	}
	drv, err := derivation.Parse(s.dir, name, text)
	if err != nil {
		return nil, &store.PathError{Op: "parse", Dir: s.dir, Path: p, Err: err}
	}
	return drv, nil
}

// readDerivations parses the .drvs of a registration and checks that their output paths are the right ones: whoever could
// register a wrong one could claim other derivations' outputs.
func (s *Store) readDerivations(ctx context.Context, r *registration) error {
	drvs := map[store.StorePath]*derivation.Derivation{}
	for _, a := range r.adds {
		if !a.info.Path.IsDerivation() {
			continue
		}
		text, err := s.readObject(a.temp, maxDerivation)
		if err != nil {
			return &store.PathError{Op: "register", Dir: s.dir, Path: a.info.Path, Err: err}
		}
		drv, err := s.parseDerivation(a.info.Path, text)
		if err != nil {
			return err
		}
		drvs[a.info.Path] = drv
		a.outputs = []output{}
		for _, name := range drv.OutputNames() {
			a.outputs = append(a.outputs, output{name, drv.Outputs[name].Path})
		}
	}
	if len(drvs) == 0 {
		return nil
	}
	hasher := s.drvs.hasher
	if len(drvs) > 1 {
		// They may depend on each other, and none is valid yet. The shared hasher must not learn of what may fail.
		hasher = derivation.NewHasher(s.dir, func(ctx context.Context, p store.StorePath) (*derivation.Derivation, error) {
			if drv := drvs[p]; drv != nil {
				return drv, nil
			}
			return s.Derivation(ctx, p)
		})
	}
	for p, drv := range drvs {
		if err := hasher.Check(ctx, p, drv); err != nil {
			return &store.PathError{Op: "register", Dir: s.dir, Path: p, Err: err}
		}
	}
	return nil
}

// errNotRegular says that an object is a directory or a symlink.
var errNotRegular = errors.New("it is not a regular file")

// ReadFile returns the contents of an object that is a regular file of at most max bytes.
func (s *Store) ReadFile(ctx context.Context, p store.StorePath, max int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.db.enter(); err != nil {
		return nil, err
	}
	defer s.db.leave()
	e, err := s.validEntry(s.db, "read", p)
	if err != nil {
		return nil, err
	}
	if e.state != Present {
		return nil, &store.PathError{Op: "read", Dir: s.dir, Path: p, Err: errNotHere}
	}
	text, err := s.readObject(p.String(), max)
	if err != nil {
		return nil, &store.PathError{Op: "read", Dir: s.dir, Path: p, Err: err}
	}
	return text, nil
}

// errNotHere says that a path is promised only.
var errNotHere = errors.New("its content is promised, not here")

// readObject reads a regular file directly in the object directory.
func (s *Store) readObject(name string, max int64) ([]byte, error) {
	fd, err := openBelow(s.objects, name, unix.O_RDONLY|unix.O_NONBLOCK)
	if errors.Is(err, unix.ELOOP) {
		return nil, errNotRegular
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, errNotRegular
	case st.Size() > max:
		return nil, fmt.Errorf("it has %d bytes, at most %d were expected", st.Size(), max)
	}
	text := make([]byte, st.Size())
	_, err = io.ReadFull(f, text)
	return text, err
}
