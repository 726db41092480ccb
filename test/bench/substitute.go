package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// closure is about 200 MB in some twenty store objects, which are packages that the
// machine has installed, published in a binary cache over loopback HTTP.
type closure struct {
	url   string
	paths []string
	files []string // the URLs of the NAR files
}

// substitution compares a whole closure's way into an empty store with a pipe
// that fetches, decompresses and hashes the same files, two at once, and with
// real Nix.
func (s *suite) substitution() []contest {
	var all []contest
	for _, method := range []string{"xz", "zstd"} {
		publish := s.publish(method)
		all = append(all, contest{
			name: "substitution of 200 MB, " + method,
			peer: fmt.Sprintf("`curl \\| %s -d \\| sha256sum`, two at once", method),
			aim:  "≤ 1.3",
			pair: func() (pair, error) {
				c, err := publish()
				if err != nil {
					return pair{}, err
				}
				script := fmt.Sprintf("printf '%%s\\n' \"$@\" | xargs -P2 -I{} sh -c 'curl -sf {} | %s -dc | sha256sum >/dev/null'", method)
				return pair{s.substitute(c), s.timed("sh", append([]string{"-c", script, "sh"}, c.files...)...)}, nil
			},
		}, contest{
			name: "substitution of 200 MB, " + method,
			peer: "real Nix (`nix copy`)",
			aim:  "≤ 0.5",
			pair: func() (pair, error) {
				c, err := publish()
				if err != nil {
					return pair{}, err
				}
				return pair{s.substitute(c), s.nixCopy(c)}, nil
			},
		})
	}
	return all
}

func (s *suite) substitute(c closure) side {
	var dir string
	return side{
		prepare: s.freshDir(&dir),
		work: func() error {
			args := []string{"--store-dir", "/nix/store", "--object-dir", dir + "/objects", "--state-dir", dir + "/state",
				"--option", "substituters", c.url, "--option", "require-sigs", "false", "realise"}
			_, err := s.command(s.larder, append(args, c.paths...)...)
			return err
		},
	}
}

func (s *suite) nixCopy(c closure) side {
	var dir string
	return side{
		prepare: s.freshDir(&dir),
		work: func() error {
			args := []string{"copy", "--extra-experimental-features", "nix-command", "--no-check-sigs",
				"--from", c.url, "--to", "local?root=" + dir}
			_, err := s.commandEnv([]string{"XDG_CACHE_HOME=" + dir}, "nix", append(args, c.paths...)...)
			return err
		},
	}
}

// freshDir makes a new directory for each run. The old ones stay until the end: ext4 is slow to reuse the inodes of files
// that were deleted a moment ago. What other runs wrote is written out, so that nobody pays for it.
func (s *suite) freshDir(dir *string) func() error {
	return func() (err error) {
		if *dir, err = s.dir("fresh."); err != nil {
			return err
		}
		unix.Sync()
		return os.Mkdir(*dir+"/objects", 0o755)
	}
}

// publish fills a cache, once.
func (s *suite) publish(method string) func() (closure, error) {
	var c closure
	return func() (closure, error) {
		if c.url != "" {
			return c, nil
		}
		dir, err := s.dir("cache-" + method + ".")
		if err != nil {
			return c, err
		}
		slices, err := s.command("sh", "-ec", `
			cd "$0"
			dpkg-query -W -f '${Installed-Size} ${Package}:${Architecture} ${Package}\n' |
			awk '$1 > 3000 && $1 < 30000 { n += $1; print $2, $3; if (n > 220000) exit }' |
			while read -r package name; do
				mkdir "slice-$name"
				dpkg -L "$package" | while IFS= read -r f; do
					if [ -f "$f" ] && [ ! -L "$f" ]; then cp --parents "$f" "slice-$name"; fi
				done
			done
			echo slice-*`, dir)
		if err != nil {
			return c, err
		}
		if err := os.Mkdir(dir+"/objects", 0o755); err != nil {
			return c, err
		}
		global := []string{"--store-dir", "/nix/store", "--object-dir", dir + "/objects", "--state-dir", dir + "/state"}
		add := append(append([]string{}, global...), "add")
		for _, name := range strings.Fields(slices) {
			add = append(add, filepath.Join(dir, name))
		}
		out, err := s.command(s.larder, add...)
		if err != nil {
			return c, err
		}
		c.paths = strings.Fields(out)
		push := append(append([]string{}, global...), "cache", "push", "--to", "file://"+dir+"/cache?compression="+method)
		if _, err := s.command(s.larder, append(push, c.paths...)...); err != nil {
			return c, err
		}
		if c.url, err = s.serve(dir + "/cache"); err != nil {
			return c, err
		}
		nars, err := os.ReadDir(dir + "/cache/nar")
		for _, n := range nars {
			c.files = append(c.files, c.url+"/nar/"+n.Name())
		}
		return c, err
	}
}

// serve is a plain file server: all sides get their bytes from the same one.
func (s *suite) serve(dir string) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(dir))}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(l)
	}()
	s.onClose(func() {
		server.Close()
		<-done
	})
	return "http://" + l.Addr().String(), nil
}
