package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"larder/realiser"
	"larder/store"
)

const (
	maxBody       = 64 << 20 // bytes of a JSON or derivation body
	maxReferences = 1 << 16  // of an object that is added
	maxRounds     = 1000     // of builds
	endTrailer    = "Larder-End"
	endOK         = "ok"
)

// request is a call that passed the checks of server.go.
type request struct {
	*http.Request
	w       http.ResponseWriter
	service Service
	caller  store.Caller
	permit  func(access) error // whether the caller may do more than the route needs
}

func (r *request) context() context.Context { return r.Request.Context() }

// routes is everything that the API has. An error that a handler returns becomes the answer; so it has written nothing yet.
var routes = []struct {
	pattern string
	needs   access
	handle  func(*request) error
}{
	{"GET /v1/hello", anyUser, func(r *request) error {
		h, err := r.service.Hello(r.context())
		return r.answer(h, err)
	}},
	{"GET /v1/status", anyUser, func(r *request) error {
		s, err := r.service.Status(r.context())
		return r.answer(s, err)
	}},
	{"POST /v1/realise", anyUser, (*request).realise},
	{"POST /v1/plan", anyUser, func(r *request) error {
		var b realiseBody
		if err := r.body(&b); err != nil {
			return err
		}
		targets, err := parseTargets(b.Targets)
		if err != nil {
			return err
		}
		plan, err := r.service.Plan(r.context(), targets)
		return r.answer(plan, err)
	}},
	{"GET /v1/why/{path}", anyUser, func(r *request) error {
		return withPath(r, func(p store.StorePath) error {
			e, err := r.service.Why(r.context(), p)
			return r.answer(e, err)
		})
	}},
	{"GET /v1/events", anyUser, (*request).events},
	{"GET /v1/log/{path}", anyUser, func(r *request) error {
		return withPath(r, func(p store.StorePath) error {
			log, err := r.service.Log(r.context(), p)
			if err != nil {
				return err
			}
			defer log.Close()
			return r.stream("text/plain; charset=utf-8", func(w io.Writer) error {
				_, err := io.Copy(w, log)
				return err
			})
		})
	}},
	{"GET /v1/path-info/{path}", anyUser, func(r *request) error {
		return withPath(r, func(p store.StorePath) error {
			i, err := r.service.PathInfo(r.context(), p)
			if err != nil {
				return err
			}
			return r.answer(NewPathInfo(r.service.Dir(), i), nil)
		})
	}},
	{"POST /v1/query", anyUser, func(r *request) error {
		var b queryBody
		if err := errors.Join(r.body(&b), b.Relation.check()); err != nil {
			return err
		}
		paths, err := r.service.Query(r.context(), b.Relation, b.Paths)
		return r.answer(paths, err)
	}},
	{"GET /v1/outputs/{path}", anyUser, func(r *request) error {
		return withPath(r, func(p store.StorePath) error {
			o, err := r.service.Outputs(r.context(), p)
			return r.answer(o, err)
		})
	}},
	{"GET /v1/realisation/{id}", anyUser, func(r *request) error {
		id, err := store.ParseDrvOutput(r.PathValue("id"))
		if err != nil {
			return badRequest("%w", err)
		}
		known, err := r.service.Realisation(r.context(), id)
		return r.answer(known, err)
	}},
	{"GET /v1/realisations/{path}", anyUser, func(r *request) error {
		return withPath(r, func(p store.StorePath) error {
			list, err := r.service.Realisations(r.context(), p)
			return r.answer(list, err)
		})
	}},
	{"GET /v1/derivation/{path}", anyUser, func(r *request) error {
		return withPath(r, func(p store.StorePath) error {
			drv, err := r.service.Derivation(r.context(), p)
			if err != nil {
				return err
			}
			return r.stream("application/octet-stream", func(w io.Writer) error {
				_, err := w.Write(drv.ATerm(r.service.Dir()))
				return err
			})
		})
	}},
	{"GET /v1/nar/{path}", anyUser, func(r *request) error {
		return withPath(r, func(p store.StorePath) error {
			if _, err := r.service.PathInfo(r.context(), p); err != nil {
				return err // while an error can still be the answer
			}
			return r.stream("application/x-nix-nar", func(w io.Writer) error {
				return r.service.DumpNAR(r.context(), w, p)
			})
		})
	}},
	{"GET /v1/listing/{path}", anyUser, func(r *request) error {
		return withPath(r, func(p store.StorePath) error {
			l, err := r.service.Listing(r.context(), p)
			return r.answer(l, err)
		})
	}},
	{"GET /v1/hash-part/{digest}", anyUser, func(r *request) error {
		digest, err := store.ParseHashPart(r.PathValue("digest"))
		if err != nil {
			return badRequest("%w", err)
		}
		p, err := r.service.PathFromHashPart(r.context(), digest)
		return r.answer(pathBody{p}, err)
	}},
	{"POST /v1/add", anyUser, (*request).add},
	{"POST /v1/derivation", anyUser, func(r *request) error {
		text, err := r.read()
		if err != nil {
			return err
		}
		p, err := r.service.AddDerivation(r.context(), r.URL.Query().Get("name"), text)
		return r.answer(pathBody{p}, err)
	}},
	{"GET /v1/roots", anyUser, func(r *request) error {
		roots, err := r.service.Roots(r.context())
		return r.answer(roots, err)
	}},
	{"POST /v1/roots", owner, func(r *request) error {
		var b rootBody
		if err := r.body(&b); err != nil {
			return err
		}
		return r.answer(none{}, r.service.AddRoot(r.context(), b.Link))
	}},
	{"POST /v1/gc", owner, func(r *request) error {
		var b GCRequest
		if err := r.body(&b); err != nil {
			return err
		}
		res, err := r.service.CollectGarbage(r.context(), b)
		return r.answer(res, err)
	}},
	{"GET /v1/failures", anyUser, func(r *request) error {
		list, err := r.service.Failures(r.context())
		return r.answer(list, err)
	}},
	{"POST /v1/failures/forget", owner, func(r *request) error {
		var b pathsBody
		if err := r.body(&b); err != nil {
			return err
		}
		n, err := r.service.ForgetFailures(r.context(), b.Paths)
		return r.answer(countBody{n}, err)
	}},
	{"POST /v1/verify", owner, (*request).verify},
	{"POST /v1/optimise", owner, (*request).optimise},
}

func withPath(r *request, f func(store.StorePath) error) error {
	p, err := store.ParseStorePath(r.PathValue("path"))
	if err != nil {
		return badRequest("%w", err)
	}
	return f(p)
}

// answer sends a value as JSON, or returns err.
func (r *request) answer(v any, err error) error {
	if err != nil {
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	r.w.Header().Set("Content-Type", "application/json")
	_, _ = r.w.Write(append(b, '\n')) // a client that went away needs no answer
	return nil
}

// read reads the body.
func (r *request) read() ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, badRequest("reading it: %w", err)
	}
	if len(b) > maxBody {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, maxBody)
	}
	return b, nil
}

// body parses a JSON body. Fields that are not known are an error: to ignore one would be to do something else.
func (r *request) body(v any) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return badRequest("expected application/json")
	}
	b, err := r.read()
	if err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return badRequest("%w", err)
	}
	return nil
}

// stream sends bytes and ends them with a trailer that says whether they are all.
func (r *request) stream(kind string, f func(io.Writer) error) error {
	r.w.Header().Set("Content-Type", kind)
	r.w.Header().Set("Trailer", endTrailer)
	r.w.WriteHeader(http.StatusOK)
	end := endOK
	if err := f(r.w); err != nil {
		b, failed := json.Marshal(encodeError(err))
		if failed != nil {
			panic(http.ErrAbortHandler) // without a trailer the client knows enough
		}
		end = string(b)
	}
	r.w.Header().Set(endTrailer, end)
	return nil
}

// lines sends a stream of JSON lines, each at once.
func (r *request) lines() func(line) error {
	r.w.Header().Set("Content-Type", "application/x-ndjson")
	r.w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(r.w)
	e := json.NewEncoder(r.w)
	return func(l line) error { return errors.Join(e.Encode(l), control.Flush()) }
}

func (r *request) realise() error {
	var b realiseBody
	if err := r.body(&b); err != nil {
		return err
	}
	targets, err := parseTargets(b.Targets)
	if err != nil {
		return err
	}
	if b.Mode != realiser.ModeRealise && b.Mode != realiser.ModeCheck {
		if err := r.permit(owner); err != nil {
			return err
		}
	}
	if b.Rounds < 0 || b.Rounds > maxRounds {
		return badRequest("%d rounds", b.Rounds)
	}
	send := r.lines()
	outcome, err := r.service.Realise(r.context(), r.caller, RealiseRequest{targets, b.KeepGoing, b.Mode, b.Rounds, b.KeepFailed}, func(ev realiser.Event) {
		_ = send(line{Event: &ev}) // a client that went away ends the context
	})
	if errors.Is(err, context.Canceled) && r.context().Err() != nil {
		err = context.Cause(r.context()) // that the daemon ends, if the client is there to hear it
	}
	if err != nil {
		_ = send(line{Error: encodeError(err)})
	} else {
		_ = send(line{Result: encodeOutcome(outcome)})
	}
	return nil
}

func (r *request) events() error {
	send := r.lines()
	err := r.service.Events(r.context(), func(ev realiser.Event) error { return send(line{Event: &ev}) })
	if err != nil && r.context().Err() == nil {
		_ = send(line{Error: encodeError(err)})
	}
	return nil
}

func (r *request) add() error {
	q := r.URL.Query()
	a := AddRequest{Name: q.Get("name")}
	var err error
	if a.Method, err = parseMethod(q.Get("method")); err != nil {
		return err
	}
	if a.Algo, err = store.ParseHashAlgo(q.Get("algo")); err != nil {
		return badRequest("%w", err)
	}
	if len(q["reference"]) > maxReferences {
		return fmt.Errorf("%w: more than %d references", ErrTooLarge, maxReferences)
	}
	for _, text := range q["reference"] {
		p, err := store.ParseStorePath(text)
		if err != nil {
			return badRequest("reference: %w", err)
		}
		a.References = append(a.References, p)
	}
	p, err := r.service.Add(r.context(), a, r.Body)
	return r.answer(pathBody{p}, err)
}

func parseMethod(s string) (store.Method, error) {
	for _, m := range []store.Method{store.Text, store.Flat, store.Recursive} {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, badRequest("unknown method %q", s)
}
