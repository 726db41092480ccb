package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"larder/cmd/internal/config"
	"larder/cmd/internal/control"
	"larder/cmd/internal/engine"
	"larder/cmd/internal/terminal"
	"larder/store"
)

// purpose is what a command wants to do with the store.
type purpose uint8

const (
	reading purpose = iota // the path infos and objects that are there
	writing                // anything
)

const (
	// patience is how long a command waits for another process that has the store open and answers nobody: another command
	// as a rule.
	patience = 10 * time.Second
	poll     = 50 * time.Millisecond
)

// openStore gives a command its store: the daemon's if there is one, else it is opened here. While another process has it
// open, it waits for that for a while. Close it with a.close.
func (a *app) openStore(ctx context.Context, p purpose) (control.Service, error) {
	c, err := a.settings()
	if err != nil {
		return nil, err
	}
	for begin, told := time.Now(), false; ; {
		s, err := a.tryStore(ctx, c, p)
		pid, locked := lockedBy(err)
		if !locked {
			return s, err
		}
		if time.Since(begin) > patience {
			return nil, fmt.Errorf("%w%s", err, commandOf(pid))
		}
		if !told && time.Since(begin) > time.Second {
			told = true
			a.notef("waiting for process %d%s, which has the store open", pid, commandOf(pid))
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (a *app) tryStore(ctx context.Context, c *config.Config, p purpose) (control.Service, error) {
	client, err := control.Dial(ctx, c.ControlSocket())
	switch {
	case err == nil:
		return client, a.checkDaemon(ctx, c, client)
	case !errors.Is(err, control.ErrNoDaemon):
		return nil, err
	}
	return engine.Open(ctx, engine.Options{Config: c, ReadOnly: p == reading, Version: a.Version, Logger: a.plainLogger()})
}

// checkDaemon makes sure that the daemon has the store that is meant, and says which options it will not hear of.
func (a *app) checkDaemon(ctx context.Context, c *config.Config, client *control.Client) error {
	h, err := client.Hello(ctx)
	if err != nil {
		return err
	}
	if string(h.StoreDir) != c.StoreDir || h.StateDir != c.StateDir {
		err := fmt.Errorf("the daemon at %s (process %d) has the store directory %s with its state in %s, and not %s with %s; name the one you mean with --store-dir and --state-dir",
			c.ControlSocket(), h.PID, h.StoreDir, h.StateDir, c.StoreDir, c.StateDir)
		return errors.Join(err, client.Close())
	}
	var idle []string
	for i := 0; i+1 < len(a.flags.options); i += 2 {
		if !strings.HasSuffix(a.flags.options[i], "-dir") {
			idle = append(idle, a.flags.options[i])
		}
	}
	if len(idle) > 0 {
		a.warnf("the daemon (process %d) has its own settings and does not heed --option %s", h.PID, strings.Join(idle, ", "))
	}
	return nil
}

// close ends what openStore gave. Its failure can't undo the command any more.
func (a *app) close(s control.Service) {
	if err := s.Close(); err != nil {
		a.warnf("closing the store: %v", err)
	}
}

// withStore calls f with the store.
func (a *app) withStore(ctx context.Context, p purpose, f func(control.Service) error) error {
	s, err := a.openStore(ctx, p)
	if err != nil {
		return err
	}
	defer a.close(s)
	return f(s)
}

// caller is this process.
func caller() store.Caller {
	return store.Caller{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), PID: uint32(os.Getpid())}
}

// commandOf names the command of a process, " (larder realise …)"; "" if that is not known.
func commandOf(pid int) string {
	if pid <= 0 {
		return ""
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(b) == 0 {
		return ""
	}
	const most = 120
	text := terminal.Clean(strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " ")))
	if len(text) > most {
		text = text[:most] + "…"
	}
	return " (" + text + ")"
}
