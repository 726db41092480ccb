package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"larder/cmd/internal/config"
	"larder/cmd/internal/control"
	"larder/realiser"
	"larder/realiser/builder"
	"larder/store"
	"larder/store/derivation"
	"larder/store/local"
)

// Options say which store to open and what for.
type Options struct {
	Config *config.Config
	// ReadOnly: queries only. Several processes may do that at a time, and no store is made where there is none.
	ReadOnly bool
	Version  string // of Larder
	Daemon   bool   // this process answers others
	Mount    string // where the store is mounted by this process; ""
	Logger   *slog.Logger
}

// Engine is an open store with everything that fills it. Its methods may be called concurrently.
type Engine struct {
	opt    Options
	config *config.Config
	log    *slog.Logger
	store  *local.Store
	hasher *derivation.Hasher

	mu       sync.Mutex // guards what follows
	closed   bool
	shown    Shown // nil while no file system shows the objects
	sources  []substituter
	eval     *local.Store // where derivations come from that store does not have; nil: nowhere
	sandbox  *sandbox
	realiser *realiser.Realiser // nil until it is needed
}

var _ control.Service = (*Engine)(nil)

// Open opens the store. Errors are those of local.Open.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.ReadOnly = o.ReadOnly || o.Config.ReadOnly
	e := &Engine{opt: o, config: o.Config, log: o.Logger}
	var err error
	e.store, err = local.Open(ctx, local.Options{
		StoreDir: store.Dir(o.Config.StoreDir), ObjectDir: o.Config.ObjectDir, StateDir: o.Config.StateDir,
		ReadOnly: o.ReadOnly, Logger: o.Logger, OnDelete: e.onDelete, OnReplace: e.onReplace,
		AutoOptimise: o.Config.AutoOptimise,
	})
	if o.ReadOnly && errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no store in %s with its objects in %s: %w", o.Config.StateDir, o.Config.ObjectDir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	e.hasher = derivation.NewHasher(e.store.Dir(), e.store.Derivation)
	return e, nil
}

// Store is the local store, for who serves it otherwise. It is closed with the engine.
func (e *Engine) Store() *local.Store { return e.store }

// Realiser starts the realiser if need be. It is closed with the engine. That of a store that is open for reading can plan
// and explain, and fails at anything else.
func (e *Engine) Realiser(ctx context.Context) (*realiser.Realiser, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.realiser != nil {
		return e.realiser, nil
	}
	if e.closed {
		return nil, local.ErrClosed
	}
	o, err := e.realiserOptionsLocked(ctx)
	if err != nil {
		return nil, err
	}
	e.realiser, err = realiser.New(o)
	return e.realiser, err
}

func (e *Engine) realiserOptionsLocked(ctx context.Context) (realiser.Options, error) {
	c := e.config
	o := realiser.Options{
		Store: e.store, MaxJobs: int(c.MaxJobs), MaxSubstitutionJobs: max(1, int(c.MaxSubstitutionJobs)), Cores: int(c.Cores),
		System: c.System, SystemFeatures: c.SystemFeatures, BuildDir: c.BuildDir, SandboxBuildDir: c.SandboxBuildDir, LogDir: filepath.Join(c.StateDir, "log", "nix"),
		ReadOnly: e.opt.ReadOnly, NoSubstitutes: !c.Substitute, AlwaysAllowSubstitutes: c.AlwaysAllowSubstitutes, Fallback: c.Fallback, KeepFailed: c.KeepFailed, Timeout: c.Timeout, MaxSilent: c.MaxSilentTime,
		MaxLogSize: int64(c.MaxLogSize), LogLines: int(c.LogLines),
		NoBuildLogs: !c.KeepBuildLog, PlainBuildLogs: !c.CompressBuildLog, Logger: e.log,
	}
	o.Repeat, o.AllowNonDeterminism, o.PostBuildHook, o.NixConfig = int(c.Repeat), !c.EnforceDeterminism, c.PostBuildHook, c.Text()
	if c.RunDiffHook {
		o.DiffHook = c.DiffHook
	}
	o.Fetch = builder.Fetch{
		NetrcFile: c.NetrcFile, CertFile: c.SSLCertFile, HashedMirrors: c.HashedMirrors, UserAgent: "larder/" + e.opt.Version,
		Attempts: int(c.DownloadAttempts), ConnectTimeout: c.ConnectTimeout, StallTimeout: c.StallTimeout,
	}
	o.ExtraPlatforms = append([]string{}, c.ExtraPlatforms...) // none is none
	if c.CacheFailures && !e.opt.ReadOnly {
		o.FailureCache = e.store
	}
	o.Room = realiser.Room{MinFree: uint64(c.MinFree), MaxFree: uint64(c.MaxFree), Interval: c.MinFreeCheckInterval, Collect: e.makeRoom}
	if o.MaxJobs == 0 {
		o.MaxJobs = realiser.NoBuilds
	}
	if o.LogLines == 0 {
		o.LogLines = realiser.NoLogLines
	}
	var err error
	if o.SecretKeys, err = ReadKeys(c.SecretKeyFiles); err != nil {
		return o, err
	}
	if o.Users, err = buildUsers(c, os.Geteuid()); err != nil {
		return o, err
	}
	if o.SandboxPaths, err = sandboxMounts(c.SandboxPaths); err != nil {
		return o, err
	}
	if e.sources == nil {
		if e.sources, err = e.openSubstituters(ctx); err != nil {
			return o, err
		}
	}
	for _, s := range e.sources {
		o.Substituters = append(o.Substituters, s)
	}
	if c.EvalStore != "" && e.eval == nil {
		if e.eval, err = e.openEvalStore(ctx); err != nil {
			return o, err
		}
	}
	if e.eval != nil {
		o.EvalStore = e.eval
	}
	o.SandboxMode, o.AllowedImpureHostDeps, o.PreBuildHook = sandboxMode(c), c.AllowedImpureHostDeps, c.PreBuildHook
	e.sandbox = &sandbox{config: c}
	if o.Users.Lends() { // else builders could make mount points of their own that look like ours
		e.sandbox.mountPoints = filepath.Join(e.store.StateDir(), "mount-points")
	}
	o.Sandbox = e.sandbox
	return o, nil
}

// Close ends everything, in the order that the package's manual says. It may be called more than once.
func (e *Engine) Close() error {
	e.mu.Lock()
	was := e.closed
	e.closed = true
	realiser, sandbox, sources, eval := e.realiser, e.sandbox, e.sources, e.eval // they do not change any more
	e.mu.Unlock()
	if was {
		return nil
	}
	var errs []error
	if realiser != nil {
		errs = append(errs, realiser.Close())
	}
	if sandbox != nil {
		errs = append(errs, sandbox.Close())
	}
	for _, s := range sources {
		errs = append(errs, s.Close())
	}
	if eval != nil {
		errs = append(errs, eval.Close())
	}
	return errors.Join(append(errs, e.store.Close())...)
}
