package wire

import (
	"errors"
	"io"
)

// Request is what a client asks for: the number of the operation and its arguments.
type Request interface {
	Message
	// Op is the operation.
	Op() Op
	// Reply is a new, empty reply of the right type to read into. It is nil where
	// there is none: then the operation is over with [Last] (or, for [NarFromPath],
	// a NAR follows).
	Reply() Message
}

// Body is the form of the data that follow the arguments of a request.
type Body uint8

const (
	// NoBody: the request is complete.
	NoBody Body = iota
	// InlineNAR: a NAR without frame or length, see [Reader.NAR].
	InlineNAR
	// Tunnelled: the client sends data only when it is asked to, see [TunnelReader].
	Tunnelled
	// Framed: see [FramedReader].
	Framed
)

// BodyOf says what follows a request of an operation.
func BodyOf(op Op, v Version) Body {
	switch op {
	case OpAddToStore:
		if v.Since(25) {
			return Framed
		}
		return InlineNAR
	case OpAddToStoreNar:
		if v.Since(23) {
			return Framed
		}
		return Tunnelled
	case OpImportPaths:
		return Tunnelled
	case OpAddMultipleToStore, OpAddBuildLog:
		return Framed
	}
	return NoBody
}

// ReadRequest reads the next request, without its [Body]. It returns io.EOF if the
// client has hung up between two requests, an [*OpError] for an operation that
// does not exist, and a [*FormatError] for arguments that are none; after each of
// these the connection is of no more use.
func (r *Reader) ReadRequest() (Request, error) {
	n, err := r.word()
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	} else if err != nil {
		return nil, r.fail("operation", err)
	}
	req := newRequest(Op(n))
	if req == nil {
		r.err = &OpError{Op(n)}
		return nil, r.err
	}
	if err := r.Message(req); err != nil {
		return nil, err
	}
	return req, nil
}

// WriteRequest writes a request, without its [Body]. The error wraps
// [ErrUnsupported] where the daemon does not know the operation.
func (w *Writer) WriteRequest(req Request) error {
	return w.encode(messageName(req), func(c *coder) {
		op := uint64(req.Op())
		if c.Version < req.Op().since() {
			c.unsupported("%s", req.Op())
		}
		c.word(&op)
		req.code(c)
	})
}

// newRequest makes an empty request; nil if there is no such operation.
func newRequest(op Op) Request {
	switch op {
	case OpIsValidPath:
		return &IsValidPath{}
	case OpHasSubstitutes:
		return &HasSubstitutes{}
	case OpQueryPathHash:
		return &QueryPathHash{}
	case OpQueryReferences:
		return &QueryReferences{}
	case OpQueryReferrers:
		return &QueryReferrers{}
	case OpAddToStore:
		return &AddToStore{}
	case OpAddTextToStore:
		return &AddTextToStore{}
	case OpBuildPaths:
		return &BuildPaths{}
	case OpEnsurePath:
		return &EnsurePath{}
	case OpAddTempRoot:
		return &AddTempRoot{}
	case OpAddIndirectRoot:
		return &AddIndirectRoot{}
	case OpSyncWithGC:
		return &SyncWithGC{}
	case OpFindRoots:
		return &FindRoots{}
	case OpExportPath:
		return &ExportPath{}
	case OpQueryDeriver:
		return &QueryDeriver{}
	case OpSetOptions:
		return &SetOptions{}
	case OpCollectGarbage:
		return &CollectGarbage{}
	case OpQuerySubstitutablePathInfo:
		return &QuerySubstitutablePathInfo{}
	case OpQueryDerivationOutputs:
		return &QueryDerivationOutputs{}
	case OpQueryAllValidPaths:
		return &QueryAllValidPaths{}
	case OpQueryPathInfo:
		return &QueryPathInfo{}
	case OpImportPaths:
		return &ImportPaths{}
	case OpQueryDerivationOutputNames:
		return &QueryDerivationOutputNames{}
	case OpQueryPathFromHashPart:
		return &QueryPathFromHashPart{}
	case OpQuerySubstitutablePathInfos:
		return &QuerySubstitutablePathInfos{}
	case OpQueryValidPaths:
		return &QueryValidPaths{}
	case OpQuerySubstitutablePaths:
		return &QuerySubstitutablePaths{}
	case OpQueryValidDerivers:
		return &QueryValidDerivers{}
	case OpOptimiseStore:
		return &OptimiseStore{}
	case OpVerifyStore:
		return &VerifyStore{}
	case OpBuildDerivation:
		return &BuildDerivation{}
	case OpAddSignatures:
		return &AddSignatures{}
	case OpNarFromPath:
		return &NarFromPath{}
	case OpAddToStoreNar:
		return &AddToStoreNar{}
	case OpQueryMissing:
		return &QueryMissing{}
	case OpQueryDerivationOutputMap:
		return &QueryDerivationOutputMap{}
	case OpRegisterDrvOutput:
		return &RegisterDrvOutput{}
	case OpQueryRealisation:
		return &QueryRealisation{}
	case OpAddMultipleToStore:
		return &AddMultipleToStore{}
	case OpAddBuildLog:
		return &AddBuildLog{}
	case OpBuildPathsWithResults:
		return &BuildPathsWithResults{}
	case OpAddPermRoot:
		return &AddPermRoot{}
	}
	return nil
}
