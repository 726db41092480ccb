package realiser

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"larder/realiser/builder"
	"larder/realiser/userpool"
	"larder/sandbox"
	"larder/store"
)

// NoLogLines as Options.LogLines leaves the log out of errors.
const NoLogLines = -1

// NoBuilds as Options.MaxJobs forbids local builds (Nix: max-jobs = 0).
const NoBuilds = -1

// Options configure a Realiser. Store, Sandbox (unless MaxJobs is NoBuilds),
// BuildDir and LogDir are needed; the zero value of everything else works. Names
// in parentheses are those of nix.conf.
type Options struct {
	Store        Store
	EvalStore    EvalStore     // where derivations are that Store does not have, and their sources; nil: nowhere
	Substituters []Substituter // tried in the order of their priorities, then in this order
	Sandbox      builder.Sandbox

	MaxJobs             int // builds at once (max-jobs); 0: 1
	MaxSubstitutionJobs int // downloads at once (max-substitution-jobs); 0: 16
	Cores               int // NIX_BUILD_CORES (cores); 0: the number of CPUs

	System         string   // the system this machine is (system); "": that of the running program
	ExtraPlatforms []string // other systems it can build for (extra-platforms); nil: i686-linux on x86_64-linux
	SystemFeatures []string // what requiredSystemFeatures may ask for (system-features); with kvm builders have /dev/kvm

	SandboxMode builder.SandboxMode // who builds in a sandbox (sandbox)
	// SandboxPaths are visible in every sandbox, with what their permissions allow (sandbox-paths); of their fields
	// Source, Target and Optional count.
	SandboxPaths          []sandbox.Mount
	AllowedImpureHostDeps []string // what __impureHostDeps may ask for, and all below (allowed-impure-host-deps)
	PreBuildHook          string   // a program that is run before each build (pre-build-hook)
	BuildDir              string   // host directory for the builders' scratch space; made if absent
	// SandboxBuildDir is where a builder sees its scratch space (sandbox-build-dir); "": /build.
	SandboxBuildDir string
	LogDir          string         // holds drvs/xx/yyyy.drv.bz2, as Nix's log/nix does; made if absent
	Users           *userpool.Pool // who builders run as; nil: whoever runs this process
	Fetch           builder.Fetch  // how builtin:fetchurl reaches the world
	// Getenv gives the values of impureEnvVars; nil: os.LookupEnv.
	Getenv func(name string) (string, bool)

	Room                   Room // when garbage is collected
	ReadOnly               bool // the store is: what is valid is served, everything else fails with store.ErrReadOnly
	NoSubstitutes          bool // use no substituter (substitute = false)
	AlwaysAllowSubstitutes bool // ignore allowSubstitutes = false (always-allow-substitutes)
	Fallback               bool // build if a substituter fails (fallback)
	KeepFailed             bool // leave the build directories of failed builds (keep-failed)
	Repeat                 int  // how often a builder runs again, to compare what it makes (repeat)
	AllowNonDeterminism    bool // go on where it differs (enforce-determinism = false)
	SecretKeys             []store.SecretKey

	DiffHook      string // program that is shown outputs that differ (diff-hook, if run-diff-hook); "": none
	PostBuildHook string // program that is run after each build (post-build-hook); "": none
	NixConfig     string // all settings, for the post-build hook's environment

	Timeout    time.Duration // a builder may run so long (timeout); 0: for ever
	MaxSilent  time.Duration // … and be silent so long (max-silent-time); 0: for ever
	MaxLogSize int64         // … and print so many bytes (max-build-log-size); 0: any number
	LogLines   int           // last lines of the log in errors (log-lines); 0: 10, NoLogLines: none

	NoBuildLogs    bool // store no logs (keep-build-log = false)
	PlainBuildLogs bool // store logs as they are (compress-build-log = false)

	FailureCache FailureCache  // builds that failed for good are remembered here, and not tried again (build-cache-failure); nil: no
	FailureTTL   time.Duration // how long a failure answers accesses; 0: 10 s, negative: not at all
	Grace        time.Duration // how long a goal outlives its last waiter; 0: 1 s, negative: not at all

	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: no logging
}

// withDefaults checks the options and fills in what was left out.
func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Store == nil:
		return o, errors.New("realiser: no store is given")
	case o.Sandbox == nil && o.MaxJobs != NoBuilds:
		return o, errors.New("realiser: no sandbox is given, and local builds are allowed")
	case o.MaxJobs < NoBuilds || o.MaxSubstitutionJobs < 0 || o.Cores < 0:
		return o, fmt.Errorf("realiser: negative numbers of jobs or cores: %d, %d, %d", o.MaxJobs, o.MaxSubstitutionJobs, o.Cores)
	case o.Timeout < 0 || o.MaxSilent < 0 || o.MaxLogSize < 0 || o.LogLines < NoLogLines:
		return o, errors.New("realiser: a limit of builds is negative")
	}
	for _, d := range []struct{ what, path string }{{"BuildDir", o.BuildDir}, {"LogDir", o.LogDir}} {
		if !filepath.IsAbs(d.path) {
			return o, fmt.Errorf("realiser: %s %q is not an absolute path", d.what, d.path)
		}
	}
	if o.SandboxBuildDir != "" && !filepath.IsAbs(o.SandboxBuildDir) {
		return o, fmt.Errorf("realiser: SandboxBuildDir %q is not an absolute path", o.SandboxBuildDir)
	}
	setDefault(&o.SandboxBuildDir, "/build")
	setDefault(&o.MaxJobs, 1)
	setDefault(&o.MaxSubstitutionJobs, 16)
	setDefault(&o.Cores, runtime.NumCPU())
	setDefault(&o.LogLines, 10)
	setDefault(&o.FailureTTL, 10*time.Second)
	setDefault(&o.Grace, time.Second)
	if o.System == "" {
		o.System = nativeSystem()
	}
	if o.ExtraPlatforms == nil && o.System == "x86_64-linux" {
		o.ExtraPlatforms = []string{"i686-linux"}
	}
	if o.Users == nil {
		var err error
		if o.Users, err = userpool.New(userpool.Options{}); err != nil {
			return o, err
		}
	}
	o.SystemFeatures = slices.Sorted(slices.Values(o.SystemFeatures))
	if slices.Contains(o.SystemFeatures, "kvm") {
		kvm := sandbox.Mount{Source: "/dev/kvm", Target: "/dev/kvm", Optional: true}
		o.SandboxPaths = append([]sandbox.Mount{kvm}, o.SandboxPaths...)
	}
	if o.Getenv == nil {
		o.Getenv = os.LookupEnv
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// nativeSystem is Nix's name for what this program was compiled for.
func nativeSystem() string {
	arch := map[string]string{"amd64": "x86_64", "386": "i686", "arm64": "aarch64", "arm": "armv7l", "riscv64": "riscv64",
		"ppc64le": "powerpc64le", "loong64": "loongarch64", "s390x": "s390x"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	return arch + "-" + runtime.GOOS
}
