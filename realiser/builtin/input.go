package builtin

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"larder/sandbox"
)

// Input is all that a builtin knows. It is plain data that crosses a process boundary.
type Input struct {
	// Attributes of the derivation, as they would be in a builder's environment, with placeholders replaced.
	Attributes map[string]string
	// Out is the path of the output "out" inside the sandbox; "" if the derivation has none.
	Out string
	// Network: the build has the host's network, because its output is checked against a hash, or is impure.
	Network bool
	// FlatHash is the hash of the file that is expected, as "sha256:…", "" if there is none or if it is of a tree.
	FlatHash string
	// Fetch is for fetchurl alone.
	Fetch FetchOptions
}

// FetchOptions say how fetchurl reaches the world. They hold secrets.
type FetchOptions struct {
	Netrc []byte // contents of the file (Nix: netrc-file)
	CA    []byte // certificate authorities, PEM (ssl-cert-file)
	// HashedMirrors are URLs below which files lie by their hash (hashed-mirrors).
	HashedMirrors []string
	// Proxy are variables like http_proxy and no_proxy, of the daemon's environment.
	Proxy map[string]string

	UserAgent string
	// Attempts is how often a download is tried in all (download-attempts); less than one counts as one.
	Attempts int
	// Backoff is the pause before the second attempt; it grows from then on.
	Backoff time.Duration
	// ConnectTimeout bounds the making of a connection, StallTimeout the time in which nothing comes; 0: unbounded.
	ConnectTimeout, StallTimeout time.Duration
}

// Encode makes what sandbox.Spec.BuiltinInput wants.
func (in *Input) Encode() ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(in); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func decodeInput(data []byte) (*Input, error) {
	in := &Input{}
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(in); err != nil {
		return nil, fmt.Errorf("input of a builtin: %w", err)
	}
	return in, nil
}

// attribute returns one that must be there.
func (in *Input) attribute(name string) (string, error) {
	value, ok := in.Attributes[name]
	if !ok {
		return "", fmt.Errorf("attribute '%s' missing", name)
	}
	return value, nil
}

// out returns where the output goes.
func (in *Input) out() (string, error) {
	if in.Out == "" {
		return "", fmt.Errorf("the derivation has no output 'out', the only one that a builtin builder makes")
	}
	return in.Out, nil
}

// builtins are the functions by their names. They write warnings and progress to log.
var builtins = []struct {
	name string
	run  func(in *Input, log io.Writer) error
}{
	{"buildenv", BuildEnv},
	{"fetchurl", FetchURL},
	{"unpack-channel", UnpackChannel},
}

// All is what linux.MaybeChild is given.
func All() []sandbox.Builtin {
	all := make([]sandbox.Builtin, len(builtins))
	for i, b := range builtins {
		all[i] = sandbox.Builtin{Name: b.name, Run: func(input []byte) error {
			in, err := decodeInput(input)
			if err != nil {
				return err
			}
			return b.run(in, os.Stderr)
		}}
	}
	return all
}

// Prefix is how a derivation's builder begins that is a builtin.
const Prefix = "builtin:"

// Known reports whether there is a builtin with this name, without the prefix.
func Known(name string) bool {
	return slices.ContainsFunc(All(), func(b sandbox.Builtin) bool { return b.Name == name })
}
