package realiser_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"larder/nar"
	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
	"larder/store/local"
	"larder/test/fixture"
)

// buildCase is a file of derivations/expected: what real Nix made of a derivation.
type buildCase struct {
	Case    string
	Expect  string // ok, fail, eval-fail
	DrvPath string
	Args    []string
	Build   struct{ Local struct{ Exit int } }

	PathInfo []struct {
		Path, NarHash, Ca string
		NarSize           uint64
		References        []string
	}
	Deriver      map[string]string
	Realisations []store.Realisation
	LogBase64    []byte
	NarBase64    map[string][]byte
}

// newer names the cases in which a builder sees what newer versions of Nix show
// it, and what Nix 2.8 had in the place of it. Nothing else may differ.
var newer = map[string]struct{ now, then string }{
	// The attribute files' place as the builder sees it, not as the host does.
	"sa-values": {"/build/.attrs", "/tmp/nix-build-sa-values.drv-0/.attrs"},
}

const depPath = "/nix/store/ri33cw60p5dwrh3g4cbbzw8nfwmi17wf-dep"

// failures says how each case fails that is meant to, and what the message must
// name. Where Nix exits with 100 it is a permanent failure, with 101 a timeout,
// with 102 a hash mismatch; refusals exit with 1 in Nix 2.8.
var failures = map[string]struct {
	status result.Status
	says   string
}{
	"out-setuid":             {result.PermanentFailure, "failed with exit code 1"},
	"out-setgid-dir":         {result.PermanentFailure, "failed with exit code 1"},
	"out-fifo":               {result.OutputRejected, "/p"},
	"out-missing":            {result.OutputRejected, "failed to produce output path for output 'out'"},
	"out-missing-second":     {result.OutputRejected, "failed to produce output path for output 'doc'"},
	"out-cycle":              {result.OutputRejected, "cycle detected in build of"},
	"env-no-args":            {result.OutputRejected, "failed to produce output path for output 'out'"},
	"fixed-mismatch":         {result.OutputRejected, "specified sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=, got sha256-uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek="},
	"fixed-mismatch-r":       {result.OutputRejected, "specified sha1-AAAAAAAAAAAAAAAAAAAAAAAAAAA=, got sha1-KQ9Nv6Osae5tiFl6yEIHElSMwTk="},
	"fixed-with-reference":   {result.OutputRejected, "got sha256-c3jZ86lkOjsdpcO/o/njWIADKwzYaEdQBggQuvRZpnk="},
	"fixed-flat-dir":         {result.OutputRejected, "should be a non-executable regular file"},
	"fixed-flat-exec":        {result.OutputRejected, "should be a non-executable regular file"},
	"hint-feature-unmet":     {result.InputRejected, "a 'x86_64-linux' with features {quantum} is required to build"},
	"hint-system-foreign":    {result.InputRejected, "a 'riscv128-plan9' with features {} is required to build"},
	"hint-no-chroot-refused": {result.InputRejected, "has '__noChroot' set, but that's not allowed when 'sandbox' is 'true'"},
	"fail-exit-1":            {result.PermanentFailure, "failed with exit code 1"},
	"fail-exit-100":          {result.PermanentFailure, "failed with exit code 100"},
	"fail-signal":            {result.OutputRejected, "failed to produce output path"},
	"fail-long-log":          {result.PermanentFailure, "failed with exit code 1"},
	"fail-no-builder":        {result.PermanentFailure, "/no/such/builder"},
	"fail-dependency":        {result.DependencyFailed, "1 dependencies of derivation"},
	"fail-timeout":           {result.TimedOut, "timed out after 1s"},
	"fail-silent":            {result.TimedOut, "timed out after 1s of silence"},
	"fail-log-size":          {result.LogLimitExceeded, "more than 1000 bytes of log output"},
	"fail-close-log":         {result.PermanentFailure, "failed due to signal 9"},
	"fail-write-outside":     {result.PermanentFailure, "failed with exit code 1"},
	"fail-builtin-unknown":   {result.PermanentFailure, "unsupported builtin builder 'nonsense'"},
	"fail-network":           {result.PermanentFailure, "failed"},

	"refs-allowed-fail":        {result.OutputRejected, "-allowed-fail' is not allowed to refer to the following paths: " + depPath},
	"refs-allowed-self-fail":   {result.OutputRejected, "paths: /nix/store/mdr10lwy8lbnypp98ykgshq8xbfqw929-allowed-self"},
	"refs-allowed-bogus":       {result.OutputRejected, "derivation contains an illegal reference specifier 'nonsense'"},
	"refs-allowed-req-fail":    {result.OutputRejected, depPath + " (/nix/store/"},
	"refs-disallowed-fail":     {result.OutputRejected, "-disallowed-fail' is not allowed to refer to the following paths: " + depPath},
	"refs-disallowed-req-fail": {result.OutputRejected, "-dep2 -> " + depPath + ")"},
	"refs-disallowed-out":      {result.OutputRejected, "-disallowed-out-lib"},
	"sa-checks-self":           {result.OutputRejected, "paths: /nix/store/vl4dspbcil8x8fcs69lfy1pmkkm1v3i6-sa-checks-self"},
	"sa-max-size":              {result.OutputRejected, "is too large at 2160 bytes; limit is 1000 bytes"},
	"sa-max-closure":           {result.OutputRejected, "is too large at 792 bytes; limit is 300 bytes"},
	"sa-disallowed":            {result.OutputRejected, "-dep2 -> " + depPath + ")"},

	"ca-cycle":                   {result.OutputRejected, "cycle detected in build of"},
	"ca-refs-allowed-fail":       {result.OutputRejected, depPath},
	"ca-flat-dir":                {result.OutputRejected, "should be a non-executable regular file"},
	"impure-ia-on-impure":        {result.InputRejected, "pure derivation '/nix/store/8xriryw2bwv618sx68xdsmv07q4ir8q4-ia-on-impure.drv' depends on impure derivation '/nix/store/jr4xs43nq67d185w8pia6hlj38vg076f-impure.drv'"},
	"builtin-fetchurl-mismatch":  {result.OutputRejected, "specified sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=, got sha256-F5wdmS7A0/my2uAH2VL7kDb7iYPkK88UD7w9LvHgV38="},
	"builtin-fetchurl-missing":   {result.TransientFailure, "failed with exit code 1"},
	"builtin-buildenv-conflict":  {result.PermanentFailure, "failed with exit code 1"},
	"builtin-unpack-channel-two": {result.PermanentFailure, "failed with exit code 1"},
}

func readCases(t *testing.T) []buildCase {
	t.Helper()
	files, err := filepath.Glob(fixture.Path(t, "derivations/expected/*.json"))
	if err != nil || len(files) < 170 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	var cases []buildCase
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var c buildCase
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if c.Expect != "eval-fail" {
			cases = append(cases, c)
		}
	}
	return cases
}

// TestNixDerivations builds the hand-made derivations in the real sandbox and
// compares with what Nix got, byte for byte.
func TestNixDerivations(t *testing.T) {
	t.Parallel()
	box, s := realSandbox(t), openStore(t)
	loadDerivations(t, s)
	r := open(t, s, box, nil)
	limited := map[string]*realiser.Realiser{
		"timeout":            open(t, s, box, func(o *realiser.Options) { o.Timeout = time.Second }),
		"max-silent-time":    open(t, s, box, func(o *realiser.Options) { o.MaxSilent = time.Second }),
		"max-build-log-size": open(t, s, box, func(o *realiser.Options) { o.MaxLogSize = 1000 }),
		"sandbox":            r,
	}
	for _, c := range readCases(t) {
		if c.Case == outsideCase {
			continue // has a test of its own
		}
		t.Run(c.Case, func(t *testing.T) {
			r := r
			if len(c.Args) == 3 {
				r = limited[c.Args[1]]
			}
			drv := parsePath(t, c.DrvPath)
			outcome, err := r.Build(t.Context(), store.Caller{}, realiser.Request{Targets: []realiser.Target{{Drv: drv}}})
			if err != nil {
				t.Fatal(err)
			}
			res := outcome.Results[0]
			if c.Expect == "ok" {
				checkGood(t, r, s, c, drv, res)
			} else {
				checkFailure(t, c, res)
			}
		})
	}
}

func checkGood(t *testing.T, r *realiser.Realiser, s *local.Store, c buildCase, drv store.StorePath, res realiser.BuildResult) {
	t.Helper()
	if res.Err != nil {
		var e *result.BuildError
		errors.As(res.Err, &e)
		t.Fatalf("%v: %v\n%s", res.Status, res.Err, strings.Join(e.LastLines, "\n"))
	}
	for _, want := range c.PathInfo {
		p := parsePath(t, want.Path)
		got, err := s.PathInfo(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		refs := parsePaths(t, want.References)
		if n, ok := newer[c.Case]; ok {
			checkNewer(t, s.ObjectPath(p), c.NarBase64[want.Path], n.now, n.then)
			continue
		}
		if got.NarHash.Text(store.SRI) != want.NarHash || got.NarSize != want.NarSize || !slices.Equal(store.SortPaths(got.References), refs) ||
			got.CA.String() != want.Ca || res.Status == result.Built && (!got.Ultimate || got.Deriver.IsZero()) {
			text, _ := os.ReadFile(s.ObjectPath(p))
			t.Errorf("%s is %+v\nwant %+v\ncontent: %.2000s", p, got, want, text)
		}
	}
	checkRealisations(t, s, c)
	if res.Status != result.Built || c.LogBase64 == nil {
		return // another case has built it
	}
	log, err := r.ReadLog(t.Context(), drv)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if text, err := io.ReadAll(log); err != nil || comparableLog(text) != comparableLog(c.LogBase64) {
		t.Errorf("the log is %q, %v\nwant %q", text, err, c.LogBase64)
	}
}

// checkNewer compares an output with what Nix 2.8 made, except for one text.
func checkNewer(t *testing.T, object string, archive []byte, now, then string) {
	t.Helper()
	old := filepath.Join(t.TempDir(), "old")
	if _, err := nar.Restore(t.Context(), bytes.NewReader(archive), old, nar.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	files, differ := 0, false
	err := filepath.WalkDir(object, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		got, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(filepath.Join(old, strings.TrimPrefix(path, object)))
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(want), then, now)
		differ = differ || text != string(want)
		if text != string(got) {
			t.Errorf("%s is\n%s\nwant\n%s", d.Name(), got, text)
		}
		return nil
	})
	if entries, _ := os.ReadDir(old); err != nil || files != len(entries) || !differ {
		t.Errorf("%d files, Nix made %d; a difference was there: %v; %v", files, len(entries), differ, err)
	}
}

// checkRealisations compares what is recorded of outputs whose paths are not known
// beforehand. Nix records the others as well.
func checkRealisations(t *testing.T, s *local.Store, c buildCase) {
	t.Helper()
	if !strings.HasPrefix(c.Case, "ca-") && c.Case != "impure-fixed-on-impure" {
		return
	}
	if len(c.Realisations) == 0 {
		t.Error("Nix has no realisations")
	}
	for _, want := range c.Realisations {
		got, err := s.Realisation(t.Context(), want.ID)
		if err != nil {
			t.Error(err)
		} else if text, expected := jsonText(t, got), jsonText(t, want); text != expected {
			t.Errorf("realisation %s\nwant %s", text, expected)
		}
	}
	for p, drv := range c.Deriver { // some are among the sources, without
		if info, err := s.PathInfo(t.Context(), parsePath(t, p)); err != nil || !info.Deriver.IsZero() && info.Deriver != parsePath(t, drv) {
			t.Errorf("%s was made by %s, %v, want %s", p, info.Deriver, err, drv)
		}
	}
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func checkFailure(t *testing.T, c buildCase, res realiser.BuildResult) {
	t.Helper()
	want, ok := failures[c.Case]
	if !ok {
		t.Fatalf("the test does not say how it fails; it did with %v: %v", res.Status, res.Err)
	}
	var e *result.BuildError
	if !errors.As(res.Err, &e) || res.Status != want.status || e.Status != want.status || !strings.Contains(res.Err.Error(), want.says) {
		t.Fatalf("%v: %v\nwant %v: …%s…", res.Status, res.Err, want.status, want.says)
	}
	if strings.Contains(res.Err.Error(), "\n") {
		t.Errorf("the message has more than one line: %q", res.Err)
	}
	if got := result.ExitStatus(res.Err); got != c.Build.Local.Exit {
		t.Errorf("exits with %d, Nix with %d: %v: %v", got, c.Build.Local.Exit, res.Status, res.Err)
	}
}
