package wire_test

import (
	"testing"
	"time"

	"larder/store"
	"larder/store/derivation"
	"larder/store/wire"
)

func mustPath(s string) store.StorePath {
	p, err := store.ParseStorePath(s)
	if err != nil {
		panic(err)
	}
	return p
}

var (
	hello    = mustPath("722cknb7zrny7sx1ipqmjmb9czwzawj5-hello")
	helloDrv = mustPath("r79fhjvizq1xvhnjlw899irxygddfbl4-hello.drv")
	narHash  = store.SHA256.Sum([]byte("a NAR"))
	outID    = store.DrvOutput{DrvHash: store.SHA256.Sum([]byte("a derivation")), Output: "out"}
	sig      = store.Signature{Name: "key-1", Data: [64]byte{1, 2, 3}}
	info     = store.PathInfo{
		Path: hello, NarHash: narHash, NarSize: 456, References: []store.StorePath{hello}, Deriver: helloDrv,
		CA:         store.ContentAddress{Method: store.Recursive, Hash: narHash},
		Signatures: []store.Signature{sig}, RegistrationTime: time.Unix(1795227700, 0), Ultimate: true,
	}
	second      = time.Second
	realisation = store.Realisation{ID: outID, OutPath: hello, Signatures: []store.Signature{sig},
		Dependencies: map[store.DrvOutput]store.StorePath{outID: hello}}
	result = wire.BuildResult{
		Status: 0, TimesBuilt: 1, NonDeterministic: true, Start: time.Unix(1, 0), Stop: time.Unix(2, 0),
		CPUUser: &second, CPUSystem: nil, Outputs: map[string]store.Realisation{"out": realisation},
	}
	substitutable = wire.SubstitutableInfo{Path: hello, Deriver: helloDrv, References: []store.StorePath{hello}, DownloadSize: 1, NarSize: 2}
	withoutPath   = wire.SubstitutableInfo{Deriver: helloDrv, References: []store.StorePath{hello}, DownloadSize: 1, NarSize: 2}
	unnamed       = func() *store.PathInfo { i := info; i.Path = store.StorePath{}; return &i }()
	basic         = derivation.Derivation{
		Name: "hello", System: "x86_64-linux", Builder: "/bin/sh", Args: []string{"-c", "exit"},
		Outputs: map[string]derivation.Output{
			"out": {CA: store.ContentAddress{Method: store.Flat, Hash: narHash}, Path: hello},
			"dev": {Path: hello}, "ca": {Method: store.Recursive, HashAlgo: store.SHA256}, "later": {},
		},
		InputSrcs: []store.StorePath{hello}, Env: map[string]string{"a": "b", "c": ""},
	}
)

// sample is a request and a reply to it, with every field set.
type sample struct {
	request wire.Request
	reply   wire.Message
	since   wire.Version // the first that can say it; 0: MinVersion
}

// samples has every operation.
func samples() []sample {
	paths := []store.StorePath{hello, helloDrv}
	derived := []wire.DerivedPath{{Path: hello}, {Path: helloDrv, Outputs: []string{"dev", "out"}}, {Path: helloDrv, All: true}}
	nested := append(derived, wire.DerivedPath{Path: helloDrv, Dynamic: []string{"out"}, Outputs: []string{"out"}}, wire.DerivedPath{Path: helloDrv})
	done, set := &wire.Done{}, &wire.Paths{Paths: paths}
	results := &wire.BuildResults{Results: []wire.KeyedBuildResult{{Path: derived[1], Result: result}}}
	return []sample{
		{&wire.IsValidPath{Path: hello}, &wire.Bool{Value: true}, 0},
		{&wire.HasSubstitutes{Path: hello}, &wire.Bool{}, 0},
		{&wire.QueryPathHash{Path: hello}, &wire.NarHash{Hash: narHash}, 0},
		{&wire.QueryReferences{Path: hello}, set, 0},
		{&wire.QueryReferrers{Path: hello}, set, 0},
		{&wire.AddToStore{Name: "x", Method: wire.ContentMethod{Method: store.Recursive, Algo: store.SHA256}}, &wire.Added{Info: info}, 0},
		{&wire.AddToStore{Name: "x", Method: wire.ContentMethod{Method: store.Flat, Algo: store.SHA1}}, &wire.Added{Info: info}, 0},
		{&wire.AddToStore{Name: "x", Method: wire.ContentMethod{Method: store.Text, Algo: store.SHA256}, References: paths, Repair: true}, &wire.Added{Info: info}, 25},
		{&wire.AddToStore{Name: "x", Method: wire.ContentMethod{Method: store.Git, Algo: store.SHA1}}, &wire.Added{Info: info}, 25},
		{&wire.AddTextToStore{Name: "x", Text: []byte("text\x00"), References: paths}, &wire.Path{Path: hello}, 0},
		{&wire.BuildPaths{Paths: derived, Mode: wire.BuildCheck}, done, 0},
		{&wire.BuildPaths{Paths: nested, Mode: wire.BuildRepair}, done, 30},
		{&wire.EnsurePath{Path: hello}, done, 0},
		{&wire.AddTempRoot{Path: hello}, done, 0},
		{&wire.AddIndirectRoot{Link: "/home/x/result"}, done, 0},
		{&wire.SyncWithGC{}, done, 0},
		{&wire.FindRoots{}, &wire.Roots{Roots: []wire.Root{{Link: "/proc/1/exe", Path: hello}, {Link: "{censored}", Path: hello}}}, 0},
		{&wire.ExportPath{Path: hello}, done, 0},
		{&wire.QueryDeriver{Path: hello}, &wire.OptPath{Path: helloDrv}, 0},
		{&wire.SetOptions{KeepFailed: true, Verbosity: wire.VerbosityInfo, MaxBuildJobs: 4, MaxSilentTime: time.Minute, BuildCores: 2,
			BuildVerbosity: wire.VerbosityVomit, Overrides: map[string]string{"cores": "3", "sandbox": "true"}}, nil, 0},
		{&wire.CollectGarbage{Action: wire.GCDeleteSpecific, Paths: paths, IgnoreLiveness: true, MaxFreed: 1<<64 - 1},
			&wire.Collected{Paths: []string{"/nix/store/x"}, Freed: 7}, 0},
		{&wire.QuerySubstitutablePathInfo{Path: hello}, &wire.OptSubstitutable{Info: &withoutPath}, 0},
		{&wire.QuerySubstitutablePathInfo{Path: hello}, &wire.OptSubstitutable{}, 0},
		{&wire.QueryDerivationOutputs{Path: helloDrv}, set, 0},
		{&wire.QueryAllValidPaths{}, set, 0},
		{&wire.QueryPathInfo{Path: hello}, &wire.OptPathInfo{Info: unnamed}, 0},
		{&wire.QueryPathInfo{Path: hello}, &wire.OptPathInfo{}, 0},
		{&wire.ImportPaths{}, set, 0},
		{&wire.QueryDerivationOutputNames{Path: helloDrv}, &wire.Texts{Texts: []string{"out"}}, 0},
		{&wire.QueryPathFromHashPart{HashPart: "722cknb7zrny7sx1ipqmjmb9czwzawj5"}, &wire.OptPath{}, 0},
		{&wire.QuerySubstitutablePathInfos{Paths: []wire.Wanted{{Path: hello, CA: info.CA}}}, &wire.Substitutables{Infos: []wire.SubstitutableInfo{substitutable}}, 0},
		{&wire.QueryValidPaths{Paths: paths}, set, 0},
		{&wire.QueryValidPaths{Paths: paths, Substitute: true}, set, 27},
		{&wire.QuerySubstitutablePaths{Paths: paths}, set, 0},
		{&wire.QueryValidDerivers{Path: hello}, set, 0},
		{&wire.OptimiseStore{}, done, 0},
		{&wire.VerifyStore{CheckContents: true, Repair: true}, &wire.Bool{Value: true}, 0},
		{&wire.BuildDerivation{Path: helloDrv, Drv: basic, Mode: wire.BuildRepair}, &result, 0},
		{&wire.AddSignatures{Path: hello, Signatures: []string{"anything"}}, done, 0},
		{&wire.NarFromPath{Path: hello}, nil, 0},
		{&wire.AddToStoreNar{Info: info, Repair: true, DontCheckSigs: true}, nil, 0},
		{&wire.QueryMissing{Paths: derived}, &wire.Missing{WillBuild: paths, WillSubstitute: paths, Unknown: paths, DownloadSize: 1, NarSize: 2}, 0},
		{&wire.QueryDerivationOutputMap{Path: helloDrv}, &wire.OutputMap{Outputs: map[string]store.StorePath{"out": hello, "dev": {}}}, 22},
		{&wire.RegisterDrvOutput{Realisation: realisation, Trace: store.BuildTrace{Drv: helloDrv, Output: "out", OutPath: hello}}, nil, 27},
		{&wire.QueryRealisation{ID: outID, Drv: helloDrv, Output: "out"}, &wire.Realisations{Realisations: []store.Realisation{realisation}}, 27},
		{&wire.AddMultipleToStore{Repair: true, DontCheckSigs: true}, nil, 32},
		{&wire.AddBuildLog{Drv: helloDrv}, done, 32},
		{&wire.BuildPathsWithResults{Paths: nested, Mode: wire.BuildNormal}, results, 34},
		{&wire.AddPermRoot{Path: hello, Link: "/home/x/result"}, &wire.Text{Text: "/home/x/result"}, 36},
	}
}

func logSamples() []wire.LogMessage {
	fields := []wire.Field{wire.NumberField(7), wire.TextField("seven")}
	return []wire.LogMessage{
		&wire.Next{Text: "building\n"}, &wire.ReadData{Size: 32768}, &wire.WriteData{Data: []byte("bytes")}, &wire.Last{},
		&wire.StartActivity{ID: 1, Level: wire.VerbosityInfo, Type: wire.ActivityBuild, Text: "building", Fields: fields, Parent: 2},
		&wire.StopActivity{ID: 1}, &wire.Result{ID: 1, Type: wire.ResultBuildLogLine, Fields: fields},
		&wire.Error{Name: "Error", Message: "no", Level: wire.VerbosityWarn, Traces: []string{"while building"}},
	}
}

// protocols are all that can be agreed on.
func protocols() []wire.Protocol {
	var list []wire.Protocol
	for v := wire.MinVersion; v <= wire.MaxVersion; v++ {
		list = append(list, wire.Protocol{Version: v})
	}
	return append(list, wire.Protocol{Version: wire.MaxVersion, Features: wire.Features()})
}

func TestSamplesHaveEveryOperation(t *testing.T) {
	have := map[wire.Op]bool{}
	for _, s := range samples() {
		have[s.request.Op()] = true
	}
	for op := range wire.Op(100) {
		if exists := op.String()[0] != 'o'; exists != have[op] {
			t.Errorf("%s: sample %v", op, have[op])
		}
	}
}
