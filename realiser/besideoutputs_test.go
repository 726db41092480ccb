package realiser_test

import (
	"strings"
	"testing"

	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
	"larder/test/fixture"
)

// TestTakesOutputsLikeNix builds derivations with real Nix and with Larder: floating
// and fixed outputs, and checks of outputs. What works Nix builds in one go.
func TestTakesOutputsLikeNix(t *testing.T) {
	sameUnderRace(t)
	t.Parallel()
	n, box, s := newNixBeside(t), realSandbox(t), openStore(t)
	r := open(t, s, box, nil)
	cases := []struct{ attr, fails string }{
		{"ca-everywhere", ""},
		{"ca-big", ""},
		{"ca-chain", ""},
		{"ca-apart", ""},
		{"ca-links", ""},
		{"ca-symlink", ""},
		{"ca-empty", ""},
		{"ca-sha512", ""},
		{"ca-md5", ""},
		{"ca-flat-run", "should be a non-executable regular file since recursive hashing is not enabled (outputHashMode=flat)"},
		{"ca-flat-link", "should be a non-executable regular file since recursive hashing is not enabled (outputHashMode=flat)"},
		{"ca-circle", "cycle detected in build of '/nix/store/"},
		{"ca-checked", ""},
		{"ca-forbidden", "is not allowed to refer to the following paths:"},
		{"fixed-flat-sha512", "hash mismatch in fixed-output derivation '/nix/store/"},
		{"fixed-tree-md5", "hash mismatch in fixed-output derivation '/nix/store/"},
		{"fixed-self", "hash mismatch in fixed-output derivation '/nix/store/"},
		{"fixed-self-flat", "hash mismatch in fixed-output derivation '/nix/store/"},
		{"sizes", ""},
		{"size-of-second", "-size-of-second-lib' is too large at "},
		{"closure-of-second", "closure of path '/nix/store/"},
		{"allowed-chain", "is not allowed to refer to the following paths:"},
		{"allowed-whole", ""},
		{"disallowed-chain", "is not allowed to refer to the following paths:"},
		{"disallowed-self-requisite", ""},
		{"structured-self-requisite", "is not allowed to refer to the following paths:"},
		{"structured-through-sibling", "is not allowed to refer to the following paths:"},
		{"structured-sibling-allowed", ""},
		{"no-specifier", "derivation contains an illegal reference specifier 'ou'"},
		{"path-in-store", "derivation contains an illegal reference specifier '/nix/store/"},
	}
	args := []string{fixture.Path(t, "beside/outputs.nix")}
	for _, c := range cases {
		args = append(args, "-A", c.attr)
	}
	drvs := strings.Fields(n.ok("nix-instantiate", args...))
	n.copyTo(s, drvs...)
	good := []string{"-r"}
	for i, c := range cases {
		if c.fails == "" {
			good = append(good, drvs[i])
		}
	}
	outputs := strings.Fields(n.ok("nix-store", good...))
	for i, c := range cases {
		t.Run(c.attr, func(t *testing.T) {
			outcome, err := r.Build(t.Context(), store.Caller{}, realiser.Request{Targets: []realiser.Target{{Drv: parsePath(t, drvs[i])}}})
			if err != nil {
				t.Fatal(err)
			}
			if res := outcome.Results[0]; c.fails != "" {
				_, says, err := n.run("nix-store", "-r", drvs[i])
				checkWords(t, c.fails, says, err, res.Err)
			} else if res.Status != result.Built {
				t.Fatalf("%v: %v", res.Status, res.Err)
			}
		})
	}
	if !t.Failed() {
		n.checkInfos(t, s, outputs...)
	}
}
