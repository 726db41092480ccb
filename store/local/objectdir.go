package local

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sys/unix"

	"larder/nar/tree"
)

// checkObjectDir makes sure that the objects lie where the database left them: in another directory every path would be
// valid and absent. A directory that was moved is taken where it is now; it has gone from where it was.
func (s *Store) checkObjectDir() error {
	known, err := s.db.get(keyObjectDir)
	if err != nil || string(known) == s.objectDir {
		return err
	}
	if known != nil {
		var was, is unix.Stat_t
		if err := tree.Fstat(s.objects, &is); err != nil {
			return fmt.Errorf("stat %s: %w", s.objectDir, err)
		}
		err := tree.Retry(func() error { return unix.Stat(string(known), &was) })
		if err == nil && (was.Dev != is.Dev || was.Ino != is.Ino) {
			return fmt.Errorf("the store in %s keeps its objects in %s, not in %s: use that object directory, or move it to the new place",
				s.stateDir, known, s.objectDir)
		}
	}
	if s.readOnly {
		return nil
	}
	return s.db.change(true, func(b *pebble.Batch) error { return b.Set(keyObjectDir, []byte(s.objectDir), nil) })
}
