package local

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"larder/nar/tree"
	"larder/store"
)

// OptimiseResult is what Optimise did.
type OptimiseResult struct {
	Files int   // that became links to others
	Bytes int64 // of disk that gave back
}

func (r *OptimiseResult) add(o OptimiseResult) {
	r.Files += o.Files
	r.Bytes += o.Bytes
}

// Optimise makes files of objects that have the same contents and mode links to one file. It may run beside everything else:
// at each moment every file is there, with its contents. After a crash a directory that was being worked on may have another
// mode and time than a canonical one, which is not part of an object.
func (s *Store) Optimise(ctx context.Context) (*OptimiseResult, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	if err := s.db.enter(); err != nil {
		return nil, err
	}
	defer s.db.leave()
	result := &OptimiseResult{}
	for p, err := range s.AllValid(ctx) {
		if err == nil {
			err = s.optimiseValid(ctx, p, result)
		}
		if err != nil {
			return result, err
		}
	}
	return result, nil
}

func (s *Store) optimiseValid(ctx context.Context, p store.StorePath, result *OptimiseResult) error {
	release, err := s.claims.take(ctx, []store.StorePath{p}) // GC spares what is claimed
	if err != nil {
		return err
	}
	defer release()
	if e, ok, err := s.entry(s.db, p); err != nil || !ok || e.state != Present {
		return err
	}
	o, err := s.optimise(ctx, p.String(), true)
	result.add(o)
	if errors.Is(err, unix.ENOENT) {
		return nil // it is damaged, which others say
	}
	return err
}

// optimiseNew is for what is about to be registered. What can't be shared is registered all the same.
func (s *Store) optimiseNew(ctx context.Context, r *registration) {
	for _, a := range r.adds {
		// The data of both becomes durable before the registration does, so it need not be now.
		if _, err := s.optimise(ctx, a.temp, false); err != nil && ctx.Err() == nil {
			s.log.Warn("files of an object could not be shared", "path", a.info.Path, "err", err)
		}
	}
}

// optimise shares the files of one object.
func (s *Store) optimise(ctx context.Context, name string, durable bool) (OptimiseResult, error) {
	links, err := s.openLinks(true)
	if err != nil {
		return OptimiseResult{}, err
	}
	defer unix.Close(links)
	o := &optimiser{s: s, ctx: ctx, links: links, durable: durable}
	defer o.dirs.Close()
	err = o.run(name)
	for o.dirs.Depth() > 0 && err != nil {
		err = errors.Join(err, o.leave())
	}
	if err != nil {
		return o.result, fmt.Errorf("sharing files of %s/%s: %w", s.objectDir, name, err)
	}
	return o.result, nil
}

// optimiser is one walk over an object.
type optimiser struct {
	s       *Store
	ctx     context.Context
	links   int  // descriptor of the directory of links
	durable bool // what is linked to must be durable, because the object is already
	result  OptimiseResult

	dirs    tree.Stack
	todo    [][]string // for each open directory, the names still to come
	changed []bool     // for each open directory
}

func (o *optimiser) run(name string) error {
	if err := o.enter(o.s.objects, name); err != nil {
		return err
	}
	for o.dirs.Depth() > 0 {
		if err := o.ctx.Err(); err != nil {
			return err
		}
		names := &o.todo[len(o.todo)-1]
		if len(*names) == 0 {
			if err := o.leave(); err != nil {
				return err
			}
			continue
		}
		name := (*names)[0]
		*names = (*names)[1:]
		if err := o.enter(o.dirs.Top(), name); err != nil {
			return err
		}
	}
	return nil
}

// enter does a file, or begins a directory.
func (o *optimiser) enter(in int, name string) error {
	var st unix.Stat_t
	if err := tree.LstatAt(in, name, &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		fd, err := openBelow(in, name, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		names, err := tree.ReadNames(fd)
		if err != nil {
			unix.Close(fd)
			return err
		}
		o.todo, o.changed = append(o.todo, names), append(o.changed, false)
		return o.dirs.Push(fd)
	case unix.S_IFREG:
		// Somebody who can write a file (as root in a store that is not mounted) may be doing so.
		if st.Size > 0 && st.Mode&0o222 == 0 {
			return o.share(in, name, &st)
		}
	}
	return nil
}

// leave finishes the innermost directory, and makes it canonical again if files in it were exchanged.
func (o *optimiser) leave() error {
	n := len(o.todo) - 1
	var err error
	if o.changed[n] {
		fd := o.dirs.Top()
		err = errors.Join(tree.Retry(func() error { return unix.Fchmod(fd, 0o555) }),
			tree.Retry(func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, tree.ProcPath(fd), canonicalTimes, 0) }))
	}
	o.todo, o.changed = o.todo[:n], o.changed[:n]
	if failed := o.dirs.Pop(); failed != nil {
		o.dirs.Close() // there is no way back
		err = errors.Join(err, failed)
	}
	return err
}

// change lets us exchange files in the innermost directory; of a lone file that is the object directory.
func (o *optimiser) change() error {
	n := len(o.changed) - 1
	if n < 0 || o.changed[n] {
		return nil
	}
	o.changed[n] = true
	return tree.Retry(func() error { return unix.Fchmod(o.dirs.Top(), 0o755) })
}
