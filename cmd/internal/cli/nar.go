package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"larder/cmd/internal/terminal"
	"larder/nar"
	"larder/store"
)

func (a *app) narCommand() *cobra.Command {
	return group("nar COMMAND", "Nix archives",
		"Reads and writes Nix archives (NAR), the form in which store objects are hashed and shipped.",
		a.narDumpCommand(), a.narRestoreCommand(), a.narListCommand(), a.narHashCommand())
}

func (a *app) narDumpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "dump PATH",
		Short:   "Write the NAR of a file or directory to standard output",
		Long:    "Writes the NAR of PATH to standard output: any file or directory, or a store path.",
		Example: "  larder nar dump ./src > src.nar",
		Args:    exactly(1, 1, "a PATH"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.notToTerminal(); err != nil {
				return err
			}
			return a.dump(c.Context(), a.Out, args[0])
		},
	}
}

// dump writes the NAR of a file, or of a store path that is not to be seen as a file.
func (a *app) dump(ctx context.Context, w io.Writer, name string) error {
	cfg, err := a.settings()
	if err != nil {
		return err
	}
	p, err := store.Dir(cfg.StoreDir).Parse(a.absolute(name))
	if err != nil {
		_, err := nar.Dump(ctx, w, a.absolute(name))
		return err
	}
	s, err := a.openStore(ctx, reading)
	if err != nil {
		return err
	}
	defer a.close(s)
	return s.DumpNAR(ctx, w, p)
}

func (a *app) narRestoreCommand() *cobra.Command {
	canonical := false
	c := &cobra.Command{
		Use:   "restore FILE DEST",
		Short: "Unpack a NAR",
		Long: `Unpacks the uncompressed NAR in FILE (- for standard input) to DEST, which must not exist. What is not in canonical
form is refused, and then nothing is left at DEST.`,
		Example: "  larder nar restore src.nar ./src-again",
		Args:    exactly(2, 2, "a FILE and a DEST"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withFile(args[0], func(r io.Reader) error {
				_, err := nar.Restore(c.Context(), r, a.absolute(args[1]), nar.RestoreOptions{Canonical: canonical})
				var malformed *nar.FormatError
				if errors.As(err, &malformed) {
					return fmt.Errorf("%s: %w", args[0], malformed) // it is not the fault of DEST
				}
				return err
			})
		},
	}
	c.Flags().BoolVar(&canonical, "canonical", false, "read-only, with the times of a store object")
	return c
}

func (a *app) narListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls FILE [PATH]",
		Short: "List what is in a NAR",
		Long: `Lists what is in the uncompressed NAR in FILE (- for standard input), or below PATH in it: type, size, name. With
--json the listing has the form of a binary cache's .ls file.`,
		Example: "  larder nar ls src.nar",
		Args:    exactly(1, 2, "a FILE, and perhaps a PATH in it"),
		RunE: func(_ *cobra.Command, args []string) error {
			inside := ""
			if len(args) > 1 {
				inside = args[1]
			}
			return a.withFile(args[0], func(r io.Reader) error { return a.list(r, args[0], inside) })
		},
	}
}

func (a *app) list(r io.Reader, name, inside string) error {
	l, err := nar.ReadListing(r)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	node, ok := l.Lookup(inside)
	if !ok {
		return fmt.Errorf("%s: there is no %q in it", name, inside)
	}
	if a.flags.json {
		return a.printJSON(&nar.Listing{Root: node})
	}
	return a.printNode(node, inside)
}

func (a *app) printNode(n *nar.ListingNode, path string) error {
	kind, more := n.Type.String(), ""
	if n.Executable {
		kind = "executable"
	}
	if n.Type == nar.Symlink {
		more = " -> " + terminal.Clean(n.Target)
	}
	name := terminal.Clean(path)
	if name == "" {
		name = "."
	}
	if _, err := fmt.Fprintf(a.Out, "%-10s %12d %s%s\n", kind, n.Size, name, more); err != nil {
		return err
	}
	for _, e := range n.Entries {
		below := e.Name
		if path != "" {
			below = path + "/" + e.Name
		}
		if err := a.printNode(e, below); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) narHashCommand() *cobra.Command {
	algo, format := "sha256", "sri"
	c := &cobra.Command{
		Use:     "hash PATH...",
		Short:   "Print the hash of a NAR",
		Long:    "Prints the hash of the NAR of each PATH: any file or directory, or a store path.",
		Example: "  larder nar hash --format nix32 ./src",
		Args:    atLeast(1, "a PATH"),
		RunE: func(c *cobra.Command, args []string) error {
			h, err := store.ParseHashAlgo(algo)
			if err != nil {
				return err
			}
			e, err := parseEncoding(format)
			if err != nil {
				return err
			}
			return a.hash(c.Context(), args, h, e)
		},
	}
	c.Flags().StringVar(&algo, "algo", algo, "md5, sha1, sha256, sha512 or blake3")
	c.Flags().StringVar(&format, "format", format, "sri, nix32, base16 or base64")
	return c
}

func (a *app) hash(ctx context.Context, names []string, algo store.HashAlgo, e store.Encoding) error {
	for _, name := range names {
		h := algo.New()
		if err := a.dump(ctx, h, name); err != nil {
			return err
		}
		sum := store.SumOf(algo, h)
		if a.flags.json {
			if err := a.printJSON(map[string]string{"path": name, "hash": sum.Encode(e)}); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintln(a.Out, sum.Encode(e)); err != nil {
			return err
		}
	}
	return nil
}

func parseEncoding(s string) (store.Encoding, error) {
	switch s {
	case "sri":
		return store.SRI, nil
	case "nix32", "base32":
		return store.Nix32, nil
	case "base16":
		return store.Base16, nil
	case "base64":
		return store.Base64, nil
	}
	return 0, usagef("%q is not a form of a hash: expected sri, nix32, base16 or base64", s)
}

// withFile calls f with a file's contents, "-" for standard input.
func (a *app) withFile(name string, f func(io.Reader) error) error {
	if name == "-" {
		return f(a.In)
	}
	file, err := os.Open(a.absolute(name))
	if err != nil {
		return err
	}
	defer file.Close()
	return f(file)
}
