package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"syscall"

	"larder/realiser"
	"larder/realiser/result"
	"larder/store"
	"larder/store/local"
)

// Errors of the control API itself.
var (
	// ErrNoDaemon says that nobody listens on the control socket.
	ErrNoDaemon = errors.New("no daemon is running")
	// ErrDenied says that the caller may not do that.
	ErrDenied = errors.New("permission denied by the daemon")
	// ErrOwnerOnly says, with ErrDenied, that no setting would allow it to the caller.
	ErrOwnerOnly = errors.New("only its owner and root may do that")
	// ErrBadRequest says that a request makes no sense: another version on the other side, or no Larder at all.
	ErrBadRequest = errors.New("bad request")
	// ErrTooLarge says that a request is larger than the daemon takes.
	ErrTooLarge = errors.New("request too large")
	// ErrCutOff says that the daemon went away in the middle of an answer.
	ErrCutOff = errors.New("the connection to the daemon broke off")
)

// sentinels is the table of errors that cross the API: the code on the wire, what errors.Is sees, the HTTP status if it
// is the first that matches.
var sentinels = []struct {
	code   string
	err    error
	status int
}{
	{"denied", ErrDenied, http.StatusForbidden},
	{"owner-only", ErrOwnerOnly, http.StatusForbidden},
	{"too-large", ErrTooLarge, http.StatusRequestEntityTooLarge},
	{"bad-request", ErrBadRequest, http.StatusBadRequest},
	{"not-valid", store.ErrNotValid, http.StatusNotFound},
	{"not-found", store.ErrNotFound, http.StatusNotFound},
	{"no-space", syscall.ENOSPC, http.StatusInsufficientStorage}, // on the daemon's disk
	{"bad-signature", store.ErrBadSignature, http.StatusBadGateway},
	{"corrupt", store.ErrCorrupt, http.StatusInternalServerError},
	{"read-only", local.ErrReadOnly, http.StatusConflict},
	{"store-closed", local.ErrClosed, http.StatusServiceUnavailable},
	{"closing", realiser.ErrClosed, http.StatusServiceUnavailable},
	{"cancelled", context.Canceled, http.StatusServiceUnavailable},
	{"deadline", context.DeadlineExceeded, http.StatusGatewayTimeout},
}

// maxTree bounds how deep a tree of errors is sent and believed.
const maxTree = 32

// errorBody is an error on the wire.
type errorBody struct {
	Message  string        `json:"message"`
	Codes    []string      `json:"codes,omitempty"` // the sentinels that it matches
	Build    *buildBody    `json:"build,omitempty"`
	Mismatch *mismatchBody `json:"mismatch,omitempty"`
	Causes   []errorBody   `json:"causes,omitempty"` // typed errors further down
}

type buildBody struct {
	Drv       store.StorePath `json:"drv,omitzero"`
	Path      store.StorePath `json:"path,omitzero"`
	Status    result.Status   `json:"status"`
	LogPath   string          `json:"logPath,omitempty"`
	LastLines []string        `json:"lastLines,omitempty"`
	KeptDir   string          `json:"keptDir,omitempty"`
	Outputs   string          `json:"keptOutputs,omitempty"`
}

type mismatchBody struct {
	Drv       string `json:"drv"`
	Specified string `json:"specified"`
	Got       string `json:"got"`
}

func encodeError(err error) *errorBody {
	if err == nil {
		return nil
	}
	b := encodeNode(err, 0)
	return &b
}

func encodeNode(err error, depth int) errorBody {
	b := errorBody{Message: err.Error()}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			b.Codes = append(b.Codes, s.code)
		}
	}
	switch e := err.(type) {
	case *result.BuildError:
		b.Build = &buildBody{e.Drv, e.Path, e.Status, e.LogPath, e.LastLines, e.KeptDir, e.KeptOutputs}
	case *result.HashMismatchError:
		b.Mismatch = &mismatchBody{e.Drv, e.Specified.Text(store.SRI), e.Got.Text(store.SRI)}
	}
	if depth < maxTree {
		for _, c := range children(err) {
			b.Causes = appendTyped(b.Causes, c, depth+1)
		}
	}
	return b
}

// appendTyped appends the topmost typed errors of a tree.
func appendTyped(list []errorBody, err error, depth int) []errorBody {
	switch err.(type) {
	case *result.BuildError, *result.HashMismatchError:
		return append(list, encodeNode(err, depth))
	}
	for _, c := range children(err) {
		list = appendTyped(list, c, depth)
	}
	return list
}

func children(err error) []error {
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if c := e.Unwrap(); c != nil {
			return []error{c}
		}
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	}
	return nil
}

// RemoteError is an error that happened in the daemon.
type RemoteError struct {
	Message string
	codes   []string
	causes  []error
}

func (e *RemoteError) Error() string   { return e.Message }
func (e *RemoteError) Unwrap() []error { return e.causes }

// Is makes errors.Is see the sentinels that the error matched in the daemon.
func (e *RemoteError) Is(target error) bool {
	for _, s := range sentinels {
		if s.err == target {
			return slices.Contains(e.codes, s.code)
		}
	}
	return false
}

// decode makes an error that looks as the one that was encoded.
func (b *errorBody) decode() error {
	if b == nil {
		return nil
	}
	return b.node(0)
}

func (b *errorBody) node(depth int) error {
	remote := &RemoteError{Message: b.Message, codes: b.Codes}
	if depth < maxTree {
		for i := range b.Causes {
			remote.causes = append(remote.causes, b.Causes[i].node(depth+1))
		}
	}
	if b.Mismatch != nil {
		specified, err := store.ParseHash(b.Mismatch.Specified, 0)
		got, err2 := store.ParseHash(b.Mismatch.Got, 0)
		if err == nil && err2 == nil {
			return &result.HashMismatchError{Drv: b.Mismatch.Drv, Specified: specified, Got: got}
		}
	}
	if b.Build != nil {
		return &result.BuildError{Drv: b.Build.Drv, Path: b.Build.Path, Status: b.Build.Status, LogPath: b.Build.LogPath,
			LastLines: b.Build.LastLines, KeptDir: b.Build.KeptDir, KeptOutputs: b.Build.Outputs, Err: remote}
	}
	return remote
}

// httpStatus is the status of an error: that of the first sentinel it matches.
func httpStatus(err error) int {
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.status
		}
	}
	var syntax *store.SyntaxError
	if errors.As(err, &syntax) {
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

func badRequest(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrBadRequest, fmt.Errorf(format, args...))
}
