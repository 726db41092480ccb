package builder

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"larder/sandbox"
	"larder/store"
	"larder/store/derivation"
)

// environment makes the builder's environment (Nix manual, "Builder execution").
// In the order of growing precedence: defaults, the derivation's own variables,
// what describes the sandbox. Structured attributes are no variables, but files.
func (b *build) environment() (map[string]string, error) {
	env := map[string]string{
		"PATH":            "/path-not-set", // where a shell without PATH would look by itself
		"HOME":            homeless,
		"NIX_STORE":       string(b.dir),
		"NIX_BUILD_CORES": strconv.Itoa(b.opt.Cores),
	}
	if b.Asks.Structured == nil {
		if err := b.addVariables(env); err != nil {
			return nil, err
		}
		if err := b.writeGraphs(); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "PWD"} {
		env[name] = b.buildDir()
	}
	if b.fixed() {
		// Tells fetchers that the content is going to be checked.
		env["NIX_OUTPUT_CHECKED"] = "1"
	}
	if b.fixed() || b.Drv.Kind() == derivation.Impure {
		for _, name := range b.Asks.ImpureEnvVars {
			env[name], _ = b.opt.Getenv(name)
		}
	}
	env["NIX_LOG_FD"] = "2"
	env["TERM"] = "xterm-256color"
	if b.Asks.Structured != nil {
		return env, b.writeAttrs(env)
	}
	return env, nil
}

// addVariables adds the derivation's own variables, those of passAsFile as the
// names of files.
func (b *build) addVariables(env map[string]string) error {
	rewrite := b.placeholders()
	for name, value := range b.Drv.Env {
		value = rewrite.Replace(value)
		if !slices.Contains(b.Asks.PassAsFile, name) {
			env[name] = value
			continue
		}
		file := ".attr-" + store.SHA256.Sum([]byte(name)).Encode(store.Nix32)
		if err := b.writeFile(file, value); err != nil {
			return err
		}
		env[name+"Path"] = b.buildDir() + "/" + file
	}
	return nil
}

// buildDir is what the builder calls its build directory.
func (b *build) buildDir() string {
	if !b.noChroot {
		return b.opt.SandboxBuildDir
	}
	return b.scratch.build
}

// fixed reports whether the output is checked against a hash, so that the
// builder may use the network.
func (b *build) fixed() bool { return b.Drv.Kind() == derivation.FixedOutput }

// placeholders replaces the placeholders of the outputs by their paths.
func (b *build) placeholders() *strings.Replacer {
	var pairs []string
	for name, p := range b.Outputs {
		pairs = append(pairs, derivation.Placeholder(name), b.dir.Join(p))
	}
	return strings.NewReplacer(pairs...)
}

// writeFile makes a file in the build directory, before the builder runs. There is
// none of that name yet, not even a symlink to somewhere else.
func (b *build) writeFile(name, text string) error {
	path := filepath.Join(b.scratch.build, name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil { // whatever our umask is
		return err
	}
	return b.user.Own(path)
}

// spec compiles what the sandbox is told.
func (b *build) spec() (*sandbox.Spec, error) {
	s := &sandbox.Spec{
		StoreDir: string(b.dir), BuildStore: b.storeDir, ObjectDir: b.store.ObjectDir(), NoChroot: b.noChroot,
		BuildDir: b.scratch.build, TmpDirInSandbox: b.opt.SandboxBuildDir, TmpDir: b.scratch.tmp,
		Network: networked(b.Drv), Platform: b.Drv.System,
		UID: 1000, GID: 100, HostUID: b.user.UID, HostGID: b.user.GID, Groups: b.user.Groups,
	}
	if err := b.checkHome(homeless); err != nil {
		return nil, err
	}
	if err := b.addUIDRange(s); err != nil {
		return nil, err
	}
	for _, p := range b.Outputs {
		s.Absent = append(s.Absent, p.String())
	}
	var err error
	if name, ok := b.builtin(); ok {
		err = b.callBuiltin(s, name)
	} else {
		err = b.callProgram(s)
	}
	if err != nil {
		return nil, err
	}
	if s.Mounts, err = b.mounts(); err != nil {
		return nil, err
	}
	if err := s.Validate(); err != nil {
		return nil, refusal{fmt.Errorf("derivation '%s' can't be built: %w", b.name, err)}
	}
	return s, nil
}

// callProgram tells the sandbox to run the program that the derivation names.
func (b *build) callProgram(s *sandbox.Spec) error {
	env, err := b.environment()
	if err != nil {
		return err
	}
	rewrite := b.placeholders()
	s.Builder, s.Args = cleanBuilder(b.Drv.Builder), []string{filepath.Base(b.Drv.Builder)}
	for _, a := range b.Drv.Args {
		s.Args = append(s.Args, rewrite.Replace(a))
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		s.Env = append(s.Env, name+"="+env[name])
	}
	return nil
}

// cleanBuilder removes doubled slashes and the like, but nothing that could mean
// another file where a directory is a symlink.
func cleanBuilder(path string) string {
	if slices.Contains(strings.Split(path, "/"), "..") {
		return path
	}
	return filepath.Clean(path)
}

// storeMode is the mode of the directory in which outputs appear: Nix's for a store.
const storeMode = os.ModeSticky | 0o775

// makeStoreDir makes the directory that is the builder's store, inside of one
// that nobody else can pass through: what lies in it may be writable for all, a
// setuid program, or a socket over which the builder gives descriptors away.
func (b *build) makeStoreDir() (err error) {
	if b.storeTemp, err = b.store.NewTemp(b.ctx); err != nil {
		return err
	}
	private := filepath.Join(b.store.ObjectDir(), b.storeTemp)
	b.storeDir = filepath.Join(private, "store")
	if err := errors.Join(os.Mkdir(private, 0o700), os.Mkdir(b.storeDir, 0o755)); err != nil {
		return err
	}
	if b.user.UID == sandbox.CallingUser {
		return nil
	}
	return errors.Join(os.Chown(b.storeDir, -1, b.user.GID), os.Chmod(b.storeDir, storeMode))
}
