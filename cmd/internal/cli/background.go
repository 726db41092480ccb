package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"larder/cmd/internal/config"
)

// readyEnv names the descriptor on which a process in the background says that it is ready, with one byte. It is also how
// that process knows that it is the one: its command line has --background, too.
const readyEnv = "LARDER_READY_FD"

// mountInBackground starts this command again, away from the terminal, and returns when it is
// ready. If it ends before that, its words are ours, and we fail too.
func (a *app) mountInBackground(ctx context.Context, cfg *config.Config) error {
	if err := os.MkdirAll(cfg.StateDir, 0o755); err != nil {
		return err
	}
	name := filepath.Join(cfg.StateDir, "larder.log")
	log, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd := exec.Command("/proc/self/exe", a.args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), readyEnv+"=3")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return err
	}
	return a.awaitReady(ctx, cmd, ready, func() error {
		said := io.NewSectionReader(log, begin, 1<<20)
		_, err := io.Copy(a.Err, said)
		return err
	})
}

func (a *app) awaitReady(ctx context.Context, cmd *exec.Cmd, ready *os.File, showLog func() error) error {
	told := make(chan error, 1)
	go func() { // ends with the byte, or with the process
		_, err := io.ReadFull(ready, make([]byte, 1))
		told <- err
	}()
	select {
	case err := <-told:
		if err == nil {
			return cmd.Process.Release()
		}
	case <-ctx.Done():
		err := cmd.Process.Signal(syscall.SIGTERM)
		return errors.Join(context.Cause(ctx), err, ignoreExit(cmd.Wait()))
	}
	err := cmd.Wait()
	if failed := showLog(); failed != nil {
		return errors.Join(err, failed)
	}
	if err == nil {
		return fmt.Errorf("the process in the background ended before the store was mounted")
	}
	return &reported{err}
}

func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// ready says to the process that started this one in the background that it is ready.
func (a *app) ready() error {
	fd, err := strconv.Atoi(a.Getenv(readyEnv))
	if err != nil {
		return nil // nobody asked
	}
	f := os.NewFile(uintptr(fd), "ready")
	_, err = f.Write([]byte{1})
	return errors.Join(err, f.Close())
}
