package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"larder/cmd/internal/config"
	"larder/cmd/internal/control"
	"larder/cmd/internal/engine"
	"larder/fusefs"
	"larder/fusefs/mount"
)

type mountFlags struct {
	background, allowOther bool
}

func (a *app) mountCommand() *cobra.Command {
	var f mountFlags
	c := &cobra.Command{
		Use:   "mount [DIR]",
		Short: "Mount the store, and serve it",
		Long: `Mounts the store at DIR, which is made if it does not exist (default: the store directory), and serves it and the
control API until it is interrupted or unmounted. The objects underneath are hidden meanwhile and can be seen again
afterwards. A dead mount that an earlier larder left behind is cleaned up.

With --background it returns when the mount can be used; what it has to say then goes to larder.log in the state
directory.`,
		Example: "  larder mount --background /nix/store",
		Args:    exactly(0, 1, "at most one DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := a.settings()
			if err != nil {
				return err
			}
			dir := a.mountDir(cfg, args)
			switch {
			case a.Inherited != nil:
				return a.serveMount(cfg, a.Inherited)
			case f.background && a.Getenv(readyEnv) == "":
				return a.mountInBackground(c.Context(), cfg)
			}
			return a.mount(c.Context(), cfg, dir, f)
		},
	}
	c.Flags().BoolVarP(&f.background, "background", "b", false, "return when the mount can be used")
	c.Flags().BoolVar(&f.allowOther, "allow-other", a.UID == 0, "let other users in; a user needs user_allow_other in /etc/fuse.conf")
	return c
}

// mountDir is the DIR that was given, or the store directory.
func (a *app) mountDir(cfg *config.Config, args []string) string {
	if len(args) == 1 {
		return a.absolute(args[0])
	}
	return cfg.StoreDir
}

// mount is the process outside of the mount; see package fusefs/mount.
func (a *app) mount(ctx context.Context, cfg *config.Config, dir string, f mountFlags) error {
	if err := a.noDaemon(ctx, cfg); err != nil {
		return err
	}
	if err := mount.CleanDead(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	made, err := makeDirs(dir, cfg.ObjectDir)
	if err != nil {
		return err
	}
	mounted := false
	err = mount.Run(ctx, mount.Options{Dir: dir, AllowOther: f.allowOther, MaxRead: fusefs.MaxRead, Logger: a.logger(),
		Ready: func() {
			mounted = true
			a.notef("mounted at %s", dir)
			if err := a.ready(); err != nil {
				a.warnf("telling that the mount is ready: %v", err)
			}
		}})
	if !mounted {
		removeDirs(made)
	}
	var died *mount.DaemonError
	var exit *exec.ExitError
	if errors.As(err, &died) && errors.As(died.Err, &exit) && exit.Exited() {
		return &reported{err} // by the daemon, which knows why; nobody speaks for one that was killed
	}
	return err
}

// makeDirs makes the directories that are not there, and returns those.
func makeDirs(dirs ...string) (made []string, err error) {
	for _, d := range dirs {
		_, err := os.Lstat(d)
		if errors.Is(err, os.ErrNotExist) {
			if err = os.MkdirAll(d, 0o755); err == nil {
				made = append(made, d)
			}
		}
		if err != nil {
			removeDirs(made)
			return nil, err
		}
	}
	return made, nil
}

// removeDirs removes directories again that turned out not to be needed: those that are still empty.
func removeDirs(dirs []string) {
	for _, d := range dirs {
		_ = os.Remove(d) // it is in use, then
	}
}

// noDaemon makes sure that no other daemon has the store.
func (a *app) noDaemon(ctx context.Context, cfg *config.Config) error {
	client, err := control.Dial(ctx, cfg.ControlSocket())
	if errors.Is(err, control.ErrNoDaemon) {
		return nil
	}
	if err != nil {
		return err
	}
	h, err := client.Hello(ctx)
	if err = errors.Join(err, client.Close()); err != nil {
		return err
	}
	where := "without a mount"
	if h.Mount != "" {
		where = "mounted at " + h.Mount
	}
	return fmt.Errorf("the store in %s has a daemon already: process %d%s, %s", h.StateDir, h.PID, commandOf(h.PID), where)
}

// serveMount is the process inside, which has the store.
func (a *app) serveMount(cfg *config.Config, inside *mount.Daemon) error {
	ctx := inside.Context()
	d, err := a.startDaemon(ctx, cfg, inside.Dir())
	if err != nil {
		return err
	}
	dev, err := inside.Mount()
	if err != nil {
		return &reported{errors.Join(err, d.Close())} // by the process outside, which knows why
	}
	var told error
	err = d.ServeMount(ctx, dev, func() { told = inside.Serving() })
	return errors.Join(err, told, d.Close())
}

// startDaemon waits for a command that has the store open, for a moment.
func (a *app) startDaemon(ctx context.Context, cfg *config.Config, mounted string) (*engine.Daemon, error) {
	for begin := time.Now(); ; {
		d, err := engine.Start(ctx, engine.Options{Config: cfg, Version: a.Version, Mount: mounted, Logger: a.logger()})
		pid, locked := lockedBy(err)
		if !locked {
			return d, err
		}
		if time.Since(begin) > patience {
			return nil, fmt.Errorf("%w%s", err, commandOf(pid))
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (a *app) unmountCommand() *cobra.Command {
	grace := time.Second
	c := &cobra.Command{
		Use:   "unmount [DIR]",
		Short: "Unmount the store",
		Long: `Unmounts the store at DIR (default: the store directory) and ends its daemon. While the mount is in use it waits for
--grace; then it detaches the mount, and who still uses it gets errors. A dead mount is removed at once.`,
		Example: "  larder unmount /nix/store",
		Args:    exactly(0, 1, "at most one DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := a.settings()
			if err != nil {
				return err
			}
			dir := a.mountDir(cfg, args)
			return a.unmount(c.Context(), cfg, dir, grace)
		},
	}
	c.Flags().DurationVar(&grace, "grace", grace, "how long to wait for users of the mount")
	return c
}

func (a *app) unmount(ctx context.Context, cfg *config.Config, dir string, grace time.Duration) error {
	detached, err := mount.Unmount(ctx, dir, grace)
	if err != nil {
		return err
	}
	if detached {
		a.warnf("%s was in use and has been detached", dir)
	}
	// The daemon ends by itself now. Whoever comes next should find the store free.
	for begin := time.Now(); time.Since(begin) < patience; {
		client, err := control.Dial(ctx, cfg.ControlSocket())
		if err != nil {
			return nil
		}
		h, err := client.Hello(ctx)
		if err = errors.Join(err, client.Close()); err != nil || h.Mount != dir {
			return nil
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	a.warnf("the daemon of %s has not ended yet", dir)
	return nil
}

func (a *app) daemonCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "daemon",
		Short: "Serve the store's control API, without a mount",
		Long: `Opens the store and answers other larder commands on its control socket, in the foreground, until it is interrupted.
Nothing is mounted: 'larder mount' does the same and mounts.`,
		Example: "  larder daemon -v",
		Args:    exactly(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.settings()
			if err != nil {
				return err
			}
			if err := a.noDaemon(c.Context(), cfg); err != nil {
				return err
			}
			d, err := a.startDaemon(c.Context(), cfg, "")
			if err != nil {
				return err
			}
			a.notef("answering at %s", cfg.ControlSocket())
			<-c.Context().Done()
			return d.Close()
		},
	}
}
