package config

import (
	"fmt"
	"strings"
	"time"
)

// Config is every setting with its value. Make one with [Load], or with [Default] where no file shall matter.
type Config struct {
	StoreDir, StateDir, ObjectDir, RuntimeDir string
	ReadOnly                                  bool

	Substituters                      []string
	TrustedPublicKeys                 []string
	RequireSigs, Substitute, Fallback bool
	AlwaysAllowSubstitutes            bool
	MaxSubstitutionJobs               Count
	HTTPConnections                   Count
	ConnectTimeout, StallTimeout      time.Duration
	DownloadAttempts                  Count
	NarInfoPositiveTTL, NarInfoNegTTL time.Duration

	NetrcFile, SSLCertFile string
	HashedMirrors          []string

	System                         string
	ExtraPlatforms, SystemFeatures []string
	MaxJobs, Cores                 Count
	KeepGoing, KeepFailed          bool
	CacheFailures                  bool
	Repeat                         Count
	EnforceDeterminism             bool
	RunDiffHook                    bool
	DiffHook, PostBuildHook        string
	Timeout, MaxSilentTime         time.Duration
	MaxLogSize                     Size
	LogLines                       Count
	KeepBuildLog, CompressBuildLog bool
	BuildDir                       string

	BuildUsersGroup  string
	AutoAllocateUIDs bool
	StartID, IDCount Count
	UserPoolDir      string

	Sandbox                                string // true, false or relaxed
	SandboxPaths                           []string
	SandboxBuildDir                        string
	SandboxDevShmSize                      string
	AllowedImpureHostDeps                  []string
	PreBuildHook                           string
	FilterSyscalls, AllowNewPrivileges     bool
	ImpersonateLinux26, UseCgroups         bool
	CgroupDir                              string
	BuildMemoryLimit                       Size
	BuildProcessesLimit, BuildPercentOfCPU Count

	EvalStore                    string
	SecretKeyFiles               []string
	AutoOptimise                 bool
	KeepDerivations, KeepOutputs bool
	MinFree, MaxFree             Size
	MinFreeCheckInterval         time.Duration
	AllowedUsers                 []string

	origins map[string]Origin // of the settings that something set
}

// Count is a number of things. "auto" in a file is the number of processors.
type Count int

// Size is a number of bytes. K, M, G and T after the number multiply it by powers of 1024.
type Size int64

// Origin says where a value came from.
type Origin struct {
	Source string // a file's path, "--option", or the name of an environment variable
	Line   int    // in the file, from 1; otherwise 0
}

// Origin says where the value of a setting came from; false if it is the default.
func (c *Config) Origin(name string) (Origin, bool) {
	o, ok := c.origins[name]
	return o, ok
}

// Text is all settings as a file would have them.
func (c *Config) Text() string {
	var b strings.Builder
	for _, s := range Settings() {
		fmt.Fprintf(&b, "%s = %s\n", s.Name, s.Get(c))
	}
	return b.String()
}
