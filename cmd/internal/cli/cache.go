package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"larder/cmd/internal/cacheserver"
	"larder/cmd/internal/control"
	"larder/cmd/internal/engine"
	"larder/store"
	"larder/store/cache"
)

func (a *app) cacheCommand() *cobra.Command {
	return group("cache COMMAND", "Binary caches: push, serve", "Binary caches: directories or HTTP servers that hold store objects for others.",
		a.cachePushCommand(), a.cacheServeCommand())
}

type pushFlags struct {
	to, key, compression string
	level, jobs          int
	listing, onlyPaths   bool
}

func (a *app) cachePushCommand() *cobra.Command {
	var f pushFlags
	c := &cobra.Command{
		Use:   "push --to URL PATH...",
		Short: "Copy store paths to a binary cache",
		Long: `Copies valid store paths, with all they refer to, to a binary cache in a directory, which is made if it is not there.
The URL takes Nix's parameters: file:///DIR?compression=zstd&secret-key=FILE. What the cache has already is kept.`,
		Example: "  larder cache push --to file:///srv/cache --key secret.key /nix/store/5jqndlcpjbnlf2lkmz2zxxm3vhx4x3s7-hello-2.12.1",
		Args:    atLeast(1, "a PATH"),
		RunE: func(c *cobra.Command, args []string) error {
			if f.to == "" {
				return usagef("larder cache push needs --to URL, such as file:///srv/cache")
			}
			return a.push(c.Context(), args, f)
		},
	}
	c.Flags().StringVar(&f.to, "to", "", "the cache's `URL`, file:///DIR")
	c.Flags().StringVar(&f.key, "key", "", "sign with the secret key in `FILE`; see 'larder key generate'")
	c.Flags().StringVar(&f.compression, "compression", "", "xz (default), zstd, gzip, bzip2, br or none")
	c.Flags().IntVar(&f.level, "level", 0, "of the compression; 0 is its usual level")
	c.Flags().IntVarP(&f.jobs, "jobs", "j", 2, "how many paths to compress at a time")
	c.Flags().BoolVar(&f.listing, "listings", false, "write .ls files as well")
	c.Flags().BoolVar(&f.onlyPaths, "no-closure", false, "only the paths given; what they refer to must be in the cache")
	return c
}

func (a *app) push(ctx context.Context, args []string, f pushFlags) error {
	cfg, err := a.settings()
	if err != nil {
		return err
	}
	o := cache.PushOptions{Compression: f.compression, Level: f.level, WriteListing: f.listing, Jobs: max(1, f.jobs)}
	if o.Key, err = a.pushKey(f); err != nil {
		return err
	}
	options, err := engine.CacheOptions(cfg)
	if err != nil {
		return err
	}
	options.Logger = a.plainLogger()
	if !strings.HasPrefix(f.to, "file:") {
		return usagef("%s can't be pushed to: only a directory can, file:///DIR", f.to)
	}
	target, err := cache.Open(ctx, f.to, options)
	if err != nil {
		return err
	}
	defer target.Close()
	o.Done = func(n *store.NarInfo, existed bool) {
		if existed {
			a.notef("%s is there already", n.Path)
		} else {
			a.notef("pushed %s (%s, %s in the cache)", n.Path, humanBytes(int64(n.NarSize)), humanBytes(int64(n.FileSize)))
		}
	}
	return a.withPaths(ctx, reading, args, func(s control.Service, paths []store.StorePath) error {
		if !f.onlyPaths {
			if paths, err = s.Query(ctx, control.Closure, paths); err != nil {
				return err
			}
		}
		return target.Push(ctx, s, paths, o)
	})
}

// pushKey is the key of --key, or of the URL's parameter secret-key, as Nix has it.
func (a *app) pushKey(f pushFlags) (*store.SecretKey, error) {
	file := f.key
	if u, err := url.Parse(f.to); err == nil && file == "" {
		file = u.Query().Get("secret-key")
	}
	if file == "" {
		return nil, nil
	}
	k, err := a.readKey(file)
	return &k, err
}

type serveFlags struct {
	listen string
	port   int
	keys   []string
	zstd   bool
	prio   int
}

func (a *app) cacheServeCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve [DIR]",
		Short: "Serve a binary cache over HTTP",
		Long: `Serves the binary cache in the directory DIR over HTTP, or without DIR the valid paths of the store. Prints the URL when
it answers, and goes on until it is interrupted. It listens on loopback only, unless --listen says otherwise: whoever
can reach it can read everything in the store.`,
		Example: "  larder cache serve --listen 127.0.0.1:5000 /srv/cache",
		Args:    exactly(0, 1, "at most one DIR"),
		RunE:    func(c *cobra.Command, args []string) error { return a.serveCache(c.Context(), args, f) },
	}
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:5000", "listen on `ADDRESS:PORT`; port 0 is any free one")
	c.Flags().IntVar(&f.port, "port", -1, "listen on another port of that address")
	c.Flags().StringArrayVar(&f.keys, "key", nil, "sign what the store serves with the secret key in `FILE`; can be repeated")
	c.Flags().BoolVar(&f.zstd, "zstd", false, "compress what the store serves")
	c.Flags().IntVar(&f.prio, "priority", 0, "of the store among caches; lower is asked earlier (default 30)")
	return c
}

func (a *app) serveCache(ctx context.Context, args []string, f serveFlags) error {
	cfg, err := a.settings()
	if err != nil {
		return err
	}
	if f.port >= 0 {
		host, _, err := net.SplitHostPort(f.listen)
		if err != nil {
			return usagef("--listen: %v", err)
		}
		f.listen = net.JoinHostPort(host, fmt.Sprint(f.port))
	}
	if len(args) == 1 {
		h, err := cacheserver.NewDirectory(a.absolute(args[0]), store.Dir(cfg.StoreDir))
		if err != nil {
			return err
		}
		defer h.Close()
		return a.serve(ctx, f.listen, h)
	}
	h := &cacheserver.Store{Zstd: f.zstd, Priority: f.prio, Logger: a.logger()}
	for _, name := range f.keys {
		k, err := a.readKey(name)
		if err != nil {
			return err
		}
		h.Keys = append(h.Keys, k)
	}
	return a.withStore(ctx, reading, func(s control.Service) error {
		h.Objects = s
		return a.serve(ctx, f.listen, h)
	})
}

func (a *app) serve(ctx context.Context, address string, h http.Handler) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(a.Out, "http://%s\n", l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	return cacheserver.Serve(ctx, l, h, cacheserver.Options{Logger: a.logger()})
}
