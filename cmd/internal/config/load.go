package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Sources say where a configuration comes from. The zero value is the default files and nothing else.
type Sources struct {
	// Files replace the default ones, which may be missing; these must be there.
	Files []string
	// NoFiles reads none at all.
	NoFiles bool
	// Options are name and value, applied last.
	Options [][2]string
	// UID and Getenv describe the user. Getenv nil: no environment.
	UID    int
	Getenv func(string) string
}

// environment are the variables that are settings.
var environment = [][2]string{
	{"LARDER_STORE_DIR", "store-dir"},
	{"LARDER_STATE_DIR", "state-dir"},
	{"LARDER_OBJECT_DIR", "object-dir"},
}

// Default is the configuration of a machine without any file.
func Default() *Config {
	c := &Config{}
	for i := range table {
		if err := table[i].set(c, table[i].Default, false); err != nil && table[i].Default != "" {
			panic("config: default of " + table[i].Name + ": " + err.Error())
		}
	}
	return c
}

// Load reads all sources, in their order, and works out the directories that none of them gave. Warnings are worth showing
// whether or not there is an error, which is an *Error or says which file cannot be read.
func Load(s Sources) (*Config, []Warning, error) {
	if s.Getenv == nil {
		s.Getenv = func(string) string { return "" }
	}
	r := &reader{config: Default()}
	if err := s.load(r); err != nil {
		return nil, r.warnings, err
	}
	if err := r.config.places(s); err != nil {
		return nil, r.warnings, err
	}
	return r.config, r.warnings, nil
}

func (s Sources) load(r *reader) error {
	files, mayMiss := s.Files, false
	if len(files) == 0 {
		if f := s.Getenv("LARDER_CONFIG"); f != "" {
			files = []string{f}
		} else {
			files, mayMiss = s.defaultFiles(), true
		}
	}
	if s.NoFiles {
		files = nil
	}
	for _, f := range files {
		err := r.file(f, 0)
		var ours *Error
		if mayMiss && errors.Is(err, fs.ErrNotExist) && !errors.As(err, &ours) {
			continue
		}
		if err != nil {
			return err
		}
	}
	for _, e := range environment {
		if v := s.Getenv(e[0]); v != "" {
			if err := r.set(e[1], v, Origin{Source: e[0]}); err != nil {
				return err
			}
		}
	}
	for _, o := range s.Options {
		if err := r.set(o[0], o[1], Origin{Source: "--option"}); err != nil {
			return err
		}
	}
	return nil
}

func (s Sources) defaultFiles() []string {
	files := []string{"/etc/larder/larder.conf"}
	if d := s.home("XDG_CONFIG_HOME", ".config"); d != "" {
		if f := filepath.Join(d, "larder", "larder.conf"); s.UID != 0 || rootsOwn(f) {
			files = append(files, f)
		}
	}
	return files
}

// rootsOwn reports whether nobody but root can say what is in a file that is there: it is root's, and so is all on the way to it. After sudo HOME may
// be that of another user, whose settings must not name programs that root runs.
func rootsOwn(name string) bool {
	for ; name != "/"; name = filepath.Dir(name) {
		st, err := os.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false
		}
		if owner, ok := st.Sys().(*syscall.Stat_t); !ok || owner.Uid != 0 {
			return false
		}
	}
	return true
}

// home is a directory of the XDG base directory specification, "" if the user has none.
func (s Sources) home(variable, fallback string) string {
	// The specification says that a relative one is to be ignored.
	if d := s.Getenv(variable); filepath.IsAbs(d) {
		return filepath.Clean(d)
	}
	if h := s.Getenv("HOME"); filepath.IsAbs(h) {
		return filepath.Join(h, fallback)
	}
	return ""
}

// places fills in the directories that nobody set.
func (c *Config) places(s Sources) error {
	stateGiven := c.StateDir != ""
	if c.StateDir == "" {
		c.StateDir = "/var/lib/larder"
		if s.UID != 0 {
			d := s.home("XDG_DATA_HOME", ".local/share")
			if d == "" {
				return fmt.Errorf("no place for the state: HOME is not set; set it, or give --state-dir")
			}
			c.StateDir = filepath.Join(d, "larder")
		}
	}
	if c.ObjectDir == "" {
		c.ObjectDir = c.StoreDir
		if _, given := c.Origin("store-dir"); !given && s.UID != 0 {
			c.ObjectDir = filepath.Join(c.StateDir, "store")
		}
	}
	if c.RuntimeDir == "" {
		run := s.Getenv("XDG_RUNTIME_DIR")
		switch {
		case stateGiven, s.UID != 0 && !filepath.IsAbs(run):
			// A store of its own has a socket of its own.
			c.RuntimeDir = c.StateDir
		case s.UID != 0:
			c.RuntimeDir = filepath.Join(run, "larder")
		default:
			c.RuntimeDir = "/run/larder"
		}
	}
	if c.BuildDir == "" {
		c.BuildDir = filepath.Join(c.StateDir, "builds")
	}
	c.fetchFiles(s)
	return nil
}

// fetchFiles fills in the files of downloads that nobody set. They need not exist.
func (c *Config) fetchFiles(s Sources) {
	if c.NetrcFile == "" {
		files := s.defaultFiles()
		if s.UID == 0 {
			files = files[:1]
		}
		c.NetrcFile = filepath.Join(filepath.Dir(files[len(files)-1]), "netrc")
	}
	for _, file := range []string{s.Getenv("NIX_SSL_CERT_FILE"), s.Getenv("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt"} {
		if c.SSLCertFile == "" && filepath.IsAbs(file) {
			c.SSLCertFile = file
		}
	}
}

// ControlSocket is where a daemon of this store listens.
func (c *Config) ControlSocket() string { return filepath.Join(c.RuntimeDir, "control.sock") }

// User are Sources for the calling user.
func User() Sources { return Sources{UID: os.Getuid(), Getenv: os.Getenv} }
