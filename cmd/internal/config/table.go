package config

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"larder/realiser/userpool"
	"larder/store"
)

// Settings is the table of everything that larder.conf can say, in the order in which it is documented. It is shared: do not
// change it.
func Settings() []Setting { return table }

var table = []Setting{
	// Places.
	{Name: "store-dir", Default: string(store.DefaultDir), check: checkStoreDir,
		Doc:   "The store directory, as store paths have it. Digests depend on it: a cache made for another one is of no use.",
		field: func(c *Config) any { return &c.StoreDir }},
	{Name: "state-dir", Default: "", check: checkAbsolute,
		Doc:   "Where the database, logs and GC roots are. Empty: /var/lib/larder for root, $XDG_DATA_HOME/larder for a user.",
		field: func(c *Config) any { return &c.StateDir }},
	{Name: "object-dir", Default: "", check: checkAbsolute,
		Doc:   "Where store objects lie as plain files. Empty: in store-dir itself, underneath the mount; for a user who leaves store-dir at its default, in state-dir/store.",
		field: func(c *Config) any { return &c.ObjectDir }},
	{Name: "runtime-dir", Default: "", check: checkAbsolute,
		Doc:   "Where the control socket is. Empty: state-dir if that was set; else /run/larder for root, $XDG_RUNTIME_DIR/larder for a user.",
		field: func(c *Config) any { return &c.RuntimeDir }},
	{Name: "read-only", Default: "false",
		Doc:   "Open the store for reading only, also where it lies on a read-only file system: what is here is served, and nothing else comes.",
		field: func(c *Config) any { return &c.ReadOnly }},
	{Name: "eval-store", Default: "", check: checkAbsolute,
		Doc:   "The state directory of another Larder store with the same store-dir, which is only read: derivations that this store does not have come from there, and their sources are copied from there. Its objects lie in store below it, or where ?real=DIR after it says. What is built goes to this store.",
		field: func(c *Config) any { return &c.EvalStore }},

	// Substitution.
	{Name: "substituters", Aliases: []string{"binary-caches"}, Default: "https://cache.nixos.org/",
		Doc:   "URLs of binary caches, or of programs (exec:, see exec-substituters.md). The one with the lowest priority number is asked first; ?priority=N in a URL replaces what the cache says.",
		field: func(c *Config) any { return &c.Substituters }},
	{Name: "trusted-public-keys", Aliases: []string{"binary-cache-public-keys"}, check: checkPublicKey,
		Default: "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=",
		Doc:     "Keys whose signatures make a path of a binary cache acceptable.",
		field:   func(c *Config) any { return &c.TrustedPublicKeys }},
	{Name: "require-sigs", Default: "true",
		Doc:   "Whether a path of a binary cache needs a signature by a trusted key, unless it is content-addressed or the cache's URL has ?trusted=true.",
		field: func(c *Config) any { return &c.RequireSigs }},
	{Name: "substitute", Aliases: []string{"build-use-substitutes"}, Default: "true",
		Doc:   "Whether binary caches are used at all.",
		field: func(c *Config) any { return &c.Substitute }},
	{Name: "always-allow-substitutes", Default: "false",
		Doc:   "Whether derivations that say allowSubstitutes = false are substituted all the same.",
		field: func(c *Config) any { return &c.AlwaysAllowSubstitutes }},
	{Name: "fallback", Aliases: []string{"build-fallback"}, Default: "false",
		Doc:   "Build a derivation when substituting its outputs failed, and not only when no cache has them.",
		field: func(c *Config) any { return &c.Fallback }},
	{Name: "max-substitution-jobs", Aliases: []string{"substitution-max-jobs"}, Default: "16",
		Doc:   "How many paths are substituted at a time.",
		field: func(c *Config) any { return &c.MaxSubstitutionJobs }},
	{Name: "http-connections", Aliases: []string{"binary-caches-parallel-connections"}, Default: "25",
		Doc:   "How many connections are open to a cache at most. 0: no limit.",
		field: func(c *Config) any { return &c.HTTPConnections }},
	{Name: "connect-timeout", Default: "5",
		Doc:   "How long making a connection to a cache may take. 0: as long as the system allows.",
		field: func(c *Config) any { return &c.ConnectTimeout }},
	{Name: "stalled-download-timeout", Default: "300",
		Doc:   "After how long without a byte a download is given up and tried again.",
		field: func(c *Config) any { return &c.StallTimeout }},
	{Name: "download-attempts", Default: "5",
		Doc:   "How often a download is tried before it counts as failed.",
		field: func(c *Config) any { return &c.DownloadAttempts }},
	{Name: "narinfo-cache-positive-ttl", Default: "2592000",
		Doc:   "How long it is remembered that a cache has a path.",
		field: func(c *Config) any { return &c.NarInfoPositiveTTL }},
	{Name: "narinfo-cache-negative-ttl", Default: "3600",
		Doc:   "How long it is remembered that a cache does not have a path.",
		field: func(c *Config) any { return &c.NarInfoNegTTL }},

	// Downloads.
	{Name: "netrc-file", Default: "", check: checkAbsolute,
		Doc:   "A file with user names and passwords by host, for binary caches and builtin:fetchurl: netrc(5). Builders never see it. Empty: netrc beside larder.conf, in /etc/larder or $XDG_CONFIG_HOME/larder.",
		field: func(c *Config) any { return &c.NetrcFile }},
	{Name: "ssl-cert-file", Default: "", check: checkAbsolute,
		Doc:   "The certificate authorities, as PEM, that binary caches, builtin:fetchurl and builders with the network rely on. Empty: $NIX_SSL_CERT_FILE, $SSL_CERT_FILE, or /etc/ssl/certs/ca-certificates.crt.",
		field: func(c *Config) any { return &c.SSLCertFile }},
	{Name: "hashed-mirrors", Default: "",
		Doc:   "URLs that builtin:fetchurl asks before the one of the derivation, for files whose own hash is known: URL/sha256/HASH with the hash in base 16.",
		field: func(c *Config) any { return &c.HashedMirrors }},

	// Building.
	{Name: "system", Default: thisSystem(), check: checkWord,
		Doc:   "The system that builds happen for on this machine.",
		field: func(c *Config) any { return &c.System }},
	{Name: "extra-platforms", Default: strings.Join(extraPlatforms(), " "),
		Doc:   "Further systems that this machine builds for. By itself it knows that an x86_64-linux runs i686-linux, and of which of the levels x86_64-v1-linux to x86_64-v4-linux its processor is.",
		field: func(c *Config) any { return &c.ExtraPlatforms }},
	{Name: "system-features", Default: strings.Join(systemFeatures(), " "),
		Doc:   "What derivations may demand with requiredSystemFeatures: benchmark, big-parallel and nixos-test, and kvm where /dev/kvm can be used. With kvm builders see /dev/kvm. With uid-range, for which builders must be users without a name, those that demand it have 65536 user ids and are root among them.",
		field: func(c *Config) any { return &c.SystemFeatures }},
	{Name: "max-jobs", Aliases: []string{"build-max-jobs"}, Default: "1",
		Doc:   "How many derivations are built at a time. \"auto\": one per processor.",
		field: func(c *Config) any { return &c.MaxJobs }},
	{Name: "cores", Aliases: []string{"build-cores"}, Default: "0",
		Doc:   "NIX_BUILD_CORES of a build: how many processors it should use. 0: all of them.",
		field: func(c *Config) any { return &c.Cores }},
	{Name: "keep-going", Aliases: []string{"build-keep-going"}, Default: "false",
		Doc:   "Go on with what is independent of a failure.",
		field: func(c *Config) any { return &c.KeepGoing }},
	{Name: "keep-failed", Default: "false",
		Doc:   "Keep the build directory of a build that failed, and beside it what there is of its outputs. They become the caller's.",
		field: func(c *Config) any { return &c.KeepFailed }},
	{Name: "build-cache-failure", Aliases: []string{"cache-failure"}, Default: "false",
		Doc:   "Whether a build that failed for good is remembered and not tried again. Never remembered: builds with a fixed output, a full disk, limits. \"larder failures\" lists and forgets.",
		field: func(c *Config) any { return &c.CacheFailures }},
	{Name: "repeat", Aliases: []string{"build-repeat"}, Default: "0",
		Doc:   "How often a build runs again, to find out whether it makes the same each time. Fixed outputs are checked by their hash anyway.",
		field: func(c *Config) any { return &c.Repeat }},
	{Name: "enforce-determinism", Default: "true",
		Doc:   "Whether a build fails that does not make the same each time. Otherwise there is only a warning.",
		field: func(c *Config) any { return &c.EnforceDeterminism }},
	{Name: "run-diff-hook", Default: "false",
		Doc:   "Whether diff-hook is run.",
		field: func(c *Config) any { return &c.RunDiffHook }},
	{Name: "diff-hook", Default: "", check: checkAbsolute,
		Doc:   "A program that is run where a build made something else than before, as the builder's user and in /. Its arguments are the two outputs, the derivation and the build directory. What it prints is shown; that it fails is no failure.",
		field: func(c *Config) any { return &c.DiffHook }},
	{Name: "post-build-hook", Default: "", check: checkAbsolute,
		Doc:   "A program that is run after each build, as the daemon's user. What it prints is shown with -v, and if it fails. It finds the derivation in DRV_PATH, the outputs in OUT_PATHS, these settings in NIX_CONFIG. Below a mount the objects lie at the same names, or with object-dir by their base names in LARDER_OBJECT_DIR: the hook does not see the mount. If it fails the build counts as failed, though the outputs are valid.",
		field: func(c *Config) any { return &c.PostBuildHook }},
	{Name: "timeout", Aliases: []string{"build-timeout"}, Default: "0",
		Doc:   "How long a build may take. 0: for ever.",
		field: func(c *Config) any { return &c.Timeout }},
	{Name: "max-silent-time", Aliases: []string{"build-max-silent-time"}, Default: "0",
		Doc:   "How long a build may write nothing to its log. 0: for ever.",
		field: func(c *Config) any { return &c.MaxSilentTime }},
	{Name: "max-build-log-size", Aliases: []string{"build-max-log-size"}, Default: "0",
		Doc:   "How much a build may write to its log. 0: no limit.",
		field: func(c *Config) any { return &c.MaxLogSize }},
	{Name: "keep-build-log", Aliases: []string{"build-keep-log"}, Default: "true",
		Doc:   "Whether what builders write is kept, for \"larder log\".",
		field: func(c *Config) any { return &c.KeepBuildLog }},
	{Name: "compress-build-log", Aliases: []string{"build-compress-log"}, Default: "true",
		Doc:   "Whether logs are kept compressed with bzip2, which Nix's client can read, too.",
		field: func(c *Config) any { return &c.CompressBuildLog }},
	{Name: "log-lines", Default: "25",
		Doc:   "How many of the last lines of its log the error about a failed build shows.",
		field: func(c *Config) any { return &c.LogLines }},
	{Name: "build-dir", Default: "", check: checkAbsolute,
		Doc:   "Where build directories are made. Empty: builds in state-dir.",
		field: func(c *Config) any { return &c.BuildDir }},
	{Name: "build-users-group", Default: "",
		Doc:   "The group whose members builders run as, one build at a time each, if Larder runs as root. Empty: as users without a name, as with auto-allocate-uids.",
		field: func(c *Config) any { return &c.BuildUsersGroup }},
	{Name: "auto-allocate-uids", Default: "false",
		Doc:   "Whether builders run as users without a name even if there is a build-users-group, if Larder runs as root.",
		field: func(c *Config) any { return &c.AutoAllocateUIDs }},
	{Name: "start-id", Default: strconv.Itoa(userpool.DefaultStartID),
		Doc:   "The first user id and group id of users without a name. Each build has 65536 of them.",
		field: func(c *Config) any { return &c.StartID }},
	{Name: "id-count", Default: strconv.Itoa(userpool.DefaultIDCount),
		Doc:   "How many ids, from start-id on, there are for users without a name.",
		field: func(c *Config) any { return &c.IDCount }},
	{Name: "userpool-dir", Default: userpool.DefaultDir, check: checkAbsolute,
		Doc:   "Where the locks of user ids are, in userpool and userpool2. Everybody who builds on this machine as root must have the same directory, Nix too: who holds a lock kills what runs under the id.",
		field: func(c *Config) any { return &c.UserPoolDir }},

	// Sandbox.
	{Name: "sandbox", Aliases: []string{"build-use-chroot", "build-use-sandbox"}, Default: "true", check: checkSandbox,
		Doc:   "Whether builders are kept from the files and the network of this machine: true, false, or relaxed, which exempts fixed-output derivations and those that have __noChroot. All others with __noChroot are refused. Whoever is exempt has a process namespace of his own and the store directory to write in all the same. Where the store directory does not exist, as with object-dir and no mount, nobody is exempt.",
		field: func(c *Config) any { return &c.Sandbox }},
	{Name: "sandbox-paths", Aliases: []string{"build-chroot-dirs", "build-sandbox-paths"}, Default: "", check: checkSandboxPath,
		Doc:   "Files and directories of this machine that every build sees, each as INSIDE=OUTSIDE or just PATH. A ? at the end: only if it exists. Directories can be written as far as their permissions allow. Of store paths the closure comes along.",
		field: func(c *Config) any { return &c.SandboxPaths }},
	{Name: "sandbox-build-dir", Default: "/build", check: checkAbsolute,
		Doc:   "Where a builder sees its build directory.",
		field: func(c *Config) any { return &c.SandboxBuildDir }},
	{Name: "sandbox-dev-shm-size", Default: "50%", check: checkWord,
		Doc:   "The size of /dev/shm inside the sandbox, as tmpfs has it: 50%, 1g.",
		field: func(c *Config) any { return &c.SandboxDevShmSize }},
	{Name: "allowed-impure-host-deps", Default: "", check: checkAbsolute,
		Doc:   "Paths that a derivation may ask to see with __impureHostDeps, and with them all below.",
		field: func(c *Config) any { return &c.AllowedImpureHostDeps }},
	{Name: "pre-build-hook", Default: "", check: checkAbsolute,
		Doc:   "A program that is run before each build, with the derivation's path and, if the build is sandboxed, the directory of the build. It may print the line extra-sandbox-paths, then lines as in sandbox-paths without ?, then an empty line.",
		field: func(c *Config) any { return &c.PreBuildHook }},
	{Name: "filter-syscalls", Default: "true",
		Doc:   "Whether builders are kept from making setuid and setgid files, and from setting extended attributes.",
		field: func(c *Config) any { return &c.FilterSyscalls }},
	{Name: "allow-new-privileges", Default: "false",
		Doc:   "Whether builders may get privileges by running setuid programs.",
		field: func(c *Config) any { return &c.AllowNewPrivileges }},
	{Name: "impersonate-linux-26", Aliases: []string{"build-impersonate-linux-26"}, Default: "false",
		Doc:   "Whether the kernel tells builders that it is Linux 2.6.",
		field: func(c *Config) any { return &c.ImpersonateLinux26 }},
	{Name: "use-cgroups", Default: "false",
		Doc:   "Whether each build gets a control group of its own (version 2), which counts exactly what it uses.",
		field: func(c *Config) any { return &c.UseCgroups }},
	{Name: "cgroup-dir", Default: "", check: checkAbsolute,
		Doc:   "The control group (a directory of version 2) in which those of builds are made. Empty: the one that Larder runs in, if systemd has marked it as delegated.",
		field: func(c *Config) any { return &c.CgroupDir }},
	{Name: "build-memory-limit", Default: "0",
		Doc:   "How much memory a build may have, by a control group. A build that needs more is killed. 0: no limit.",
		field: func(c *Config) any { return &c.BuildMemoryLimit }},
	{Name: "build-processes-limit", Default: "0",
		Doc:   "How many processes and threads a build may have, by a control group. 0: no limit.",
		field: func(c *Config) any { return &c.BuildProcessesLimit }},
	{Name: "build-cpu-limit", Default: "0",
		Doc:   "How much processor time a build gets, in percent of one processor, by a control group. 0: no limit.",
		field: func(c *Config) any { return &c.BuildPercentOfCPU }},

	// Store.
	{Name: "secret-key-files", Default: "", check: checkAbsolute,
		Doc:   "Files with secret keys that sign what is built here.",
		field: func(c *Config) any { return &c.SecretKeyFiles }},
	{Name: "auto-optimise-store", Default: "false",
		Doc:   "Make equal files of objects links to one file when they come into the store, to save space. larder store optimise does that for those that are there.",
		field: func(c *Config) any { return &c.AutoOptimise }},
	{Name: "keep-derivations", Aliases: []string{"gc-keep-derivations"}, Default: "true",
		Doc:   "Whether garbage collection keeps the derivations of what is alive.",
		field: func(c *Config) any { return &c.KeepDerivations }},
	{Name: "keep-outputs", Aliases: []string{"gc-keep-outputs"}, Default: "false",
		Doc:   "Whether garbage collection keeps the outputs of derivations that are alive.",
		field: func(c *Config) any { return &c.KeepOutputs }},
	{Name: "min-free", Default: "0",
		Doc:   "If less than so many bytes are free on the file system of the objects while something is built or substituted, garbage is collected. 0: never.",
		field: func(c *Config) any { return &c.MinFree }},
	{Name: "max-free", Default: "9223372036854775807",
		Doc:   "A collection because of min-free ends when so many bytes are free.",
		field: func(c *Config) any { return &c.MaxFree }},
	{Name: "min-free-check-interval", Default: "5",
		Doc:   "How often the free space is looked at, in seconds.",
		field: func(c *Config) any { return &c.MinFreeCheckInterval }},
	{Name: "allowed-users", Default: "",
		Doc:   "Who else than root and the daemon's own user may use its control socket: names, @groups, or * for everybody. They can realise, add and read; garbage collection and GC roots stay with the owner.",
		field: func(c *Config) any { return &c.AllowedUsers }},
}

func checkAbsolute(s string) error {
	if s != "" && (!path.IsAbs(s) || path.Clean(s) != s || strings.ContainsRune(s, 0)) {
		return fmt.Errorf("%q is not an absolute path in its shortest form", s)
	}
	return nil
}

func checkStoreDir(s string) error {
	_, err := store.ParseDir(s)
	return err
}

func checkPublicKey(s string) error {
	_, err := store.ParsePublicKey(s)
	return err
}

func checkWord(s string) error {
	if s == "" || strings.ContainsAny(s, " \t\x00") {
		return fmt.Errorf("%q is not a single word", s)
	}
	return nil
}

func checkSandbox(s string) error {
	if s == "relaxed" {
		return nil
	}
	if parseBool(new(bool), s) != nil {
		return fmt.Errorf("%q is none of true, false and relaxed", s)
	}
	return nil
}

func checkSandboxPath(s string) error {
	_, err := ParseSandboxPath(s)
	return err
}

// SandboxPath is an element of sandbox-paths.
type SandboxPath struct {
	Inside, Outside string
	Optional        bool
}

// ParseSandboxPath parses INSIDE=OUTSIDE or PATH, with ? at the end for what may be missing.
func ParseSandboxPath(s string) (SandboxPath, error) {
	var p SandboxPath
	s, p.Optional = strings.CutSuffix(s, "?")
	inside, outside, ok := strings.Cut(s, "=")
	if !ok {
		outside = inside
	}
	p.Inside, p.Outside = path.Clean(inside), path.Clean(outside)
	if !path.IsAbs(inside) || !path.IsAbs(outside) || p.Inside == "/" {
		return p, fmt.Errorf("%q is not PATH or INSIDE=OUTSIDE with absolute paths", s)
	}
	return p, nil
}
