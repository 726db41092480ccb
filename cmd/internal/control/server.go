package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"larder/realiser"
	"larder/store"
)

// Server answers the control API on behalf of a Service.
type Server struct {
	service Service
	allowed Allowed
	log     *slog.Logger
	http    *http.Server
	cancel  context.CancelCauseFunc

	serving sync.WaitGroup
	err     error // of Serve; to be read after serving
}

// NewServer makes a server for a service that it does not close.
func NewServer(s Service, allowed Allowed, log *slog.Logger) *Server {
	ctx, cancel := context.WithCancelCause(context.Background())
	server := &Server{service: s, allowed: allowed, log: log, cancel: cancel}
	mux := http.NewServeMux()
	for _, route := range routes {
		mux.HandleFunc(route.pattern, func(w http.ResponseWriter, r *http.Request) {
			server.serve(w, r, route.needs, route.handle)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, badRequest("%s %s is not part of the control API, version %d", r.Method, r.URL.Path, Version))
	})
	server.http = &http.Server{
		Handler: mux, ConnContext: withPeer, BaseContext: func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 8 << 20, // the references of an added object are in the URL
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return server
}

// Start answers requests on l from now on.
func (s *Server) Start(l net.Listener) {
	s.serving.Add(1)
	go func() {
		defer s.serving.Done()
		if err := s.http.Serve(newVisitors(l)); !errors.Is(err, http.ErrServerClosed) {
			s.err = fmt.Errorf("control socket: %w", err)
		}
	}()
}

// Close cancels the requests under way, lets their handlers end, and closes the listener.
func (s *Server) Close() error {
	s.cancel(realiser.ErrClosed)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	s.serving.Wait()
	return errors.Join(err, s.err)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, needs access, handle func(*request) error) {
	p, _ := r.Context().Value(peerKey{}).(peer)
	err := p.err
	if err == nil {
		err = s.permit(p.caller, needs)
	}
	if err == nil {
		err = handle(&request{Request: r, w: w, service: s.service, caller: p.caller,
			permit: func(a access) error { return s.permit(p.caller, a) }})
	}
	s.log.Debug("control", "method", r.Method, "path", r.URL.Path, "caller", p.caller, "error", err)
	if err != nil {
		writeError(w, err)
	}
}

func (s *Server) permit(c store.Caller, needs access) error {
	has := s.allowed.access(c)
	switch {
	case has >= needs:
		return nil
	case has == nobody:
		return fmt.Errorf("%w: user %d may not use it", ErrDenied, c.UID)
	}
	return fmt.Errorf("%w: %w", ErrDenied, ErrOwnerOnly)
}

func writeError(w http.ResponseWriter, err error) {
	b, failed := json.Marshal(encodeError(err))
	if failed != nil {
		b = []byte(`{"message":"an error that cannot be shown"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(httpStatus(err))
	_, _ = w.Write(append(b, '\n')) // a client that went away needs no answer
}
