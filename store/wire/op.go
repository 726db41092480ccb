package wire

import "strconv"

// Op is the number of an operation.
type Op uint64

// The operations of version 1.21 and later. Those that are marked obsolete are not
// sent by clients of Nix 2.8, but a daemon still answers them.
const (
	OpIsValidPath                 Op = 1
	OpHasSubstitutes              Op = 3 // obsolete
	OpQueryPathHash               Op = 4 // obsolete
	OpQueryReferences             Op = 5 // obsolete
	OpQueryReferrers              Op = 6
	OpAddToStore                  Op = 7
	OpAddTextToStore              Op = 8 // obsolete since 1.25
	OpBuildPaths                  Op = 9
	OpEnsurePath                  Op = 10
	OpAddTempRoot                 Op = 11
	OpAddIndirectRoot             Op = 12
	OpSyncWithGC                  Op = 13 // obsolete since 1.32
	OpFindRoots                   Op = 14
	OpExportPath                  Op = 16 // obsolete
	OpQueryDeriver                Op = 18 // obsolete
	OpSetOptions                  Op = 19
	OpCollectGarbage              Op = 20
	OpQuerySubstitutablePathInfo  Op = 21 // obsolete
	OpQueryDerivationOutputs      Op = 22 // obsolete since 1.22
	OpQueryAllValidPaths          Op = 23
	OpQueryPathInfo               Op = 26
	OpImportPaths                 Op = 27 // obsolete
	OpQueryDerivationOutputNames  Op = 28 // obsolete
	OpQueryPathFromHashPart       Op = 29
	OpQuerySubstitutablePathInfos Op = 30
	OpQueryValidPaths             Op = 31
	OpQuerySubstitutablePaths     Op = 32
	OpQueryValidDerivers          Op = 33
	OpOptimiseStore               Op = 34
	OpVerifyStore                 Op = 35
	OpBuildDerivation             Op = 36
	OpAddSignatures               Op = 37
	OpNarFromPath                 Op = 38
	OpAddToStoreNar               Op = 39
	OpQueryMissing                Op = 40
	OpQueryDerivationOutputMap    Op = 41 // since 1.22
	OpRegisterDrvOutput           Op = 42 // since 1.27
	OpQueryRealisation            Op = 43 // since 1.27
	OpAddMultipleToStore          Op = 44 // since 1.32
	OpAddBuildLog                 Op = 45 // since 1.32
	OpBuildPathsWithResults       Op = 46 // since 1.34
	OpAddPermRoot                 Op = 47 // since 1.36
)

// String is the name that Nix's documentation gives the operation.
func (o Op) String() string {
	if req := newRequest(o); req != nil {
		return messageName(req)
	}
	return "operation " + strconv.FormatUint(uint64(o), 10)
}

// since is the version in which the operation came; 0: at least as old as MinVersion.
func (o Op) since() Version {
	switch o {
	case OpQueryDerivationOutputMap:
		return 1<<8 | 22
	case OpRegisterDrvOutput, OpQueryRealisation:
		return 1<<8 | 27
	case OpAddMultipleToStore, OpAddBuildLog:
		return 1<<8 | 32
	case OpBuildPathsWithResults:
		return 1<<8 | 34
	case OpAddPermRoot:
		return 1<<8 | 36
	}
	return 0
}
