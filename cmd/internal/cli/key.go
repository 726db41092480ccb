package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"larder/store"
)

func (a *app) keyCommand() *cobra.Command {
	generate := &cobra.Command{
		Use:   "generate NAME FILE",
		Short: "Make a key to sign store paths with",
		Long: `Makes an ed25519 key pair, writes the secret key to FILE (mode 0600) and prints the public key, in the form that
trusted-public-keys takes. An existing FILE is never overwritten. NAME says whose key it is, and which: a host name and
a number. Nix reads the same files.`,
		Example: "  larder key generate cache.example.org-1 /etc/larder/secret.key",
		Args:    exactly(2, 2, "a NAME and a FILE"),
		RunE:    func(_ *cobra.Command, args []string) error { return a.generateKey(args[0], a.absolute(args[1])) },
	}
	public := &cobra.Command{
		Use:     "public FILE",
		Short:   "Print the public key of a secret key",
		Long:    "Reads a secret key from FILE (- for standard input) and prints its public key.",
		Example: "  larder key public /etc/larder/secret.key",
		Args:    exactly(1, 1, "a FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			k, err := a.readKey(args[0])
			if err != nil {
				return err
			}
			return a.printKey(k)
		},
	}
	return group("key COMMAND", "Keys that sign store paths", "Keys that sign store paths, as binary caches need them.", generate, public)
}

func (a *app) generateKey(name, file string) (err error) {
	k, err := store.GenerateKey(name, rand.Reader)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists and may be a key that is in use; name another file", file)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, k.Text())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("writing the key: %w", err), os.Remove(file))
	}
	return a.printKey(k)
}

func (a *app) printKey(k store.SecretKey) error {
	if a.flags.json {
		return a.printJSON(map[string]string{"name": k.Name, "publicKey": k.Public().String()})
	}
	_, err := fmt.Fprintln(a.Out, k.Public())
	return err
}

// maxKeyFile bounds what is read of a key file, in bytes.
const maxKeyFile = 4096

// readKey reads a secret key file, "-" for standard input.
func (a *app) readKey(name string) (store.SecretKey, error) {
	in := a.In
	if name != "-" {
		f, err := os.Open(a.absolute(name))
		if err != nil {
			return store.SecretKey{}, fmt.Errorf("secret key: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxKeyFile))
	if err != nil {
		return store.SecretKey{}, fmt.Errorf("secret key: %w", err)
	}
	k, err := store.ParseSecretKey(string(text))
	if err != nil {
		return store.SecretKey{}, fmt.Errorf("secret key file %s: %w", name, err)
	}
	return k, nil
}
